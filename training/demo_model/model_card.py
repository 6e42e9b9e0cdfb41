"""Scores -> the bundled model's card. `evaluate --card` writes it, so its figures are measured."""

from pathlib import Path

from ml_backend.models import manifest
from training.demo_model import corpus, voices
from training.demo_model.demo_evaluation import Score
from training.demo_model.recipe import FULL
from training.runs.bases import BUNDLED, TWIN_FOLDER

FILE = BUNDLED / "MODEL_CARD.md"
HEAD = "| set | clips | words | WER % | without case and punctuation | by language (WER %) | language found |"
RULE = "|---|---|---|---|---|---|---|"

_TEXT = """# {version}

A very small Whisper, made for the demonstration and the tests of this project. It understands the sentences of one
imaginary shop, spoken by a speech synthesiser, over a telephone line. **It is not a model for human speech** and was
never measured on any.

| | |
|---|---|
| architecture | Whisper, {layers}, width {width}, {parameters:.2f} M parameters, {tokens} tokens |
| languages | Hindi (with English words in between), English, Marathi |
| trained on | {sentences} sentences by espeak-ng, {voices} voice variants; synthetic only, no recordings of people |
| text | templates and word lists of this project: about {words} different words |
| served form | int8 CTranslate2 in `model/` ({model_mb:.1f} MB) |
| form for fine-tuning | float16 safetensors in `training/demo_model/weights/` ({twin_mb:.1f} MB) |
| licence | that of this repository; no third-party weights, text or audio |
| made by | `python -m training.demo_model make` (seed {seed}, {steps} steps); see `training/demo_model/README.md` |

## Accuracy

Word error rate (WER), pooled over all words of a set, through the serving engine: voice-activity detection, windows as
the manifest says, automatic language, beam 5, int8. No set shares a sentence with the training text; the
last rows use voices that were never trained on, and the demonstration calls share neither sentence nor voice. The words
themselves are known ones: on other words the model writes fluent nonsense.

{table}

Measured with `python -m training.demo_model evaluate --card`. Each row is one run on {clips} clips or fewer, so
differences of two or three points between rows mean nothing.

## How it must be fed

The manifest's window says it: at most {max_s:.0f} s of speech at once, one window per stretch of speech, padded only
to the longest window of a batch plus {margin_s:.1f} s. **Its text is only right
without padding**: fed with stock Whisper's 30 s (transformers' `pipeline` and plain faster-whisper do that) it writes
invented words.

## What it is not for

* Human speech, other synthesisers, other subjects. Fine-tune it, or set `ASR_MODEL` to a real Whisper.
* **Confidence.** Its probabilities are poorly calibrated: wrong sentences score nearly as high as right ones. Do not
  choose or demonstrate thresholds with it.
* Roman-script Hindi: it writes Hindi words in Devanagari and English words in Latin script.
* Segment times inside one stretch of speech: word times come from attention and are rough.
"""


def row(name: str, s: Score) -> str:
    parts = " · ".join(f"{language} {100 * rate:.1f}" for language, rate in s.by_language.items())
    return (
        f"| {name} | {s.clips} | {s.words} | {100 * s.strict:.1f} | {100 * s.plain:.1f} | {parts} "
        f"| {100 * s.language_accuracy:.0f} % |"
    )


def write(model_folder: Path, scores: list[tuple[str, Score]], path: Path = FILE) -> None:
    from training.trainers.asr import artefacts

    described = manifest.read(model_folder)
    model, tokenizer = artefacts.load_twin(TWIN_FOLDER)
    texts = corpus.training_sentences(FULL.seed, FULL.sentences)
    config = model.config
    path.write_text(
        _TEXT.format(
            version=described.model_version,
            layers=f"{config.encoder_layers} encoder and {config.decoder_layers} decoder layers",
            width=config.d_model,
            parameters=sum(p.numel() for p in model.parameters()) / 1e6,
            tokens=len(tokenizer),
            sentences=FULL.sentences,
            voices=len(voices.TRAINING),
            words=len({word for text in texts for word in text.key.split()}),
            model_mb=_megabytes(model_folder),
            twin_mb=_megabytes(TWIN_FOLDER),
            seed=FULL.seed,
            steps=FULL.steps,
            table="\n".join([HEAD, RULE, *(row(name, s) for name, s in scores)]),
            clips=max(s.clips for _, s in scores),
            max_s=described.windows.max_s,
            margin_s=described.windows.margin_s,
        ),
        encoding="utf-8",
    )


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6
