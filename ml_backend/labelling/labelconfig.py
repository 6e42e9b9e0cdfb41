"""Label config XML -> Controls.

People name their tags as they like, so a control is recognised first by its type, target and options, then by its name.
Parsing never raises: it lists what cannot be used in `problems`, because a project with a broken config is a state to
show.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from ml_backend import languages, quantities
from ml_backend.errors import ConfigurationError
from ml_backend.labelling import utterance_marks
from ml_backend.labelling.controls import Check, Choices, Controls, Labels, Text
from ml_backend.settings import Settings

MAX_CONFIG_CHARS = 1_000_000
MAX_ELEMENTS = 50_000

_QUALITIES = {"excellent", "good", "fair", "poor"}
_ACCENTS = {"standard", "rural", "urban", "code-mixed", "neutral", "regional"}
_EMOTIONS = {"calm", "happy", "urgent", "angry", "sad", "neutral"}
_CHECK_NAMES = ("check", "unsure", "please check", "to check", "doubtful")
_AGENT_NAMES = ("agent", "company", "operator")
_CUSTOMER_NAMES = ("customer", "caller", "client")
_LANGUAGES = {name for names in languages.LANGUAGE_NAMES.values() for name in names}
_SPEECH_NAMES = ("speech", "voice", "talk", "utterance", "segment", "transcription")


@dataclass
class _Element:
    tag: str
    attributes: dict[str, str]
    children: list[_Element] = field(default_factory=list)

    def get(self, *names: str, default: str = "") -> str:
        for name in names:
            for key, value in self.attributes.items():
                if key.lower() == name.lower():
                    return value
        return default

    def walk(self) -> Iterator[_Element]:
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting.extend(reversed(element.children))


class _Refused(Exception):
    """The XML uses a feature that no label config needs."""


@functools.lru_cache(maxsize=32)
def parse(xml: str) -> Controls:
    """Controls of a label config; equal texts share one result. Never raises."""
    if not isinstance(xml, str) or not xml.strip():
        return _unreadable("The label config is empty.")
    if len(xml) > MAX_CONFIG_CHARS:
        return _unreadable(f"The label config is larger than {MAX_CONFIG_CHARS} characters.")
    try:
        root = _read(xml)
    except _Refused as error:
        return _unreadable(str(error))
    except (expat.ExpatError, ValueError, UnicodeError) as error:
        return _unreadable(f"The label config is not well-formed XML ({quantities.shortened(str(error), 60)}).")
    return _controls(root)


def digest(xml: str) -> str:
    """SHA-256 of a label config, in hex, as in `projects.config_sha256` and `predictions.config_sha256`."""
    return hashlib.sha256(xml.encode("utf-8", "replace")).hexdigest()


def _unreadable(problem: str) -> Controls:
    return Controls(problems=(problem,), well_formed=False)


def _read(xml: str) -> _Element:
    """XML -> tree. Refuses document types and entities, which are only used for attacks here."""
    top = _Element("", {})
    stack, count = [top], 0
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > MAX_ELEMENTS:
            raise _Refused(f"The label config has more than {MAX_ELEMENTS} tags.")
        element = _Element(tag.lower(), attributes)
        stack[-1].children.append(element)
        stack.append(element)

    def end(tag: str) -> None:
        stack.pop()

    def refuse(*_: object) -> None:
        raise _Refused("The label config has a document type or entities, which are not accepted.")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.Parse(xml.encode(), True)
    return top.children[0]


def _controls(root: _Element) -> Controls:
    elements = list(root.walk())
    problems: list[str] = []
    audios = {e.get("name"): _data_key(e) for e in elements if e.tag in ("audio", "audioplus") and e.get("name")}
    if not audios:
        if (texts_only := _of_utterances(elements)) is not None:
            return texts_only
        return Controls(
            problems=("The label config has no <Audio> tag with a name.",), status_key=_status_key(elements)
        )
    texts = [t for t in (_text(e, audios) for e in elements) if t]
    regions = [r for r in (_labels(e, audios) for e in elements) if r]
    text = min(texts, key=lambda t: _rank(t, texts, bool(regions)), default=None)
    audio = text.to_name if text else next(iter(audios))
    here = [(found, check) for found, check in regions if found.to_name == audio]
    labels = min(here, key=lambda pair: pair[1] is not None and len(pair[0].options) == 1, default=(None, None))[0]
    check = next((check for _, check in here if check), None)
    spoken_key = _spoken_key(elements, audio) if text is None else None
    if text is None and not spoken_key:
        problems.append("The label config has no <TextArea> for the audio, so a transcript has nowhere to go.")
    elif text is not None and text.per_region and labels is None:
        problems.append("The <TextArea> is per region, but no <Labels> with at least one <Label> makes regions.")
        text = None
    if not audios[audio]:
        problems.append(f"The <Audio> tag {audio[:40]!r} has no value of the form $key.")
    by_role: dict[str, Choices] = {}
    others: dict[str, Choices] = {}
    for element in elements:
        if element.tag != "choices" or not (found := _choices(element, audio)):
            continue
        role = _role(found)
        if role and role not in by_role:
            by_role[role] = found
        else:
            others[found.name] = found
    return Controls(
        audio=audio,
        audio_key=audios[audio],
        text=text,
        labels=labels,
        check=check,
        other_labels=MappingProxyType({found.name: found for found, _ in here if found is not labels}),
        choices=MappingProxyType(by_role),
        other_choices=MappingProxyType(others),
        status_key=_status_key(elements),
        spoken_key=spoken_key,
        beside_key=next((key for name, key in audios.items() if key and name != audio), None) if spoken_key else None,
        problems=tuple(problems),
    )


def _of_utterances(elements: list[_Element]) -> Controls | None:
    """The controls of a config over a text: those of `utterance_marks`, which are known by their names."""
    text = next((e for e in elements if e.tag == "text" and e.get("name") == utterance_marks.TEXT), None)
    sets = {c.name: c for c in (_choices(e, utterance_marks.TEXT) for e in elements if e.tag == "choices") if c}
    if text is None or not _data_key(text) or utterance_marks.INTENT not in sets:
        return None
    regions = [found[0] for found in (_labels(e, {utterance_marks.TEXT: ""}) for e in elements) if found]
    language = sets.pop(utterance_marks.LANGUAGE, None)
    return Controls(
        choices=MappingProxyType({"language": language} if language else {}),
        other_choices=MappingProxyType(sets),
        other_labels=MappingProxyType({each.name: each for each in regions}),
        status_key=_status_key(elements),
        utterance_key=_data_key(text),
    )


def _data_key(element: _Element) -> str:
    value = element.get("value").strip()
    return value[1:] if value.startswith("$") and len(value) > 1 else ""


def _targets(element: _Element) -> list[str]:
    return [name.strip() for name in element.get("toName").split(",") if name.strip()]


def _true(element: _Element, name: str) -> bool:
    return element.get(name).strip().lower() == "true"


def _text(element: _Element, audios: Mapping[str, str]) -> Text | None:
    target = next((t for t in _targets(element) if t in audios), None)
    if element.tag != "textarea" or not element.get("name") or target is None:
        return None
    return Text(name=element.get("name"), to_name=target, per_region=_true(element, "perRegion"))


def _rank(text: Text, texts: list[Text], regions: bool) -> tuple[bool, bool, bool, int]:
    """Sort key; the smallest is the transcript: it can be shown, is named so, and comes first."""
    name = text.name.lower()
    return (text.per_region and not regions, "transcri" not in name, "text" not in name, texts.index(text))


def _options(element: _Element, tag: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(values that Label Studio stores, which are aliases if given; values that it shows)."""
    found = [c for c in element.children if c.tag == tag and (c.get("alias") or c.get("value"))]
    return tuple(c.get("alias") or c.get("value") for c in found), tuple(c.get("value") for c in found)


