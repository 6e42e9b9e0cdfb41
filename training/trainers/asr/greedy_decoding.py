"""Frames -> texts with the weights in training: greedy, many windows at once, padded as in serving."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from transformers import WhisperForConditionalGeneration, WhisperTokenizer
from transformers.modeling_outputs import BaseModelOutput

from ml_backend.models.manifest import WindowPolicy
from training.trainers.asr.collation import padded
from training.trainers.asr.features import FRAMES_PER_S, Array
from training.trainers.asr.targets import Targets

_BATCH_S = 60.0
_MOST_TOKENS = 220  # about CTranslate2's limit; enough for a window full of speech


@torch.no_grad()
def texts(
    model: WhisperForConditionalGeneration, tokenizer: WhisperTokenizer, mels: Sequence[Array],
    languages: Sequence[str], window: WindowPolicy, *, suppressed: Sequence[int] = (),
) -> list[str]:  # fmt: skip
    """One text per window, in order. Not `generate`, which pads every window to 30 s."""
    targets, answers = Targets(tokenizer), [""] * len(mels)
    was_training = model.training
    model.train(False)
    try:
        for batch in batches(mels, window):
            features = torch.from_numpy(padded([mels[n] for n in batch], window)).to(model.device)
            prompts = [targets.prompt(languages[n]) for n in batch]
            found = _greedy(model, features, prompts, end=targets.end, suppressed=suppressed)
            for number, tokens in zip(batch, found, strict=True):
                answers[number] = tokenizer.decode(tokens, skip_special_tokens=True).strip()
    finally:
        model.train(was_training)
    return answers


def batches(mels: Sequence[Array], window: WindowPolicy) -> list[list[int]]:
    """Groups of windows whose lengths differ by at most the policy's limit, some tens of seconds in each."""
    found: list[list[int]] = []
    for number in sorted(range(len(mels)), key=lambda n: len(mels[n])):
        length_s = window.pad_to_s or len(mels[number]) / FRAMES_PER_S
        if found and (len(found[-1]) + 1) * length_s <= _BATCH_S:
            first_s = window.pad_to_s or len(mels[found[-1][0]]) / FRAMES_PER_S
            if length_s - first_s <= window.max_padding_s:
                found[-1].append(number)
                continue
        found.append([number])
    return found


def _greedy(
    model: WhisperForConditionalGeneration, features: torch.Tensor, prompts: list[list[int]], *, end: int,
    suppressed: Sequence[int],
) -> list[list[int]]:  # fmt: skip
    states = BaseModelOutput(last_hidden_state=model.model.encoder(features).last_hidden_state)
    asked, cache = torch.tensor(prompts, device=features.device), None
    found: dict[int, list[int]] = defaultdict(list)
    alive = torch.ones(len(prompts), dtype=torch.bool, device=features.device)
    forbidden = torch.tensor([*suppressed], dtype=torch.long, device=features.device)
    first = torch.tensor(model.generation_config.begin_suppress_tokens or [], device=features.device, dtype=torch.long)
    for step in range(_MOST_TOKENS):
        answer = model(encoder_outputs=states, decoder_input_ids=asked, past_key_values=cache, use_cache=True)
        scores, cache = answer.logits[:, -1, : end + 1].float(), answer.past_key_values
        scores[:, forbidden[forbidden < end]] = float("-inf")
        if step == 0:
            scores[:, first[first <= end]] = float("-inf")
        best = scores.argmax(-1)
        alive &= best != end
        if not bool(alive.any()):
            break
        for row in alive.nonzero().flatten().tolist():
            found[row].append(int(best[row]))
        asked = best[:, None]
    return [found[row] for row in range(len(prompts))]
