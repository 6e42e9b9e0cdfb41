"""Encoders as they are published: each shape is built tiny and random here, trained from its folder, served, and gives
the offsets of the text as it was given. What published weights know is measured by `make real`, not here."""

import json
import pickle

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from ml_backend.errors import ConfigurationError
from ml_backend.nlu import loading
from training.demo_intents import encoder_maker, intent_corpus
from training.runs.nlu_arguments import NluArguments
from training.trainers.nlu import intent_network, intent_training, published_encoder

LETTERS = [chr(code) for code in (*range(0x21, 0x7F), *range(0x900, 0x980))]
WORDS = sorted(
    {word for row in intent_corpus.utterances("clinic", seed=4) for word in row.text.split() if len(word) > 1}
)
ROWS = [
    {"id": f"{number}", "text": text, "intent": intent, "split": split,
     "entities": [{"entity": "city", "start": text.index(city), "end": text.index(city) + len(city)}]}
    for split in ("train", "validation")
    for number, (intent, text, city) in enumerate([
        ("stock", "👍🏽 क्या पुणे में मिलेगा", "पुणे"), ("price", "<b>price</b> in Nagpur, please", "Nagpur"),
        ("stock", "is it in स्त्री-नगर today?", "स्त्री-नगर"), ("price", "KÉRALA mein kitne ka hai", "KÉRALA"),
    ])
]  # fmt: skip
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def word_pieces(*, lower):
    """BERT's own normaliser: an uncased one strips accents, and with them the vowel signs of Devanagari."""
    tokenizer = Tokenizer(models.WordPiece())
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS]
    tokenizer.model = models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]")
    return framed(tokenizer, "[CLS]", "[SEP]")


def sentence_pieces(special=("<s>", "<pad>", "</s>", "<unk>", "<mask>"), *, lower=False):
    """SentencePiece as XLM-R (in lower case: ALBERT) has it in tokenizer.json: a space belongs to the word behind."""
    words = [*LETTERS, "▁", *(f"▁{word}" for word in WORDS)]
    scored = [(piece, -1.0 if piece in special else -2.0) for piece in (*special, *words)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=next(n for n, each in enumerate(special) if "unk" in each)))
    if lower:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
        )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return framed(tokenizer, "[CLS]", "[SEP]") if "[CLS]" in special else framed(tokenizer, "<s>", "</s>")


