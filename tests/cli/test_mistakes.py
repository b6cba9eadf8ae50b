"""What the command line says when something is wrong, and its exit status: 2 for what the user can mend, 1 for our faults.
Everything is tried in a process of its own, in surroundings that differ from a developer's."""

import csv
import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest
from tiny import LABELS, build_model, make_tokenizer, toy_texts

from helpers.cli.app import explain
from helpers.exceptions import LONGEST, AssetError, DataError, shorten
from helpers.files import ROOT
from helpers.models import load_classifier, save


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny backbone `tiny`, a classifier `run` and a table `toy.csv`: what the commands work with."""
    folder = tmp_path_factory.mktemp("place")
    tiny = build_model("bert", folder / "tiny")
    save(load_classifier(str(tiny), LABELS), make_tokenizer(), folder / "run" / "model", max_length=24)
    texts, labels = toy_texts(60)
    with open(folder / "toy.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *zip(texts, [LABELS[i] for i in labels], strict=True)])
    (folder / "file").write_text("no folder")
    return folder


def ask(place, *arguments, stdin=b"", prefix=(), code=None, **variables) -> tuple[int, bytes, str]:
    """Run `python -m helpers …` (or `code`, which ends so) in `place`; return status, standard output, standard error."""
    start = ["-c", textwrap.dedent(code)] if code else ["-m", "helpers"]
    own = {
        "PYTHONPATH": str(ROOT),
        "COURSE_RUNS": str(place / "runs"),
        "COURSE_PROGRESS": "off",
        "OMP_NUM_THREADS": "1",
    }
    command = [*prefix, sys.executable, *start, *map(str, arguments)]
    done = subprocess.run(command, cwd=place, input=stdin, env=os.environ | own | variables, capture_output=True)
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")


def is_one_sentence(err: str) -> bool:
    line = err.removesuffix("\n")
    return "\n" not in line and line.startswith("Error: ") and line.endswith(".") and len(line) <= 300


TRAIN = "train --model ./tiny --dataset toy.csv --epochs 1 --max-length 24"
PREDICT = "predict --model run glad1"
FILE = "predict --model run --file toy.csv --output"
WRONG = {
    TRAIN.replace("toy", "missing"): "There is no file or folder 'missing.csv'",
    TRAIN.replace("./tiny", "./nowhere"): "There is no file or folder './nowhere'",
    TRAIN.replace("./tiny", "toy.csv"): "'toy.csv' is a file: name the folder that it is in",
    "train --model ./tiny": "Missing option '--dataset'. `",
    f"{TRAIN} --epoch 3": "No such option: --epoch",
    f"{TRAIN} --seed x": "Invalid value for '--seed'",
    "trian": "No such command 'trian'",
    f"{TRAIN} --learning-rate 5": "learning_rate=5.0: it must lie between 0 and 1",
    f"{TRAIN} --run-name {'n' * 300}": "is too long a name for this disk: choose a shorter one.",
    "predict --model ./tiny glad1": "is a pretrained model without a trained head",
    f"{PREDICT} --output o.csv": "A file is predicted into a file",
    f"{FILE} file/o.csv": "cannot be a folder, because a part of its path is a file: choose another folder",
    "predict --model run --file no.csv --output o.csv": "There is no file 'no.csv'",
    "evaluate --model run": "does not say on which data it was trained: name some with --dataset.",
    "run 77": "There is no notebook '77'",
    "run 01 -p dataset=missing.csv": "There is no file or folder 'missing.csv'",
    "run 01 -p epochs=0": "epochs=0: it must be a whole number of at least 1.",
    "run 01 -p dataset": "-p dataset: write it as name=value.",
    "serve --run run --port 70000": "port=70000: it must lie between 0 ",
    "serve --run ./nowhere --port 0": "There is no file or folder './nowhere'",
    "serve --run run --port 0 --int8": "run holds no onnx/model_quantized.onnx: write one by `python -m helpers export",
    "serve --run run --port 0 --host no.such.host.invalid": "This machine has no address 'no.such.host.invalid': use",
    "zoo xyzzy": "The zoo has no model 'xyzzy'",
}


# All of them in one process, because each would import torch anew.
ALL = """
    import contextlib, io, json, sys
    from helpers.cli import main
    outcomes = {}
    for asked in json.load(sys.stdin):
        sys.argv, out, err = ["helpers", *asked.split()], io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                outcomes[asked] = [end.code, out.getvalue(), err.getvalue()]
    print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def outcomes(place):
    """What the commands in WRONG said: status, standard output, standard error."""
    status, out, err = ask(place, code=ALL, stdin=json.dumps(list(WRONG)).encode())
    assert status == 0, err
    return json.loads(out)


