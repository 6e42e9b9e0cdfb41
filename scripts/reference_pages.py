"""Code -> the tables of docs/reference. Pages say where each goes with `<!-- generated: NAME -->`.

Made whenever the documents are built, so that no table is older than the code. What only the source knows (error codes,
reasons, metrics) comes from `source_texts`; no process is started and no database of a deployment is opened.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from scripts import key_cards, source_texts

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "python -m ml_backend"
EXAMPLE = re.compile(rf"^(?:Example: )?({re.escape(PROGRAM)} .+)$", re.MULTILINE)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table, empty without rows; cells are Markdown, on one line."""
    names, body = list(head), list(rows)
    lines = [names, ["---"] * len(names), *body] if body else []
    return "\n".join(
        "| " + " | ".join(" ".join(str(cell).split()) for cell in line) + " |" for line in lines
    ) + "\n" * bool(body)


def plain(text: str) -> str:
    """A text of the code as Markdown: what has a meaning in tables and HTML is escaped, `code` stays code."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([*\[\]])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    return "".join(parts).replace("|", "\\|")


def code(text: object) -> str:
    return f"`{str(text).replace('|', chr(92) + '|')}`"


# --- commands


def commands() -> str:
    """Every command: an overview, then each with its help, examples, arguments and options."""
    everything = list(every_command())
    rows = [(f"[`{words}`](#{words.replace(' ', '-')})", plain(summary(each))) for words, each in everything]
    parts = [table(("command", "what it does"), rows)]
    group = ""
    for words, each in everything:
        first = words.split()[0]
        level = "###" if words != first else "##"
        if words != first and first != group:
            parts.append(f"## {first} commands {{ #{first}-commands }}\n")
        group = first
        parts += [f"{level} {words} {{ #{words.replace(' ', '-')} }}\n", *_described(each)]
    return "\n".join(parts)


def every_command() -> Iterator[tuple[str, Any]]:
    """(words, command) of everything that can be run."""
    from ml_backend.commands import command_line

    def below(words: str, command: Any) -> Iterator[tuple[str, Any]]:
        if hasattr(command, "commands"):
            for name, each in command.commands.items():
                yield from below(f"{words} {name}", each)
        else:
            yield words, command

    for name in command_line.COMMANDS:
        yield from below(name, command_line.load(name))


def summary(command: Any) -> str:
    """The first sentence or line of a command's help."""
    return " ".join(command.help.split("\n\n")[0].split())


def examples(command: Any) -> list[str]:
    """What its help shows, ready to run."""
    return [" ".join(found.split()) for found in EXAMPLE.findall(command.help.replace("\b\n", ""))]


def _described(command: Any) -> Iterator[str]:
    text = EXAMPLE.sub("", command.help.replace("\b\n", ""))
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        yield plain(" ".join(paragraph.split())) + "\n"
    yield "```sh\n" + "\n".join(examples(command)) + "\n```\n"
    shown = [each for each in command.params if not getattr(each, "hidden", False) and each.name != "help"]
    yield table(("argument or option", "meaning", "default"), map(_parameter, shown))


def _parameter(each: Any) -> tuple[str, str, str]:
    names = [each.name.upper()] if each.param_type_name == "argument" else [*each.opts, *each.secondary_opts]
    default = each.default() if callable(each.default) else each.default
    shown = "" if default in (None, "", (), [], False) else code("on" if default is True else default)
    shown = "required" if each.required else shown
    return (
        ", ".join(map(code, names)),
        plain(each.help or ""),
        shown + (" (may be repeated)" if each.multiple or each.nargs == -1 else ""),
    )


# --- settings


def settings() -> str:
    """Every setting under the heading that settings.py gives it."""
    from ml_backend import settings as module

    described = {name: (default, text) for name, default, text in module.describe()}
    parts = []
    for heading, names in _setting_sections().items():
        rows = [
            (f"`{name}`{{ #{name.lower()} }}", code(default) if default else "", plain(text))
            for name, (default, text) in ((name, described[name]) for name in names)
        ]
        parts.append(f"## {heading[:1].upper()}{heading[1:]}\n\n" + table(("setting", "default", "meaning"), rows))
    return "\n".join(parts)


