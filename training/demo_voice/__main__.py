"""The bundled voice, and recordings to rate it beside: `python -m training.demo_voice make | recordings`."""

import argparse
import time
from pathlib import Path

from ml_backend.tts.speaking import BUNDLED
from training.demo_voice import bundled_voice, rated_recordings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.demo_voice", description=__doc__)
    text = "Speak the sentences, train, save the weights and their served form."
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("make", help=text, description=text)
    command.add_argument("--quick", action="store_true", help="all stages in a minute; the voice babbles")
    command.add_argument("--weights", type=Path, default=bundled_voice.WEIGHTS_FOLDER, help="where the weights go")
    command.add_argument("--served", type=Path, default=BUNDLED, help="where the served form goes")
    text = "Speak the recordings that `make learn` has rated beside the voice."
    commands.add_parser("recordings", help=text, description=text)
    asked = parser.parse_args()
    if asked.command == "recordings":
        _report(f"{rated_recordings.render()} recordings in {rated_recordings.FOLDER}")
        return
    recipe = bundled_voice.QUICK_VOICE if asked.quick else bundled_voice.FULL_VOICE
    bundled_voice.make(recipe, weights=asked.weights, served=asked.served, report=_report)


def _report(message: str) -> None:
    print(time.strftime("%H:%M:%S", time.localtime()), message, flush=True)


if __name__ == "__main__":
    main()
