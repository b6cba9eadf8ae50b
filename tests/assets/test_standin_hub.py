"""The stand-in Hub does what the Hub does, as far as the libraries that ask can tell."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from standin_content import DATASETS, DECODERS, ENCODERS, GATED
from standin_hub import TOKEN, StandInHub

from helpers.assets.find import read_manifest, read_pinned
from helpers.assets.zoo import read_rows
from helpers.files import ROOT

PINNED = [*read_manifest()["hub"], *(row["hub_id"] for row in read_rows() if row["revision"])]
HUB = {name: read_pinned(name) for name in PINNED}


@pytest.fixture(scope="module")
def hub():
    with StandInHub() as hub:
        yield hub


@pytest.fixture
def small_hub():
    with StandInHub(filled=False) as hub:
        hub.add(
            "models",
            "owner/model",
            {"config.json": b"{}", "model.safetensors": b"0123456789" * 1000, "a/b/c.txt": b"c"},
        )
        yield hub


def run_python(code: str, hub, home, **options) -> str:
    """Return what `code` prints in a process of its own that knows no Hub but `hub`."""
    environment = os.environ | hub.environment(home, **options) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", HUB)
def test_every_pinned_repository_of_the_course_is_there(name, hub):
    """A new entry in data/assets.toml or data/zoo.csv needs a stand-in in standin_content.py: without one no notebook can be rehearsed."""
    repository = hub.repositories.get((f"{HUB[name]['type']}s", name))
    assert repository is not None, f"add {name} to tests/standin_content.py"
    assert repository.sha(HUB[name]["revision"])


def test_every_model_and_dataset_loads_by_its_true_name(hub, tmp_path):
    """One process for all of them: about 15 s, most of it importing transformers."""
    code = f"""
import torch
from datasets import load_dataset
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
for name in {[*ENCODERS, *DECODERS]}:
    tokenizer = AutoTokenizer.from_pretrained(name)
    ids = tokenizer("I was gobsmacked!", return_tensors="pt")["input_ids"]
    auto = AutoModelForCausalLM if name in {list(DECODERS)} else AutoModel
    model = auto.from_pretrained(name)
    print(name, model.config.model_type, ids.shape[1] < 25, bool(model(ids)[0].isfinite().all()))
for name in {list(DATASETS)}:
    loaded = load_dataset(name)
    print(name, {{split: sorted(set(rows["label"])) for split, rows in loaded.items()}})
