"""For the tests: tiny random models of true architectures, a word-level tokenizer, and a toy dataset anything can learn."""

import contextlib
import random
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Whitespace
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    Gemma2Config,
    Gemma2Model,
    GemmaConfig,
    GemmaModel,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
    RobertaConfig,
    RobertaModel,
)

from helpers.device import Device
from helpers.models.batches import EncodedTexts, collate, encode_texts

# Tensors this small gain nothing from threads; on a busy machine, threads that wait for each other cost minutes.
torch.set_num_threads(1)

ARCHITECTURES = ("bert", "modernbert", "qwen2")
DECODERS = ("qwen2", "llama", "gemma", "mistral")
FAMILIES = ("bert", "roberta", "distilbert", "modernbert", *DECODERS)
LABELS = ["calm", "glad", "sour"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = {label: [f"{label}{i}" for i in range(6)] for label in LABELS}
FILLERS = [f"word{i}" for i in range(178)]
VOCABULARY = SPECIAL + [word for label in LABELS for word in WORDS[label]] + FILLERS

# Never the machine's own device: the tests must say the same on every machine.
FP32 = Device("cpu", "test", "no", "eager")
BF16 = Device("cpu", "test", "bf16", "eager")


def build_model(architecture: str, folder: Path, *, dropout: float = 0.0) -> Path:
    """Write a random two-layer backbone and its tokenizer to `folder`; return it."""
    size = {"vocab_size": len(VOCABULARY), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    size |= {"num_attention_heads": 4, "max_position_embeddings": 128, "pad_token_id": 0}
    torch.manual_seed(0)
    dropouts = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": 0.1}
    marks = {"bos_token_id": 2, "eos_token_id": 3}
    decoder = {**marks, "num_key_value_heads": 2, "attention_dropout": 0.1}
    if architecture == "bert":
        model = BertModel(BertConfig(**size, **dropouts))
    elif architecture == "roberta":
        model = RobertaModel(RobertaConfig(**size, **dropouts))
    elif architecture == "distilbert":
        model = DistilBertModel(
            DistilBertConfig(
                vocab_size=len(VOCABULARY), dim=32, hidden_dim=64, n_layers=2, n_heads=4, max_position_embeddings=128,
                pad_token_id=0, dropout=dropout, attention_dropout=0.1,
            )
        )  # fmt: skip
    elif architecture == "modernbert":
        # The second layer looks 4 tokens to each side: shorter than the texts, so that its own mask is tested too.
        own = {"local_attention": 8, "embedding_dropout": dropout, "mlp_dropout": dropout, "attention_dropout": 0.1}
        model = ModernBertModel(ModernBertConfig(**size, **marks, cls_token_id=2, sep_token_id=3, **own))
    elif architecture == "qwen2":
        model = Qwen2Model(Qwen2Config(**size, **decoder))
    elif architecture == "llama":
        model = LlamaModel(LlamaConfig(**size, **decoder))
    elif architecture == "gemma":
        model = GemmaModel(GemmaConfig(**size, **decoder, head_dim=8))
    elif architecture == "gemma2":
        model = Gemma2Model(Gemma2Config(**size, **decoder, head_dim=8))
    elif architecture == "mistral":
        model = MistralModel(MistralConfig(**size, **decoder, sliding_window=8))  # shorter than the texts, too
    else:
        raise ValueError(architecture)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return Path(folder)


def build_models(folder: Path, *, dropout: float = 0.0) -> dict[str, Path]:
    """Write one model per architecture below `folder`; return their folders by architecture."""
    return {name: build_model(name, Path(folder) / name, dropout=dropout) for name in ARCHITECTURES}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token per word, [CLS] before a text and [SEP] after it."""
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def make_chat_tokenizer(*, begin: bool = False) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer, which can write any text, with a chat template of its own; with `begin`, one that puts
    a begin token before every text. The toy labels are one token each behind a blank."""
    specials = ["<|begin|>", "<|im_start|>", "<|im_end|>"]
    words = Tokenizer(BPE())
    words.pre_tokenizer = ByteLevel(add_prefix_space=False)
    words.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=320, special_tokens=specials, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    words.train_from_iterator([f" {name}, none" for name in LABELS] * 50, trainer)
    mark = ""
    if begin:
        words.post_processor = TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)])
        mark = "{{ bos_token }}"
    turn = "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token=specials[0], eos_token=specials[2], pad_token=specials[2],
        additional_special_tokens=specials[1:2],
    )  # fmt: skip
    tokenizer.chat_template = mark + "{% for m in messages %}" + turn + "{% endfor %}<|im_start|>assistant\n"
    return tokenizer


def build_writer(folder: Path, architecture: str = "llama", *, begin: bool = False) -> Path:
    """Write a random two-layer language model of a true architecture and its chat tokenizer to `folder`; return it."""
    tokenizer = make_chat_tokenizer(begin=begin)
    size = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    size |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096}
    size |= {"bos_token_id": 0, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    size |= {"head_dim": 8} if architecture.startswith("gemma") else {}
    kind = {"llama": LlamaConfig, "qwen2": Qwen2Config, "mistral": MistralConfig, "gemma2": Gemma2Config}[architecture]
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(kind(**size)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def toy_texts(rows: int = 60, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Return texts of 2 to 20 words and their labels: some words of the label, the rest fillers. No text comes twice."""
    draw = random.Random(seed)
    texts, labels = [], np.arange(rows) % len(LABELS)
    for label in labels:
        own = draw.choices(WORDS[LABELS[label]], k=draw.randint(2, 6))
        words = own + draw.choices(FILLERS, k=draw.randint(0, 14))
        draw.shuffle(words)
        texts.append(" ".join(words))
    return texts, labels.astype(np.int64)


def toy_data(*, multilabel: bool = False) -> tuple[EncodedTexts, EncodedTexts]:
    """Return 45 training and 15 validation rows, encoded; with `multilabel`, labels are float vectors."""
    texts, labels = toy_texts()
    if multilabel:
        labels = np.eye(len(LABELS), dtype=np.float32)[labels]
        labels[::5, 0] = 1  # some rows with two labels
    tokenizer = make_tokenizer()
    cuts = (slice(0, 45), slice(45, 60))
    return tuple(encode_texts(texts[cut], tokenizer, 64, labels[cut]) for cut in cuts)


def compute_pass(classifier, encoded: EncodedTexts, rows: np.ndarray, block=contextlib.nullcontext, *, passes: int = 1):
    """Return logits and gradients of the last of some passes over the same `rows`; inside `block`, which ends before the
    gradients are looked at."""
    batch = collate(encoded, rows)
    with block():
        for _ in range(passes):
            classifier.zero_grad()
            logits = classifier(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            torch.nn.functional.cross_entropy(logits, batch["labels"]).backward()
    return logits.detach(), {name: p.grad for name, p in classifier.named_parameters() if p.grad is not None}


def assert_same_pass(found, expected) -> None:
    """Two results of `compute_pass` agree: logits, and the gradient of every parameter that has one."""
    torch.testing.assert_close(found[0], expected[0], atol=1e-6, rtol=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-6, rtol=1e-4, msg=name)


def tf32_is_on() -> bool:
    """Return whether fp32 matrix products on a GPU would run as TF32."""
    matmul = torch.backends.cuda.matmul
    return matmul.fp32_precision == "tf32" if hasattr(matmul, "fp32_precision") else matmul.allow_tf32
