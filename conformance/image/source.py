"""An image as its suite sees it: documents and blobs, out of a layout directory or a registry.

Everything in it is hostile: names of blobs are checked before they are a path, a document may be of any
shape, and layers are read as streams, up to a size.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import pytest

from conformance.registry import Registry
from conformance.subjects import is_url

OCI = "application/vnd.oci.image."
INDEX, MANIFEST, CONFIG = f"{OCI}index.v1+json", f"{OCI}manifest.v1+json", f"{OCI}config.v1+json"
_DOCKER = "application/vnd.docker.distribution.manifest."
INDEXES = (INDEX, f"{_DOCKER}list.v2+json")
MANIFESTS = (MANIFEST, f"{_DOCKER}v2+json")
CONFIGS = (CONFIG, "application/vnd.docker.container.image.v1+json")
DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_KNOWN = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}
_DEEPEST, _MOST_DOCUMENTS, _MOST_DOCUMENT = 4, 1000, 4 << 20
_MOST_LAYER = 16 << 30
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Document:
    """A JSON document, `where` it was, and the descriptor that led to it (none led to index.json)."""

    where: str
    data: Any
    descriptor: dict[str, Any] | None = None


def is_registered(digest: object) -> bool:
    """sha256 and sha512, as they are registered."""
    algorithm, _, encoded = digest.partition(":") if isinstance(digest, str) else ("", "", "")
    return algorithm in _KNOWN and bool(_KNOWN[algorithm].fullmatch(encoded))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[dict[str, Any]]:
    """The objects of a list that should be one of objects."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


