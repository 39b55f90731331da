"""load: images out of a docker-archive, an OCI layout in a tar, or both in one; compressed or not.

An archive's files may stand in any order, so all of them go into the store as blobs by what they hold, and
only then is looked at what they are. Nothing of the archive's names is ever a name on disk. What is not
wanted is reached by nothing, and collected.
"""

from __future__ import annotations

import posixpath

from pyrunc import jsonio
from pyrunc.errors import INVALID, NOT_FOUND, PyruncError
from pyrunc.image import tar
from pyrunc.image.archive import FULL_NAME, REF_NAME
from pyrunc.image.compose import add_image, jobs_for
from pyrunc.image.compression import decompressed
from pyrunc.image.layerblob import blob_kind
from pyrunc.image.names import set_name
from pyrunc.image.options import Limits, Loaded
from pyrunc.image.progress import Reporter
from pyrunc.image.records import write_record
from pyrunc.image.unpack import unpack_blobs
from pyrunc.oci.image import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    INDEXES,
    MAXIMUM_CONFIG,
    MAXIMUM_DOCUMENT,
    Descriptor,
    Manifest,
    document_type,
    parse_image_config,
    parse_index,
    parse_manifest,
)
from pyrunc.oci.reference import parse_reference
from pyrunc.record import replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.image.progress import Callback
    from pyrunc.image.store import Lease, Store

_MOST_FILES = 100_000
_MOST_NESTED = 4
_GZIP_OF_DOCKER = {"+gzip": ".gzip", "+zstd": ".zstd", "": ""}


def load(
    store: Store,
    source: Callable[[int], bytes],
    *,
    progress: Callback | None = None,
    limits: Limits | None = None,
) -> tuple[Loaded, ...]:
    """`source(n)` gives at most n bytes, none at the end. Raises INVALID for what is no archive of images."""
    with store.lease() as lease:
        loading = _Loading(store, lease, limits or Limits(), Reporter(progress))
        loading.read(source)
        return loading.finish()


