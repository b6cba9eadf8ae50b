"""Drift guards: every name and keyword that the course uses of a fast-moving library exists in the installed version.

They are read from the source with `ast`, the notebooks' cells included: a keyword that was renamed shows within seconds,
even where only a GPU or the Hub would ever have met it.
"""

import ast
import importlib
import inspect
import re
from functools import cache, reduce
from pathlib import Path

import nbformat
import pytest
from jinja2 import Environment, meta
from lowest_versions import REQUIREMENTS, lower_bounds, untrue_bounds
from packaging.version import Version

from helpers.course.notebooks import find_notebooks
from helpers.deploy.publish import TEMPLATE
from helpers.files import ROOT

LIBRARIES = (
    "accelerate", "captum", "cleanlab", "datasets", "huggingface_hub", "nbclient", "papermill", "peft", "safetensors",
    "transformers",
)  # fmt: skip
# What a variable or attribute of this name holds wherever the course has one; its type stands nowhere in the source.
HOLDS = {
    "accelerator": "accelerate.Accelerator()",
    "backbone": "transformers.LlamaForCausalLM()",  # what a decoder that writes takes; encoders take less
    "tokenizer": "transformers.PreTrainedTokenizerBase()",
}
# What takes any keyword, and who reads it: there the name must be a parameter, a trait, or stand in quotes in the source.
# A template's readers are its own variables.
READERS = {
    "nbclient.NotebookClient": ["nbclient.NotebookClient"],
    "papermill.execute_notebook": ["nbclient.NotebookClient"],  # what papermill does not know goes to its client
    "huggingface_hub.ModelCard.from_template": [TEMPLATE],
    "transformers.BertForSequenceClassification._from_config": ["transformers.PreTrainedModel._from_config"],
    "transformers.AutoConfig.from_pretrained": ["transformers.PreTrainedConfig._get_config_dict"],
    "transformers.AutoModel.from_config": ["transformers.PreTrainedModel._from_config"],
    "transformers.AutoModel.from_pretrained": ["transformers.PreTrainedModel.from_pretrained"],
    "transformers.AutoModelForCausalLM.from_pretrained": ["transformers.PreTrainedModel.from_pretrained"],
    "transformers.AutoModelForSequenceClassification.from_pretrained": ["transformers.PreTrainedModel.from_pretrained"],
    "transformers.pipeline": ["transformers.TextClassificationPipeline._sanitize_parameters"],
    "transformers.PreTrainedConfig.get_config_dict": ["transformers.PreTrainedConfig._get_config_dict"],
    "transformers.PreTrainedTokenizerBase().__call__": [
        "transformers.tokenization_utils_tokenizers.TokenizersBackend._encode_plus"
    ],
    "transformers.utils.cached_file": ["transformers.utils.hub.cached_files"],
    "transformers.utils.find_adapter_config_file": ["transformers.utils.peft_utils.find_adapter_config_file"],
    "peft.PeftModel.from_pretrained": ["huggingface_hub.hf_hub_download"],
    "transformers.AutoTokenizer.from_pretrained": ["transformers.PreTrainedTokenizerBase.from_pretrained"],
    "transformers.LlamaForCausalLM().__call__": [
        f"transformers.{kind}ForCausalLM.forward" for kind in ("Llama", "Qwen2", "Qwen3", "Mistral", "Gemma2")
    ],
    "transformers.LlamaForCausalLM().generate": ["transformers.GenerationConfig.__init__"],
}


def sources() -> dict[str, ast.Module]:
    """Return the syntax tree of every helper and of every notebook's code cells."""
    texts = {
        str(path.relative_to(ROOT / "helpers")): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "helpers").rglob("*.py"))
    }
    for path in find_notebooks():
        cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        texts[path.name] = "\n".join(cells)
    return {name: ast.parse(text) for name, text in texts.items()}


SOURCES = sources()


@cache
def look_up(path: str):
    """Return the object that a dotted path names; "library.Class()" stands for an instance, looked up in its class."""
    path = path.replace("()", "")
    for end in range(len(parts := path.split(".")), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[end:], module)  # AttributeError: the library has no such thing
    raise ModuleNotFoundError(path)


def imported(tree: ast.Module) -> dict[str, str]:
    """Return name → dotted path of what `tree` imports from `LIBRARIES`, at its top or inside a function."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return {name: path for name, path in found.items() if path.split(".")[0] in LIBRARIES}


def path_of(node: ast.expr, names: dict[str, str]) -> str | None:
    """Return the dotted path of what an expression stands for, as far as imports and `HOLDS` tell; else None."""
    if isinstance(node, ast.Name):
        return names.get(node.id) or HOLDS.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = path_of(node.value, names) or ""
        return f"{owner}.{node.attr}" if owner and "()." not in owner else HOLDS.get(node.attr)
    if isinstance(node, ast.Call):
        made = path_of(node.func, names)
        return f"{made}()" if made and "()" not in made and inspect.isclass(look_up(made)) else None
    return None


def find_calls(tree: ast.Module) -> list[tuple[str, int, list[str]]]:
    """Return dotted path, line and keywords of every call of something from `LIBRARIES`."""
    names = imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call):
            made = path_of(node.value, names)  # api = HfApi()
            names |= {node.targets[0].id: made} if made else {}
    calls = [(path_of(node.func, names), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        (f"{path}.__call__" if path.endswith("()") else path, node.lineno, [k.arg for k in node.keywords if k.arg])
        for path, node in calls
        if path
    ]


def parameters_of(thing) -> set[str]:
    """Return the names of a function's parameters; those of a class of traits are its traits."""
    if inspect.isfunction(thing):  # Accelerate's decorators hide the function, and its signature with it
        thing = inspect.getclosurevars(thing).nonlocals.get("function", thing)
    traits = thing.class_trait_names() if hasattr(thing, "class_trait_names") else []
    return {*inspect.signature(thing).parameters, *traits}