@pytest.mark.parametrize("asked", WRONG)
def test_a_mistake_is_one_sentence_and_status_2(outcomes, asked):
    status, out, err = outcomes[asked]
    assert (status, out) == (2, "")
    assert is_one_sentence(err) and WRONG[asked] in err


# Folders that may not be written, disks that are full ------------------------------------------------------------------

MOUNT = 'mount -t tmpfs -o {options} none disk && exec "$@"'


def mounted(place, options: str) -> list[str]:
    """Return what a command begins with that shall find a disk of its own in the folder `disk`; skip if none may be had."""
    (place / "disk").mkdir(exist_ok=True)
    prefix = ["unshare", "-rm", "sh", "-c", f"cd '{place}' && {MOUNT.format(options=options)}", "sh"]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    return prefix


@pytest.mark.parametrize("asked", [TRAIN, f"{FILE} disk/o.csv", "run 00 -p model=./tiny -p dataset=toy.csv"])
def test_a_read_only_folder_is_named_with_the_remedy(place, asked):
    status, _, err = ask(place, *asked.split(), prefix=mounted(place, "ro"), COURSE_RUNS="disk")
    assert status == 2 and is_one_sentence(err)
    assert "may not be written or read (no permission, or a read-only disk): choose another folder" in err
    named = {"train": "disk/cli/toy-tiny-seed0", "predict": "disk/o.csv", "run": "disk/00_start_here"}[asked.split()[0]]
    assert f"{named} may not" in err and err.endswith("for runs by setting COURSE_RUNS.\n")


@pytest.mark.parametrize("asked", [TRAIN, f"{FILE} disk/o.csv"])
def test_a_full_disk_is_said_in_a_sentence(place, asked):
    """4 KB: enough for a run's folders, not for weights or 60 rows of predictions."""
    status, _, err = ask(place, *asked.split(), prefix=mounted(place, "size=4k"), COURSE_RUNS="disk/runs")
    assert status == 2 and err.count("\n") == 1 and err.startswith("Error: The disk is full: ") and len(err) <= 300
    assert "and run again" in err


def test_a_run_folder_below_a_file_is_refused(place):
    status, _, err = ask(place, *TRAIN.split(), COURSE_RUNS=str(place / "file" / "runs"))
    assert status == 2 and is_one_sentence(err)
    assert "because a part of its path is a file: choose another folder, for runs by setting COURSE_RUNS." in err


# Without the rights of whoever installed the course: a folder that is not one's own, as the system refuses it.
REFUSED = """
    import pathlib, sys
    make = pathlib.Path.mkdir
    def mkdir(self, *arguments, **options):
        if "closed" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        make(self, *arguments, **options)
    pathlib.Path.mkdir = mkdir
    from helpers.cli import main
    main()
"""


def test_a_folder_of_somebody_else_s_is_refused(place):
    status, _, err = ask(place, *TRAIN.split(), code=REFUSED, COURSE_RUNS=str(place / "closed"))
    assert status == 2 and is_one_sentence(err)
    assert "may not be written or read (no permission, or a read-only disk)" in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_output_that_nobody_can_take_is_said(place):
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "helpers", *PREDICT.split()]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=place, stdout=full, stderr=subprocess.PIPE, env=environment, text=True)
    assert done.returncode == 2 and done.stderr.startswith("Error: The disk is full: ")


