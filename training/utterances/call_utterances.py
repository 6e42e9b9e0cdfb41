"""What customers said in calls -> utterances that wait for a person, with the serving parser's answer as a draft.

The text is the corrected one where a person corrected the call, else the served draft; where a person annotated and
no reference came of it, there is none. Only the customer's channel is read: of a recording in which nobody knows who
speaks, nothing. Consent and erasure follow the call, and both are asked again in the transaction that stores.

A run reads what was transcribed or corrected since the last one (`call_positions`), and nothing until a quarter of
NLU_CALL_UTTERANCES is free: it keeps the most useful of what it reads (`utterance_choice`) and passes over the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ml_backend import db, languages, tables
from ml_backend.asr.transcript import NO_TEXT
from ml_backend.calls import sample_use
from ml_backend.context import Context, JobContext
from ml_backend.labelling import agent_channel, labelconfig
from ml_backend.labelling.utterance_marks import WAITING, digest
from ml_backend.models import kinds, registry
from ml_backend.models.registry import ANY_LANGUAGE
from ml_backend.serving import default_model
from ml_backend.tables import annotations as annotation_rows
from ml_backend.tables import (
    calls,
    checkpoints,
    company_numbers,
    projects,
    recordings,
    samples,
    tasks,
    transcriptions,
    utterances,
)
from training.datasets import splits
from training.samples import language_policy
from training.text.language_of_text import language_of
from training.utterances import call_positions, paraphrase_families, utterance_checks
from training.utterances.paraphrase_families import FamilyMember
from training.utterances.utterance_checks import CALL, LeftOut
from training.utterances.utterance_choice import KnownUtterances, UtteranceCandidate, choose

if TYPE_CHECKING:
    from ml_backend.nlu.parsing import Parse, Parser

ORIGIN = "calls"
POSITION = "utterances-of-calls"
MOST_CANDIDATES = 10_000  # of one run: a large encoder parses ten a second, and a job has an hour
PAGE = 25  # recordings read at once
TOGETHER = 20  # rows in one transaction
LEAST_SURE = 0.35  # of a draft's segment: what recognition hardly understood wastes a person's time
FREE_SHARE = 0.25  # of the places: with few free, a run would pass over nearly all that it reads

LEFT_OUT = {
    "not-ready": "The recording was refused, erased, or is a synthetic voice.",
    "consent": "What the people in the call agreed to does not cover training.",
    "speaker-unknown": "Nobody knows which channel is the agent's. See `calls numbers set`.",
    "no-reference": "A person annotated it and no reference came of that yet. It is read when one does.",
    "gold": "Its task has a known answer: it measures people.",
    "unclear": "The draft is doubtful there, or a person marked a part as not understood.",
    "known": "The same wording is there already.",
    "no-words": "Nothing usable was said, or too much in one breath.",
}


@dataclass
class CallReport:
    """What came of the calls. `left_out` counts recordings and segments by the codes of LEFT_OUT.

    `enough_wait`: nothing was read, since too many wait for people.
    """

    recordings: int = 0
    candidates: int = 0
    added: int = 0
    replaced: int = 0
    waiting: int = 0
    room: int = 0
    enough_wait: bool = False
    more: bool = False
    left_out: Counter[str] = field(default_factory=Counter)
    intents: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        return {
            "recordings": self.recordings, "candidates": self.candidates, "added": self.added,
            "replaced": self.replaced, "waiting": self.waiting, "room": self.room, "enough_wait": self.enough_wait,
            "more_to_read": self.more,
            "left_out": dict(self.left_out.most_common()), "intents": dict(self.intents.most_common()),
        }  # fmt: skip


@dataclass(frozen=True)
class _Span:
    """A task's part of its recording."""

    start_s: float
    end_s: float | None

    def holds(self, at_s: float) -> bool:
        return self.start_s <= at_s and (self.end_s is None or at_s < self.end_s)


