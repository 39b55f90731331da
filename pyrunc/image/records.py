"""Image records: a small file says that an image is here, wholly, and unpacked. Its name is the image ID.

Written last, when all that it names is committed; removed first. What no record reaches may be collected.
"""

from __future__ import annotations

import os
import time

from pyrunc.errors import INTERNAL, PyruncError
from pyrunc.image.store import read_json, write_json
from pyrunc.oci.digest import hex_of
from pyrunc.oci.image import (
    MAXIMUM_CONFIG,
    MAXIMUM_DOCUMENT,
    Descriptor,
    ImageConfig,
    Manifest,
    parse_descriptor,
    parse_image_config,
    parse_manifest,
)
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.image.store import Store


class ImageRecord(Record):
    """`id` is the digest of the config. `parent` is the image that it was committed from, if that was said;
    it need not be here.."""

    id: str
    manifest: Descriptor
    recorded_at: float
    tagged_at: float = 0.0
    parent: str = ""


def read_record(store: Store, image_id: str) -> ImageRecord | None:
    value = read_json(_path(store, image_id))
    if value is None:
        return None
    manifest, recorded, tagged = value.get("manifest"), value.get("recorded_at"), value.get("tagged_at")
    if not isinstance(manifest, dict) or not isinstance(recorded, (int, float)):
        raise PyruncError(INTERNAL, "image record is damaged", _path(store, image_id))
    return ImageRecord(
        id=image_id,
        manifest=parse_descriptor(manifest, "image record"),
        recorded_at=float(recorded),
        tagged_at=float(tagged) if isinstance(tagged, (int, float)) else 0.0,
        parent=str(value.get("parent") or ""),
    )


def read_records(store: Store) -> tuple[ImageRecord, ...]:
    """All of them. One that goes while we read is not there."""
    names = (name for name in os.listdir(store.path("images")) if name.endswith(".json"))
    found = (read_record(store, f"sha256:{name[:-5]}") for name in names if not name.startswith("."))
    return tuple(record for record in found if record is not None)


def write_record(
    store: Store, image_id: str, manifest: Descriptor, *, parent: str = "", tagged: bool = False
) -> None:
    """An image is here. One that was here before keeps its times and its parent."""
    before = read_record(store, image_id)
    now = time.time()
    write_json(
        _path(store, image_id),
        {
            "manifest": manifest.to_json(),
            "recorded_at": before.recorded_at if before else now,
            "tagged_at": now if tagged else before.tagged_at if before else 0,
            "parent": parent or (before.parent if before else ""),
        },
    )


def remove_record(store: Store, image_id: str) -> None:
    try:
        os.unlink(_path(store, image_id))
    except FileNotFoundError:
        pass


def _path(store: Store, image_id: str) -> str:
    return store.path("images", f"{hex_of(image_id)}.json")


def read_manifest(store: Store, descriptor: Descriptor) -> Manifest:
    return parse_manifest(store.read_blob(descriptor.digest, MAXIMUM_DOCUMENT), descriptor.media_type)


def read_config(store: Store, image_id: str) -> ImageConfig:
    return parse_image_config(store.read_blob(image_id, MAXIMUM_CONFIG))


class LayerRecord(Record):
    """What we know of a layer beside its bytes: `digest` is that of a blob whose uncompressed form has
    `diff_id`, `size` the bytes in its files, `packed` how we compressed it ("gzip 6 zlib", "" if it came
    so)."""

    diff_id: str
    digest: str
    size: int
    packed: str = ""


def read_layer(store: Store, diff_id: str) -> LayerRecord | None:
    path = store.path("layers", f"{hex_of(diff_id)}.json")
    value = read_json(path)
    if value is None:
        return None
    size = value.get("size")
    if not isinstance(size, int):
        raise PyruncError(INTERNAL, "layer record is damaged", path)
    return LayerRecord(
        diff_id=diff_id, digest=str(value.get("digest")), size=size, packed=str(value.get("packed") or "")
    )


def write_layer(store: Store, layer: LayerRecord) -> None:
    path = store.path("layers", f"{hex_of(layer.diff_id)}.json")
    with store.locked(exclusive=False):
        write_json(path, {"digest": layer.digest, "size": layer.size, "packed": layer.packed})
