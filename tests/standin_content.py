"""What the stand-in Hub holds: tiny random models of the true architectures, and small datasets, under their true names.

The weights are random and the tokenizers were trained on a few hundred sentences; the file formats, class names, label
names, columns and revisions are those of the real repositories. Texts are the course's own (data/moments).
"""

import functools
import io
import json
import tempfile
from pathlib import Path

import pandas as pd
import torch

from helpers.assets.find import read_pinned
from helpers.assets.zoo import read_rows
from helpers.data.columns import ELEVEN_EMOTIONS, EMOTIONS
from helpers.files import ROOT

# Hub id → model type; those in GATED ask for a token.
ENCODERS = {
    "answerdotai/ModernBERT-base": "modernbert",
    "google-bert/bert-base-uncased": "bert",
    "distilbert/distilbert-base-uncased": "distilbert",
    "distilbert/distilroberta-base": "roberta",
    "FacebookAI/roberta-base": "roberta",
}
DECODERS = {
    "Qwen/Qwen2.5-0.5B": "qwen2",
    "Qwen/Qwen2.5-1.5B": "qwen2",
    "HuggingFaceTB/SmolLM2-135M-Instruct": "llama",
    "meta-llama/Llama-3.2-1B": "llama",
    "google/gemma-2b": "gemma",
    "google/gemma-1.1-2b-it": "gemma",
    "google/gemma-2-2b": "gemma2",
    "meta-llama/Llama-3.2-3B-Instruct": "llama",
    "dunzhang/stella_en_1.5B_v5": "qwen2",
    "Qwen/Qwen2.5-Coder-14B-Instruct": "qwen2",
    "Qwen/Qwen2.5-14B-Instruct": "qwen2",
    "mistralai/Mistral-7B-v0.1": "mistral",
    "mistralai/Mistral-7B-Instruct-v0.1": "mistral",
}
GATED = [row["hub_id"] for row in read_rows() if row["gated"] == "yes"]
ROWS = 180  # per split


def fill(hub) -> None:
    """Put every repository into `hub`; contents are made when they are first asked for."""
    for name, model_type in (ENCODERS | DECODERS).items():
        make = functools.partial(_model_files, model_type, decoder=name in DECODERS)
        hub.add("models", name, make, sha=_commit(name), gated=name in GATED)
    for name, make in DATASETS.items():
        hub.add("datasets", name, make, sha=_commit(name))
    # SemEval's main branch is a script, which datasets 4 and later refuse; the Hub converted it to parquet elsewhere.
    name = "SemEvalWorkshop/sem_eval_2018_task_1"
    script = {
        "README.md": b"---\nlicense: unknown\n---\n",
        "sem_eval_2018_task_1.py": b"raise SystemExit('never run')\n",
    }
    hub.add("datasets", name, script)
    hub.add("datasets", name, _semeval_files, sha=_commit(name), ref="refs/convert/parquet")


def _commit(name: str) -> str | None:
    revision = read_pinned(name).get("revision", "")
    return revision if len(revision) == 40 else None


@functools.cache
def _sentences() -> pd.DataFrame:
    return pd.concat(
        [pd.read_csv(ROOT / "data" / "moments" / f"{name}.csv") for name in ("train", "validation", "test")]
    )


@functools.cache
def _model_files(model_type: str, decoder: bool) -> dict[str, bytes]:
    """Return the files of a two-layer model of `model_type` as the Hub has them: with its pretraining head, in bf16 if a decoder."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, logging

    logging.disable_progress_bar()
    tokenizer = _tokenizer(model_type)
    marks = {
        name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    }
    size = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    size |= {"num_attention_heads": 4, "max_position_embeddings": 512, "pad_token_id": tokenizer.pad_token_id}
    size |= marks
    if decoder:
        size |= {"num_key_value_heads": 2, "head_dim": 8}
    if model_type == "distilbert":
        size |= {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4}
    if model_type == "roberta":
        size["max_position_embeddings"] = 514
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = AutoConfig.for_model(model_type, **size)
        model = (AutoModelForCausalLM if decoder else AutoModelForMaskedLM).from_config(config)
    if decoder:
        model = model.to(torch.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()} | {
            "README.md": b"---\nlicense: mit\n---\n"
        }


def write_model(folder: Path, model_type: str) -> Path:
    """Write the files of a model of `model_type` to `folder`, for tests that need a local one with a real tokenizer."""
    folder.mkdir(parents=True)
    for name, content in _model_files(model_type, decoder=model_type in DECODERS.values()).items():
        (folder / name).write_bytes(content)
    return folder


@functools.cache
def _tokenizer(model_type: str):
    """Return a tokenizer of the family's kind and special tokens: WordPiece for BERT, byte-level BPE for the others."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    texts = list(_sentences()["text"])[:600]
    if model_type in ("bert", "distilbert"):
        special = {
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        }
        raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        raw.normalizer, raw.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=800, special_tokens=list(special.values()), show_progress=False)
    else:
        special = _SPECIAL_TOKENS[model_type]
        raw = Tokenizer(models.BPE())
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        alphabet, names = pre_tokenizers.ByteLevel.alphabet(), list(dict.fromkeys(special.values()))
        trainer = trainers.BpeTrainer(
            vocab_size=800, special_tokens=names, initial_alphabet=alphabet, show_progress=False
        )
    raw.train_from_iterator(texts, trainer)
    start, end = special.get("cls_token", special.get("bos_token")), special.get("sep_token")
    if start and model_type != "qwen2":
        pieces = [start, "$A"] + ([end] if end else [])
        marks = [(token, raw.token_to_id(token)) for token in (start, end) if token]
        raw.post_processor = TemplateProcessing(single=" ".join(pieces), special_tokens=marks)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, **special)
    tokenizer.model_max_length = 512
    if model_type in ("qwen2", "llama", "gemma", "gemma2"):
        tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    return tokenizer


