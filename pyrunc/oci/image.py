"""Images as documents: descriptors, manifests, indexes, and the image config (image-spec 1.1; docker's
schema 2).

The bytes of these documents are kept as they came, since their digests are their names; what is here reads
them, and writes new ones. The object inside an image config that containers are made from (`Env`, `Cmd`, …)
stays as it was written: docker's own fields in it outnumber those of the specification.
"""

from __future__ import annotations

import hashlib

from pyrunc import jsonio
from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.oci.digest import of_bytes, require_digest
from pyrunc.oci.node import Node
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    _T = TypeVar("_T")

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
INDEXES = (OCI_INDEX, DOCKER_LIST)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
ACCEPTED = (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST)
_CONFIGS = (OCI_CONFIG, DOCKER_CONFIG, "application/octet-stream", "text/html")

MAXIMUM_DOCUMENT = 4 << 20  # bytes: a manifest or an index, as registries bound it
MAXIMUM_CONFIG = 8 << 20
MAXIMUM_LAYERS = 512


class Platform(Record):
    """os/architecture[/variant], in Go's words."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    @property
    def text(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(Record):
    """What a blob is: type, name and length (descriptor.md)."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    urls: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.urls:
            value["urls"] = list(self.urls)
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        if self.platform:
            names = ("os", self.platform.os), ("architecture", self.platform.architecture)
            value["platform"] = {**dict(names), "variant": self.platform.variant}
            if not self.platform.variant:
                del value["platform"]["variant"]
        return value

    @property
    def is_foreign(self) -> bool:
        return self.media_type.startswith((DOCKER_FOREIGN, OCI_FOREIGN))


class Manifest(Record):
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str = ""
    annotations: tuple[tuple[str, str], ...] = ()


class Index(Record):
    media_type: str
    manifests: tuple[Descriptor, ...]


class HistoryEntry(Record):
    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(Record):
    """`raw` is the whole document, `config` its object of defaults for containers."""

    platform: Platform
    created: str
    author: str
    diff_ids: tuple[str, ...]
    history: tuple[HistoryEntry, ...]
    config: dict[str, Any]
    raw: dict[str, Any]

    def __hash__(self) -> int:
        return hash((self.platform, self.diff_ids))

    @property
    def labels(self) -> dict[str, str]:
        found = self.config.get("Labels")
        return found if isinstance(found, dict) else {}

    @property
    def chain_ids(self) -> tuple[str, ...]:
        return chain_ids(self.diff_ids)


def chain_ids(diff_ids: tuple[str, ...]) -> tuple[str, ...]:
    """The name of the stack up to each layer (config.md#layer-chainid)."""
    chains: list[str] = []
    for diff_id in diff_ids:
        words = f"{chains[-1]} {diff_id}" if chains else ""
        chains.append(f"sha256:{hashlib.sha256(words.encode()).hexdigest()}" if words else diff_id)
    return tuple(chains)


def _read(what: str, data: bytes, maximum: int, parse: Callable[[Node], _T]) -> _T:
    if len(data) > maximum:
        raise PyruncError(INVALID, f"{what} is too large", "", f"{len(data)} bytes, at most {maximum}")
    return _named(what, lambda: parse(Node(jsonio.loads(data, what))))


def _named(what: str, parse: Callable[[], _T]) -> _T:
    """Node speaks of config.json; these are other documents."""
    try:
        return parse()
    except PyruncError as error:
        if error.what != "config.json is not valid":
            raise
        raise PyruncError(INVALID, f"{what} is not valid", error.where, error.why) from None


def _platform(node: Node) -> Platform:
    return Platform(
        os=node.text("os"),
        architecture=node.text("architecture"),
        variant=node.text("variant"),
        os_version=node.text("os.version"),
    )


def _descriptor(node: Node) -> Descriptor:
    digest = require_digest(node.need_text("digest"), f"{node.pointer}/digest")
    size = node.need_number("size")
    if size < 0:
        raise node.wrong("size", "is negative")
    platform = node.child("platform")
    return Descriptor(
        media_type=node.text("mediaType"),
        digest=digest,
        size=size,
        platform=_platform(platform) if platform else None,
        annotations=node.pairs("annotations"),
        urls=node.texts("urls"),
    )


def parse_descriptor(value: dict[str, Any], where: str = "descriptor") -> Descriptor:
    """A descriptor object by itself, as index.json and our own files have it. Raises INVALID."""
    return _named(where, lambda: _descriptor(Node(value)))


