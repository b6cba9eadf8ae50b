"""Notebook 06: its own prompt, mask, automaton and scores against the library's, its flaws, and the notebook as a batch job."""

import ast
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from headless import reduced_parameters, run_beside_hub
from standin_hub import StandInHub
from test_kaggle import write_competition
from tiny import FP32, build_writer
from torch.nn import functional as F

from helpers import generation, models
from helpers.files import ROOT

NOTEBOOK = ROOT / "notebooks" / "06_generative_labels.ipynb"
NAMES = ["calm", "glad", "sour"]  # of the tiny tokenizer, one token each
TEXTS = ["calm0 word1 word2", "glad3 sour1", "word7", "sour2 sour2 calm1 word9 word11"]


def define(*names, **namespace) -> dict:
    """Return `namespace` with the functions of these `names` as the notebook's cells define them."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    trees = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code"]
    found = {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name in names:
        found[name].args.defaults = [
            node if isinstance(node, ast.Constant | ast.Tuple) else ast.Constant(None)
            for node in found[name].args.defaults
        ]
    space = {"torch": torch, "F": F, "np": np, "generation": generation, **namespace}
    exec(
        compile(ast.fix_missing_locations(ast.Module([found[name] for name in names], [])), NOTEBOOK.name, "exec"),
        space,
    )
    return space


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_writer(tmp_path_factory.mktemp("writer"))


@pytest.fixture(scope="module")
def tokenizer(folder):
    return generation.read_as_text(models.load_tokenizer(str(folder)))


@pytest.fixture
def writer(folder):
    return generation.load_writer(str(folder), NAMES, multilabel=True, device=FP32, rank=4).eval()


def test_the_prompt_by_hand_is_the_template_s(tokenizer):
    instruction = generation.write_instruction(NAMES)
    ask = define("ask_in_chat")["ask_in_chat"]
    for text in ("plain", "with <|im_end|>", "two\nlines", "😊 'quoted' \"twice\"", ""):
        whole = generation.make_prompt(tokenizer, NAMES).fill(text)
        assert ask(instruction, text).rstrip("\n") == whole.rstrip("\n")  # jinja drops a template's last line break


@pytest.mark.parametrize(
    "words",
    [
        ((5,), (6,), (7,), (8,)),
        ((5,), (5, 6), (5, 6, 7), (8,)),  # labels that begin with each other
        ((5, 9), (5,), (9, 5), (5, 8)),
    ],
)
def test_the_automaton_by_hand_allows_the_answers_and_no_others(words):
    """Three labels and "none": every answer is written down; after each beginning, just what one goes on with."""
    end, comma, after = 0, (1,), {}
    allow = define("allow", words=words, end=end, comma=comma, last=3)["allow"]
    for row in np.ndindex(2, 2, 2):
        said = [words[k] for k in np.flatnonzero(row)] or [words[3]]
        ids = list(said[0])
        for word in said[1:]:
            ids += [*comma, *word]
        ids.append(end)
        for k in range(len(ids)):
            after.setdefault(tuple(ids[:k]), set()).add(ids[k])
    assert all(set(allow(beginning)) == may for beginning, may in after.items())


def test_the_automaton_by_hand_is_the_library_s(tokenizer):
    answers = generation.make_answers(tokenizer, NAMES)
    allow = define("allow", words=answers.pieces, end=answers.end, comma=answers.comma, last=3)["allow"]
    for row in np.ndindex(2, 2, 2):
        ids = answers.encode(np.array(row))
        assert all(allow(ids[:k]) == answers.allowed(ids[:k]) for k in range(len(ids)))


def test_the_loss_of_the_answer_by_hand_is_the_library_s(tokenizer, writer):
    losses, prompt = define("token_losses", hardware=SimpleNamespace(kind="cpu"))["token_losses"], writer.prompt
    rows = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]])
    writer.score_weight, by_hand = 0, []
    for text, row in zip(TEXTS, rows, strict=True):
        given, wanted = generation.encode_prompt(prompt, text, tokenizer), writer.answers.encode(row)
        by_hand.append(losses(writer, given + wanted)[len(given) - 1 :].sum().item())
    batch = models.collate(models.encode_texts(TEXTS, tokenizer, 64, rows.astype(float)), range(4), "cpu")
    with torch.no_grad():
        assert writer(**batch).loss.item() == pytest.approx(np.mean(by_hand), rel=1e-4)


def test_stick_breaking_by_hand_is_the_library_s():
    z = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    mine = define("break_stick")["break_stick"](z)
    assert torch.allclose(mine, generation.break_stick(z), atol=1e-5)
    p, left = torch.sigmoid(mine), torch.cumprod(1 - torch.sigmoid(mine), dim=1)
    begins = p * torch.cat([torch.ones(5, 1), left[:, :-1]], dim=1)
    assert torch.allclose(begins, torch.softmax(z, dim=1)[:, :-1], atol=1e-5), "what section 6 calls 'begins with it'"


def test_the_flaws_are_the_flaws():
    space = define("flaw_e", "flaw_f", names=["joy", "love", "trust"])
    answers = [None, "joy", "love", "joy, trust"]
    shifted = space["flaw_e"](answers)
    assert [row.tolist() for row in shifted] == [[1, 0, 0], [0, 1, 0], [1, 0, 1], [1, 0, 0]], "each moved up by one"
    found = space["flaw_f"](["I enjoy it, without a trace of love", "none"])
    assert [row.tolist() for row in found] == [[1, 1, 0], [0, 0, 0]]


def test_padding_on_the_right_is_a_mistake_and_on_the_left_is_none(tokenizer, writer):
    ids_of = lambda text: generation.encode_prompt(writer.prompt, text, tokenizer)  # noqa: E731
    space = {"tokenizer": tokenizer, "writer": writer, "ids_of": ids_of, "answers": writer.answers}
    space |= {"hardware": SimpleNamespace(kind="cpu"), "end": writer.answers.end}
    decode = define("decode", **space)["decode"]
    alone = [decode([text])[0] for text in TEXTS]
    assert decode(TEXTS) == alone == [decode([text], use_cache=False)[0] for text in TEXTS]
    assert decode(TEXTS, "right") != alone


# The notebook as a batch job ---------------------------------------------------------------------------------------------


def run_06(hub, folder, **parameters):
    return run_beside_hub(NOTEBOOK, hub, folder, reduced_parameters(NOTEBOOK, profile="gpu", **parameters))


def test_answers_are_valid_and_the_run_is_recorded_whole(tmp_path):
    with StandInHub() as hub:
        data = str(write_competition(tmp_path / "competition"))
        done, record = run_06(hub, tmp_path, dataset=data, rank=4)
        assert done.returncode == 0, done.terminal[-3000:]
    assert record["method"] == "generate" and record["valid_share"] == 1.0
    assert 0 < record["parameters_trainable"] < record["parameters_total"]
    executed = done.executed.read_text(encoding="utf-8")
    assert "the library's loss is ours: True" in executed
    assert "allow them, and no others: True" in executed


def test_one_label_per_text_is_refused_in_one_sentence(tmp_path):
    with StandInHub(filled=True) as hub:
        done, _ = run_06(hub, tmp_path, dataset="moments", label_column="emotion")
    assert done.returncode != 0 and "has one label per text: take notebook 01" in done.terminal
