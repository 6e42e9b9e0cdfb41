"""The guards of training, promotion and serving models, and how each is taken away."""

from __future__ import annotations

import shutil
from typing import Any

from tests.faults.guards.guards import _set, guard, module


@guard("checkpoints-are-gone-on-from")
def _checkpoints() -> None:
    """A run that is started again begins at the beginning."""
    workspaces = module("training.runs.workspace")
    real = workspaces.Workspace.allow

    def allow(self: Any) -> None:
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        real(self)

    workspaces.Workspace.allow = allow


@guard("one-order-of-the-data")
def _order() -> None:
    """A resumed run reads from the first batch on."""
    windows = module("training.trainers.asr.training_windows")
    windows.PlannedBatches.__iter__ = lambda self: self._all()


@guard("checkpoints-are-sealed")
def _seals() -> None:
    """Whatever looks like a checkpoint is one."""
    _set("training.trainers.checkpoints", "whole", lambda folder: True)


@guard("the-alias-moves-last")
def _alias_last() -> None:
    """The candidate serves while it is still being judged."""
    judgements, promotion = module("training.promotion.judgements"), module("training.promotion.promotion")
    registry = module("ml_backend.models.registry")
    real = judgements.judge

    def judge(context: Any, champion: Any, candidate: Any, *given: Any, **named: Any) -> Any:
        found = real(context, champion, candidate, *given, **named)
        _, revision = promotion.serving(context, candidate.kind, "*")
        registry.move_alias(context, candidate, expected_revision=revision, who="nobody", why="early")
        return found

    judgements.judge = judge


@guard("compare-and-set")
def _compare_and_set() -> None:
    """Whoever comes last has the alias, whatever he decided upon."""
    registry = module("ml_backend.models.registry")
    real = registry.move

    def move(connection: Any, version: Any, *, expected_revision: int, **named: Any) -> int:
        table, sa = registry.tables.aliases, module("sqlalchemy")
        now = connection.execute(sa.select(sa.func.max(table.c.revision))).scalar() or 0
        return int(real(connection, version, expected_revision=now, **named))

    registry.move = move


@guard("the-gate-decides")
def _gate() -> None:
    module("training.evaluation.verdict").Verdict.passed = property(lambda self: True)


@guard("how-it-serves-counts")
def _fitness() -> None:
    """Words alone decide, whatever it writes for silence, however slow it is."""
    _set("training.evaluation.fitness", "objections", lambda *given, **named: [])


@guard("files-are-held-against-their-row")
def _files_of_a_version() -> None:
    """A folder is what it was when it was registered."""
    _set("ml_backend.models.registry", "_require_same", lambda context, version: None)


@guard("files-are-held-against-their-manifest")
def _files_of_a_folder() -> None:
    manifest = module("ml_backend.models.manifest")
    manifest.verify = manifest.read


@guard("pickles-are-refused")
def _pickles() -> None:
    _set("ml_backend.models.manifest", "refuse_pickle", lambda path: None)


@guard("models-check-themselves")
def _self_check() -> None:
    module("ml_backend.asr.engine").Transcriber.self_check = lambda self: None


@guard("aliases-are-followed")
def _followed() -> None:
    """A process serves what it loaded first."""
    module("ml_backend.serving.loaded_models").Serving._begin = lambda self: None


@guard("users-keep-their-model")
def _kept_for_users() -> None:
    """An old model is freed under whoever works with it."""
    serving = module("ml_backend.serving.loaded_models")
    real = serving.Serving._free

    def free(self: Any) -> None:
        for name, slot in list(self._loaded.items()):
            if name != self._champion.version:
                slot.transcriber.unload()
        real(self)

    serving.Serving._free = free


@guard("what-serves-is-not-what-the-alias-names")
def _alias_ahead() -> None:
    """Who asks during a swap tries what the alias names."""
    serving = module("ml_backend.serving.loaded_models")
    real = serving.Serving._load

    def load(self: Any, version: Any, *, serve: bool = False) -> None:
        real(self, version or serving.routing.champion(self._context), serve=serve)

    serving.Serving._load = load


