"""Small language models, built from a configuration, and tokenizers made of a few texts."""

from __future__ import annotations

import torch
import transformers
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import nn

transformers.logging.set_verbosity_error()

VOCABULARY = 60
_WIDE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
_NO_TEXT = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def bert(**more):
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(**{**_WIDE, "num_labels": 3, **more})
    )


def distilbert():
    config = transformers.DistilBertConfig(
        vocab_size=VOCABULARY, dim=16, n_layers=2, n_heads=2, hidden_dim=32, num_labels=3,
        max_position_embeddings=40,
    )  # fmt: skip
    return transformers.DistilBertForSequenceClassification(config)


def roberta():
    config = transformers.RobertaConfig(**_WIDE, num_labels=3, pad_token_id=0)
    return transformers.RobertaForSequenceClassification(config)


def gpt2(**more):
    config = transformers.GPT2Config(
        **{
            "vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40,
            **_NO_TEXT, **more,
        }
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def llama():
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            **{**_WIDE, "num_attention_heads": 4}, num_key_value_heads=2, **_NO_TEXT
        )
    )


def t5():
    config = transformers.T5Config(
        vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=2,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config)


def bart():
    config = transformers.BartConfig(
        vocab_size=VOCABULARY, d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, max_position_embeddings=40, decoder_start_token_id=2,
        forced_eos_token_id=None, scale_embedding=True, **_NO_TEXT,
    )  # fmt: skip
    return transformers.BartForConditionalGeneration(config)


class Recurrent(nn.Module):
    """An embedding and an LSTM, which reads the text to its end."""

    def __init__(self, classes=3, every=False):
        super().__init__()
        self.table, self.every = nn.Embedding(VOCABULARY, 8, padding_idx=0), every
        self.body, self.out = nn.LSTM(8, 12, batch_first=True), nn.Linear(12, classes)

    def forward(self, ids):
        found = self.out(self.body(self.table(ids))[0])
        return found if self.every else found[:, -1]


class Bare(nn.Module):
    """A language model that takes ids and returns logits, and knows nothing of transformers."""

    def __init__(self, model):
        super().__init__()
        self.body = model.transformer
        self.head = model.lm_head

    def forward(self, ids):
        return self.head(self.body(ids).last_hidden_state)


class TwoTables(nn.Module):
    """Two indices, each with an embedding of its own; the second one is looked up first."""

    def __init__(self):
        super().__init__()
        self.items, self.users = nn.Embedding(9, 4), nn.Embedding(9, 4)
        self.out = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, user, item):
        item = self.items(item)
        return self.out(torch.cat([self.users(user), item], 1))


ENCODERS = {"bert": bert, "distilbert": distilbert, "roberta": roberta}
DECODERS = {"gpt2": gpt2, "llama": llama}
BOTH = {"t5": t5, "bart": bart}
MODELS = {**ENCODERS, **DECODERS, **BOTH}


def made(make, device="cpu", seed=0, *, scaled=True):
    """The same model for the same seed; scaled, its weights are not so small that it is linear."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make()
        for parameter in model.parameters() if scaled else ():
            if parameter.ndim > 1:
                parameter.data.mul_(4 if parameter.std() < 0.1 else 1)
    return model.to(device).eval()


def batch(device="cpu", *, rows=4, length=7, left=False, seed=1):
    """Ids and their attention mask; all rows but the first are shorter, by one token each."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ids = torch.randint(5, VOCABULARY, (rows, length))
    mask = (torch.arange(length) < length - torch.arange(rows)[:, None]).long()
    if left:
        mask = mask.flip(1)
    return {"input_ids": (ids * mask).to(device), "attention_mask": mask.to(device)}


def prompts(name, device="cpu", **options):
    """Inputs for a model of `MODELS`: encoder and decoder models get a decoder's tokens too."""
    found = batch(device, **options)
    if name in BOTH:
        found["decoder_input_ids"] = batch(device, length=3, rows=1, seed=5)["input_ids"].expand(
            len(found["input_ids"]), -1
        )
    return found


# -- tokenizers --------------------------------------------------------------------------------


def of_words(words):
    """Whole words, with [CLS] and [SEP] around each text."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    known = {word: i for i, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    takes = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", model_input_names=takes,
    )  # fmt: skip


def of_pieces():
    """WordPiece: what continues a word is marked with ##."""
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "play", "##ing", "##ed", "the", "film", "!"]
    tokenizer = Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(known)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]",
    )  # fmt: skip


TEXTS = ["the film was good", "a good film is playing", "the play was not so good at all"]


def of_bytes(padding=True):
    """Byte-level BPE, as GPT-2's: a blank before a word is a part of its first token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=285, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(TEXTS * 5, trainer)
    more = {"pad_token": "<pad>"} if padding else {}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", **more
    )


def of_sentences(*, split=True):
    """BPE in the manner of SentencePiece: blanks are a sign of their own."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=45, special_tokens=["<pad>", "<unk>", "</s>"])
    tokenizer.train_from_iterator(TEXTS * 5, trainer)
    if not split:
        # Llama's way: no text is split into words, so that all of it counts as one.
        tokenizer.pre_tokenizer = None
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        )
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("\u2581", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


# -- trained -----------------------------------------------------------------------------------


def trained(model, loss, steps, rate=3e-3):
    """Train with Adam; `loss` makes its own batch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.train()
        optimizer = torch.optim.Adam(model.parameters(), rate)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1, 10 * (steps - step) / steps)
            optimizer.zero_grad()
            loss(model).backward()
            optimizer.step()
        optimizer.zero_grad()
    return model.eval()
