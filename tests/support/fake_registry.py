"""A registry that behaves as a test says: well, badly, maliciously. Loopback, a thread, nothing on disk."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.images import MadeImage


class FakeRegistry:
    """`manifests`: tag or digest -> (type, bytes); `blobs`. What goes wrong is set by a test:
    `cut_after`: bytes of a blob after which the connection breaks, so often as `cuts` says; `ignores_range`;
    `busy`: so many answers of 503 first; `redirect_blobs_to`: a base address; `token`: Bearer with this
    token; `users`: name -> password, for the token server at /token, or for Basic with `basic`; `catalog`:
    names, in pages of two; `index`: what a search by /v1/search answers."""

    def __init__(self) -> None:
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.cut_after, self.cuts, self.busy = 0, 0, 0
        self.ignores_range = False
        self.redirect_blobs_to = ""
        self.token = ""
        self.basic = False
        self.users: dict[str, str] = {}
        self.catalog: list[str] = []
        self.index: list[dict[str, Any]] | None = None
        self.uploads: dict[str, bytes] = {}
        self.upload_failures = 0
        self.address = ""

    def add(self, image: MadeImage, tag: str) -> None:
        self.blobs.update(image.blobs)
        self.manifests[tag] = self.manifests[image.digest] = (image.media_type, image.manifest)

    def add_manifest(self, tag: str, media_type: str, data: bytes) -> None:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.manifests[tag] = self.manifests[digest] = (media_type, data)

    def asked(self, method: str, part: str) -> list[dict[str, str]]:
        """The headers of all such requests."""
        return [headers for verb, path, headers in self.requests if verb == method and part in path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: FakeRegistry

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status: int, code: str, **headers: str) -> None:
        text = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]})
        self.answer(status, text.encode(), **headers)

    def handle_any(self) -> None:
        registry = self.registry
        registry.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urllib.parse.urlsplit(self.path)
        if parts.path == "/token":
            self.give_token(parts.query)
            return
        if registry.busy:
            registry.busy -= 1
            self.answer(503, Retry_After="0")
            return
        if not self.is_allowed():
            challenge = 'Basic realm="test"'
            if not registry.basic:
                challenge = f'Bearer realm="http://{registry.address}/token",service="test"'
            self.refuse(401, "UNAUTHORIZED", WWW_Authenticate=challenge)
            return
        self.route(parts)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = handle_any

    def is_allowed(self) -> bool:
        given = self.headers.get("Authorization", "")
        if self.registry.basic:
            return given.startswith("Basic ") and self.is_user(given)
        return not self.registry.token or given == f"Bearer {self.registry.token}"

    def is_user(self, given: str) -> bool:
        name, _, password = base64.b64decode(given.partition(" ")[2]).decode().partition(":")
        return name in self.registry.users and self.registry.users[name] == password

    def give_token(self, query: str) -> None:
        given = self.headers.get("Authorization", "")
        form = dict(urllib.parse.parse_qsl(self.body.decode()))
        refreshed = form.get("grant_type") == "refresh_token" and form.get("refresh_token") == "again"
        if self.registry.users and not refreshed and not (given and self.is_user(given)):
            self.refuse(401, "UNAUTHORIZED")
            return
        self.answer(200, json.dumps({"access_token": self.registry.token, "expires_in": 300}).encode())

    def route(self, parts: urllib.parse.SplitResult) -> None:
        registry = self.registry
        kind, _, name = parts.path.rpartition("/")
        if parts.path == "/v2/":
            self.answer(200, b"{}")
        elif parts.path == "/v2/_catalog":
            self.give_catalog(dict(urllib.parse.parse_qsl(parts.query)).get("last", ""))
        elif parts.path == "/v1/search" and registry.index is not None:
            self.answer(200, json.dumps({"results": registry.index}).encode())
        elif "/uploads" in parts.path:
            self.upload(parts)
        elif kind.endswith("/manifests"):
            if self.command == "PUT":
                registry.add_manifest(name, self.headers.get("Content-Type", ""), self.body)
                self.answer(201)
            elif name in registry.manifests:
                media_type, data = registry.manifests[name]
                self.answer(200, data, Content_Type=media_type)
            else:
                self.refuse(404, "MANIFEST_UNKNOWN")
        elif kind.endswith("/blobs") and registry.redirect_blobs_to and self.command == "GET":
            self.answer(307, Location=f"{registry.redirect_blobs_to}{parts.path}")
        elif kind.endswith("/blobs") and name in registry.blobs:
            self.blob(registry.blobs[name])
        else:
            self.refuse(404, "BLOB_UNKNOWN")

    def give_catalog(self, last: str) -> None:
        rest = [name for name in sorted(self.registry.catalog) if name > last]
        more = {"Link": f'</v2/_catalog?last={rest[1]}>; rel="next"'} if len(rest) > 2 else {}
        self.answer(200, json.dumps({"repositories": rest[:2]}).encode(), **more)

    def blob(self, data: bytes) -> None:
        registry, start, status, headers = self.registry, 0, 200, {}
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and not registry.ignores_range:
            start, status = int(asked[6:].partition("-")[0]), 206
            headers["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if registry.cuts and self.command == "GET":
            registry.cuts -= 1
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start : start + registry.cut_after])
            self.wfile.flush()
            self.close_connection = True
            return
        self.answer(status, data[start:], **headers)

    def upload(self, parts: urllib.parse.SplitResult) -> None:
        """In chunks, as the specification has it; a chunk that is not where it should be is 416."""
        registry = self.registry
        if self.command == "POST":
            registry.uploads["one"] = b""
            self.answer(202, Location="/v2/x/blobs/uploads/one?state=0", Range="0-0")
        elif self.command == "PATCH":
            if registry.upload_failures:
                registry.upload_failures -= 1
                registry.uploads["one"] += self.body[: len(self.body) // 2]
                self.close_connection = True
                self.connection.close()
                return
            start = int(self.headers["Content-Range"].partition("-")[0])
            if start != len(registry.uploads["one"]):
                self.refuse(416, "BLOB_UPLOAD_INVALID")
                return
            registry.uploads["one"] += self.body
            end = len(registry.uploads["one"]) - 1
            self.answer(202, Location=f"/v2/x/blobs/uploads/one?state={end}", Range=f"0-{end}")
        elif self.command == "GET":
            end = max(len(registry.uploads["one"]) - 1, 0)
            self.answer(204, Location="/v2/x/blobs/uploads/one?state=again", Range=f"0-{end}")
        else:
            digest = dict(urllib.parse.parse_qsl(parts.query))["digest"]
            data = registry.uploads.pop("one") + self.body
            assert digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
            registry.blobs[digest] = data
            self.answer(201)


@contextmanager
def fake_registry() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    handler = type("Handler", (_Handler,), {"registry": registry})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    registry.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