@guard("what-was-rolled-back-is-marked")
def _rolled_back() -> None:
    registry, dataclasses = module("ml_backend.models.registry"), module("dataclasses")
    real = registry._version
    registry._version = lambda row, **named: dataclasses.replace(real(row, **named), rolled_back=False)


@guard("bad-data-is-refused")
def _bad_data() -> None:
    _set("training.runs.data_checks", "objections", lambda lines: [])


@guard("many-bad-rows-refuse-the-run")
def _many_bad_rows() -> None:
    """However many rows are left out, something is learnt from the rest."""
    _set("training.runs.workspace_rows", "_bearable", lambda rows, most_left_out: rows)


@guard("the-machine-is-asked-first")
def _machine() -> None:
    _set("training.trainers.asr.machine", "require", lambda arguments: None)


@guard("a-full-disk-is-known-to-the-trainer")
def _trainer_disk() -> None:
    _set("training.trainers.outcome", "of_machine", lambda workspace, error, **_: None)


@guard("a-batch-counts-what-it-is-padded-to")
def _padded_batches() -> None:
    """Windows of a published Whisper count with what was said in them."""
    module("training.runs.batches").Order.padded_s = lambda self, pick: pick.duration_s


@guard("out-of-memory-is-known-in-all-its-words")
def _out_of_memory() -> None:
    _set("training.trainers.outcome", "_NO_MEMORY", ())


@guard("the-kernel-is-asked-whether-it-killed")
def _killed_for_memory() -> None:
    _set("training.runs.trainer_process", "_killed_for_memory", lambda: 0)


@guard("what-was-learnt-is-kept")
def _kept_weights() -> None:
    """A run that fails after its training is over, and its folder empty."""
    module("training.runs.workspace").Workspace.learnt = lambda self: None


@guard("a-gone-process-is-not-running")
def _gone_process() -> None:
    _set("ml_backend.views.training_progress", "state_of", lambda connection, row: row.state)


@guard("single-bad-rows-are-left-out")
def _bad_rows() -> None:
    _set("training.runs.data_checks", "fault", lambda line, **named: None)


@guard("no-race-once-the-answer-is-no")
def _no_race() -> None:
    """Every candidate is raced, whatever is known already."""
    verdict = module("training.evaluation.verdict")
    verdict.Verdict.passed = property(lambda self: True)


@guard("a-taken-device-is-no-failure")
def _busy() -> None:
    """Who finds the device taken has failed."""
    devices, errors = module("ml_backend.jobs.devices"), module("ml_backend.errors")
    devices.Busy = type("Busy", (Exception,), {})

    def held(*_: Any, **__: Any) -> Any:
        raise errors.RetryableError("device-busy", "It is taken.", "Wait.")

    devices.held = held


@guard("half-an-environment-is-none")
def _half_an_environment() -> None:
    """An interpreter that is there is taken for a whole environment."""
    paths = module("pathlib")
    _set("ml_backend.tts.parler_environment", "python", lambda chosen: paths.Path(chosen.tts_parler_python))


@guard("public-test-sentences-stay-out")
def _public_test_sentences() -> None:
    """Sentences that a corpus keeps for tests are learnt."""
    _set("training.datasets.public_speech", "_EVALUATION", "no such domain")


@guard("a-parser-is-served-as-it-was-trained")
def _parity() -> None:
    """A served form is passed unseen."""
    exports = module("training.trainers.nlu.onnx_export")
    real = exports.compare
    exports.compare = lambda *given, **named: {**real(*given, **named), "passed": True}


@guard("a-parser-s-step-draws-from-the-seed")
def _steps_of_a_parser() -> None:
    """Every step draws what chance gives, as an unseeded loop does."""
    numpy = module("numpy")
    batches = module("training.trainers.nlu.utterance_batches").Batches
    batches.at = lambda self, step: self.padded(
        [self.rows[n] for n in self._epoch(0)[step % self.per_epoch]], numpy.random.default_rng()
    )


