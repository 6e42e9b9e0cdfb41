"""The summary of annotations as a screen: a manager's first questions first, every figure with its basis."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from ml_backend import quantities
from ml_backend.commands import printing

SIGNS = {
    "unsure-unchanged": "keeps unsure drafts far more often than others",
    "faster-than-audio": "accepts drafts faster than the audio plays",
    "draft-over-people": "agrees with the draft rather than with people",
    "gold-unchanged": "keeps wrong drafts of gold tasks",
}
LEAKS = {
    "audio": "the same audio", "call": "the same call", "caller": "the same caller", "speaker": "the same speaker",
    "twin": "a call converted again", "family": "rewordings of one sentence", "wording": "the same wording",
}  # fmt: skip


def show(body: dict[str, Any]) -> None:
    total, texts = body["annotations"], body["utterances"]["annotations"]["all"]
    line = f"{quantities.counted(total['all'], 'annotation')} of {quantities.counted(total['tasks'], 'task')}"
    line += f" by {quantities.counted(total['people'], 'person', 'people')}"
    if total["all"] or not texts:
        printing.say(
            f"{line}, {quantities.duration(total['audio_s'])} of audio; {total['drafted']:,} from a draft, "
            f"{total['blind']:,} blind, {total['before_attach']:,} from before"
        )
    if total["all"]:
        _calls(body)
    if texts:
        _utterances(body["utterances"])
    if total["all"] or texts:
        _section("On two sides of a split", _leaks(body["leaks"]))


def _calls(body: dict[str, Any]) -> None:
    _section("Agreement between people", _agreement(body))
    _section("Time", _time(body["review_time"]))
    _section("Rejected and skipped", _rejection(body["rejection"]))
    _drafts(body["drafts"])
    _people(body["people"])
    gold = body["gold"]
    rates = f"WER {percent(gold['wer'])}, right {percent(gold['right'])}"
    said = f"{gold['answers']} answers on {gold['tasks']} tasks: {rates}"
    _section("Gold tasks", [said] if gold["answers"] else ["none answered"])
    _section("Accepted unread", _stamping(body["stamping"]))
    _section("Calls that are there twice", _duplicates(body["duplicates"]))


def _utterances(body: dict[str, Any]) -> None:
    """What people say that texts mean."""
    total, gold = body["annotations"], body["gold"]
    line = f"{quantities.counted(total['all'], 'annotation')} of {quantities.counted(total['tasks'], 'text')}"
    line += f" by {quantities.counted(total['people'], 'person', 'people')}"
    _section("What texts mean", [f"{line}; {total['drafted']:,} from a draft, {total['blind']:,} blind"])
    lines = []
    for name, said in (("all", "all"), ("blind", "without a draft"), ("drafted", "from a draft")):
        part = body["agreement"][name]
        if part["utterances"]:
            alpha = part["intents"]
            value = f"Krippendorff's alpha {alpha['value']:.2f}" if alpha["value"] is not None else alpha["note"]
            lines.append(f"intents, {said}: {value} ({alpha['tasks']} texts, {alpha['answers']} answers)")
            lines.append(f"entities, {said}: F1 {percent(part['spans'])}")
    for one in body["agreement"]["all"]["confused"][:3]:
        lines.append(f"{' and '.join(one['intents'])}: {quantities.counted(one['times'], 'time')} on one text")
    _section("Agreement on texts", lines or ["no text was annotated by two people"])
    _drafts(body["drafts"], "marks changed")
    said = f"{gold['answers']} answers on {gold['tasks']} tasks: right {percent(gold['right'])}"
    _section("Gold tasks over texts", [said] if gold["answers"] else ["none answered"])
    rows = [
        (
            str(one["annotator"] or "unknown"), f"{one['annotations']:,}", f"{one['drafted']:,}", f"{one['blind']:,}",
            short(one["accepted_unchanged"]), short(one["gold"]["right"]), f"{one['unusable']:,}",
            Text(str(one["stamped"]), style="red") if one["signs"] else str(one["stamped"]),
        )
        for one in body["people"]
    ]  # fmt: skip
    titles = ("person", "done", "drafted", "blind", "unchanged", "gold right", "unusable", "stamped")
    printing.table(titles, rows, right=titles[1:], indent=2)
    _section("Drafts of texts accepted unread", _stamping(body["stamping"]))


def percent(figure: dict[str, Any]) -> str:
    """A figure with its basis: `12.3 % (37 of 300)`, or too few to say."""
    basis = f"{figure['part']:,} of {figure['of']:,}"
    return f"{100 * figure['value']:.1f} % ({basis})" if figure["value"] is not None else f"{figure['note']} ({basis})"


def short(figure: dict[str, Any]) -> str:
    """A figure without its basis, for a column."""
    return f"{100 * figure['value']:.1f} %" if figure["value"] is not None else "too few"


def _section(title: str, lines: list[str]) -> None:
    printing.say()
    printing.say(title, style="bold")
    for line in lines:
        printing.say(f"  {line}")


def _agreement(body: dict[str, Any]) -> list[str]:
    lines = []
    for name, said in (("blind", "without a draft"), ("drafted", "both began from a draft")):
        part = body["agreement"][name]
        if part["pairs"]:
            rates = f"WER {percent(part['wer'])}, CER {percent(part['cer'])}"
            lines.append(f"text, {said}: {rates}, {part['pairs']} pairs")
    for control, figure in body["alpha"]["all"].items():
        said = f"Krippendorff's alpha {figure['value']:.2f}" if figure["value"] is not None else figure["note"]
        lines.append(f"{control}: {said} ({figure['tasks']} tasks, {figure['answers']} answers)")
    return lines or ["no task was annotated by two people"]


def _time(body: dict[str, Any]) -> list[str]:
    lines = []
    for name, said in (("drafted", "from a draft"), ("from_nothing", "from nothing")):
        part = body[name]
        if part["seconds_per_audio_minute"] is None:
            lines.append(f"{said}: {part['note']} ({part['annotations']} timed)")
            continue
        pooled, middle = part["seconds_per_audio_minute"], part["median_seconds_per_audio_minute"]
        lines.append(f"{said}: {pooled:.0f} s per minute of audio, median {middle:.0f} s ({part['annotations']} timed)")
    whole = body["all"]
    lines.append(f"not counted: {whole['without_time']} without a time, {whole['left_open']} left open for hours")
    return lines


def _rejection(body: dict[str, Any]) -> list[str]:
    why = ", ".join(f"{number} {reason}" for reason, number in body["reasons"].items())
    return [
        f"rejected {percent(body['rejected'])}" + (f": {why}" if why else ""),
        f"skipped {percent(body['skipped'])}",
    ]


def _drafts(versions: list[dict[str, Any]], changed: str = "words changed") -> None:
    _section("Drafts, by the model that made them", [] if versions else ["none were judged so far"])
    rows = []
    for one in versions:
        rest = short(one["without_suspects"]["edit_rate"])
        shares = (percent(one["edit_rate"]), rest, percent(one["accepted_unchanged"]))
        rows.append((one["model_version"], f"{one['annotations']:,}", *shares))
    if rows:
        titles = ("model version", "annotations", changed, "without suspects", "accepted as they were")
        printing.table(titles, rows, right=("annotations",), indent=2)


def _people(people: list[dict[str, Any]]) -> None:
    _section("People", [] if people else ["none so far"])
    rows = []
    for one in people:
        pace = one["time"]["seconds_per_audio_minute"]
        rows.append((
            str(one["annotator"] or "unknown"),
            f"{one['annotations']:,}",
            f"{pace:.0f}" if pace is not None else "too few",
            short(one["edit_rate"]),
            short(one["accepted_unchanged"]),
            short(one["agreement"]["wer"]),
            short(one["gold"]["wer"]),
            short(one["rejected"]),
            Text(str(one["stamped"]), style="red") if one["signs"] else str(one["stamped"]),
        ))  # fmt: skip
    if rows:
        titles = ("person", "done", "s/min", "changed", "unchanged", "to others", "to gold", "rejected", "stamped")
        printing.table(titles, rows, right=titles[1:], indent=2)


def _stamping(body: dict[str, Any]) -> list[str]:
    lines = (
        [f"{body['stamped']:,} of {body['drafted']:,} drafts: they are no reference"] if body["stamped"] else ["none"]
    )
    for one in body["people"]:
        signs = "; ".join(f"{SIGNS[sign['name']]} ({sign['part']} of {sign['of']})" for sign in one["signs"])
        lines.append(f"person {one['annotator']}: {signs}. Look at some before you talk to them.")
    return lines


def _duplicates(body: dict[str, Any]) -> list[str]:
    if not body["pairs"]:
        return [f"none among {body['recordings']:,} recordings"]
    pairs = ", ".join(f"{number} pairs {kind}" for kind, number in body["pairs"].items())
    return [f"{pairs}; {body['surplus']} of {body['recordings']:,} recordings can be left out"]


def _leaks(datasets: list[dict[str, Any]]) -> list[str]:
    lines = []
    for one in datasets:
        found = ", ".join(f"{number} times {LEAKS[kind]}" for kind, number in one.get("leaks", {}).items())
        said = one.get("note") or (
            f"{found}: do not compare models on it" if found else f"none in {one['lines']:,} lines"
        )
        lines.append(f"{one['dataset']} {one['version']}: {said}")
    return lines or ["there is no dataset yet"]
