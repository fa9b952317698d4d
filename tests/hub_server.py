"""The few endpoints of the Hugging Face Hub that pushing and loading ask for, on this machine, in a thread."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_tests"


class Hub:
    """Repositories by name: their commits, each as files by path; all that was asked."""

    def __init__(self) -> None:
        self.repos: dict[str, list[dict[str, bytes]]] = {}
        self.asked: list[str] = []

    def files(self, name: str) -> dict[str, bytes]:
        return self.repos[name][-1]

    def sha(self, name: str, number: int = -1) -> str:
        number %= len(self.repos[name])
        return hashlib.sha1(f"{name} {number}".encode()).hexdigest()

    def at(self, name: str, revision: str) -> dict[str, bytes] | None:
        known = {self.sha(name, i): files for i, files in enumerate(self.repos.get(name, []))}
        return self.files(name) if revision == "main" and known else known.get(revision)


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _say(self, content, status=200, **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _is_known(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.asked.append(f"{self.command} {path}")
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
            name, (what, *rest) = "/".join(parts[2:4]), parts[4:] or ["revision", "main"]
        else:
            name, (what, *rest) = "/".join(parts[:2]), parts[2:]
        if name not in self.hub.repos or (name.endswith("private") and not self._is_known()):
            return self._say({}, 401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        files = self.hub.at(name, rest[0])
        if files is None:
            return self._say({}, 404, X_Error_Code="RevisionNotFound", X_Error_Message="no such revision")
        sha = self.hub.sha(name) if rest[0] == "main" else rest[0]
        if what == "revision":
            return self._say({"id": name, "sha": sha, "siblings": [{"rfilename": path} for path in files]})
        etags = {path: hashlib.sha1(content).hexdigest() for path, content in files.items()}
        if what == "tree":
            kept = [{"type": "file", "path": p, "size": len(c), "oid": etags[p]} for p, c in files.items()]
            return self._say(kept)
        file = "/".join(rest[1:])
        return self._say(files[file], ETag=f'"{etags[file]}"', X_Repo_Commit=sha)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.asked.append(f"POST {path}")
        if path == "api/validate-yaml":
            return self._say({"errors": [], "warnings": []})
        if not self._is_known():
            return self._say({"error": "Invalid username or password."}, 401)
        if path == "api/repos/create":
            found = json.loads(body)
            name = f"{found['organization']}/{found['name']}"
            self.hub.repos.setdefault(name, [{".gitattributes": b""}])
            return self._say({"url": f"http://{self.headers['Host']}/{name}"})
        name = "/".join(path.split("/")[2:4])
        if "/preupload/" in path:
            found = [{"path": f["path"], "uploadMode": "regular"} for f in json.loads(body)["files"]]
            return self._say({"files": [{**entry, "shouldIgnore": False} for entry in found]})
        self.hub.repos[name].append(self._committed(dict(self.hub.files(name)), body))
        return self._say({"commitUrl": f"http://{self.headers['Host']}/{name}", "commitOid": self.hub.sha(name)})

    def _committed(self, files, body):
        for line in body.splitlines():
            step = json.loads(line)
            if step["key"] == "file":
                files[step["value"]["path"]] = base64.b64decode(step["value"]["content"])
            elif step["key"] == "deletedFile":
                del files[step["value"]["path"]]
        return files


@contextmanager
def running():
    """A hub and its address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