_SPECIAL_TOKENS = {
    "modernbert": {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"},
    "roberta": {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>", "bos_token": "<s>", "eos_token": "</s>"},
    "qwen2": {"pad_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
    "llama": {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},  # no pad token, as in the original
    "mistral": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    "gemma": {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"},
    "gemma2": {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"},
}  # fmt: skip


def _split(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "data" / "moments" / f"{name}.csv").head(ROWS)


def _parquet(table: dict, features) -> bytes:
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    buffer = io.BytesIO()
    Dataset.from_dict(table, features=features).to_parquet(buffer)
    return buffer.getvalue()


def _card(configs: dict[str, dict[str, str]], licence: str, default: str) -> bytes:
    """Return a dataset card whose header lists the files of each configuration's splits."""
    listed = [
        {
            "config_name": name,
            "data_files": [{"split": split, "path": path} for split, path in files.items()],
            **({"default": True} if name == default and len(configs) > 1 else {}),
        }
        for name, files in configs.items()
    ]
    return f"---\n{json.dumps({'license': licence, 'configs': listed})}\n---\n".encode()


@functools.cache
def _emotion_files() -> dict[str, bytes]:
    """Return dair-ai/emotion: lower case, no punctuation, two configurations, `split` the default."""
    from datasets import ClassLabel, Features, Value

    features = Features(
        {"text": Value("string"), "label": ClassLabel(names=["sadness", "joy", "love", "anger", "fear", "surprise"])}
    )
    files = {}
    for name in ("train", "validation", "test"):
        rows = _split(name)
        texts = rows["text"].str.lower().str.replace(r"[^a-z ]", "", regex=True)
        table = {"text": list(texts), "label": [EMOTIONS.index(emotion) for emotion in rows["emotion"]]}
        files[f"split/{name}-00000-of-00001.parquet"] = _parquet(table, features)
        if name == "train":
            files["unsplit/train-00000-of-00001.parquet"] = _parquet(table, features)
    configs = {
        "split": {name: f"split/{name}-*" for name in ("train", "validation", "test")},
        "unsplit": {"train": "unsplit/train-*"},
    }
    return files | {"README.md": _card(configs, "other", "split")}


@functools.cache
def _sst2_files() -> dict[str, bytes]:
    """Return stanfordnlp/sst2: idx, sentence, label; the labels of its test split are hidden (-1)."""
    from datasets import ClassLabel, Features, Value

    names = ["negative", "positive"]
    features = Features({"idx": Value("int32"), "sentence": Value("string"), "label": ClassLabel(names=names)})
    files = {}
    for name in ("train", "validation", "test"):
        rows = _split(name)
        rows = rows[rows["sentiment"].isin(names)]
        labels = [-1 if name == "test" else names.index(sentiment) for sentiment in rows["sentiment"]]
        table = {
            "idx": list(range(len(rows))),
            "sentence": [text.lower() + " " for text in rows["text"]],
            "label": labels,
        }
        files[f"data/{name}-00000-of-00001.parquet"] = _parquet(table, features)
    configs = {"default": {name: f"data/{name}-*" for name in ("train", "validation", "test")}}
    return files | {"README.md": _card(configs, "unknown", "default")}


@functools.cache
def _semeval_files() -> dict[str, bytes]:
    """Return SemEval-2018 Task 1 E-c as the Hub's parquet branch has it: one folder per language, no card, boolean labels."""
    from datasets import Features, Value

    features = Features(
        {"ID": Value("string"), "Tweet": Value("string")} | {name: Value("bool") for name in ELEVEN_EMOTIONS}
    )
    files = {}
    for language in ("arabic", "english", "spanish"):
        for name in ("train", "validation", "test"):
            rows = _split(name)
            table = {"ID": [f"2018-En-{i:05}" for i in range(len(rows))], "Tweet": list(rows["text"])}
            table |= {emotion: [bool(value) for value in rows[emotion]] for emotion in ELEVEN_EMOTIONS}
            files[f"subtask5.{language}/{name}/0000.parquet"] = _parquet(table, features)
    return files


DATASETS = {"dair-ai/emotion": _emotion_files, "stanfordnlp/sst2": _sst2_files}