def document_type(data: bytes, said: str = "") -> str:
    """The media type of a manifest or index. The document's own word counts, then its form; what a registry
    or descriptor says must not contradict it, for then two readers would take it for two different things
    (CVE-2021-41190). Raises INVALID, and UNSUPPORTED for schema 1."""
    if len(data) > MAXIMUM_DOCUMENT:
        raise PyruncError(INVALID, "image manifest is too large", "", f"{len(data)} bytes")
    value = jsonio.loads(data, "image manifest")
    if not isinstance(value, dict):
        raise PyruncError(INVALID, "image manifest is not valid", "/", "is not an object")
    if said in SCHEMA1 or value.get("schemaVersion") == 1:
        raise PyruncError(
            UNSUPPORTED,
            "the image has a manifest of schema 1, which is not supported",
            hint="push it again with a newer tool, or have the registry convert it",
        )
    own = value.get("mediaType")
    has_manifests, has_layers = "manifests" in value, "layers" in value or "config" in value
    if has_manifests and has_layers:
        raise PyruncError(INVALID, "image manifest is not valid", "/", "is a manifest and an index at once")
    found = own if own in ACCEPTED else said if said in ACCEPTED and not own else ""
    if not found and not own:
        found = OCI_INDEX if has_manifests else OCI_MANIFEST if has_layers else ""
    if not found:
        raise PyruncError(INVALID, "image manifest is not valid", "/mediaType", f"is {own or said!r}")
    if (found in INDEXES) != has_manifests or (said in ACCEPTED and said != found):
        raise PyruncError(
            INVALID, "image manifest is not valid", "/mediaType", "the document is of another type"
        )
    return found


def parse_manifest(data: bytes, media_type: str = "") -> Manifest:
    """A manifest of either kind. Raises INVALID, UNSUPPORTED for what is no container image."""

    def parse(node: Node) -> Manifest:
        config = node.child("config")
        if config is None:
            raise node.wrong("config", "is required")
        layers = tuple(_descriptor(layer) for layer in node.children("layers"))
        if len(layers) > MAXIMUM_LAYERS:
            raise node.wrong("layers", f"has {len(layers)}, at most {MAXIMUM_LAYERS}")
        return Manifest(
            media_type=kind,
            config=_descriptor(config),
            layers=layers,
            artifact_type=node.text("artifactType"),
            annotations=node.pairs("annotations"),
        )

    kind = document_type(data, media_type)
    if kind in INDEXES:
        raise PyruncError(INVALID, "image manifest is not valid", "/mediaType", "is an index")
    manifest = _read("image manifest", data, MAXIMUM_DOCUMENT, parse)
    if manifest.config.media_type not in _CONFIGS:
        raise PyruncError(
            UNSUPPORTED,
            "this is no container image",
            "/config/mediaType",
            repr(manifest.config.media_type[:200]),
        )
    return manifest


def parse_index(data: bytes, media_type: str = "") -> Index:
    """An index or manifest list. Raises INVALID."""
    kind = document_type(data, media_type)
    if kind not in INDEXES:
        raise PyruncError(INVALID, "image index is not valid", "/mediaType", "is a manifest")

    def parse(node: Node) -> Index:
        return Index(
            media_type=kind, manifests=tuple(_descriptor(item) for item in node.children("manifests"))
        )

    return _read("image index", data, MAXIMUM_DOCUMENT, parse)


def parse_image_config(data: bytes) -> ImageConfig:
    """The image config (config.md). Raises INVALID."""

    def parse(node: Node) -> ImageConfig:
        rootfs = node.child("rootfs")
        diff_ids = rootfs.texts("diff_ids") if rootfs else ()
        for index, diff_id in enumerate(diff_ids):
            require_digest(diff_id, f"/rootfs/diff_ids/{index}")
        config = node.child("config")
        history = tuple(
            HistoryEntry(
                created=item.text("created"),
                created_by=item.text("created_by"),
                author=item.text("author"),
                comment=item.text("comment"),
                empty_layer=item.flag("empty_layer"),
            )
            for item in node.children("history")
        )
        return ImageConfig(
            platform=_platform(node),
            created=node.text("created"),
            author=node.text("author"),
            diff_ids=diff_ids,
            history=history,
            config=config.value if config else {},
            raw=node.value,
        )

    return _read("image config", data, MAXIMUM_CONFIG, parse)


def write_manifest(media_type: str, config: Descriptor, layers: tuple[Descriptor, ...]) -> bytes:
    """A new manifest: the same image gives the same bytes."""
    value = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    return to_bytes(value)


def write_index(manifests: tuple[Descriptor, ...]) -> bytes:
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [manifest.to_json() for manifest in manifests],
    }
    return to_bytes(value)


def to_bytes(value: dict[str, Any] | list[dict[str, Any]]) -> bytes:
    """A document of ours. A lone surrogate, which JSON can spell and UTF-8 can't, becomes a question mark."""
    return jsonio.dumps(value).encode("utf-8", "replace")


def describe(media_type: str, data: bytes) -> Descriptor:
    """The descriptor of these bytes."""
    return Descriptor(media_type=media_type, digest=of_bytes(data), size=len(data))
