"""The script of the demonstration calls -> audio files like a telephone company's, and `calls.json`."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import soundfile

from training.demo_model import voices
from training.demo_model.corpus import tidy
from training.demo_model.demo_script import AGENT, CALLS, ScriptedCall
from training.demo_model.voices import SyntheticVoice
from training.runs.bases import CALLS_FOLDER
from training.trainers.asr import telephone
from training.trainers.asr.features import Array

LINE_RATE_HZ = 8000
FIRST_CALL_AT = datetime(2026, 1, 5, 4, 30, tzinfo=UTC)
COMPANY_NUMBER, AGENT_NUMBER = "00000000001", "00000000201"


@dataclass(frozen=True)
class SpokenPhrase:
    start_s: float
    end_s: float
    channel: int
    text: str


def render(folder: Path = CALLS_FOLDER, *, seed: int = 20261122) -> list[dict[str, object]]:
    """Writes every call and the index; the same seed and espeak-ng give the same files."""
    voices.require_espeak()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.suffix in (".wav", ".mp3"):
            old.unlink()
    rows = []
    for number, call in enumerate(CALLS):
        wave, phrases = _spoken(call, np.random.default_rng([seed, number]))
        _write(folder / call.file, wave, call.encoding)
        rows.append(_row(call, number, phrases, wave.shape[0] / LINE_RATE_HZ))
    partial = folder / "calls.json.partial"
    partial.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / "calls.json")
    return rows


def _spoken(call: ScriptedCall, rng: np.random.Generator) -> tuple[Array, list[SpokenPhrase]]:
    """(samples, channels) at 8 kHz, and the times of each phrase."""
    pieces: list[tuple[int, int, Array, str]] = []
    at = round(0.5 * voices.RATE_HZ)
    for line in call.lines:
        voice = SyntheticVoice(call.voices[line.speaker], call.speed_wpm, 50)
        wave = voices.speak(tidy(line.text), voice)
        pieces.append((at, line.speaker, wave, tidy(line.text)))
        at += wave.size + round(line.pause_s * voices.RATE_HZ)
    length = max(at, round(call.silence_s * voices.RATE_HZ))
    channels = []
    for channel in range(call.channels):
        wave = np.zeros(length, dtype=np.float32)
        for start, speaker, piece, _ in pieces:
            if speaker == channel:
                wave[start : start + piece.size] += piece
        hiss = telephone.noise(call.noise, length, rng)
        wave = telephone.mixed(wave, hiss, call.noise_snr_db) if pieces else 0.004 * hiss
        if not pieces and call.noise == "music":
            wave = wave * 20 + 0.01 * telephone.noise("hum", length, rng)
        channels.append(telephone.to_8k(wave.astype(np.float32), rng))
    rate = voices.RATE_HZ
    phrases = [
        SpokenPhrase(round(start / rate, 3), round((start + wave.size) / rate, 3), speaker, text)
        for start, speaker, wave, text in pieces
    ]
    return np.stack(channels, axis=1), phrases


def _row(call: ScriptedCall, number: int, phrases: list[SpokenPhrase], duration_s: float) -> dict[str, object]:
    return {
        "file": call.file,
        "call_sid": hashlib.sha256(f"demo {call.file}".encode()).hexdigest()[:32],
        "language": call.language,
        "code_mixed": call.code_mixed,
        "accent": call.accent,
        "description": call.description,
        "text": " ".join(phrase.text for phrase in phrases),
        "phrases": [asdict(phrase) for phrase in phrases],
        "channels": call.channels,
        "agent_channel": AGENT if call.channels == 2 else None,
        "duration_s": round(duration_s, 3),
        "noise": call.noise,
        "noise_snr_db": call.noise_snr_db if phrases else None,
        "encoding": call.encoding,
        "from": f"000000001{number + 1:02d}",
        "to": COMPANY_NUMBER,
        "agent": AGENT_NUMBER if call.channels == 2 else None,
        "voices": list(call.voices),
        "started_at_utc": (FIRST_CALL_AT + timedelta(minutes=37 * number)).isoformat().replace("+00:00", "Z"),
    }


def _write(path: Path, wave: Array, encoding: str) -> None:
    if encoding == "mp3":
        soundfile.write(path, wave, LINE_RATE_HZ, format="MP3")
    else:
        soundfile.write(path, wave, LINE_RATE_HZ, format="WAV", subtype="ULAW" if encoding == "mulaw" else "PCM_16")