class Image:
    """What can be reached from index.json, or from a tag. `commands` tells what was read."""

    def __init__(self, place: str) -> None:
        self.commands: list[str] = []
        self.registry: Registry | None = None
        self.directory = Path(place)
        if is_url(place):
            parts = urlsplit(place)
            found = re.fullmatch(r"/(.+?)(?:@(\w+:\w+)|:([^/:@]+))", parts.path)
            assert found is not None, place
            self.repository, self.tag = found[1], found[2] or found[3]
            self.registry = Registry(f"{parts.scheme}://{parts.netloc}")
            self.registry.commands = self.commands

    def layout(self) -> Path:
        """The directory; a registry has none."""
        if self.registry is not None:
            pytest.skip("an image in a registry has no layout")
        return self.directory

    @functools.cached_property
    def root(self) -> Document:
        if self.registry is None:
            return Document("index.json", self._json("index.json", self._file("index.json").read_bytes()))
        accepted = ", ".join((*INDEXES, *MANIFESTS))
        place = f"/v2/{self.repository}/manifests/{self.tag}"
        answer = self.registry("GET", place, headers={"Accept": accepted})
        assert answer.status == 200, f"GET {place}: {answer.status}"
        kind = answer.headers.get("content-type", "").partition(";")[0]
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        descriptor = {"mediaType": kind, "digest": digest, "size": len(answer.body)}
        return Document(self.tag, self._json(self.tag, answer.body), descriptor)

    def _file(self, name: str) -> Path:
        """Not through a link: it could lead anywhere."""
        path = self.directory / name
        self.commands.append(f"read {name}")
        assert path.is_file() and not path.is_symlink(), f"{name} is not there, or no plain file"
        return path

    def _json(self, where: str, data: bytes) -> Any:
        assert len(data) <= _MOST_DOCUMENT, f"{where} has {len(data)} bytes"
        try:
            return json.loads(data)
        except ValueError as error:
            raise AssertionError(f"{where} is no JSON: {error}") from None

    @contextmanager
    def blob(self, digest: str) -> Iterator[IO[bytes]]:
        assert is_registered(digest), f"no digest that a blob could be found by: {digest!r}"
        if self.registry is None:
            with self._file(f"blobs/{digest.replace(':', '/', 1)}").open("rb") as file:
                yield file
            return
        answer = self.registry("GET", f"/v2/{self.repository}/blobs/{digest}")
        if answer.status == 404:
            answer = self.registry(
                "GET", f"/v2/{self.repository}/manifests/{digest}",
                headers={"Accept": ", ".join((*INDEXES, *MANIFESTS))},
            )  # fmt: skip
        assert answer.status == 200, f"{digest}: {answer.status}"
        yield io.BytesIO(answer.body)

    def document(self, descriptor: dict[str, Any]) -> Document:
        digest = descriptor.get("digest")
        with self.blob(str(digest)) as file:
            return Document(str(digest), self._json(str(digest), file.read(_MOST_DOCUMENT + 1)), descriptor)

    # -- what is reached ---------------------------------------------------------------------------------

    @functools.cached_property
    def documents(self) -> list[Document]:
        """Every index and manifest, the first the one at the top."""
        found = [self.root]
        self._walk(self.root, found, 1)
        return found

    def _walk(self, above: Document, found: list[Document], depth: int) -> None:
        for descriptor in listed(_mapping(above.data).get("manifests")):
            if descriptor.get("mediaType") not in (*INDEXES, *MANIFESTS):
                continue
            assert depth <= _DEEPEST and len(found) < _MOST_DOCUMENTS, "more indexes than anyone could mean"
            document = self.document(descriptor)
            found.append(document)
            self._walk(document, found, depth + 1)

    @property
    def indexes(self) -> list[Document]:
        found = [
            entry
            for entry in self.documents
            if "manifests" in _mapping(entry.data) or entry.descriptor is None
        ]
        return found or pytest.skip("the image has no index")

    @property
    def manifests(self) -> list[Document]:
        found = [
            entry for entry in self.documents
            if entry.descriptor is not None and entry.descriptor["mediaType"] not in INDEXES
        ]  # fmt: skip
        return found or pytest.skip("there is no manifest")

    @functools.cached_property
    def configs(self) -> list[tuple[Document, Document]]:
        """Manifest and configuration, of those that are of an image: other artifacts have their own."""
        found = []
        for manifest in self.manifests:
            descriptor = _mapping(_mapping(manifest.data).get("config"))
            if descriptor.get("mediaType") in CONFIGS:
                found.append((manifest, self.document(descriptor)))
        return found or pytest.skip("no manifest has the configuration of an image")

    @property
    def descriptors(self) -> list[tuple[str, dict[str, Any]]]:
        """Every one, with its place."""
        found = [("the tag", self.root.descriptor)] if self.root.descriptor else []
        for document in self.documents:
            data = _mapping(document.data)
            for name in ("manifests", "layers"):
                found += [
                    (f"{document.where}/{name}/{n}", entry) for n, entry in enumerate(listed(data.get(name)))
                ]
            found += [
                (f"{document.where}/{name}", data[name])
                for name in ("config", "subject")
                if _mapping(data.get(name))
            ]
        return found

    @property
    def layers(self) -> list[tuple[str, dict[str, Any]]]:
        """The layers of file systems, once each."""
        found = {}
        for manifest, _ in self.configs:
            for number, entry in enumerate(listed(_mapping(manifest.data).get("layers"))):
                if is_layer(entry.get("mediaType")):
                    found.setdefault(str(entry.get("digest")), (f"{manifest.where}/layers/{number}", entry))
        return list(found.values()) or pytest.skip("the image has no layers")

    @contextmanager
    def unpacked(self, descriptor: dict[str, Any]) -> Iterator[IO[bytes]]:
        """The tar of a layer, by its bytes: what the media type says is judged by a test of its own."""
        with self.blob(str(descriptor.get("digest"))) as file, tempfile.TemporaryFile() as target:
            start = file.read(4)
            file.seek(0)
            _copy(_decompressed(file, start), target)
            target.seek(0)
            yield target

    def members(self, descriptor: dict[str, Any]) -> list[tarfile.TarInfo]:
        with self.unpacked(descriptor) as file:
            try:
                with tarfile.open(fileobj=file, mode="r:") as tar:
                    return tar.getmembers()
            except tarfile.TarError as error:
                raise AssertionError(f"{descriptor.get('digest')} is no tar: {error}") from None


def is_layer(kind: object) -> bool:
    return isinstance(kind, str) and (
        kind.startswith((f"{OCI}layer.", "application/vnd.docker.image.rootfs."))
    )


def compression_of(start: bytes) -> str:
    if start.startswith(b"\x1f\x8b"):
        return "gzip"
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    return ""


def _decompressed(file: IO[bytes], start: bytes) -> IO[bytes]:
    kind = compression_of(start)
    if kind == "gzip":
        return gzip.GzipFile(fileobj=file)
    if kind == "zstd":
        return _zstd(file)
    return file


def _zstd(file: IO[bytes]) -> IO[bytes]:
    """By the program, since Python has it from 3.14 on."""
    if shutil.which("zstd") is None:
        pytest.skip("the layer is packed by zstd, and there is no program of that name")
    packed, plain = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    with packed:
        _copy(file, packed)
        packed.seek(0)
        done = subprocess.run(
            ["zstd", "-dc"], stdin=packed, stdout=plain, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 0, f"zstd: {done.stderr.decode()}"
    plain.seek(0)
    return plain


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    total = 0
    try:
        while data := source.read(_CHUNK):
            total += len(data)
            assert total <= _MOST_LAYER, "more bytes than a layer should have"
            target.write(data)
    except (EOFError, OSError, zlib.error) as error:
        raise AssertionError(f"cannot be unpacked: {error}") from None