def _setting_sections() -> dict[str, list[str]]:
    """Heading -> names, by the comments `# --- heading` of the settings class."""
    found: dict[str, list[str]] = {}
    heading = "general"
    for line in (ROOT / "ml_backend/settings.py").read_text(encoding="utf-8").splitlines():
        if comment := re.match(r"    # --- (.+)", line):
            heading = comment[1].rstrip(".")
        elif field := re.match(r"    ([a-z][a-z0-9_]*): .*Field\(", line):
            found.setdefault(heading, []).append(field[1].upper())
    return found


# --- HTTP

_WHO = {
    "anyone": "anyone",
    "protocol": "Label Studio (basic auth)",
    "webhook": "Label Studio (webhook secret)",
    "exotel": "Exotel (secret in the address)",
    "operator": "any token but one of role `live`, or Label Studio's basic auth",
    "annotator": "a personal link's cookie, or a token of role `read`",
    "signed_link": "whoever has the link",
    "live": "token of role `live`, `operate` or `admin`",
}


@cache
def web_app() -> Any:
    """The app, over an empty database that is gone again: only its routes are read."""
    from ml_backend import db
    from ml_backend import settings as module
    from ml_backend.api.app import create_app, load_plugin

    with tempfile.TemporaryDirectory() as folder:
        given = module.Settings(_env_file=None, data_dir=Path(folder))  # type: ignore[call-arg]
        db.upgrade(given.database)
        return create_app(given, load_plugin(given.plugin))


def routes() -> str:
    """Every route of the app, who may call it, and what its view says of itself."""
    app, rows = web_app(), []
    for rule in app.url_map.iter_rules():
        guarded = app.view_functions[rule.endpoint]
        text = (inspect.getdoc(guarded.view) or "").split("\n\n")[0]
        methods = ", ".join(sorted(rule.methods - {"HEAD", "OPTIONS"}))
        rows.append((code(rule.rule), methods, _caller(guarded.who), plain(text)))
    return table(("address", "method", "who", "what"), rows)


def _caller(who: Callable[..., object]) -> str:
    role = inspect.getclosurevars(who).nonlocals.get("role") if inspect.isfunction(who) else None
    return f"token of role `{role}`" if role else _WHO[who.__name__]


def operations() -> str:
    """Each operation of the OpenAPI document: its parameters, what it is sent, and everything it answers."""
    from ml_backend.api import openapi

    found = openapi.document(web_app())
    tags: dict[str, list[str]] = {}
    for path, methods in found["paths"].items():
        for method, each in methods.items():
            rows = (
                (code(one["name"]), one["in"], _shape(one["schema"]), plain(one["description"]))
                for one in each["parameters"]
            )
            lines = [f"### {method.upper()} `{path}`\n\n{plain(each['summary'])}\n"]
            lines.append(table(("parameter", "in", "type", "meaning"), rows))
            if body := each.get("requestBody"):
                ((kind, sent),) = body["content"].items()
                form = "JSON" if kind == "application/json" else f"{code(kind)}, with the audio as `file`"
                lines.append(f"It is sent {_shape(sent['schema'])} as {form}.\n")
            answers = []
            for status, one in sorted(each["responses"].items()):
                content = one["content"]
                ours = content.get("application/json")
                shown = _shape(ours["schema"]) if ours else ", ".join(map(code, content))
                answers.append((status, plain(one["description"].partition("\n")[0]), shown))
            tags.setdefault(each["tags"][0], []).extend([*lines, table(("status", "when", "answer"), answers)])
    parts = [f"## {tag}\n\n" + "\n".join(lines) for tag, lines in tags.items()]
    shapes = [_fields(name, each) for name, each in sorted(found["components"]["schemas"].items())]
    return "\n".join([*parts, "## Shapes\n", *(each for each in shapes if each)])


