"""A stand-in for the Hugging Face Hub on 127.0.0.1: serves repositories, counts requests, fails on purpose, takes uploads.

It answers what huggingface_hub 1 and 2, transformers 5 and datasets 4 and 5 ask for plain HTTP transfers. What is in it
by default is in `standin_content.py`. In another process (a notebook, `python -m helpers`):

    with StandInHub() as hub:
        subprocess.run([...], env=os.environ | hub.environment(tmp_path / "home"))

In the test's own process pass the address: `HfApi(endpoint=hub.url, token=TOKEN).upload_folder(…)`.
"""

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_standin"  # the only account: uploads need it, and gated repositories open to it
USER = "learner"
LARGE = (".safetensors", ".bin", ".parquet", ".gguf", ".pt", ".pkl")  # kept in LFS, hence with a sha256
FAULTS = ("404", "503", "gated", "cut", "slow", "corrupt")


@dataclass
class Repository:
    """One model or dataset: the files of every commit, and what branch names stand for."""

    kind: str  # "models" or "datasets"
    name: str
    commits: dict[str, dict[str, bytes] | Callable[[], dict[str, bytes]]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    messages: list[str] = field(default_factory=list)  # of uploaded commits

    def files(self, revision: str = "main") -> dict[str, bytes] | None:
        """Return path → content at a branch or commit; a function is called on first use. None if there is none."""
        commit = self.sha(revision)
        if commit is None:
            return None
        if callable(self.commits[commit]):
            self.commits[commit] = self.commits[commit]()
        return self.commits[commit]

    def sha(self, revision: str = "main") -> str | None:
        """Return the commit that `revision` names."""
        commit = self.refs.get(revision, revision)
        return commit if commit in self.commits else None

    def add(self, files, *, sha: str | None = None, ref: str | None = "main", message: str = "") -> str:
        """Make a new commit of `files` (path → content, or a function that returns that) and let `ref` name it."""
        sha = sha or hashlib.sha1(f"{self.name} {len(self.commits)}".encode()).hexdigest()
        self.commits[sha] = files
        if ref:
            self.refs[ref] = sha
        self.messages.append(message)
        return sha


@dataclass(frozen=True)
class Request:
    """One request that arrived, and the status it got."""

    method: str
    path: str
    status: int


class StandInHub:
    """The server. A context manager; `requests` lists what was asked, `repositories` holds what is there."""

    def __init__(self, *, filled: bool = True):
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[Request] = []
        self.blobs: dict[str, bytes] = {}  # uploaded LFS objects by sha256
        self.faults: list[dict] = []
        self.lock = threading.RLock()
        if filled:
            from standin_content import fill

            fill(self)

    def __enter__(self) -> "StandInHub":
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self.server.shutdown()
        self.server.server_close()

    def environment(self, home: str | Path, *, token: str | None = None) -> dict[str, str]:
        """Return the variables that make another process use this Hub, with its caches in the folder `home`."""
        variables = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets counts downloads at another address
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        return variables | ({"HF_TOKEN": token} if token else {})

    def add(self, kind: str, name: str, files, **options) -> Repository:
        """Add a commit to the repository `name` of `kind` ("models" or "datasets"); create it if need be."""
        repository = self.repositories.setdefault((kind, name), Repository(kind, name))
        repository.gated = options.pop("gated", repository.gated)
        repository.add(files, **options)
        return repository

    def fail(self, fault: str, path: str = "", *, times: int = 10**9, seconds: float = 1.0) -> None:
        """Let the next `times` requests whose path contains `path` fail.

        "404", "503" and "gated" answer so; "cut" breaks the connection in the middle of a file; "slow" waits `seconds`
        before it answers; "corrupt" sends a file of the right size with other bytes.
        """
        if fault not in FAULTS:
            raise ValueError(f"fault={fault!r} is unknown: use one of {', '.join(FAULTS)}.")
        self.faults.append({"fault": fault, "path": path, "times": times, "seconds": seconds})

    def count(self, text: str = "", method: str | None = None) -> int:
        """Return how many requests so far had `text` in their path."""
        return sum(text in request.path and method in (None, request.method) for request in self.requests)

    def downloads(self) -> list[str]:
        """Return the paths of the files that were sent."""
        return [r.path for r in self.requests if r.method == "GET" and "/resolve/" in r.path and r.status in (200, 206)]

    def take_fault(self, path: str, faults: tuple[str, ...]) -> dict | None:
        """Return the first of `faults` that is due for `path`, and count it."""
        with self.lock:
            for entry in self.faults:
                if entry["fault"] in faults and entry["path"] in path and entry["times"] > 0:
                    entry["times"] -= 1
                    return entry
        return None


class _Handler(BaseHTTPRequestHandler):
    """Answers requests; every route is a method whose name begins with `_route_`."""

    hub: StandInHub
    protocol_version = "HTTP/1.1"
    ROUTES = (
        ("GET", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)(/revision/(?P<revision>.+))?", "info"),
        ("GET", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/refs", "refs"),
        (
            "GET",
            r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(/(?P<path>.*))?",
            "tree",
        ),
        ("POST", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/paths-info/(?P<revision>[^/]+)", "paths"),
        ("GET", r"/((?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate"),
        ("POST", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/branch/(?P<revision>[^/]+)", "branch"),
        ("POST", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", r"/((?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
        ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "store"),
        ("POST", r"/lfs/(?P<oid>[0-9a-f]{64})/verify", "verify"),
        ("POST", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)", "commit"),
    )
    NEEDS_TOKEN = ("whoami", "create", "branch", "preupload", "batch", "commit")

    def _answer_request(self) -> None:
        self.body, self.status = self._read_body(), 0
        url = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        self.has_token = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        try:
            self._dispatch(url.path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as error:  # a mistake in this file must not look like a network's
            self._send(500, str(error), {"X-Error-Message": f"stand-in: {type(error).__name__}: {error}"})
        self.hub.requests.append(Request(self.command, unquote(url.path), self.status))

    do_GET = do_HEAD = do_POST = do_PUT = _answer_request  # noqa: N815

    def _dispatch(self, path: str) -> None:
        readable = unquote(path)
        if slow := self.hub.take_fault(readable, ("slow",)):
            time.sleep(slow["seconds"])
        if fault := self.hub.take_fault(readable, ("404", "503", "gated")):
            return self._send_fault(fault["fault"])
        for method, pattern, name in self.ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == ("GET" if self.command == "HEAD" else self.command):
                if name in self.NEEDS_TOKEN and not self.has_token:
                    message = "Invalid username or password."
                    return self._send_json({"error": message}, 401, {"X-Error-Message": message})
                with self.hub.lock:
                    given = {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
                    if "name" in given:
                        return self._with_repository(name, **given)
                    return getattr(self, f"_route_{name}")(**given)
        return self._send_json({"error": "Not Found"}, 404)

    def _with_repository(self, route: str, name: str, kind: str = "models", **given) -> None:
        repository = self.hub.repositories.get((kind, name))
        if repository is None:
            return self._send_json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        if repository.gated and not self.has_token and route in ("resolve", "tree", "paths"):
            return self._send_fault("gated")
        if "revision" in given and route not in ("branch", "commit") and repository.sha(given["revision"]) is None:
            return self._send_json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        return getattr(self, f"_route_{route}")(repository, **given)

    # what is read

    def _route_info(self, repository: Repository, revision: str = "main") -> None:
        date = "2026-01-01T00:00:00.000Z"
        known = {"id": repository.name, "modelId": repository.name, "sha": repository.sha(revision), "private": False}
        known |= {"gated": "manual" if repository.gated else False, "tags": [], "createdAt": date, "lastModified": date}
        known["siblings"] = [{"rfilename": path} for path in sorted(repository.files(revision))]
        self._send_json(known)

    def _route_refs(self, repository: Repository) -> None:
        branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": s} for n, s in repository.refs.items()]
        self._send_json({"branches": branches, "converts": [], "tags": []})

    def _route_tree(self, repository: Repository, revision: str, path: str = "") -> None:
        """List one folder, or with `recursive` all below it."""
        prefix, entries = f"{path}/" if path else "", {}
        for name, content in sorted(repository.files(revision).items()):
            if name.startswith(prefix):
                parts = name[len(prefix) :].split("/")
                for depth in range(1, len(parts)):
                    folder = prefix + "/".join(parts[:depth])
                    if depth == 1 or self.query.get("recursive", "").lower() == "true":
                        entries[folder] = _folder_entry(folder)
                if len(parts) == 1 or self.query.get("recursive", "").lower() == "true":
                    entries[name] = _file_entry(name, content)
        if path and not entries:
            return self._send_json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        self._send_json(list(entries.values()))

    def _route_paths(self, repository: Repository, revision: str) -> None:
        if self.headers.get("Content-Type", "").startswith("application/json"):
            wanted = json.loads(self.body)["paths"]
        else:
            wanted = parse_qs(self.body.decode()).get("paths", [])
        files = repository.files(revision)
        folders = {"/".join(name.split("/")[:depth]) for name in files for depth in range(1, name.count("/") + 1)}
        found = [_file_entry(path, files[path]) for path in wanted if path in files]
        self._send_json(found + [_folder_entry(path) for path in wanted if path in folders])

    def _route_resolve(self, repository: Repository, revision: str, path: str) -> None:
        commit, content = repository.sha(revision), repository.files(revision).get(path)
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if content is None:
            return self._send(404, "Entry not found", headers | {"X-Error-Code": "EntryNotFound"})
        entry = _file_entry(path, content)
        headers["ETag"] = f'"{entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]}"'
        if "lfs" in entry:
            headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(content))}
        status, start = 200, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start and self.command == "GET":
            status, headers["Content-Range"] = 206, f"bytes {start[1]}-{len(content) - 1}/{len(content)}"
            content = content[int(start[1]) :]
        cut = corrupt = None
        if self.command == "GET":
            cut = self.hub.take_fault(unquote(self.path), ("cut",))
            corrupt = self.hub.take_fault(unquote(self.path), ("corrupt",))
        if corrupt:
            content = bytes(255 - byte for byte in content)
        self._send(status, content, headers, cut=bool(cut))

    def _route_whoami(self) -> None:
        token = {"displayName": "tests", "role": "write"}
        self._send_json({"type": "user", "name": USER, "orgs": [], "auth": {"accessToken": token}})

    # what is written

    def _route_create(self) -> None:
        wanted = json.loads(self.body)
        name, kind = f"{wanted.get('organization') or USER}/{wanted['name']}", f"{wanted.get('type') or 'model'}s"
        exists = (kind, name) in self.hub.repositories
        if not exists:
            self.hub.add(kind, name, {".gitattributes": b""})
        address = f"{self.hub.url}/{'datasets/' if kind == 'datasets' else ''}{name}"
        self._send_json({"url": address, "name": name, "id": name}, 409 if exists else 200)

    def _route_validate(self) -> None:
        self._send_json({"errors": [], "warnings": []})

    def _route_branch(self, repository: Repository, revision: str) -> None:
        repository.refs.setdefault(revision, repository.refs["main"])
        self._send_json({})

    def _route_preupload(self, repository: Repository, revision: str) -> None:
        answers = []
        for file in json.loads(self.body)["files"]:
            mode = "lfs" if file["path"].endswith(LARGE) or file["size"] > 1_000_000 else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
        self._send_json({"files": answers})

    def _route_batch(self, repository: Repository) -> None:
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            if wanted["oid"] not in self.hub.blobs:
                address = f"{self.hub.url}/lfs/{wanted['oid']}"
                wanted["actions"] = {"upload": {"href": address}, "verify": {"href": f"{address}/verify"}}
            objects.append(wanted)
        self._send_json({"transfer": "basic", "objects": objects})

    def _route_store(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self._send_json({"error": "The content's sha256 is another one."}, 400)
        self.hub.blobs[oid] = self.body
        self._send(200, b"")

    def _route_verify(self, oid: str) -> None:
        self._send_json({}, 200 if oid in self.hub.blobs else 404)

    def _route_commit(self, repository: Repository, revision: str) -> None:
        """Apply a commit: lines of JSON, the first a header, then files, LFS pointers and deletions."""
        files, message = dict(repository.files(revision) or {}), ""
        for line in filter(None, self.body.splitlines()):
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                message = value["summary"]
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            else:
                files = {n: c for n, c in files.items() if n != value["path"] and not n.startswith(value["path"] + "/")}
        sha = repository.add(files, ref=revision, message=message)
        prefix = "datasets/" if repository.kind == "datasets" else ""
        address = f"{self.hub.url}/{prefix}{repository.name}/commit/{sha}"
        self._send_json({"success": True, "commitOid": sha, "commitUrl": address})

    # bytes in and out

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send_fault(self, fault: str) -> None:
        if fault == "gated":
            message = "Access to this repository is restricted. You must have access to it and be authenticated."
            return self._send(401, message, {"X-Error-Code": "GatedRepo", "X-Error-Message": message})
        if fault == "503":
            return self._send(503, "Service Unavailable")
        return self._send(404, "Repository not found", {"X-Error-Code": "RepoNotFound"})

    def _send_json(self, content, status: int = 200, headers: dict | None = None) -> None:
        self._send(status, json.dumps(content), {"Content-Type": "application/json"} | (headers or {}))

    def _send(self, status: int, content: bytes | str, headers: dict | None = None, *, cut: bool = False) -> None:
        content = content.encode() if isinstance(content, str) else content
        self.status = status
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def log_message(self, *arguments) -> None:
        """Stay silent; `requests` has it all."""


def _file_entry(path: str, content: bytes) -> dict:
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry = {"type": "file", "oid": oid, "size": len(content), "path": path}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry


def _folder_entry(path: str) -> dict:
    return {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path}
