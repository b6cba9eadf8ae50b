"""Settings for every test, the notebooks' included: no progress bars in outputs, runs in a folder of their own.

The notebooks (`pytest --nbval`) run with the network blocked: in each kernel, sockets lead to this machine only.
"""

import io
import os
import sys
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("COURSE_PROGRESS", "off")
if "COURSE_RUNS" not in os.environ or "PYTEST_XDIST_WORKER" in os.environ:  # a folder for each of several workers
    os.environ["COURSE_RUNS"] = tempfile.mkdtemp(prefix="course-runs-")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# What the shell tells the Hub's libraries (offline, a token, another address, how much to say) is not for the tests: they
# say it themselves. The folder HF_HOME stays: it is only where downloads go, and below it is chosen for the notebooks.
for name in [*os.environ]:
    if name.startswith(("HF_", "HUGGING", "TRANSFORMERS_")) and name != "HF_HOME":
        del os.environ[name]


def pytest_configure(config):
    """Block the network for the kernels that nbval starts, and note what they try; see tests/offline.
    Hide a GPU but from the tests that are about one (`make test-gpu`): all others say the same on every machine."""
    if config.getoption("-m", default="") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    inherited = hasattr(config, "workerinput")  # in a worker of pytest-xdist
    if config.getoption("--nbval", default=False) and not inherited:
        offline = Path(__file__).resolve().parent / "tests" / "offline"
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(offline), os.environ.get("PYTHONPATH")]))
        os.environ["COURSE_NETWORK_LOG"] = str(Path(tempfile.mkdtemp(prefix="course-network-")) / "attempts.txt")
        os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="course-hf-")  # nothing that was downloaded earlier


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run the command line in this process, with runs in a folder of the test's; return exit status, standard output and
    standard error. `stdin` is a text, or what stands for the terminal."""
    from helpers.cli import main  # here, so that the notebooks' sessions do without

    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("COURSE_PROGRESS", "off")

    def run(*arguments, stdin=""):
        monkeypatch.setattr(sys, "argv", ["helpers", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", stdin if isinstance(stdin, io.StringIO) else io.StringIO(stdin))
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        return exit_.value.code or 0, out, err

    return run


def pytest_sessionfinish(session):
    """Fail if a notebook tried to reach another machine, even one that went on without it."""
    log = Path(os.environ.get("COURSE_NETWORK_LOG", "does-not-exist"))
    if session.config.getoption("--nbval", default=False) and log.exists():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\n\nFAILED: the laptop profile must not need a network, but:\n{log.read_text(encoding='utf-8')}")