@guard("a-span-cuts-no-character")
def _whole_characters() -> None:
    _set("ml_backend.nlu.utterance_text", "_continues", lambda text, at: False)


@guard("rewordings-stay-together")
def _rewordings() -> None:
    """Texts that are nearly the same are different sentences."""
    _set("training.utterances.paraphrase_families", "near", lambda patterns: iter(()))


@guard("a-caller-is-on-one-side")
def _callers() -> None:
    """Only the family of an utterance decides about its side."""
    _set("training.utterances.utterance_lines", "_components", lambda rows: [f"family:{row.family}" for row in rows])


@guard("what-is-not-ours-is-only-read")
def _only_read() -> None:
    """The database of others is opened like our own."""
    db = module("ml_backend.db")
    db.reading_elsewhere = lambda url: db.Database(url).transaction()


@guard("erasure-reaches-utterances")
def _utterances_of_the_erased() -> None:
    """What an erased person said goes on teaching."""
    _set("sync.privacy.erasure", "_forget_utterances", lambda connection, theirs: None)


@guard("erasure-reaches-outcomes")
def _outcomes_of_the_erased() -> None:
    """How an erased person's calls went stays."""
    _set("ml_backend.calls.ledger", "forget_outcomes", lambda connection, call_sids: None)


@guard("an-erased-call-is-not-reported-on")
def _reports_on_the_erased() -> None:
    """A report on an erased call is stored."""
    _set("ml_backend.outcomes.call_outcomes", "_refuse_gone", lambda connection, call_sid, key: True)


@guard("an-older-report-replaces-nothing")
def _order_of_reports() -> None:
    """The report that arrives last wins."""
    reports = module("ml_backend.outcomes.outcome_reports")
    real, late = reports.checked, module("ml_backend.tables").now

    def checked(call: Any, raw: Any, **options: Any) -> Any:
        found = real(call, raw, **options)
        return reports.CheckedOutcome(found.call_sid, late(), found.values)

    reports.checked = checked


@guard("the-scale-of-a-satisfaction-is-not-guessed")
def _scales() -> None:
    """Whatever is 1 or more is on the scale from 1 to 5."""
    reports = module("ml_backend.outcomes.outcome_reports")
    real = reports._from_0_to_1
    reports._from_0_to_1 = lambda value, scale: real(value, scale or ("1-5" if value >= 1 else "0-1"))


@guard("guards-withdraw-a-challenger")
def _guards_of_experiments() -> None:
    """Only the outcome that decides is looked at."""
    _set("training.experiments.experiment_measures", "GUARDS", ())


@guard("more-success-is-no-harm")
def _direction() -> None:
    """More of everything is taken for harm."""
    module("training.experiments.experiment_measures").Measure.harm = lambda self, value: value


@guard("guards-have-margins-and-one-chance-of-error")
def _margins_of_guards() -> None:
    """Every guard is looked at as if it were the only one, once, and without a margin."""
    watch = module("training.experiments.experiment_watch")
    sequential, course = module("training.experiments.sequential"), module("training.experiments.experiment_course")

    def once(found: Any, experiment: Any, plan: Any, name: str) -> dict[str, Any]:
        now = course.difference(found, experiment, watch.MEASURES[name], alpha=0.9)
        return {"harmed": now.observations >= sequential.LEAST and now.difference > 0}

    watch._guard = once


@guard("kinds-are-compared-apart")
def _kinds_of_experiments() -> None:
    """An experiment of any kind holds up, and is asked for, every other."""
    registry = module("ml_backend.models.registry")
    real = registry.aliased
    registry.aliased = lambda context, kind="asr", **options: real(context, "asr", **options)


@guard("unequal-reporting-is-no-difference")
def _reported_less() -> None:
    """A side is expected as often as calls are given to it, however seldom it is reported."""
    _set("training.experiments.sequential", "PRIOR", 10**12)