rows = load_dataset("SemEvalWorkshop/sem_eval_2018_task_1", revision="refs/convert/parquet", data_dir="subtask5.english")
print(rows["test"].num_rows, rows["train"].column_names)
"""
    lines = run_python(code, hub, tmp_path, token=TOKEN).splitlines()
    models = {name: rest.split() for name, rest in (line.split(" ", 1) for line in lines[: len(ENCODERS | DECODERS)])}
    assert models == {name: [kind, "True", "True"] for name, kind in (ENCODERS | DECODERS).items()}
    assert "'train': [0, 1, 2, 3, 4, 5]" in lines[-3] and "'test': [-1]" in lines[-2]
    assert "['ID', 'Tweet', 'anger'" in lines[-1]


def test_files_revisions_and_folders_are_served(small_hub, tmp_path):
    repository = small_hub.add("models", "owner/model", {"config.json": b'{"new": 1}'}, ref="branch")
    folder = snapshot_download("owner/model", endpoint=small_hub.url, cache_dir=tmp_path)
    assert Path(folder, "a/b/c.txt").read_text() == "c"
    assert os.path.basename(folder) == repository.sha("main")
    newer = hf_hub_download("owner/model", "config.json", revision="branch", endpoint=small_hub.url, cache_dir=tmp_path)
    assert Path(newer).read_text() == '{"new": 1}'
    api = HfApi(endpoint=small_hub.url)
    assert [file.path for file in api.list_repo_tree("owner/model")] == ["a", "config.json", "model.safetensors"]
    assert len(api.list_repo_files("owner/model")) == 3
    assert api.get_paths_info("owner/model", ["a", "config.json"])[1].path == "a"
    with pytest.raises(RevisionNotFoundError):
        api.model_info("owner/model", revision="nowhere")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("owner/other")


def test_requests_are_counted_and_nothing_is_downloaded_twice(small_hub, tmp_path):
    for _ in range(2):
        snapshot_download("owner/model", endpoint=small_hub.url, cache_dir=tmp_path)
    assert sorted(path.rsplit("/", 1)[1] for path in small_hub.downloads()) == [
        "c.txt",
        "config.json",
        "model.safetensors",
    ]
    assert small_hub.count("/api/models/owner/model", "GET") >= 2


@pytest.mark.parametrize(
    "fault, error", [("404", RepositoryNotFoundError), ("gated", GatedRepoError), ("503", HfHubHTTPError)]
)
def test_a_repository_fails_on_purpose(fault, error, small_hub):
    small_hub.fail(fault, "owner/model", times=1)
    with pytest.raises(error):
        HfApi(endpoint=small_hub.url).model_info("owner/model")
    assert HfApi(endpoint=small_hub.url).model_info("owner/model").id == "owner/model"  # it happened once


def test_a_cut_connection_is_tried_again(small_hub, tmp_path):
    small_hub.fail("cut", "model.safetensors", times=1)
    path = hf_hub_download("owner/model", "model.safetensors", endpoint=small_hub.url, cache_dir=tmp_path)
    assert Path(path).read_bytes() == b"0123456789" * 1000
    assert len(small_hub.downloads()) == 2


def test_a_download_may_begin_in_the_middle(small_hub):
    address = f"{small_hub.url}/owner/model/resolve/main/model.safetensors"
    with urlopen(Request(address, headers={"Range": "bytes=9995-"})) as answer:
        assert (answer.status, answer.read()) == (206, b"56789")


def test_a_corrupt_file_has_the_right_size_and_other_bytes(small_hub, tmp_path):
    small_hub.fail("corrupt", "model.safetensors")
    path = hf_hub_download("owner/model", "model.safetensors", endpoint=small_hub.url, cache_dir=tmp_path)
    content = Path(path).read_bytes()
    assert len(content) == 10_000 and content != b"0123456789" * 1000


def test_gated_repositories_open_to_the_token_alone(hub, tmp_path):
    name = GATED[0]
    with pytest.raises(GatedRepoError):
        hf_hub_download(name, "config.json", endpoint=hub.url, cache_dir=tmp_path, token=False)
    assert hf_hub_download(name, "config.json", endpoint=hub.url, cache_dir=tmp_path, token=TOKEN)


def test_uploads_arrive_large_files_included_and_need_the_token(small_hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # what the variable does
    (tmp_path / "model.safetensors").write_bytes(b"weights" * 1000)
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    with pytest.raises(HfHubHTTPError):
        HfApi(endpoint=small_hub.url, token="hf_other").create_repo("learner/new")
    api = HfApi(endpoint=small_hub.url, token=TOKEN)
    assert api.create_repo("new").repo_id == "learner/new"
    api.create_repo("new", exist_ok=True)
    api.upload_folder(repo_id="learner/new", folder_path=tmp_path, commit_message="First")
    repository = small_hub.repositories["models", "learner/new"]
    assert repository.files()["model.safetensors"] == b"weights" * 1000
    assert repository.files()["README.md"].endswith(b"# A model\n")
    assert repository.messages[-1] == "First"


def test_push_to_hub_of_transformers_comes_back_the_same(small_hub, tmp_path):
    code = """
import torch
from transformers import AutoModel, BertConfig, BertModel
model = BertModel(BertConfig(vocab_size=30, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2))
model.push_to_hub("learner/pushed")
again = AutoModel.from_pretrained("learner/pushed")
print(all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True)))
"""
    assert run_python(code, small_hub, tmp_path, token=TOKEN).strip().endswith("True")
    assert set(small_hub.repositories["models", "learner/pushed"].files()) >= {
        "config.json",
        "model.safetensors",
        "README.md",
    }
