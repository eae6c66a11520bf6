"""Stands for wandb's server on this machine: answers what wandb's own program asks of it, and remembers what was said.

It knows runs, their history and files, artifacts by name and digest (the same content is the same artifact, as wandb
promises), and views. Whatever else is asked for gets an empty answer.
"""

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

Values = dict[str, Any]


@dataclass
class Artifact:
    name: str
    digest: str
    kind: str
    made_by: str | None  # run; None: it was used before its run was sent
    committed: bool = False
    used_by: list[str] = field(default_factory=list)


class Server(ThreadingHTTPServer):
    """Listens on a free port of this machine."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = Lock()
        self.runs: dict[str, Values] = {}  # by id: what was upserted last, and what was said of it before
        self.history: dict[str, list[Values]] = {}  # by run: lines of wandb-history.jsonl
        self.artifacts: list[Artifact] = []
        self.uploads: dict[str, bytes] = {}  # by name of the file
        self.views: list[Values] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        """Listen no more."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """wandb closes connections as it likes."""

    def artifact(self, name: str) -> Artifact:
        """The one artifact of this name."""
        [found] = [each for each in self.artifacts if each.name == name]
        return found

    def answer(self, operation: str, said: Values) -> Values:
        """To an operation of GraphQL."""
        said = said.get("input", said)
        with self.lock:
            known = getattr(self, f"_{operation}", None)
            return known(said) if known else {}

    def _UpsertBucket(self, said: Values) -> Values:  # noqa: N802, wandb's name
        run = self.runs.setdefault(said["name"], {})
        inserted = not run
        run |= {name: value for name, value in said.items() if value is not None}
        told = {"id": "QnVja2V0", "name": said["name"], "displayName": run.get("displayName"), "historyLineCount": 0}
        project = {"id": "UHJvamVjdA==", "name": "turnover", "entity": {"id": "RW50aXR5", "name": "me"}}
        return {"upsertBucket": {"bucket": told | {"project": project}, "inserted": inserted}}

    def _ArtifactType(self, said: Values) -> Values:  # noqa: N802
        return {"project": None}  # it has no artifact of this name yet, or of any type

    def _CreateArtifact(self, said: Values) -> Values:  # noqa: N802
        name, digest = said["artifactCollectionName"], said["digest"]
        alike = [i for i, each in enumerate(self.artifacts) if (each.name, each.digest) == (name, digest)]
        if not alike:
            self.artifacts.append(Artifact(name, digest, said["artifactTypeName"], said["runName"]))
        number = alike[0] if alike else len(self.artifacts) - 1
        state = "COMMITTED" if self.artifacts[number].committed else "PENDING"
        told = {"id": str(number), "state": state, "artifactSequence": {"id": "U2Vx", "latestArtifact": None}}
        return {"createArtifact": {"artifact": told}}

    def _CreateArtifactManifest(self, said: Values) -> Values:  # noqa: N802
        file = self._file(f"manifest-{said['artifactID']}")
        return {"createArtifactManifest": {"artifactManifest": {"id": "TWFu", "file": file}}}

    def _CreateArtifactFiles(self, said: Values) -> Values:  # noqa: N802
        told = [
            self._file(each["name"]) | {"artifact": {"id": each["artifactID"]}, "uploadMultipartUrls": None}
            for each in said["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in told]}}}

    def _CommitArtifact(self, said: Values) -> Values:  # noqa: N802
        self.artifacts[int(said["artifactID"])].committed = True
        return {"commitArtifact": {"artifact": {"id": said["artifactID"], "digest": ""}}}

    def _UseArtifact(self, said: Values) -> Values:  # noqa: N802
        self.artifacts[int(said["artifactID"])].used_by.append(said["runName"])
        return {"useArtifact": {"artifact": {"id": said["artifactID"], "digest": "", "aliases": []}}}

    def _CreateRunFiles(self, said: Values) -> Values:  # noqa: N802
        files = [{"name": name, "uploadUrl": self._file(name)["uploadUrl"]} for name in said["files"]]
        return {"createRunFiles": {"runID": said["run"], "uploadHeaders": [], "files": files}}

    def _Viewer(self, said: Values) -> Values:  # noqa: N802
        told = {"id": "VXNlcg==", "entity": "me", "username": "me", "name": "me", "email": "", "admin": False}
        return {"viewer": told | {"flags": "{}", "teams": {"edges": []}}}

    def _UpsertView2(self, said: Values) -> Values:  # noqa: N802
        self.views.append(said)
        return {"upsertView": {"view": {"id": "Vmlldw==", "name": said["name"]}, "inserted": True}}

    def _file(self, name: str) -> Values:
        url = f"{self.url}/upload/{name}"
        return {
            "id": "RmlsZQ==",
            "name": name,
            "displayName": name,
            "uploadUrl": url,
            "uploadHeaders": [],
            "storagePath": "",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        self._reply({})

    def do_PUT(self) -> None:
        self.server.uploads[self.path.removeprefix("/upload/")] = self._body()
        self._reply({})

    def do_POST(self) -> None:
        body = json.loads(self._body() or b"{}")
        if self.path.endswith("/graphql"):
            named = re.search(r"(?:query|mutation)\s+(\w+)", body["query"])
            told = self.server.answer(named[1] if named else "", body.get("variables") or {})
            self._reply({"data": told})
            return
        if self.path.endswith("/file_stream"):
            part = body.get("files", {}).get("wandb-history.jsonl", {"offset": 0, "content": []})
            lines = self.server.history.setdefault(self.path.split("/")[-2], [])
            lines[part["offset"] : part["offset"] + len(part["content"])] = map(json.loads, part["content"])
        self._reply({"exitcode": None, "limits": {}})

    def _body(self) -> bytes:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def _reply(self, value: Values) -> None:
        out = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)


@contextmanager
def serving() -> Iterator[Server]:
    """A server for the length of the block."""
    server = Server()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
