"""Report -> Markdown: a plain summary, then the figures, the slices, and the utterances that changed most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ml_backend import languages, quantities
from training.evaluation import report_plot, verdict
from training.evaluation.verdict import Comparison, Verdict

_SHOWN = 160


def markdown(body: dict[str, Any]) -> str:
    """`body` is what `training.promotion.promotion` keeps as JSON."""
    return "\n".join((*_head(body), *_figures(body), *_slices(body), *_examples(body), *_notes(body))) + "\n"


def _head(body: dict[str, Any]) -> Iterator[str]:
    first, *others = body["words"]
    yield f"# {body['candidate']} against {body['champion']}"
    yield ""
    yield first
    yield ""
    yield from (f"* {sentence}" for sentence in others)
    yield ""
    yield f"![Word error rate by slice, before and now]({report_plot.FILE})"
    yield ""


def _figures(body: dict[str, Any]) -> Iterator[str]:
    before, now = body["before"], body["now"]
    yield "## Figures"
    yield ""
    yield "| | before | now |"
    yield "|---|---|---|"
    for name in now["rates"]:
        for unit in ("wer", "cer"):
            yield f"| {unit.upper()} {name} | {_rate(before, name, unit)} | {_rate(now, name, unit)} |"
    for title, key in (
        ("language found right", "language_identification"), ("empty answers", "empty"),
        ("answers with mostly invented words", "runaway"),
    ):  # fmt: skip
        yield f"| {title} | {_share(before[key])} | {_share(now[key])} |"
    quiet = [
        f"{one['with_words']} of {one['of']}" if one else "?" for one in (before.get("silence"), now.get("silence"))
    ]
    yield f"| clips without speech that got words | {quiet[0]} | {quiet[1]} |"
    speeds = [(one.get("speed") or {}).get("real_time_factor", "?") for one in (before, now)]
    yield f"| seconds per second of audio | {speeds[0]} | {speeds[1]} |"
    if paced := body.get("pace"):
        yield f"| {paced['of']} for the same audio, in turns | 1 | {paced['ratio']} |"
    yield ""
    yield "Each rate with its interval of 95 %, over the utterances that the version itself had not learnt from."
    yield ""


def _slices(body: dict[str, Any]) -> Iterator[str]:
    yield "## Slices"
    yield ""
    yield "| slice | calls | words | before | now | difference | |"
    yield "|---|---|---|---|---|---|---|"
    for one in (body["verdict"]["overall"], *body["verdict"]["slices"]):
        name = "all" if one["kind"] == "all" else f"{one['kind']}: {one['name']}"
        between = one["difference"]
        difference = f"{100 * between[0]:+.1f} ({_between(between, sign='+')})" if between else ""
        cells = (_percent(one["before"]), _percent(one["now"]), difference, "" if one["enough"] else "too few to judge")
        yield f"| {name} | {one['calls']:,} | {one['words']:,} | {' | '.join(cells)} |"
    yield ""


def _examples(body: dict[str, Any]) -> Iterator[str]:
    for title, name in (("Largest gains", "gains"), ("Largest losses", "losses")):
        found = body["examples"][name]
        yield f"## {title}"
        yield ""
        if not found:
            yield "None."
            yield ""
            continue
        yield "| row | wrong words | said | before | now |"
        yield "|---|---|---|---|---|"
        for one in found:
            texts = " | ".join(_cell(one[key]) for key in ("reference", "before", "now"))
            yield f"| {one['id']} | {one['edits_before']} → {one['edits_now']} of {one['words']} | {texts} |"
        yield ""
        for one in found[:3]:
            if one.get("alignment"):
                yield from (f"`{one['id']}`, said and transcribed now:", "", "```text", one["alignment"], "```", "")


def _notes(body: dict[str, Any]) -> Iterator[str]:
    decided = body["verdict"]
    rules = decided["rules"]
    yield "## How it was judged"
    yield ""
    yield (
        f"Test set of {body['dataset']} (`{body['test_sha256'][:12]}`). Left out are {body['left_out']:,} of its rows, "
        "because one of the two had learnt from that call or caller, or the audio is gone."
    )
    yield ""
    yield (
        f"Words are compared under `{decided['normaliser']}` and weighted by how likely a call was drawn; for the "
        f"intervals calls are drawn again 2,000 times. At least {rules['min_calls']} calls and {rules['min_words']:,} "
        f"words are asked for. A slice of at least {rules['slice_calls']} calls and {rules['slice_words']} words "
        f"refuses where its whole interval is worse by more than {100 * rules['slice_margin']:.1f} words in 100"
        f"{''.join(f' ({name}: {100 * margin:.1f})' for name, margin in rules.get('margins', {}).items())}. "
        f"Judged {body['at']}."
    )


def _rate(scores: dict[str, Any], name: str, unit: str) -> str:
    found = scores["rates"][name][unit]
    return f"{100 * found[0]:.1f} % ({_between(found)})" if found else "-"


def _between(interval: list[float], sign: str = "") -> str:
    """An interval as text; empty if it has no width."""
    if interval[1] == interval[2]:
        return quantities.TOO_FEW
    return f"{100 * interval[1]:{sign}.1f} to {100 * interval[2]:{sign}.1f}"


def _share(found: dict[str, Any]) -> str:
    return f"{_percent(found['share'])} of {found['of']:,}" if found["share"] is not None else "-"


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"


def _cell(text: str) -> str:
    """A text as a table cell; an erased or empty text is marked as such."""
    return quantities.shortened(text.replace("|", "/"), _SHOWN) or "(nothing)"


_SAYS = {
    verdict.BETTER: "Better: it may be promoted.",
    verdict.WORSE: "Worse: it is refused.",
    verdict.EQUAL: "No difference that is more than luck: it is refused.",
    verdict.VETOED: "Refused, because something got worse that must not.",
}


def opening(found: Verdict) -> str:
    """`Of 100 words 17 were wrong before, 14 now, on 212 calls of 83 callers; Marathi: too few to judge.`"""
    return "; ".join((_said(found.overall), *_too_few(found))) + "."


def sentences(found: Verdict) -> list[str]:
    """The opening, the confidence, the verdict, and the objections to the candidate."""
    return [opening(found), *_sure(found), conclusion(found), *(one.sentence for one in found.objections)]


def conclusion(found: Verdict) -> str:
    if found.outcome != verdict.CANNOT_TELL:
        return _SAYS[found.outcome]
    missing = [f"{found.missing[what]:,} more {what}" for what in ("calls", "words") if found.missing.get(what)]
    return f"Cannot tell: the test set needs {' and '.join(missing) or 'words'} that neither version learnt from."


def name_of(one: Comparison) -> str:
    return languages.name_of(one.name) if one.kind == "language" else one.name


def of_100(rate: float, *, exact: bool) -> str:
    """A rate as words in a hundred, rounded to whole words unless `exact`."""
    return f"{100 * rate:.1f}" if exact else f"{100 * rate:.0f}"


def _said(one: Comparison) -> str:
    if one.before is None or one.now is None:
        return "There is no word to compare"
    exact = abs(one.before - one.now) < 0.02
    before, now = of_100(one.before, exact=exact), of_100(one.now, exact=exact)
    return (
        f"Of 100 words {before} {'was' if before == '1' else 'were'} wrong before, {now} now, "
        f"on {one.calls:,} call{'s' * (one.calls != 1)} of {one.callers:,} caller{'s' * (one.callers != 1)}"
    )


def _too_few(found: Verdict) -> Iterator[str]:
    for one in found.slices:
        if one.kind == "language" and not one.enough:
            yield f"{name_of(one)}: too few to judge"


def _sure(found: Verdict) -> Iterator[str]:
    between = found.overall.difference
    if between is not None and between.low == between.high:
        yield f"The difference is {100 * between.value:+.1f} words in 100; too few calls to say how sure that is."
    elif between is not None:
        yield (
            f"The difference is {100 * between.value:+.1f} words in 100, and lies between {100 * between.low:+.1f} "
            f"and {100 * between.high:+.1f} with 95 % confidence; less is better."
        )
