"""Tokenizer -> Whisper with random weights, and a CTC head that trains its encoder and is not saved.

Without the head, the decoder first memorises the sentences and ignores the audio for a thousand steps.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration, WhisperTokenizer

from training.demo_model.corpus import tidy
from training.demo_model.recipe import Shape
from training.trainers.asr.collation import Collator, flat
from training.trainers.asr.loop import SpeechTrainer
from training.trainers.asr.weights import accept_short_windows


def build(tokenizer: WhisperTokenizer, shape: Shape, letters: str, *, seed: int) -> WhisperForConditionalGeneration:
    torch.manual_seed(seed)
    ids = tokenizer.get_vocab()
    end = ids["<|endoftext|>"]
    config = WhisperConfig(
        vocab_size=len(ids),
        d_model=shape.width,
        encoder_layers=shape.encoder_layers,
        decoder_layers=shape.decoder_layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=4 * shape.width,
        decoder_ffn_dim=4 * shape.width,
        dropout=shape.dropout,
        max_source_positions=1500,
        max_target_positions=448,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=ids["<|startoftranscript|>"],
        suppress_tokens=[],
        begin_suppress_tokens=[end],
    )
    model = WhisperForConditionalGeneration(config)
    # Assigned, not edited: fields set on the model's initial config are lost when it is saved.
    model.generation_config = _generation_config(config, ids)
    model.ctc = nn.Linear(shape.width, len(letters) + 1)
    return accept_short_windows(model)


def _generation_config(config: WhisperConfig, ids: dict[str, int]) -> GenerationConfig:
    last = config.decoder_layers - 1
    languages = {t: n for t, n in ids.items() if ids["<|startoftranscript|>"] < n < ids["<|translate|>"]}
    return GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        suppress_tokens=[],
        begin_suppress_tokens=config.begin_suppress_tokens,
        is_multilingual=True,
        lang_to_id=languages,
        no_timestamps_token_id=ids["<|notimestamps|>"],
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        prev_sot_token_id=ids["<|startofprev|>"],
        return_timestamps=False,
        max_length=448,
        max_initial_timestamp_index=50,
        alignment_heads=[[last, head] for head in range(config.decoder_attention_heads)],
    )


def without_head(model: WhisperForConditionalGeneration) -> WhisperForConditionalGeneration:
    """Drops the CTC head before saving, which leaves a plain Whisper."""
    if hasattr(model, "ctc"):
        del model.ctc
    return model


class Letters:
    """Text <-> CTC classes; 0 is the blank. Case and punctuation are left to the decoder."""

    def __init__(self, texts: list[str]) -> None:
        self.all = "".join(sorted({c for text in texts for c in spelled(text)}))
        self._class = {letter: n for n, letter in enumerate(self.all, 1)}

    def of(self, text: str) -> list[int]:
        return [self._class[c] for c in spelled(text) if c in self._class]


def spelled(text: str) -> str:
    return "".join(c for c in tidy(text).lower() if c not in ".,?।")


class FromScratchTrainer(SpeechTrainer):
    """The shared loss plus CTC over letters on the encoder, with a falling weight."""

    first_weight, last_weight, until_step = 0.6, 0.15, 4000

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        outputs = model(
            input_features=inputs["input_features"], decoder_input_ids=inputs["decoder_input_ids"], use_cache=False
        )
        loss = self.text_loss(outputs.logits, inputs["labels"])
        share = min(1.0, self.state.global_step / self.until_step)
        weight = self.first_weight + (self.last_weight - self.first_weight) * share
        loss = (1 - weight) * loss + weight * self._ctc_loss(model, outputs.encoder_last_hidden_state, inputs)
        return (loss, outputs) if return_outputs else loss

    def _ctc_loss(self, model: nn.Module, hidden: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        head = cast(nn.Linear, model.ctc)
        scores = head(hidden).float().log_softmax(-1).transpose(0, 1)
        lengths = torch.full((hidden.shape[0],), hidden.shape[1], dtype=torch.long)
        spelt: torch.Tensor = inputs["ctc_lengths"]
        loss = nn.functional.ctc_loss(
            scores, inputs["ctc_letters"], lengths, spelt, reduction="sum", zero_infinity=True
        )
        return torch.div(loss, spelt.sum().clamp(min=1))


@dataclass(frozen=True)
class CtcCollator(Collator):
    """Adds the CTC head's labels: the concatenated letters of all windows, and the count of each."""

    letters: Letters

    def __call__(self, examples: list[Any]) -> dict[str, torch.Tensor]:
        batch = super().__call__(examples)
        spelling = [self.letters.of(example.text) for example in flat(examples)]
        batch["ctc_letters"] = torch.tensor([n for letters in spelling for n in letters], dtype=torch.long)
        batch["ctc_lengths"] = torch.tensor([len(letters) for letters in spelling], dtype=torch.long)
        return batch