def knows(reader, keyword: str) -> bool:
    if isinstance(reader, Path):
        return keyword in meta.find_undeclared_variables(Environment().parse(reader.read_text(encoding="utf-8")))
    return keyword in parameters_of(reader) or (
        inspect.isroutine(reader) and re.search(rf"""["']{keyword}["']""", inspect.getsource(reader)) is not None
    )


def find_drift(tree: ast.Module) -> list[str]:
    """Return a sentence per name that the installed library lacks and per keyword that it does not take."""
    drifted = []
    for path in imported(tree).values():
        try:
            look_up(path)
        except (AttributeError, ModuleNotFoundError):
            drifted.append(f"{path} is no more")
    for path, line, keywords in [] if drifted else find_calls(tree):
        try:
            thing = look_up(path)
        except AttributeError:
            drifted.append(f"line {line}: {path} is no more")
            continue
        readers = [r if isinstance(r, Path) else look_up(r) for r in READERS.get(path, [])]
        for keyword in set(keywords) - (parameters_of(thing) if keywords else set()):
            if not readers or not all(knows(reader, keyword) for reader in readers):
                drifted.append(f"line {line}: {path} knows no {keyword}")
    return drifted


@pytest.mark.parametrize("name", SOURCES)
def test_every_name_and_keyword_exists(name):
    assert find_drift(SOURCES[name]) == []


def test_the_scan_sees_what_the_course_calls():
    calls = [call for tree in SOURCES.values() for call in find_calls(tree)]
    assert sum(len(keywords) for *_, keywords in calls) > 60
    assert {path.split(".")[0] for path, *_ in calls} == set(LIBRARIES)
    assert {path for path, _, keywords in calls if keywords} >= {
        "accelerate.Accelerator",
        "datasets.load_dataset",
        "huggingface_hub.HfApi().upload_folder",
        "papermill.execute_notebook",
        "peft.LoraConfig",
        "transformers.AutoModel.from_pretrained",
        "transformers.PreTrainedTokenizerBase().__call__",
    }


@pytest.mark.parametrize(
    "source, found",
    [
        ("from peft import LoraConfig\nLoraConfig(r=8, lora_alfa=16)", "line 2: peft.LoraConfig knows no lora_alfa"),
        (
            "def f():\n    import papermill as p\n    p.execute_notebook('a', nope=1)",
            "papermill.execute_notebook knows no",
        ),
        ("from transformers import AutoModel\nAutoModel.from_pretrained('a', dtyp=1)", "from_pretrained knows no dtyp"),
        (
            "from transformers import TrainingArguments\nTrainingArguments(evaluation_strategy='no')",
            "knows no evaluation",
        ),
        ("from nbclient import NotebookClient\nNotebookClient(None, time_out=1)", "NotebookClient knows no time_out"),
        (
            "from huggingface_hub import HfApi\napi = HfApi()\napi.create_repo('a', privat=1)",
            "create_repo knows no privat",
        ),
        (
            "from huggingface_hub import ModelCard\nModelCard.from_template(None, template_path='', titel=1)",
            "from_template knows no titel",
        ),
        ("from huggingface_hub import HfApi\nHfApi().create_repos('a')", "HfApi().create_repos is no more"),
        ("accelerator.log({}, steps=1)", "Accelerator().log knows no steps"),
        ("self.tokenizer('a', truncate=True)", "__call__ knows no truncate"),
        ("output = classifier.backbone(input_id=1)", "__call__ knows no input_id"),
        ("from datasets import Sequences", "datasets.Sequences is no more"),
        ("from peft.old import LoraConfig", "peft.old.LoraConfig is no more"),
    ],
)
def test_the_guard_finds(source, found):
    (sentence,) = find_drift(ast.parse(source))
    assert found in sentence


def test_the_guard_leaves_other_code_alone():
    assert find_drift(ast.parse("import pandas\npandas.read_csv('a', nope=1)\nprint(f(nope=1))\nx.log(steps=1)")) == []


def test_every_requirement_has_a_lower_bound_that_the_tested_set_respects():
    tested = dict(
        line.lower().replace("_", "-").split("==") for line in (ROOT / "constraints.txt").read_text().splitlines()[1:]
    )
    bounds = lower_bounds()
    lines = [line.split("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines()]
    assert len(bounds) == len([line for line in lines if line])
    assert all(Version(low) <= Version(tested[name]) for name, low in bounds.items())


def test_a_bound_below_what_can_be_installed_is_found():
    installed = {"captum": "0.9.0", "safetensors": "0.6.1", "torch": "2.6.0+cu124", "tqdm": "4.67.0"}
    bounds = {"captum": "0.8", "safetensors": "0.6", "torch": "2.6", "tqdm": "4.67.0"}
    assert untrue_bounds(bounds, installed) == ["captum>=0.8: the lowest that can be installed is 0.9.0"]