def _shape(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words; a shape of its own as a link."""
    if name := schema.get("$ref", "").rpartition("/")[2]:
        return f"[{name}](#{name.lower()})"
    if several := schema.get("anyOf"):
        return " or ".join(_shape(each) for each in several)
    if "enum" in schema:
        return ", ".join(code(each) for each in schema["enum"])
    kind = schema.get("format") or schema.get("type", "anything")
    if kind == "array":
        return f"list of {_shape(schema['items'])}" if schema.get("items") else "list"
    if kind == "object" and isinstance(values := schema.get("additionalProperties"), dict):
        return f"object of {_shape(values)}"
    return str(kind)


def _fields(name: str, schema: Mapping[str, Any]) -> str:
    """The fields of one shape; empty for one that only names filters, which stand with their list."""
    heading = f"### {name} {{ #{name.lower()} }}\n\n" + plain(schema.get("description", "").partition("\n")[0]) + "\n"
    if several := schema.get("anyOf"):
        return f"{heading}\n{' or '.join(map(_shape, several))}\n"
    if name.endswith("Query"):
        return ""
    rows = (
        (code(field), _shape(each), plain(each.get("description", "")))
        for field, each in schema.get("properties", {}).items()
    )
    return f"{heading}\n" + table(("field", "type", ""), rows)


# --- errors, reasons, states and metrics


def errors() -> str:
    """Every error code, sorted, with up to three of the sentences that it comes with."""
    from ml_backend import errors as module
    from ml_backend.jobs import transport

    of_redis = [
        source_texts.Said(each, f"Redis takes no messages: {why}.", step, "RetryableError")
        for _, _, each, why, step in transport._REFUSALS
    ]
    follows = (
        (module.RetryableError, "tried again by itself"), (module.InvalidInput, "the request is refused"),
        (module.ConfigurationError, "a setting has to change"), (Exception, "will not work by itself"),
    )  # fmt: skip
    found = _merged([*(each for each in source_texts.said() if each.branch), *of_redis])
    rows = [
        (code(one.code), plain(one.sentence or "…"), plain(one.next_step or "…"),
         next(text for each, text in follows if issubclass(getattr(module, one.branch), each)))
        for one in sorted(found, key=lambda each: (each.code, each.branch))
    ]  # fmt: skip
    return table(("code", "what it says", "what to do", "what follows"), rows)


def _merged(found: Iterable[source_texts.Said]) -> Iterator[source_texts.Said]:
    """One entry for a code and branch: the first that says something; more where the sentences differ."""
    by_code: dict[tuple[str, str], list[source_texts.Said]] = {}
    for one in found:
        by_code.setdefault((one.code, one.branch), []).append(one)
    for (word, branch), several in by_code.items():
        sentences = list(dict.fromkeys(each.sentence for each in several if each.sentence))[:3]
        steps = list(dict.fromkeys(each.next_step for each in several if each.next_step))[:2]
        yield source_texts.Said(word, " / ".join(sentences), " / ".join(steps), branch)


def reasons() -> str:
    """Every reason that is no error: what a row, a report or a status line keeps."""
    found = {one.code: one.sentence for one in _merged(each for each in source_texts.said() if not each.branch)}
    names = sorted(found.keys() - _exclusions())
    return table(("reason", "what it says"), ((code(name), plain(found[name])) for name in names))


def exclusions() -> str:
    """Why a sample is in no dataset."""
    rows = ((code(name), plain(text[:1].upper() + text[1:].rstrip(".") + ".")) for name, text in _exclusions().items())
    return table(("reason", "meaning"), rows)


def _exclusions() -> dict[str, str]:
    from training.datasets import dataset_card
    from training.samples import sample_pieces

    return dict(sorted({**dataset_card._WHY, **sample_pieces.REASONS}.items()))


def states() -> str:
    """The states of each table, as the comment above it lists them."""
    source = (ROOT / "ml_backend/tables.py").read_text(encoding="utf-8")
    rows = []
    for comment, name in re.findall(r"((?:^# .*\n)+)^\w+ = Table\(\n\s+\"(\w+)\"", source, re.MULTILINE):
        text = " ".join(line.removeprefix("# ") for line in comment.splitlines())
        if found := re.search(r"\bstate: ((?:[^.(]|\([^)]*\))+)", text):
            rows.append((code(name), plain(found[1].strip())))
    from ml_backend.calls import states as of_calls

    final = ", ".join(of_calls.FINAL)
    waiting = ", ".join(f"{name} (next: {' or '.join(of_calls.STATES[name])})" for name in of_calls.OPEN)
    return table(("table", "states"), [("`calls`", f"open: {waiting}; final: {final}"), *rows])


def metrics() -> str:
    """Every metric, its kind and labels."""
    kinds = {
        "RequestCounter": "counter", "CounterMetricFamily": "counter", "Histogram": "histogram",
        "HistogramMetricFamily": "histogram", "Total": "counter",
    }  # fmt: skip
    rows = []
    for node in (node for _, tree in source_texts.product() for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name, text = (source_texts.literal(each) for each in [*node.args[:2], None, None][:2])
        if name.startswith("kaan_") and source_texts.is_sentence(text):
            kind = kinds.get(source_texts.called(node), "gauge")
            given = [*(each.value for each in node.keywords if each.arg == "labels"), *node.args[2:3], None][0]
            labels = [source_texts.literal(each) for each in getattr(given, "elts", [])]
            shown = code(name + ("_total" if kind == "counter" else ""))
            rows.append((shown, kind, ", ".join(map(code, labels)), plain(text)))
    return table(("metric", "kind", "labels", "meaning"), sorted(rows))


# --- labelling configs and datasets


def controls() -> str:
    """Every control of every ready-made config, with its values and keys."""
    from ml_backend.labelling import labelconfig

    parts = []
    for name in labelconfig.NAMES:
        rows = []
        for tag in ElementTree.fromstring(labelconfig.read(name)).iter():  # noqa: S314 - our own file
            if not tag.get("name"):
                continue
            values = [
                code(each.get("value")) + (f" ({each.get('hotkey')})" if each.get("hotkey") else "")
                for each in tag
                if each.get("value")
            ]
            key = tag.get("value", "")
            rows.append((code(tag.get("name")), tag.tag, ", ".join(values) or (f"task key `{key[1:]}`" if key else "")))
        parts.append(f"### `{name}`\n\n" + table(("name", "tag", "values (keys)"), rows))
    return "\n".join(parts)


def columns() -> str:
    """The columns of a dataset's Parquet files."""
    from training.datasets import parquet

    rows = [
        (code(name), "" if name == line else f"`{line}` in the manifest", kind)
        for name, line, _, kind in parquet._COLUMNS
    ]
    rows.insert(1, ("`audio`", "the clip, WAV (form `parquet` only)", "Audio, 16 kHz"))
    return table(("column", "", "type"), rows)


def forms() -> str:
    """The renderings that `export --form` makes."""
    from training.datasets import renderings

    return table(("form", "what"), ((code(name), plain(text)) for name, text in renderings.FORMS.items()))


def quality() -> str:
    """How each measurement becomes a part of the quality score."""
    from ml_backend.audio import quality as module

    rows = [
        (code(name), f"{worst:g}", f"{best:g}", f"{weight:g}") for name, (worst, best, weight) in module._SCALES.items()
    ]
    labels = ", ".join(f"{label} from {least:g}" for least, label in module._LABELS)
    return table(("measurement", "0 at", "1 at", "weight"), rows) + f"\nThe labels: {labels}.\n"


def measured() -> str:
    """Every row of the committed results, as `make bench` and `make real` wrote them."""
    rows = []
    for file in ("results.json", "real.json"):
        for row in json.loads((ROOT / "bench" / file).read_text(encoding="utf-8"))["rows"]:
            came_to = "void: too noisy" if row.get("void") else "reached" if row["met"] else "**missed**"
            rows.append((plain(row["name"]), plain(str(row["target"])), plain(str(row["value"])), came_to))
    return table(("measured", "target", "value", ""), rows)


GENERATED: dict[str, Callable[[], str]] = {
    each.__name__: each
    for each in (
        commands, settings, routes, operations, errors, reasons, exclusions, states, metrics, controls, columns, forms,
        quality, measured, key_cards.card_en, key_cards.card_hi, key_cards.card_mr,
    )
}  # fmt: skip
MARK = re.compile(r"<!-- generated: (\w+) -->")


def fill(markdown: str) -> str:
    """A page with every mark replaced; KeyError for a mark that nothing makes."""
    return MARK.sub(lambda found: GENERATED[found[1]](), markdown)
