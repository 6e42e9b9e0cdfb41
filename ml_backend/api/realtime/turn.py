"""One turn of a stream: its audio, what was transcribed of it, and what of that is stable."""

from __future__ import annotations

import io
import time
import wave
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ml_backend.api.live.live_engines import LiveEngine
from ml_backend.api.realtime.session_config import SessionConfig
from ml_backend.api.realtime.stable_text import StableText
from ml_backend.api.realtime.turn_detection import STEP_MS
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.audio.streamed_audio import RATE_HZ

STEP_S = STEP_MS / 1000
AFTER_SPEECH_STEPS = 10  # of silence that the engine is given after the last speech
_KEPT_S = 1.0  # least audio before a place where the transcribed audio may begin anew


@dataclass(eq=False)
class Turn:
    """Audio in steps of 32 ms. `transcribed_from` moves on with the stable text of a long turn."""

    item_id: str
    config: SessionConfig | None = None  # the session's when it ended: what changes later is about later turns
    began_at: float = field(default_factory=time.monotonic)
    blocks: list[npt.NDArray[np.float32]] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    has_speech: bool = False
    last_speech: int = 0  # steps up to the last one of speech
    transcribed_from: int = 0
    transcribed_to: int = 0
    final: Transcript | None = None  # a careful transcript, and up to where it goes
    final_to: int = 0
    chosen: LiveEngine | None = None
    text: StableText = field(default_factory=StableText)
    ended_at: float | None = None
    first_partial_s: float | None = None

    def append(self, block: npt.NDArray[np.float32], probability: float, *, is_speech: bool) -> None:
        """The next step."""
        self.blocks.append(block)
        self.probabilities.append(probability)
        if is_speech:
            self.last_speech = len(self.blocks)

    @property
    def steps(self) -> int:
        return len(self.blocks)

    @property
    def seconds(self) -> float:
        return self.steps * STEP_S

    def audio(self, until: int, profile: DecodingProfile) -> Request:
        """What is transcribed next, with the speech probabilities that are known already."""
        taken = slice(self.transcribed_from, until)
        samples = np.concatenate(self.blocks[taken])
        return Request(samples[None], profile, speech=(np.asarray(self.probabilities[taken], np.float32),))

    def wav(self) -> bytes:
        """The whole turn as a file."""
        samples = np.clip(np.concatenate(self.blocks), -1.0, 32767 / 32768)
        with io.BytesIO() as file:
            with wave.open(file, "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(RATE_HZ)
                out.writeframes((samples * 32768).astype("<i2").tobytes())
            return file.getvalue()

    def shorten(self, most_s: float) -> None:
        """Let the next transcript of long audio begin later: between two stable words, in the quietest step."""
        if (self.transcribed_to - self.transcribed_from) * STEP_S <= most_s:
            return
        words, after = self.text.words, [*self.text.words[1:], *self.text.unstable[:1]]
        from_s = self.transcribed_from * STEP_S
        low_s = from_s + max(_KEPT_S, (self.transcribed_to * STEP_S - from_s) / 3)
        places = [round((word.end_s + later.start_s) / 2 / STEP_S) for word, later in zip(words, after, strict=False)]
        places = [place for place in places if low_s / STEP_S <= place < self.transcribed_to]
        if places:
            self.transcribed_from = min(places, key=lambda place: self.probabilities[place])

    def without_beginning(self, keep: int) -> None:
        """Keep only the last steps: nobody spoke before them."""
        del self.blocks[:-keep], self.probabilities[:-keep]

    def cut(self, at: int, item_id: str) -> Turn:
        """Give up everything from a step on: it is the beginning of the next turn."""
        rest = Turn(item_id, has_speech=True)
        rest.blocks, rest.probabilities = self.blocks[at:], self.probabilities[at:]
        rest.last_speech = len(rest.blocks)
        del self.blocks[at:], self.probabilities[at:]
        self.last_speech = min(self.last_speech, at)
        return rest
