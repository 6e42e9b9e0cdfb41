"""Recipe -> the bundled model: speech, tokenizer, training, twin, int8 artefact. Resumes where it stopped."""

from collections.abc import Callable
from pathlib import Path

from transformers import WhisperTokenizer

from ml_backend.models.manifest import Manifest, WindowPolicy
from training.demo_model import corpus, network, shards, tokenizer, voices
from training.demo_model.examples import ExampleStream
from training.demo_model.recipe import Recipe
from training.runs.bases import MODEL_FOLDER, TWIN_FOLDER
from training.trainers.asr import artefacts, loop
from training.trainers.asr.collation import LengthBatches
from training.trainers.asr.targets import Targets

NAME = "kaan-tiny"
LANGUAGES = ("hi", "en", "mr")
TRAINED_ON = "synthetic speech only (espeak-ng): sentences of an imaginary shop in Hindi, English and Marathi"
WINDOW = WindowPolicy(max_s=8.0, pad_to_s=None, margin_s=0.2, max_padding_s=0.6, split_pause_s=0.0)


def make(
    recipe: Recipe, work: Path, *, model_folder: Path = MODEL_FOLDER, twin_folder: Path = TWIN_FOLDER,
    threads: int = 1, report: Callable[[str], None] = print,
) -> Manifest:  # fmt: skip
    """`work` keeps shards and checkpoints (about 1.5 GB for the full recipe) and may be deleted afterwards."""
    voices.require_espeak()
    words = speech(recipe, work, report)
    train(recipe, work, words, threads=threads, report=report)
    return save(recipe, work, model_folder=model_folder, twin_folder=twin_folder, report=report)


def speech(recipe: Recipe, work: Path, report: Callable[[str], None]) -> list[shards.SynthesisedUtterance]:
    shards.build(work / "speech", recipe.seed, recipe.sentences, report=report)
    utterances = shards.load(work / "speech")
    report(f"speech: {len(utterances)} utterances, {shards.hours(utterances):.1f} h")
    return utterances


def train(
    recipe: Recipe,
    work: Path,
    utterances: list[shards.SynthesisedUtterance],
    *,
    threads: int,
    report: Callable[[str], None],
) -> None:
    import torch

    torch.set_num_threads(threads)
    pieces, letters = _text_side(recipe, work)
    model = network.build(pieces, recipe.shape, letters.all, seed=recipe.seed)
    report(f"model: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(pieces)} tokens")
    collator = network.CtcCollator(Targets(pieces), WINDOW, letters)
    noises = shards.noise_bank(recipe.seed)
    plan = loop.TrainingPlan(recipe.steps, recipe.learning_rate, recipe.warm_up_steps, recipe.decay_steps, recipe.seed)
    for phase in recipe.phases:
        # A resumed run must not train on the same windows again.
        newest = loop.newest_checkpoint(work / "training")
        seed = recipe.seed + (loop.steps_of(newest) if newest else 0)
        stream = ExampleStream(utterances, noises, seed, WINDOW.max_s, phase.strength, phase.several_share)
        loop.train(
            model,
            LengthBatches(stream, recipe.frames_per_batch, seed=seed),
            collator,
            plan=plan,
            folder=work / "training",
            report=report,
            trainer=network.FromScratchTrainer,
            stop_at=phase.until,
        )


def save(
    recipe: Recipe, work: Path, *, model_folder: Path = MODEL_FOLDER, twin_folder: Path = TWIN_FOLDER,
    report: Callable[[str], None] = print,
) -> Manifest:  # fmt: skip
    """Newest checkpoint -> twin and int8 artefact; works on a half-trained run too."""
    from safetensors.torch import load_file

    newest = loop.newest_checkpoint(work / "training")
    if newest is None:
        raise FileNotFoundError(f"no checkpoint in {work / 'training'}")
    pieces, letters = _text_side(recipe, work)
    model = network.build(pieces, recipe.shape, letters.all, seed=recipe.seed)
    model.load_state_dict(load_file(newest / "model.safetensors"), strict=False)
    model.tie_weights()
    artefacts.save_twin(network.without_head(model), pieces, twin_folder, half=True)
    model_folder.parent.mkdir(parents=True, exist_ok=True)
    written = artefacts.convert(
        twin_folder, model_folder, name=NAME, languages=LANGUAGES, window=WINDOW, trained_on=TRAINED_ON
    )
    report(f"saved {written.model_version} from {newest.name} in {model_folder}")
    return written


def _text_side(recipe: Recipe, work: Path) -> tuple[WhisperTokenizer, network.Letters]:
    texts = [sentence.text for sentence in corpus.training_sentences(recipe.seed, recipe.sentences)]
    return tokenizer.build_once(texts, work / "tokenizer"), network.Letters(texts)
