"""The whole corpus of files through what people do with a file: train, evaluate and predict, and what notebook 01 reads."""

import corpus_entries  # noqa: F401  fills ENTRIES
import nbformat
import pandas as pd
import pytest
from corpus_of_files import ENTRIES, outcome
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from helpers.exceptions import LONGEST, DataError
from helpers.files import ROOT, read_json

IDS = [entry.name[:40] for entry in ENTRIES]
SETTINGS = ["--epochs", "1", "--batch-size", "32", "--max-length", "16", "--save-model"]
whole_corpus = pytest.mark.parametrize("entry", ENTRIES, ids=IDS)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny random BERT with a token for every byte, so that it knows the words of every file."""
    folder = tmp_path_factory.mktemp("model")
    signs = ["[PAD]", "[UNK]", *ByteLevel.alphabet()]
    bytes_of = Tokenizer(WordLevel({sign: number for number, sign in enumerate(signs)}, unk_token="[UNK]"))
    bytes_of.pre_tokenizer = Sequence([ByteLevel(add_prefix_space=False), Split("", "isolated")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_of, pad_token="[PAD]", unk_token="[UNK]")
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(signs), max_position_embeddings=32, **sizes)).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def command(command):
    """Run the command line in this process; return exit status and output of one that went well, or its one sentence."""

    def run(*arguments) -> tuple[int, str]:
        status, out, err = command(*arguments)
        if status == 0:
            assert err == ""
            return 0, out
        assert status == 2 and err.startswith("Error: ") and err.count("\n") == 1 and len(err) <= LONGEST + 10, err
        return 2, err

    return run


@pytest.mark.long
@whole_corpus
def test_train_evaluate_and_predict(entry, model, command, tmp_path):
    """Half a second each, two minutes in all."""
    folder = tmp_path / "files"
    folder.mkdir()
    found, sizes, _ = outcome(entry, folder)
    path = folder / entry.name
    columns = [part for name, value in entry.options.items() for part in (f"--{name.replace('_', '-')}", value)]
    status, said = command("train", "--model", model, "--dataset", path, "--run-name", "mine", *columns, *SETTINGS)
    run = tmp_path / "runs" / "cli" / "mine"
    if isinstance(found, str):
        assert status == 2 and entry.expected in said and not (run / "model").exists()
        return
    assert status == 0, said
    assert read_json(run / "metrics.json")["sizes"] == sizes
    assert set(found) <= set(read_json(run / "model" / "config.json")["id2label"].values())
    assert command("evaluate", "--model", run)[0] == 0
    status, said = command("evaluate", "--model", run, "--dataset", path, *columns)
    assert status == 2 or "Scored: " in said or "accuracy" in said
    if entry.predicted is not None and not isinstance(entry.predicted, int):
        text_column = columns[columns.index("--text-column") :][:2] if "--text-column" in columns else []
        status, said = command(
            "predict", "--model", run, "--file", path, "--output", tmp_path / "out.csv", *text_column
        )
        assert status == 0, said
        assert len(pd.read_csv(tmp_path / "out.csv", dtype=str)) == sum(sizes.values())


@whole_corpus
def test_notebook_01_reads_what_is_expected_and_says_it(entry, tmp_path, capsys):
    """The notebook's own cells up to the one that reads the data, as if a learner had filled in the parameters.
    A quarter of a second each."""
    notebook = nbformat.read(ROOT / "notebooks" / "01_modernbert_tutorial.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    reads = next(number for number, cell in enumerate(cells) if "data.load_data(" in cell.source)
    parameters = next(number for number, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    found, sizes, _ = outcome(entry, tmp_path)
    filled_in = {"dataset": str(tmp_path / entry.name), "profile": "laptop", **entry.options}
    learner = {"__name__": "__main__"}
    for number, cell in enumerate(cells[: reads + 1]):
        try:
            exec(cell.source, learner)
        except DataError as error:
            several = not isinstance(found, str) and "several labels per text: take notebook 04" in str(error)
            assert number == reads and (several or str(error) == found)
            return
        if number == parameters:
            learner |= filled_in
            learner["run_name"] = tmp_path.name
    assert not isinstance(found, str)
    assert not learner["corpus"].multilabel and dict(learner["corpus"].splits.num_rows) == sizes
    assert f"{sum(sizes.values()):,} of " in capsys.readouterr().out