# Streams ---------------------------------------------------------------------------------------------------------------

PIPED = b"glad1 glad2\n\xe9t\xe9 glad3\nsour1\n"  # as Windows writes it


@pytest.mark.parametrize("variables", [{}, {"LC_ALL": "C"}], ids=str)
def test_bytes_that_are_no_utf8_name_the_line_and_the_lines_before_are_answered(place, variables):
    status, out, err = ask(place, "predict", "--model", "run", stdin=PIPED, **variables)
    assert status == 2 and is_one_sentence(err)
    assert err.startswith("Error: Line 2 is not UTF-8 (byte 0xe9): ") and "PYTHONIOENCODING=cp1252" in err
    assert [line.split(b"\t")[2] for line in out.splitlines()] == [b"glad1 glad2"]


def test_what_the_locale_says_is_decoded_and_answered_in_it(place):
    status, out, err = ask(place, "predict", "--model", "run", stdin=PIPED, PYTHONIOENCODING="cp1252")
    assert (status, err) == (0, "")
    assert [line.split(b"\t")[2] for line in out.splitlines()] == PIPED.splitlines()


def test_utf16_of_windows_is_refused_and_a_byte_order_mark_is_not_a_word(place):
    status, _, err = ask(place, "predict", "--model", "run", stdin="glad1\n".encode("utf-16"))
    assert status == 2 and "Line 1 is not UTF-8 (byte 0xff)" in err
    status, out, _ = ask(place, "predict", "--model", "run", stdin=b"\xef\xbb\xbfglad1\n")
    assert status == 0 and out.split(b"\t")[2] == b"glad1\n"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_output_never_dies_of_a_character(place, encoding):
    status, out, err = ask(place, "predict", "--model", "run", "glad1 😀 字", PYTHONIOENCODING=encoding)
    assert (status, err) == (0, "")
    assert out.split(b"\t")[2] == b"glad1 ? ?\n"


def test_an_argument_of_undecodable_bytes_is_named(place):
    command = [sys.executable, "-m", "helpers", "predict", "--model", "run", b"\xe9t\xe9"]
    done = subprocess.run(
        command, cwd=place, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith("Error: Line 1 is not UTF-8 (byte 0xe9): ")


# Ours ------------------------------------------------------------------------------------------------------------------

BROKEN = """
    import helpers.deploy.predictor as predictor
    def load(*arguments, **options):
        raise ValueError("a library's words\\nin several lines")
    predictor.Predictor.load = load
    from helpers.cli import main
    main()
"""


def test_a_fault_of_ours_has_status_1_and_says_where_the_traceback_is(place, tmp_path):
    status, out, err = ask(place, *PREDICT.split(), code=BROKEN, TMPDIR=str(tmp_path))
    assert (status, out) == (1, b"") and is_one_sentence(err)
    (file,) = tmp_path.glob("course-error-*.txt")
    assert err == (
        f"Error: This is a fault of the course, not yours (ValueError); its traceback is in {file}: please report it with "
        "that file.\n"
    )
    assert "a library's words\nin several lines" in file.read_text() and "in load" in file.read_text()


def test_what_was_noted_of_an_error_is_said_too():
    error = DataError("x.csv is empty.")
    error.add_note("Nothing that was trained is lost: the model is in runs/x.")
    assert explain(error) == (
        2,
        ["Error: x.csv is empty.", "Nothing that was trained is lost: the model is in runs/x."],
    )
    assert explain(MemoryError())[0] == 2


def test_a_long_sentence_keeps_the_thing_and_the_remedy():
    long = AssetError(f"There is no 'thing': it has {'a, ' * 400}and no more:\nname it with text_column=….")
    assert len(str(long)) == LONGEST < 300 and "\n" not in str(long)
    assert str(long).startswith("There is no 'thing': it has a, ") and str(long).endswith("name it with text_column=….")
    assert shorten("short\n and  sweet.") == "short and sweet."