def _labels(element: _Element, audios: Mapping[str, str]) -> tuple[Labels, Check | None] | None:
    target = next((t for t in _targets(element) if t in audios), None)
    options, shown = _options(element, "label")
    if element.tag != "labels" or not element.get("name") or target is None or not options:
        return None
    words = {w.casefold(): o for o, s in reversed(list(zip(options, shown, strict=True))) for w in (o, s)}

    def named(names: tuple[str, ...], default: str | None = None) -> str | None:
        return next((words[name] for name in names if name in words), default)

    check = named(_CHECK_NAMES)
    speech = named(_SPEECH_NAMES) or next((o for o in options if o != check), options[0])
    multiple = element.get("choice").lower() == "multiple"
    labels = Labels(
        name=element.get("name"),
        to_name=target,
        options=options,
        speech=speech,
        agent=named(_AGENT_NAMES),
        customer=named(_CUSTOMER_NAMES),
        multiple=multiple,
    )
    return labels, Check(labels.name, check) if check else None


def _choices(element: _Element, audio: str) -> Choices | None:
    if not element.get("name") or audio not in _targets(element):
        return None
    options, shown = _options(element, "choice")
    multiple = element.get("choice").lower() == "multiple"
    keys = tuple(c.get("hotkey") for c in element.children if c.tag == "choice" and (c.get("alias") or c.get("value")))
    return Choices(element.get("name"), audio, options, shown, multiple, _true(element, "perRegion"), keys)


