"""The bundled model and calls: `python -m training.demo_model make | evaluate | calls | learning | save`."""

import argparse
import logging
import time
import warnings
from pathlib import Path

from training.demo_model.recipe import FULL, QUICK
from training.runs.bases import CALLS_FOLDER, LEARNING_FOLDER, MODEL_FOLDER, TWIN_FOLDER, WORK_FOLDER


def main() -> None:
    asked = _parser().parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    {"make": _make, "save": _save, "calls": _calls, "learning": _learning, "evaluate": _evaluate}[asked.command](asked)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.demo_model", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in (
        ("make", "Speak the sentences, train, export. Goes on where an interrupted run stopped."),
        ("save", "Export the newest checkpoint of a run that is still going on or was stopped."),
    ):
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument(
            "--quick", action="store_true", help="all stages in a minute or two; the model knows nothing"
        )
        command.add_argument(
            "--work", type=Path, help=f"shards and checkpoints (default: {WORK_FOLDER.name}/ beside the code)"
        )
        command.add_argument("--model", type=Path, default=MODEL_FOLDER, help="where the int8 model goes")
        command.add_argument("--twin", type=Path, default=TWIN_FOLDER, help="where its safetensors twin goes")
        command.add_argument(
            "--threads",
            type=int,
            default=1,
            help="processor threads for training (default: 1; a second one mostly waits)",
        )
    text = "Render the demonstration calls and calls.json."
    commands.add_parser("calls", help=text, description=text)
    text = "Render the calls that `make learn` learns from."
    commands.add_parser("learning", help=text, description=text)
    text = "Print the table of the model card: word error rates through the serving engine."
    command = commands.add_parser("evaluate", help=text, description=text)
    command.add_argument("--model", type=Path, default=MODEL_FOLDER, help="the int8 model to listen with")
    command.add_argument("--clips", type=int, default=120, help="clips per set (default: 120)")
    command.add_argument("--card", action="store_true", help="write the model card with these numbers")
    return parser


def _make(asked: argparse.Namespace) -> None:
    from training.demo_model import make

    make.make(
        QUICK if asked.quick else FULL, asked.work or WORK_FOLDER, model_folder=asked.model, twin_folder=asked.twin,
        threads=asked.threads, report=_report,
    )  # fmt: skip


def _save(asked: argparse.Namespace) -> None:
    from training.demo_model import make

    make.save(
        QUICK if asked.quick else FULL,
        asked.work or WORK_FOLDER,
        model_folder=asked.model,
        twin_folder=asked.twin,
        report=_report,
    )


def _calls(asked: argparse.Namespace) -> None:
    from training.demo_model import demo_calls

    rows = demo_calls.render()
    _report(f"{len(rows)} calls in {CALLS_FOLDER}")


def _learning(asked: argparse.Namespace) -> None:
    from training.demo_model import learning_calls

    rows = learning_calls.render()
    _report(f"{len(rows)} calls in {LEARNING_FOLDER}")


def _evaluate(asked: argparse.Namespace) -> None:
    from training.demo_model import demo_evaluation, model_card

    print(model_card.HEAD, model_card.RULE, sep="\n")
    scores = []
    for name, score in demo_evaluation.score_all(asked.model, CALLS_FOLDER, clips=asked.clips):
        scores.append((name, score))
        print(model_card.row(name, score), flush=True)
    if asked.card:
        model_card.write(asked.model, scores)
        _report(f"wrote {model_card.FILE}")


def _report(message: str) -> None:
    print(time.strftime("%H:%M:%S", time.localtime()), message, flush=True)


if __name__ == "__main__":
    main()
