"""save: images as one tar which is both an OCI layout and a docker-archive, as docker 25 and later write it.

Manifests, configs and layers go out as they came in, so that digests stay; docker's manifest.json and the
layout's index.json name the same blobs.
"""

from __future__ import annotations

import os

from pyrunc.errors import doing
from pyrunc.image.images import Image, find_image, find_target
from pyrunc.image.tar import DIRECTORY, REGULAR
from pyrunc.image.tarwrite import END, header, padded
from pyrunc.oci.digest import hex_of
from pyrunc.oci.image import OCI_INDEX, to_bytes
from pyrunc.oci.reference import parse_full, parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.image.store import Store
    from pyrunc.oci.image import Platform

_CHUNK = 1 << 20
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
FULL_NAME, REF_NAME = "io.containerd.image.name", "org.opencontainers.image.ref.name"


def save(
    store: Store, texts: tuple[str, ...], sink: Callable[[bytes], object], platform: Platform | None = None
) -> None:
    """Each of `texts` names an image, which gets that name in the archive, or none if it is an ID. Raises
    NOT_FOUND before anything is written."""
    chosen: dict[str, tuple[Image, list[str]]] = {}
    for text in texts:
        image = find_image(store, text, platform)
        _, names = chosen.setdefault(image.id, (image, []))
        if find_target(store, text) is not None:
            reference = parse_reference(text)
            if reference.tag and reference.full not in names:
                names.append(reference.full)
    with store.lease() as lease:
        for image, _ in chosen.values():
            lease.keep(_digests(image))
        _write(store, list(chosen.values()), sink)


def _write(store: Store, chosen: list[tuple[Image, list[str]]], sink: Callable[[bytes], object]) -> None:
    for directory in (b"blobs/", b"blobs/sha256/"):
        sink(header(directory, DIRECTORY, mode=0o755))
    written: set[str] = set()
    for image, _ in chosen:
        for digest in (
            *(layer.digest for layer in image.manifest.layers),
            image.id,
            image.record.manifest.digest,
        ):
            if digest not in written:
                written.add(digest)
                _blob(store, digest, sink)
    _document(b"index.json", _index(chosen), sink)
    _document(b"manifest.json", to_bytes([_item(image, names) for image, names in chosen]), sink)
    _document(b"oci-layout", LAYOUT, sink)
    sink(END)


def _digests(image: Image) -> list[str]:
    return [*(layer.digest for layer in image.manifest.layers), image.id, image.record.manifest.digest]


def _name(digest: str) -> str:
    return f"blobs/{digest.partition(':')[0]}/{hex_of(digest)}"


def _item(image: Image, names: list[str]) -> dict[str, Any]:
    """An image in docker's manifest.json."""
    return {
        "Config": _name(image.id),
        "RepoTags": [parse_full(name).familiar for name in names],
        "Layers": [_name(layer.digest) for layer in image.manifest.layers],
    }


def _index(chosen: list[tuple[Image, list[str]]]) -> bytes:
    """The layout's index: a descriptor for each name."""
    manifests = []
    for image, names in chosen:
        descriptor = image.record.manifest.to_json()
        descriptor["platform"] = {
            "architecture": image.config.platform.architecture,
            "os": image.config.platform.os,
        }
        for name in names or [""]:
            notes = {FULL_NAME: name, REF_NAME: parse_full(name).tag} if name else {}
            manifests.append({**descriptor, **({"annotations": notes} if notes else {})})
    return to_bytes({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})


def _document(name: bytes, data: bytes, sink: Callable[[bytes], object]) -> None:
    sink(header(name, REGULAR, size=len(data)))
    sink(padded(data))


def _blob(store: Store, digest: str, sink: Callable[[bytes], object]) -> None:
    fd = store.open_blob(digest)
    try:
        size = os.fstat(fd).st_size
        sink(header(_name(digest).encode(), REGULAR, size=size))
        with doing("read blob", digest):
            while data := os.read(fd, _CHUNK):
                sink(data)
        sink(bytes(-size % 512))
    finally:
        os.close(fd)