def _role(choices: Choices) -> str | None:
    """The role of a set of choices: by its name, else by its options."""
    name = choices.name.lower()
    words = {w.casefold() for w in (*choices.options, *choices.shown)}
    for role, parts in (
        ("redraft", ("redraft", "draft_again", "draft-again")),
        ("quality", ("quality",)),
        ("accent", ("accent",)),
        ("language", ("lang",)),
        ("reject", ("reject", "discard", "unusable")),
    ):
        if any(part in name for part in parts):
            return role
    if words & _EMOTIONS and "emotion" in name:  # and not a rating scale
        return "emotion"
    if "script" in name and "transcri" not in name:
        return "script"
    if len(words & _QUALITIES) >= 2:
        return "quality"
    if len(words & _ACCENTS) >= 2:
        return "accent"
    if len(words & _EMOTIONS) >= 2:
        return "emotion"
    written = [words & set(names) for names in languages.SCRIPT_NAMES.values() if words & set(names)]
    if len(written) >= 2 and any(not found <= _LANGUAGES for found in written):  # Tamil is a script and a language
        return "script"
    if sum(1 for names in languages.LANGUAGE_NAMES.values() if words & set(names)) >= 2:
        return "language"
    return None


def _status_key(elements: list[_Element]) -> str | None:
    """The data key `status` or `kaan_status`, if a text-like tag shows it."""
    for element in elements:
        if element.tag in ("text", "header", "hypertext") and _data_key(element) in ("status", "kaan_status"):
            return _data_key(element)
    return None


def _spoken_key(elements: list[_Element], audio: str) -> str | None:
    """The data key of the text beside an audio that people rate and do not transcribe."""
    judged = any(e.tag in ("choices", "rating") and audio in _targets(e) for e in elements)
    shown = (_data_key(e) for e in elements if e.tag in ("text", "hypertext") and e.get("name"))
    return next((key for key in shown if key), None) if judged else None


NAMES = ("original", "calls", "tts", "tts-pairs", "nlu")
_MARKS = re.compile(r"([ \t]*)<!-- (languages|scripts|drafts|intents|entities) -->\n")
_OF_LANGUAGES = re.compile(
    r"""(<Choices name="(language|script|redraft)"[^>]*>)(?:\s|<Choice [^>]*/>|<!-- \w+ -->)*(</Choices>)"""
)
_OF_LABELS = re.compile(
    r"""(<(Choices|Labels) name="(?:intent|entities)"[^>]*>)(?:\s|<(?:Choice|Label) [^>]*/>|<!-- \w+ -->)*(</\2>)"""
)
TRANSCRIBING = ("original", "calls")  # in the others people rate a voice, or say what a text means
_INTENT_KEYS = "qwertasdfgzxcvbyhjklnm"  # without u, which Label Studio uses itself
_COLOURS = ("#1f6f8b", "#5b8c3a", "#d9822b", "#8b3f77", "#4a5fb0", "#a0522d", "#2f8f7f", "#b03a3a", "#6b6f76")


def read(name: str, spoken: Iterable[str] = (), *, labels: Mapping[str, Sequence[str]] | None = None) -> str:
    """The XML of a ready-made config that offers the languages `spoken` (the usual ones if empty).

    `labels` has the `intents` and `entities` of `nlu`; without them it offers those of the bundled parser.

    The error for an unknown name lists the known ones.
    """
    if name not in NAMES:
        raise ConfigurationError(
            "labelling-config-unknown",
            f"There is no labelling config named {name!r}.",
            f"Use one of: {', '.join(NAMES)}, or the path of an XML file.",
        )
    offered = languages.offered(spoken)
    hint = 'hint="The draft is in the wrong language: choose and submit"'
    lines = {
        "languages": [_choice(one.option or one.code, one.label or one.name, one.key) for one in offered],
        "scripts": [_choice(one.name, one.name, one.key) for one in languages.scripts_of(offered)],
        "drafts": [_choice(one.code, f"as {one.name}", one.redraft_key, hint) for one in offered if one.redraft_key],
    }
    if name == "nlu":
        lines |= _labels_offered(_bundled_labels() if labels is None else labels)
    return _MARKS.sub(
        lambda found: "".join(f"{found[1]}{line}\n" for line in lines[found[2]]), _configs_read(f"{name}.xml")
    )