@dataclass(frozen=True)
class _Said:
    """One stretch of a customer's speech with its text. `corrected`: by a person."""

    recording: Any  # its row, with the columns of its call
    caller: str
    channel: int
    start_s: float
    text: str
    language: str | None
    corrected: bool

    @property
    def name(self) -> str:
        return f"{self.recording.id}:{self.channel}:{round(self.start_s * 1000)}"

    @staticmethod
    def start_of(name: str) -> float:
        return int(name.rpartition(":")[2]) / 1000


def collect_utterances(context: JobContext) -> None:
    """The job: one run. Safe to repeat."""
    done = collect(context)
    taken = f"{done.added} utterances of {done.recordings} recordings wait for a person"
    context.report(1.0, f"{done.waiting} wait for a person already: nothing was read" if done.enough_wait else taken)


def collect(
    context: Context, *, everything: bool = False, report: Callable[[int, int], None] = lambda read, found: None
) -> CallReport:
    """Read what is new, or with `everything` begin with the first call again; store the most useful utterances."""
    most = context.settings.nlu_call_utterances
    done = CallReport(waiting=_waiting(context))
    done.room = max(0, most - done.waiting)
    if not done.room or (done.room < FREE_SHARE * most and not everything):
        done.enough_wait = done.more = True
        return done
    position = {} if everything else _position(context)
    found: list[_Said] = []
    corrected: dict[int, list[_Span]] = {}
    read: set[int] = set()
    done.more = True
    while done.more and len(found) < MOST_CANDIDATES:
        page = call_positions.page_after(context, position)
        new = [each for each in page.recordings() if each not in read]
        for begin in range(0, len(new), PAGE):
            if len(found) >= MOST_CANDIDATES:
                break
            some = new[begin : begin + PAGE]
            found += _read(context, some, corrected, done)
            read.update(some)
        position, goes_on = page.behind(read)
        done.more = goes_on or not read.issuperset(new)
        done.recordings = len(read)
        report(len(read), len(found))
    _replace(context, found, corrected, done)
    if found:
        _store(context, found, done)
    with context.db.transaction() as connection:
        values = {"name": POSITION, "position": position, "state": "done", "updated_at": tables.now()}
        db.upsert(connection, checkpoints, values, key=("name",))
    done.waiting += done.added - done.replaced
    return done


def _waiting(context: Context) -> int:
    """Utterances of calls that no task asks about yet."""
    row = utterances.c
    mine = sa.and_(row.state == WAITING, row.source == CALL, row.task_id.is_(None))
    return int(context.db.scalars(sa.select(sa.func.count()).where(mine))[0])


def _position(context: Context) -> dict[str, Any]:
    found = context.db.scalars(sa.select(checkpoints.c.position).where(checkpoints.c.name == POSITION))
    return dict(found[0]) if found else {}


def _read(context: Context, ids: Sequence[int], corrected: dict[int, list[_Span]], done: CallReport) -> Iterator[_Said]:
    """What customers said in these recordings. Fills `corrected`: recording -> where a person's text counts."""
    with context.db.reading() as connection:
        rows = connection.execute(_recordings(recordings.c.id.in_(ids))).all()
        numbers = frozenset(connection.execute(sa.select(company_numbers.c.pseudonym)).scalars())
        gold = set(connection.execute(
            sa.select(tasks.c.recording_id).where(tasks.c.recording_id.in_(ids), tasks.c.gold_text.is_not(None))
        ).scalars())  # fmt: skip
        references = _by_recording(connection.execute(_samples(ids)))
        annotated = _by_recording(connection.execute(_annotated(ids)))
        drafts = _by_recording(connection.execute(
            sa.select(transcriptions).where(transcriptions.c.recording_id.in_(ids)).order_by(transcriptions.c.id)
        ))  # fmt: skip
        agents = {row.id: agent_channel.agent_channel(connection, row) for row in rows}
    for row in rows:
        if code := _objection(row) or ("gold" if row.id in gold else ""):
            done.left_out[code] += 1
            continue
        caller, agent = _caller(row, numbers), agents[row.id]
        spans = {task.id: _Span(task.start_s, task.end_s) for task in annotated.get(row.id, ())}
        mine = [sample for sample in references.get(row.id, ()) if sample.task_id in spans]
        written = _corrected(row, caller, mine, agent)
        heard = _drafted(row, caller, _served(row, drafts.get(row.id, ())), agent, list(spans.values()), done)
        settled = {sample.task_id for sample in mine}
        if not settled.issuperset(spans):
            done.left_out["no-reference"] += 1
        if written is None or (heard is None and not spans):
            done.left_out["speaker-unknown"] += 1
        if settled and written is not None:
            corrected[row.id] = [spans[task_id] for task_id in settled]
        yield from (*(written or ()), *(heard or ()))