class _Loading:
    def __init__(self, store: Store, lease: Lease, limits: Limits, reporter: Reporter) -> None:
        self._store, self._lease, self._limits, self._reporter = store, lease, limits, reporter
        self._files: dict[str, tuple[str, int]] = {}  # name in the archive -> digest, size
        self._links: dict[str, str] = {}
        self._loaded: dict[str, list[str]] = {}

    def read(self, source: Callable[[int], bytes]) -> None:
        """All files into the store."""
        reader = tar.Reader(decompressed(source))
        for entry in reader:
            name = _name(entry.name)
            if entry.kind == tar.SYMLINK:
                self._links[name] = _name(f"{posixpath.dirname(name)}/{_text(entry.link)}".encode())
            elif entry.kind == tar.LINK:
                self._links[name] = _name(entry.link)
            elif entry.kind == tar.REGULAR:
                self._keep(reader, entry, name)
            if len(self._files) + len(self._links) > _MOST_FILES:
                raise PyruncError(INVALID, "archive has too many files", "", f"more than {_MOST_FILES}")

    def _keep(self, reader: tar.Reader, entry: tar.Entry, name: str) -> None:
        if entry.sparse is not None:
            raise PyruncError(INVALID, "archive has a sparse file", name)
        if entry.size > self._limits.layer_bytes:
            raise PyruncError(INVALID, "layer is too large", name, f"{entry.size} bytes")
        with self._store.draft() as draft:
            reader.copy_data(draft.write)
            self._lease.keep([draft.digest])
            self._files[name] = draft.commit(), draft.size
        self._links.pop(name, None)

    # --- what the files are ---------------------------------------------------------------------------

    def _find(self, name: str) -> tuple[str, int]:
        """A file by its name in the archive, through its links: old archives share layers by them."""
        for _ in range(_MOST_NESTED):
            if name in self._files:
                return self._files[name]
            if name not in self._links:
                break
            name = self._links[name]
        raise PyruncError(INVALID, "archive lacks a file", name)

    def _document(self, name: str) -> Any:
        digest, _ = self._find(name)
        return jsonio.loads(self._store.read_blob(digest, MAXIMUM_DOCUMENT), name)

    def finish(self) -> tuple[Loaded, ...]:
        if "manifest.json" not in self._files and "index.json" not in self._files:
            why = "it has neither manifest.json nor index.json"
            raise PyruncError(INVALID, "this is no archive of images", "", why)
        targets = self._layout() if "index.json" in self._files else []
        if "manifest.json" in self._files:
            self._docker(targets)
        else:
            for target, names in targets:
                self._add_target(target, names)
        found = tuple(Loaded(image_id=image, names=tuple(names)) for image, names in self._loaded.items())
        for loaded in found:
            for name in loaded.names:
                self._reporter.say(f"Loaded image: {name}")
            if not loaded.names:
                self._reporter.say(f"Loaded image ID: {loaded.image_id}")
        return found

    def _layout(self) -> list[tuple[Descriptor, list[str]]]:
        """What index.json names, with the names that it gives."""
        digest, _ = self._find("index.json")
        index = parse_index(self._store.read_blob(digest, MAXIMUM_DOCUMENT))
        found: dict[str, tuple[Descriptor, list[str]]] = {}
        for descriptor in index.manifests:
            _, names = found.setdefault(descriptor.digest, (descriptor, []))
            name = _layout_name(dict(descriptor.annotations))
            if name and name not in names:
                names.append(name)
        return list(found.values())

    def _docker(self, targets: list[tuple[Descriptor, list[str]]]) -> None:
        """The images of manifest.json. One that the layout has a manifest for keeps that."""
        items = self._document("manifest.json")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise PyruncError(INVALID, "manifest.json is not valid", "/", "is not a list of objects")
        by_config = {manifest.config.digest: target for target, manifest in self._manifests(targets)}
        for item in items:
            image_id, _ = self._find(str(item.get("Config")))
            names = [parse_reference(str(name)).full for name in item.get("RepoTags") or []]
            if image_id in by_config:
                self._add_target(by_config[image_id], names)
            else:
                self._add_item(item, image_id, names)

    def _manifests(self, targets: list[tuple[Descriptor, list[str]]]) -> list[tuple[Descriptor, Manifest]]:
        """Of the targets that are manifests and wholly here."""
        found = []
        for target, _ in targets:
            if target.media_type not in INDEXES and self._store.has(target.digest):
                manifest = self._read_manifest(target)
                if all(self._store.has(blob.digest) for blob in (manifest.config, *manifest.layers)):
                    found.append((target, manifest))
        return found

    def _read_manifest(self, target: Descriptor) -> Manifest:
        data = self._store.read_blob(target.digest, MAXIMUM_DOCUMENT)
        return parse_manifest(data, target.media_type)

    # --- images ---------------------------------------------------------------------------------------

    def _add_item(self, item: dict[str, Any], image_id: str, names: list[str]) -> None:
        """An image of a docker-archive alone: it gets a manifest."""
        raw = self._store.read_blob(image_id, MAXIMUM_CONFIG)
        config = parse_image_config(raw)
        files = [self._find(str(name)) for name in item.get("Layers") or []]
        if len(files) != len(config.diff_ids):
            why = f"{len(files)} layers, and {len(config.diff_ids)} diff_ids"
            raise PyruncError(INVALID, "image config does not fit its manifest", image_id, why)
        layers = tuple(
            Descriptor(
                media_type=DOCKER_LAYER + _GZIP_OF_DOCKER[blob_kind(self._store, digest)],
                digest=digest,
                size=size,
            )
            for digest, size in files
        )
        image = add_image(
            self._store,
            self._lease,
            config=config.raw,
            document=raw,
            layers=layers,
            config_type=DOCKER_CONFIG,
            manifest_type=DOCKER_MANIFEST,
            limits=self._limits,
            reporter=self._reporter,
        )
        self._name(image.id, image.record.manifest, names)

    def _add_target(self, target: Descriptor, names: list[str], depth: int = 0) -> None:
        """A manifest as it is in the archive, or what of an index is here."""
        if not self._store.has(target.digest):
            raise PyruncError(INVALID, "archive lacks a file", target.digest)
        self._lease.keep([target.digest])
        data = self._store.read_blob(target.digest, MAXIMUM_DOCUMENT)
        kind = document_type(data, target.media_type)
        target = replaced(target, media_type=kind, size=len(data), annotations=(), platform=None)
        if kind not in INDEXES:
            self._name(self._unpack(target, parse_manifest(data, kind)), target, names)
            return
        here = [item for item in parse_index(data, kind).manifests if self._store.has(item.digest)]
        images = [self._unpack(item, self._read_manifest(item)) for item in here if self._is_image(item)]
        if not images:
            raise PyruncError(NOT_FOUND, "archive has an index, and none of its images", target.digest)
        for image_id in images:
            self._name(image_id, target, names)

    def _is_image(self, target: Descriptor) -> bool:
        """Attestations are in an index, too."""
        return target.media_type not in INDEXES and self._store.has(self._read_manifest(target).config.digest)

    def _unpack(self, target: Descriptor, manifest: Manifest) -> str:
        image_id = manifest.config.digest
        config = parse_image_config(self._store.read_blob(image_id, MAXIMUM_CONFIG))
        if len(manifest.layers) != len(config.diff_ids):
            why = f"{len(manifest.layers)} layers, and {len(config.diff_ids)} diff_ids"
            raise PyruncError(INVALID, "image config does not fit its manifest", image_id, why)
        for layer in manifest.layers:
            if not self._store.has(layer.digest):
                raise PyruncError(INVALID, "archive lacks a layer", layer.digest)
        self._lease.keep([*config.chain_ids, *(layer.digest for layer in manifest.layers)])
        unpack_blobs(self._store, jobs_for(manifest.layers, config.diff_ids), self._limits, self._reporter)
        with self._store.locked(exclusive=False):
            write_record(self._store, image_id, replaced(target, annotations=(), platform=None))
        return image_id

    def _name(self, image_id: str, target: Descriptor, names: list[str]) -> None:
        known = self._loaded.setdefault(image_id, [])
        for name in names:
            reference = parse_reference(name)
            set_name(self._store, reference, target, by_digest=False)
            known.append(reference.familiar)


def _layout_name(notes: dict[str, str]) -> str:
    """The full name that an index.json gives. Its ref.name may be a tag alone, which names nothing."""
    for text in (notes.get(FULL_NAME, ""), notes.get(REF_NAME, "")):
        if "/" in text or (":" in text and text):
            return parse_reference(text).full
    return ""


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _name(name: bytes) -> str:
    """In the archive: without ./ and .."""
    return posixpath.normpath("/" + _text(name)).lstrip("/")