def _choice(value: str, shown: str, key: str, *more: str) -> str:
    html = f"{shown} &lt;kbd&gt;⇧{key.upper()}&lt;/kbd&gt;"
    return " ".join((f'<Choice value="{value}" html="{html}" hotkey="shift+{key}"', *more)) + "/>"


def _labels_offered(labels: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    intents, entities = [], []
    for number, intent in enumerate(labels["intents"]):
        key = _INTENT_KEYS[number] if number < len(_INTENT_KEYS) else ""
        shown = f"{escape(intent)} <kbd>{key.upper()}</kbd>"  # HTML
        keyed = f' html={quoteattr(shown)} hotkey="{key}"'
        intents.append(f"<Choice value={quoteattr(intent)}{keyed if key else ''}/>")
    for number, entity in enumerate(labels["entities"]):
        key = f' hotkey="{number + 1}"' if number < 9 else ""
        entities.append(f'<Label value={quoteattr(entity)} background="{_COLOURS[number % len(_COLOURS)]}"{key}/>')
    return {"intents": intents, "entities": entities}


@functools.cache
def _bundled_labels() -> Mapping[str, Sequence[str]]:
    """What the bundled parser was trained on."""
    text = (resources.files("ml_backend") / "bundled" / "nlu" / "manifest.json").read_text(encoding="utf-8")
    needs = json.loads(text)["needs"]
    intents = [each for each in needs["intents"] if each != needs["out_of_scope"]]
    return {"intents": intents, "entities": needs["entities"]}


def offered_by(settings: Settings) -> tuple[str, ...]:
    """The languages for `read`: the spoken languages of the settings or the usual ones, and the default language."""
    return tuple(filter(None, (*(settings.spoken or languages.USUAL), settings.default_language)))


def ready_made(config: str) -> str | None:
    """The name of the ready-made config that this is, whatever languages it offers; None for any other config."""
    plain = _without_languages(config)
    return next((name for name in NAMES if plain == _without_languages(_configs_read(f"{name}.xml"))), None)


def _without_languages(config: str) -> str:
    """A config without white space and without the choices that depend on the languages."""
    return re.sub(r"\s+", "", _OF_LABELS.sub(r"\1\3", _OF_LANGUAGES.sub(r"\1\3", config)))


def offered_in(config: str) -> tuple[languages.Language, ...]:
    """The languages that the choices of a config name."""
    choices = parse(config).choices
    options = [option for role in ("language", "redraft") if role in choices for option in choices[role].options]
    return tuple(one for one in languages.offered(map(languages.code_of, options)) if options)


def instructions(config: str) -> str:
    """HTML for a project's expert instruction; parts about the `calls` config are left out for every other config."""
    if (controls := parse(config)).rates:
        return _configs_read("instructions_pairs.html" if controls.pairs else "instructions_tts.html")
    if controls.parses:
        return _configs_read("instructions_nlu.html")
    page = _configs_read("instructions.html")
    if ready_made(config) == "calls":
        page = re.sub(r"[ \t]*<!-- (calls only|end) -->\n", "", page)
    else:
        page = re.sub(r"[ \t]*<!-- calls only -->\n.*?<!-- end -->\n", "", page, flags=re.DOTALL)
    spoken = [one for one in offered_in(config) or languages.offered() if not one.parts]
    native = [one for one in spoken if one.script != languages.ROMAN] or [languages.LANGUAGES["hi"]]
    rows = [
        f"<tr><td><b>{script.name}</b></td><td>{' · '.join(one.examples[0] for one in native if one.script == script)}"
        f"</td><td>as they sound: {script.loans}</td></tr>"
        for script in dict.fromkeys(one.script for one in native)
    ]
    own, *others = (one.name for one in reversed(spoken))
    names = f"neither {', '.join(reversed(others))} nor {own}" if others else f"not {own}"
    _, roman, both = native[0].examples
    for mark, text in {
        "native": " and ".join(one.name for one in native), "script rows": "\n    ".join(rows), "roman": roman,
        "both": f"in {native[0].script.name}: {both}", "neither": names,
    }.items():  # fmt: skip
        page = page.replace(f"<!-- {mark} -->", text)
    return page


def _configs_read(file_name: str) -> str:
    return resources.files(__package__).joinpath(file_name).read_text(encoding="utf-8")
