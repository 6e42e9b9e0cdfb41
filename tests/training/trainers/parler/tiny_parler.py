"""`.venv-parler/bin/python tiny_parler.py FOLDER`: a ParlerTTS of 0.2 M random parameters, saved as published ones are.

It says noise. What it shows is the plumbing: configuration, codec, tokenizers, loss, saving and speaking.
"""

import string
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import DacConfig, DacModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

from training.trainers.parler import parler_library


def tokenizer():
    letters = sorted(set(string.printable) | {chr(c) for c in range(0x900, 0x980)})
    vocabulary = {each: place for place, each in enumerate(["<pad>", "</s>", "<unk>", *letters])}
    found = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=found, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", padding_side="left"
    )


def main(folder):
    torch.manual_seed(1)
    torch.set_num_threads(1)
    parler = parler_library.library()
    prompts = tokenizer()
    text = T5EncoderModel(
        T5Config(
            vocab_size=len(prompts), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, feed_forward_proj="relu"
        )
    )
    codec = DacModel(
        DacConfig(
            encoder_hidden_size=4, decoder_hidden_size=64, downsampling_ratios=[2, 4, 8, 8], n_codebooks=2,
            codebook_size=32, codebook_dim=4, sampling_rate=16000,
        )
    )  # fmt: skip
    decoder = parler.ParlerTTSForCausalLM(
        parler.ParlerTTSDecoderConfig(
            vocab_size=34, max_position_embeddings=1024, num_hidden_layers=2, ffn_dim=64, num_attention_heads=2,
            hidden_size=32, num_codebooks=2, pad_token_id=32, eos_token_id=32, bos_token_id=33, dropout=0.0,
        )
    )  # fmt: skip
    config = parler.ParlerTTSConfig.from_sub_models_config(
        text.config, codec.config, decoder.config, vocab_size=len(prompts)
    )
    model = parler.ParlerTTSForConditionalGeneration(config, text, codec, decoder)
    model.save_pretrained(folder)
    prompts.save_pretrained(folder)
    prompts.save_pretrained(Path(folder) / parler_library.DESCRIPTIONS)


if __name__ == "__main__":
    main(sys.argv[1])
