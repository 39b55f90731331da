"""Layers that come from somewhere else than a registry: read or written once, as a blob with its diff id."""

from __future__ import annotations

import os
import zlib

from pyrunc.errors import INVALID, PyruncError
from pyrunc.image.compression import CHUNK, MAGIC_BYTES, decompressed, kind_of
from pyrunc.oci.digest import hasher
from pyrunc.oci.image import OCI_LAYER, Descriptor
from pyrunc.record import Record
from pyrunc.thirdparty import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.image.store import Draft, Lease, Store

_ISAL_LEVEL, _ZLIB_LEVEL = 2, 4
# What a layer may be compressed with, so that others take it as it is
_SUFFIXES = {"gzip": "+gzip", "zstd": "+zstd"}


class LayerBlob(Record):
    """`packed`: how we compressed it; "" where it came so."""

    descriptor: Descriptor
    diff_id: str
    packed: str


def _compressor() -> tuple[Any, str]:
    """An object for a gzip stream without name and time, and what it is called."""
    try:
        library = load("isal.isal_zlib", "gzip")
    except PyruncError:
        return zlib.compressobj(_ZLIB_LEVEL, zlib.DEFLATED, 31), f"gzip {_ZLIB_LEVEL} zlib"
    return library.compressobj(_ISAL_LEVEL, library.DEFLATED, 31), f"gzip {_ISAL_LEVEL} isal"


class Packer:
    """What is written becomes a gzip blob; `finish` tells of it. Use it with a draft of the store."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._object, self._packed = _compressor()
        self._diff = hasher("sha256:")

    def write(self, data: bytes | memoryview) -> None:
        self._diff.update(data)
        self._draft.write(self._object.compress(data))

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._diff.hexdigest()}"

    def finish(self, lease: Lease) -> LayerBlob:
        self._draft.write(self._object.flush())
        return _committed(self._draft, lease, self.diff_id, "+gzip", self._packed)


def _committed(draft: Draft, lease: Lease, diff_id: str, suffix: str, packed: str) -> LayerBlob:
    lease.keep([draft.digest])
    digest = draft.commit()
    descriptor = Descriptor(media_type=OCI_LAYER + suffix, digest=digest, size=draft.size)
    return LayerBlob(descriptor=descriptor, diff_id=diff_id, packed=packed)


def ingest_layer(store: Store, read: Callable[[int], bytes], lease: Lease, limit_bytes: int) -> LayerBlob:
    """A layer's tar from `read(n)`. gzip and zstd stay as they are, everything else is compressed by us.
    Raises INVALID for what does not decompress, or to more than `limit_bytes`."""
    head = b""
    while len(head) < MAGIC_BYTES and (more := read(CHUNK)):
        head += more
    kind = kind_of(head)
    with store.draft() as draft:
        if kind not in _SUFFIXES:
            packer = Packer(draft)
            _copy(decompressed(_again(head, read)), packer.write, limit_bytes)
            return packer.finish(lease)
        diff = hasher("sha256:")

        def kept(size: int) -> bytes:
            data = again(size)
            draft.write(data)
            return data

        again = _again(head, read)
        _copy(decompressed(kept), diff.update, limit_bytes)
        while kept(CHUNK):
            pass
        return _committed(draft, lease, f"sha256:{diff.hexdigest()}", _SUFFIXES[kind], "")


def _copy(chunks: Any, write: Callable[[bytes], object], limit_bytes: int) -> None:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > limit_bytes:
            raise PyruncError(INVALID, "layer is too large", "", f"more than {limit_bytes} bytes")
        write(chunk)


def _again(head: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    rest = [head]

    def step(size: int) -> bytes:
        if rest and rest[0]:
            found, rest[0] = rest[0][:size], rest[0][size:]
            return found
        return read(size)

    return step


def blob_kind(store: Store, digest: str) -> str:
    """By its first bytes: "+gzip", "+zstd", or "" for a tar, which is what an archive's layers may be."""
    fd = store.open_blob(digest)
    try:
        return _SUFFIXES.get(kind_of(os.pread(fd, MAGIC_BYTES, 0)), "")
    finally:
        os.close(fd)