def _by_recording(rows: Iterable[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(row.recording_id, []).append(row)
    return found


def _annotated(ids: Sequence[int]) -> sa.Select[Any]:
    """The tasks over these recordings that a person answered, whatever became of the answer."""
    alive = sa.exists().where(annotation_rows.c.task_id == tasks.c.id, tables.newest_version())
    return sa.select(tasks).where(tasks.c.recording_id.in_(ids), alive)


def _served(row: Any, found: Sequence[Any]) -> Any:
    """The newest transcription by the version whose text people see, not by one that is only compared with it."""
    route = row.route or {}
    served, shadow = route.get("version"), route.get("shadow")
    return max(
        found, key=lambda each: (each.model_version == served, each.model_version != shadow, each.id), default=None
    )


def _recordings(which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    call = calls.c
    columns = (call.consent_purpose, call.from_pseudonym, call.to_pseudonym, call.direction, call.company_number)
    return (
        sa.select(recordings, *columns, call.state.label("call_state"))
        .outerjoin(calls, call.id == recordings.c.call_id)
        .where(which)
        .order_by(recordings.c.id)
    )


def _samples(ids: Sequence[int]) -> sa.Select[Any]:
    """The accepted references of these recordings, with the regions of the annotation that each is from."""
    return (
        sa.select(samples, annotation_rows.c.segments, tasks.c.start_s.label("task_s"), projects.c.label_config)
        .join(annotation_rows, annotation_rows.c.id == samples.c.annotation_id)
        .join(tasks, tasks.c.id == samples.c.task_id)
        .join(projects, projects.c.id == samples.c.project_id)
        .where(samples.c.recording_id.in_(ids), samples.c.state == "accepted")
        .order_by(samples.c.start_s, samples.c.id)
    )


def _objection(row: Any) -> str:
    """Why nothing of a recording may be used, as a code; empty when it may."""
    voice = row.synthetic and not row.call_sid  # the calls of the demonstration are synthetic too
    if voice or row.state != "ready" or row.call_state == "erased":
        return "not-ready"
    return "consent" if sample_use.objection(row.state, row.consent_purpose) else ""


def _caller(row: Any, numbers: frozenset[str]) -> str:
    return splits.parties(
        audio_sha256=row.sha256 or "", call_sid=row.call_sid, from_pseudonym=row.from_pseudonym,
        to_pseudonym=row.to_pseudonym, direction=row.direction, company_number=row.company_number,
        company_numbers=numbers,
    ).caller  # fmt: skip


def _corrected(row: Any, caller: str, found: Sequence[Any], agent: int | None) -> list[_Said] | None:
    """By the label of the person's region, else by the channel."""
    said, unknown = [], False
    for sample in found:
        who = _labelled(sample)
        if who is None and agent is not None:
            who = agent_channel.role(sample.channel, agent)
        unknown = unknown or who is None
        if who == agent_channel.CUSTOMER:
            said.append(_Said(row, caller, sample.channel, sample.start_s, sample.text, sample.language, True))
    return said if said or not unknown else None


def _labelled(sample: Any) -> str | None:
    """Whose speech a person says it is."""
    labels = labelconfig.parse(sample.label_config).labels
    if labels is None or not labels.customer:
        return None
    middle_s = (sample.start_s + sample.end_s) / 2 - float(sample.task_s or 0.0)
    for region in sample.segments or ():
        if region["start_s"] <= middle_s <= region["end_s"] and region.get("channel", 0) == sample.channel:
            given = region.get("labels") or ()
            if labels.customer in given:
                return agent_channel.CUSTOMER
            if labels.agent in given:
                return agent_channel.AGENT
    return None


def _drafted(
    row: Any, caller: str, draft: Any, agent: int | None, annotated: Sequence[_Span], done: CallReport
) -> list[_Said] | None:
    """Without the parts that a person answered."""
    if draft is None:
        return []
    if agent is None:  # also of one channel, unless the phone system said who speaks
        return None
    said = []
    for segment in draft.transcript.get("segments", ()):
        channel = int(segment.get("channel") or 0)
        if agent_channel.role(channel, agent) != agent_channel.CUSTOMER or NO_TEXT in (segment.get("flags") or ()):
            continue
        if any(span.holds(float(segment["start_s"])) for span in annotated):
            continue
        if segment.get("flags") or float(segment.get("confidence") or 0.0) < LEAST_SURE:
            done.left_out["unclear"] += 1
            continue
        said.append(_Said(row, caller, channel, float(segment["start_s"]), segment["text"], None, False))
    return said


def _replace(
    context: Context, found: Sequence[_Said], corrected: Mapping[int, Sequence[_Span]], done: CallReport
) -> None:
    """Drop texts that nobody was asked about yet, where a person's text counts now and is another."""
    texts: dict[int, set[str]] = {}
    for one in found:
        if one.corrected:
            texts.setdefault(one.recording.id, set()).add(_plain(one.text) or "")
    ids = sorted(corrected)
    row = utterances.c
    for begin in range(0, len(ids), TOGETHER):
        mine = sa.and_(
            row.recording_id.in_(ids[begin : begin + TOGETHER]), row.origin == ORIGIN, row.state == WAITING,
            row.task_id.is_(None),
        )  # fmt: skip
        with context.db.transaction() as connection:
            there = connection.execute(sa.select(row.id, row.recording_id, row.external_id, row.text).where(mine)).all()
            gone = [
                each.id for each in there
                if each.text not in texts.get(each.recording_id, ())
                and any(span.holds(_Said.start_of(each.external_id)) for span in corrected[each.recording_id])
            ]  # fmt: skip
            dropped = connection.execute(sa.delete(utterances).where(row.id.in_(gone), row.task_id.is_(None)))
            done.replaced += dropped.rowcount


def _store(context: Context, found: Sequence[_Said], done: CallReport) -> None:
    """Parse, choose and store."""
    said = {one.name: one for one in found}
    patterns, known = _known(context)
    parser = _Parsers(context)
    parses: dict[str, tuple[Parse, str]] = {}
    texts: dict[str, str] = {}
    spoken: dict[str, str | None] = {}
    fresh: dict[str, str] = {}  # pattern -> the first that said it
    for name, one in said.items():
        text = _plain(one.text)
        if text is None or language_policy.unclear(text):
            done.left_out["no-words" if text is None else "unclear"] += 1
            continue
        plain = paraphrase_families.pattern(text)
        if plain in patterns or plain in fresh:
            done.left_out["known"] += 1
            continue
        fresh[plain] = name
        language = one.language or language_of(text, context.settings.spoken) or one.recording.language
        texts[name], spoken[name] = text, languages.transcribed_as(language) if language else None
        parses[name] = parser.parse(text, spoken[name])
    groups = _groups(sorted(patterns), fresh, known)
    candidates = [
        UtteranceCandidate(name, texts[name], parse.best, spoken[name], groups[name], said[name].caller, _margin(parse))
        for name, (parse, _) in parses.items()
    ]
    done.candidates = len(candidates)
    per_caller = context.settings.nlu_call_utterances_per_caller
    chosen = choose(candidates, known, room=done.room, per_caller=per_caller)
    for begin in range(0, len(chosen), TOGETHER):
        some = chosen[begin : begin + TOGETHER]
        with context.db.transaction() as connection:
            ids = [said[each.name].recording.id for each in some]
            locked = _recordings(recordings.c.id.in_(ids)).with_for_update(of=recordings)
            allowed = {row.id for row in connection.execute(locked) if not _objection(row)}  # still
            for each in some:
                if said[each.name].recording.id in allowed:
                    row = _row(each, said[each.name], *parses[each.name])
                    _, new = db.insert_once(connection, utterances, row, key=("origin", "external_id"))
                    done.added += new
                    done.intents[each.intent] += new


def _known(context: Context) -> tuple[set[str], KnownUtterances]:
    """The wordings that there are, whatever became of them, and how many of each sort."""
    row, known, patterns = utterances.c, KnownUtterances(), set[str]()
    columns = (row.text, row.intent, row.language, row.state, row.source, row.caller)
    with context.db.reading() as connection:
        for each in connection.execute(sa.select(*columns), execution_options={"yield_per": 2000}):
            patterns.add(paraphrase_families.pattern(each.text))
            if each.state == "accepted":
                known.intents[each.intent or ""] += 1
                known.languages[each.language or ""] += 1
            elif each.state == WAITING and each.source == CALL and each.caller:
                known.callers[each.caller] += 1
    return patterns, known


def _groups(patterns: Sequence[str], fresh: Mapping[str, str], known: KnownUtterances) -> dict[str, str]:
    """The group of each candidate, with the number of known wordings in it."""
    members = [FamilyMember(("known", pattern), None, pattern) for pattern in patterns]
    members += [FamilyMember(("new", pattern), None, pattern) for pattern in fresh]
    found = paraphrase_families.families(members)
    known.groups.update(found[: len(patterns)])
    return dict(zip(fresh.values(), found[len(patterns) :], strict=True))


class _Parsers:
    """The serving parser of each language, loaded when the first text needs it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._loaded: dict[str, tuple[Parser, str]] = {}
        default_model.ensure(context, kinds.NLU)

    def parse(self, text: str, language: str | None) -> tuple[Parse, str]:
        """(the parse, the version that made it)."""
        parser, version = self._serving(language or ANY_LANGUAGE)
        return parser.parse(text), version

    def _serving(self, language: str) -> tuple[Parser, str]:
        if language not in self._loaded:
            from ml_backend.nlu import loading  # ONNX Runtime: only where a text is parsed

            serving = registry.champion(self._context, kinds.NLU, language=language)
            same = next((each for each in self._loaded.values() if each[1] == serving.version), None)
            parser = same[0] if same else loading.load(registry.verified(self._context, serving))
            self._loaded[language] = (parser, serving.version)
        return self._loaded[language]


def _margin(parse: Parse) -> float:
    shares = [share for _, share in parse.ranking[:2]]
    return shares[0] - (shares[1] if len(shares) > 1 else 0.0) if shares else 0.0


def _plain(text: str) -> str | None:
    """The text as utterances are stored; None for one that cannot be used."""
    try:
        plain = utterance_checks.plain_text(text).strip()
    except LeftOut:
        return None
    return plain if languages.scripts_in(plain) else None


def _row(one: UtteranceCandidate, said: _Said, parse: Parse, version: str) -> dict[str, Any]:
    entities = [{"entity": e.entity, "start": e.start, "end": e.end, "value": e.value} for e in parse.entities]
    return {
        "origin": ORIGIN, "external_id": one.name, "source": CALL, "text": one.text, "intent": one.intent,
        "entities": entities, "language": one.language, "script": language_policy.script(one.text), "checked": False,
        "call_id": said.recording.call_id, "recording_id": said.recording.id, "caller": one.caller,
        "model_version": version, "confidence": round(parse.confidence, 4),
        "family": one.group,  # until an export looks at all of them together
        "digest": digest(one.text, one.intent, entities, one.language), "state": WAITING,
    }  # fmt: skip
