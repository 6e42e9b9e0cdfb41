"""Taking away the guards of audio: the decoder's, and those against text nobody said."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.faults.guards.guards import guard, module

_UNLOCKED = ("    lock_in()\n", "")


@guard("lengths-are-compared")
def _lengths_are_compared() -> None:
    """What could be decoded is the recording."""
    audio = module("ml_backend.audio.decoding")
    real = audio.decode
    audio.decode = lambda *arguments, **options: dataclasses.replace(real(*arguments, **options), cut=False)


def _decoder(*changes: tuple[str, str]) -> None:
    """The decoder's program with something replaced."""
    decoder = module("ml_backend.audio.decoder_process")
    text = Path(decoder.__file__).read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    program = Path(tempfile.mkdtemp(prefix="kaan-decoder-")) / "decoder.py"
    program.write_text(text)
    decoder.__file__ = str(program)


@guard("structure-is-read")
def _structure_is_read() -> None:
    """A file is one part and ends where FFmpeg says."""
    _decoder(("form = containers.form(source, size_bytes)", "form = containers.ContainerStructure(((0, size_bytes),))"))


@guard("format-whitelist")
def _format_whitelist() -> None:
    """FFmpeg opens whatever it recognises, and what that names."""
    _decoder(
        (
            'options = {"format_whitelist": FORMATS, "codec_whitelist": CODECS, "protocol_whitelist": ""}',
            'options = {"safe": "0"}',
        ),
        ("(resource.RLIMIT_NOFILE, 0),", ""),
        _UNLOCKED,
        ("container: Any = av.open(self._bounded,", 'container = av.open("/proc/self/fd/" + str(source.fileno()),'),
    )


@guard("files-closed-to-the-decoder")
def _files_closed() -> None:
    _decoder(("(resource.RLIMIT_NOFILE, 0),", ""), _UNLOCKED)


@guard("decoder-is-locked-in")
def _locked_in() -> None:
    """The decoder may do to other processes whatever its user may."""
    _decoder(("(resource.RLIMIT_NPROC, 0),", ""), _UNLOCKED)


@guard("decoder-limits")
def _decoder_limits() -> None:
    """Any length, any time, any memory."""
    audio = module("ml_backend.audio.decoding")
    real = audio.decode
    endless = {"max_duration_s": 1e9, "memory_mb": 16_000, "cpu_s": 10_000, "wall_s": 10_000}

    def decode(*arguments: Any, limits: Any = None, **options: Any) -> Any:
        known = {field.name for field in dataclasses.fields(audio.Limits)}
        without = dataclasses.replace(limits or audio.Limits(), **{k: v for k, v in endless.items() if k in known})
        return real(*arguments, limits=without, **options)

    audio.decode = decode


@guard("nothing-is-empty")
def _nothing_is_empty() -> None:
    """A recording of no sound is a recording of 0 s."""
    _decoder(("    if sink.samples == 0:\n", "    if False:\n"), ("    if size_bytes == 0:\n", "    if False:\n"))


@guard("decoder-errors-are-ours")
def _decoder_errors() -> None:
    """Whatever the library raises ends the decoder, and what the decoder leaves behind is taken for its answer."""
    _decoder(
        (
            "except (av.error.FFmpegError, ValueError, IndexError, LookupError, UnicodeError):",
            "except ZeroDivisionError:",
        )
    )
    module("ml_backend.audio.decoding")._answer = json.loads


@guard("decoded-in-pieces")
def _decoded_in_pieces() -> None:
    """The whole call is in memory before any of it is written."""
    _decoder(("_GATHERED_SAMPLES = 8000\n", "_GATHERED_SAMPLES = 1 << 40\n"))


@guard("times-count-from-the-first-second")
def _times_count() -> None:
    """Each span of a long call has a clock of its own."""
    module("ml_backend.asr.long_audio")._moved = lambda segment, by_s: segment


@guard("text-needs-a-voice")
def _text_needs_a_voice() -> None:
    """The model is asked about everything, and what it says is believed."""
    believed, np = module("ml_backend.asr.guards"), module("numpy")
    windows, voice = module("ml_backend.asr.windows"), module("ml_backend.asr.windows")

    def sure(samples: Any) -> Any:
        return np.ones(-(-samples.size // voice.STEP), np.float32)

    believed.judge = lambda evidence: believed.GuardResult(empty=not evidence.text.split())
    voice.VoiceTracker.probabilities = lambda self, block: sure(block)
    windows.speech_probabilities = sure


@guard("energy-alone-is-no-speech")
def _energy_alone() -> None:
    """Every frame is speech."""
    module("ml_backend.audio.quality")._speech = lambda powers: powers >= 0


@guard("first-words-are-not-early")
def _first_words() -> None:
    """A word begins where attention says."""
    module("ml_backend.asr.timing")._fitted = lambda words, phrase, longest_s: tuple(words)


@guard("passed-over-speech-is-found")
def _passed_over() -> None:
    """What no word covers is taken for silence."""
    module("ml_backend.asr.timing").untranscribed = lambda spoken, window: []


@guard("speech-without-text-is-marked")
def _marks() -> None:
    """Speech that nobody wrote down looks like silence."""
    module("ml_backend.asr.segments")._marks = lambda work, told, flags: []


@guard("prompt-and-hotwords-share-the-room")
def _shared_room() -> None:
    """Both are told whole, however long they are together."""
    prompting = module("ml_backend.asr.prompting")
    prompting._most = lambda count, fits: count


@guard("more-tries-cost-no-more-than-the-first")
def _budget() -> None:
    """The whole ladder is climbed in each window."""
    module("ml_backend.asr.window_decoding")._length = lambda result: 0


@guard("a-short-recording-is-looked-at-again")
def _second_look() -> None:
    """What the voice-activity model misses at the first sample is silence."""
    module("ml_backend.asr.pool").second_look = lambda leg: None


@guard("no-word-goes-on-over-a-pause")
def _no_pause() -> None:
    """Whatever is written without a space is one word, however long the speaker was silent in it."""
    decoding = module("ml_backend.asr.window_decoding")
    real = decoding.whole
    decoding.whole = lambda pieces, *, spaced, begins_s=(): real(pieces, spaced=spaced)


@guard("parts-of-a-word-are-joined")
def _parts_of_a_word() -> None:
    """Each piece that the tokenizer makes is a word."""
    decoding = module("ml_backend.asr.window_decoding")
    decoding.whole = lambda pieces, *, spaced, begins_s=(): [piece for piece in pieces if piece[0].text.strip()]
