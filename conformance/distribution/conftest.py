"""What tests of registries use: a repository of their own, and small things to push into it."""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.registry import running_registry

from conformance.registry import Answer, Registry
from conformance.subjects import is_url
from conformance.verdicts import Subject

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Repository:
    """A repository that nothing else uses, by requests; `commands` is the evidence."""

    def __init__(self, url: str) -> None:
        self.registry = Registry(url)
        self.commands = self.registry.commands
        self.name = "/".join(filter(None, (self.registry.prefix, f"conformance-{secrets.token_hex(6)}")))

    def __call__(self, method: str, place: str, **how: Any) -> Answer:
        """`place` is below the repository, or what a Location said."""
        if not place.startswith(("/", "http:", "https:")):
            place = f"/v2/{self.name}/{place}"
        return self.registry(method, place, **how)

    def begin(self) -> str:
        """Where an upload goes to."""
        answer = self("POST", "blobs/uploads/", headers={"Content-Length": "0"})
        assert answer.status == 202, answer.status
        return answer.headers["location"]

    def finish(self, place: str, digest: str, body: bytes = b"") -> Answer:
        joint = "&" if "?" in place else "?"
        return self("PUT", f"{place}{joint}digest={digest}", body=body,
                    headers={"Content-Type": "application/octet-stream"})  # fmt: skip

    def push_blob(self, data: bytes) -> dict[str, Any]:
        """Its descriptor, of no particular type."""
        answer = self.finish(self.begin(), digest_of(data), data)
        assert answer.status == 201, answer.status
        return {"mediaType": "application/octet-stream", "digest": digest_of(data), "size": len(data)}

    def manifest(self, **more: Any) -> bytes:
        """One that could be pushed: its blobs are there. Each is another one."""
        config = {**self.push_blob(b"{}"), "mediaType": EMPTY}
        layer = self.push_blob(secrets.token_bytes(64))
        return json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.conformance",
            "config": config, "layers": [layer], **more,
        }, indent=3).encode()  # fmt: skip

    def put(self, reference: str, data: bytes, kind: str = MANIFEST) -> Answer:
        return self("PUT", f"manifests/{reference}", body=data, headers={"Content-Type": kind})

    def get(self, reference: str, method: str = "GET") -> Answer:
        return self(method, f"manifests/{reference}", headers={"Accept": MANIFEST})

    def push(self, reference: str, **more: Any) -> bytes:
        data = self.manifest(**more)
        assert self.put(reference, data).status == 201
        return data


@pytest.fixture(scope="session")
def address() -> Iterator[Callable[[Subject], str]]:
    """Where a registry is; one that is a program is started, on loopback, and ended with the run."""
    started: dict[Subject, str] = {}
    with ExitStack() as stack:

        def find(subject: Subject) -> str:
            if is_url(subject.path):
                return subject.path
            if subject not in started:
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-")))
                started[subject] = f"http://{stack.enter_context(running_registry(directory)).address}"
            return started[subject]

        yield find


@pytest.fixture
def repository(subject: Subject, address: Callable[[Subject], str]) -> Repository:
    return Repository(address(subject))
