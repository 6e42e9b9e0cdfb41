"""A serving process for the tests of swaps: transcribes one clip again and again, and says which version heard what.

Started as a program with the folder of the database and requests per second; it ends when its input does. One line of
JSON per answer; what failed is an answer too.
"""

from __future__ import annotations

import json
import sys
import threading
import time

from ml_backend import context
from ml_backend.asr import engine
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile
from ml_backend.audio import decoding
from ml_backend.serving import loaded_models
from ml_backend.settings import Settings


def main(folder: str, rate: float) -> None:
    settings = Settings(_env_file=None, data_dir=folder, asr_device="cpu", asr_threads=1)
    opened = context.open_context(settings)
    request = Request(decoding.read_wav(engine.CHECK)[0], DecodingProfile(language="en", beam_size=1))
    with loaded_models.using(opened):
        sys.stdout.write('"ready"\n')
        sys.stdout.flush()
    listening = threading.Thread(target=sys.stdin.read, daemon=True)
    listening.start()
    while listening.is_alive():
        began = time.monotonic()
        with loaded_models.using(opened) as transcriber:
            [answer] = transcriber.transcribe([request])
        row = {"version": getattr(answer, "model_version", None), "text": getattr(answer, "text", None)}
        sys.stdout.write(json.dumps({**row, "by": transcriber.model_version, "s": time.monotonic() - began}) + "\n")
        sys.stdout.flush()
        time.sleep(max(0.0, began + 1 / rate - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