def byte_pieces():
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({piece: n for n, piece in enumerate(pieces)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return framed(tokenizer, "<s>", "</s>")


def framed(tokenizer, first, last):
    tokenizer.add_special_tokens(
        [each for each in tokenizer.get_vocab() if each[0] + each[-1] in ("[]", "<>") and each[1:-1]]
    )
    pairs = [(name, tokenizer.token_to_id(name)) for name in (first, last)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=pairs)
    tokenizer.enable_padding(length=24)  # as some are published; a parser reads one text at a time
    tokenizer.enable_truncation(24)
    return tokenizer


def written(folder, config, tokenizer, *, vocabulary=False, head=""):
    """A folder as `save_pretrained` of this architecture leaves it; `head`: another class, as it was pretrained."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    config.vocab_size = tokenizer.get_vocab_size()
    model = getattr(transformers, head)(config) if head else transformers.AutoModel.from_config(config)
    model.save_pretrained(folder)
    if vocabulary:
        pieces = sorted(tokenizer.get_vocab().items(), key=lambda each: each[1])
        (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in pieces), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    else:
        PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return folder


def as_pickle(folder):
    """The weights as older checkpoints have them."""
    weights = transformers.AutoModel.from_pretrained(folder).state_dict()
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def as_sentence_transformer(folder, *, prompts=None, first=False):
    (folder / "1_Pooling").mkdir()
    pooling = {"pooling_mode_cls_token": first, "pooling_mode_mean_tokens": not first}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 32}')
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts or {}}))
    return folder


def bert(folder):
    return written(folder, transformers.BertConfig(**SMALL), word_pieces(lower=False))


def minilm(folder):
    config = transformers.BertConfig(**SMALL, max_position_embeddings=40)
    return as_sentence_transformer(written(folder, config, word_pieces(lower=True)), first=True)


def muril(folder):
    """A pickle of the whole pretraining model, and a bare vocabulary."""
    config = transformers.BertConfig(**SMALL)
    folder = written(folder, config, word_pieces(lower=False), vocabulary=True, head="BertForPreTraining")
    return as_pickle(folder)


def distilbert(folder):
    config = transformers.DistilBertConfig(dim=32, n_layers=1, n_heads=2, hidden_dim=48)
    return written(folder, config, word_pieces(lower=True))


def albert(folder):
    """IndicBERT of 2020."""
    pieces = sentence_pieces(("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"), lower=True)
    return written(folder, transformers.AlbertConfig(**SMALL, embedding_size=16, pad_token_id=0), pieces)


def xlm_roberta(folder):
    config = transformers.XLMRobertaConfig(**SMALL, max_position_embeddings=34, pad_token_id=1)
    return written(folder, config, sentence_pieces(), head="XLMRobertaForMaskedLM")


def e5(folder):
    return as_sentence_transformer(xlm_roberta(folder), prompts={"query": "query: ", "passage": "passage: "})


def roberta(folder):
    return written(
        folder, transformers.RobertaConfig(**SMALL, max_position_embeddings=99, pad_token_id=1), byte_pieces()
    )


SHAPES = {shape.__name__: shape for shape in (bert, minilm, muril, distilbert, albert, xlm_roberta, e5, roberta)}
MOST_TOKENS = {"minilm": 32, "xlm_roberta": 32, "e5": 32}


@pytest.mark.parametrize("name", SHAPES)
def test_an_encoder_of_each_shape_is_trained_and_served_with_the_offsets_of_the_text(tmp_path, name):
    base = SHAPES[name](tmp_path / "base")
    options = NluArguments(name="tiny", seed=2, steps=120, validate_every=120, batch_rows=4, form="float32", patience=0,
                           learning_rate=5e-3, dropped_words=0.0, threshold=0.01)  # fmt: skip
    workspace = encoder_maker.workspace_of(tmp_path / "run", [], base=base, options=options)
    workspace.write_plan({**workspace.plan(), "money_intents": []})
    (workspace.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    result = intent_training.train(workspace)
    assert result["parity"]["passed"], result["parity"]
    served = loading.load(workspace.model)
    assert served.needs.max_tokens == MOST_TOKENS.get(name, 64)
    assert served.needs.prefix == ("query: " if name == "e5" else "")
    kept = intent_network.load(str(workspace.weights))
    expected = published_encoder.FIRST if name == "minilm" else published_encoder.MEAN
    assert published_encoder.pooling_of(kept.network.encoder) == expected
    for row in ROWS[:4]:
        parse = served.parse(row["text"])
        assert [(each.start, each.end) for each in parse.entities] == [
            (each["start"], each["end"]) for each in row["entities"]
        ], (row["text"], parse)
        assert parse.intent == row["intent"]
    assert not served.parse("").entities
    assert served.parse("").confidence == 0.0
    assert served.parse("पुणे " * 300).truncated


def test_a_frozen_encoder_only_trains_the_heads(tmp_path):
    base = xlm_roberta(tmp_path / "base")
    loaded = intent_network.load(str(base), intents=["a", "b"])
    trained = {id(each) for each in intent_network.trained_parameters(loaded.network, "encoder")}
    heads = {id(each) for head in (loaded.network.intents, loaded.network.tags) for each in head.parameters()}
    assert trained == heads


def test_the_words_that_a_vocabulary_lacks_are_counted_by_language():
    texts = {"en": ["clinic report"], "ta": ["வணக்கம் report"], "empty": [""]}
    found = published_encoder.unknown_words(word_pieces(lower=True), texts)
    assert found == {"en": 0.0, "ta": 0.5, "empty": 0.0}


def test_weights_that_would_run_code_are_refused(tmp_path):
    base = muril(tmp_path / "base")
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (ran.touch, ())

    (base / "pytorch_model.bin").write_bytes(pickle.dumps({"embeddings.word_embeddings.weight": Evil()}))
    refused(base, "cannot be read")
    assert not ran.exists()


def test_an_encoder_with_missing_weights_or_another_tokenizer_is_refused(tmp_path):
    other = written(tmp_path / "other", transformers.DistilBertConfig(dim=32, n_layers=1, n_heads=2, hidden_dim=48),
                    word_pieces(lower=True))  # fmt: skip
    base = bert(tmp_path / "base")
    crowded = sentence_pieces()
    whole = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    refused(base, "weights are missing")
    (base / "model.safetensors").write_bytes(whole)
    crowded.model = models.Unigram([(f"{n}", -1.0) for n in range(9_000)], unk_id=0)
    crowded.save(str(base / "tokenizer.json"))
    refused(base, "embeddings")


@pytest.mark.parametrize(
    ("base", "prefix"),
    [("intfloat/multilingual-e5-small", "query: "), ("/models/e5", "query: "), ("google/muril-base-cased", ""),
     ("acme/base5-large", "")],
)  # fmt: skip
def test_the_prefix_of_an_e5_is_known_by_its_name(monkeypatch, base, prefix):
    monkeypatch.setattr(published_encoder, "_said", lambda base, name: {})
    assert published_encoder._prefix(base) == prefix


def test_a_prefix_that_is_named_wins(tmp_path):
    base = e5(tmp_path / "base")
    assert intent_network.load(str(base), intents=["a"], prefix="").needs.prefix == ""
    loaded = intent_network.load(str(base), intents=["a", "b"], prefix="ask: ")
    intent_network.save(loaded, tmp_path / "weights")
    assert intent_network.load(str(tmp_path / "weights")).needs.prefix == "ask: "


def refused(base, why):
    with pytest.raises(ConfigurationError, match=why) as found:
        intent_network.load(str(base))
    assert found.value.code == "base-not-a-model"
