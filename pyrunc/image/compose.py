"""New images from layers that are in the store: documents are written, layers unpacked, and then there is a
record."""

from __future__ import annotations

import datetime

from pyrunc.image.images import Image, find_image
from pyrunc.image.names import set_name
from pyrunc.image.records import LayerRecord, read_layer, write_layer, write_record
from pyrunc.image.unpack import Job, unpack_blobs
from pyrunc.oci.digest import of_bytes, short
from pyrunc.oci.image import (
    OCI_CONFIG,
    OCI_MANIFEST,
    Descriptor,
    chain_ids,
    describe,
    to_bytes,
    write_manifest,
)
from pyrunc.oci.reference import parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.image.layerblob import LayerBlob
    from pyrunc.image.options import Limits
    from pyrunc.image.progress import Reporter
    from pyrunc.image.store import Lease, Store


def now() -> str:
    """RFC 3339, as image configs have it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def add_image(
    store: Store,
    lease: Lease,
    *,
    config: dict[str, Any],
    layers: tuple[Descriptor, ...],
    config_type: str = OCI_CONFIG,
    manifest_type: str = OCI_MANIFEST,
    document: bytes = b"",
    parent: str = "",
    reference: str = "",
    limits: Limits,
    reporter: Reporter,
) -> Image:
    """`config` is the whole document (`document`, if those bytes have to be kept), and its diff_ids are
    those of `layers`, whose blobs `lease` keeps. Raises INVALID for a reference or layer that is wrong."""
    named = parse_reference(reference) if reference else None
    data = document or to_bytes(config)
    image_id = of_bytes(data)
    diff_ids = tuple(config["rootfs"]["diff_ids"])
    manifest = write_manifest(manifest_type, describe(config_type, data), layers)
    target = describe(manifest_type, manifest)
    lease.keep([image_id, target.digest, *chain_ids(diff_ids)])
    store.put_bytes(data)
    store.put_bytes(manifest)
    unpack_blobs(store, jobs_for(layers, diff_ids), limits, reporter)
    with store.locked(exclusive=False):
        write_record(store, image_id, target, parent=parent, tagged=named is not None)
        if named:
            set_name(store, named, target, by_digest=False)
    return find_image(store, image_id)


def jobs_for(layers: tuple[Descriptor, ...], diff_ids: tuple[str, ...]) -> tuple[Job, ...]:
    """What has to be unpacked for these layers, in order."""
    chains = chain_ids(diff_ids)
    return tuple(
        Job(
            digest=layer.digest,
            size=layer.size,
            diff_id=diff_ids[index],
            chain_id=chains[index],
            parent=chains[index - 1] if index else "",
            short=short(layer.digest),
        )
        for index, layer in enumerate(layers)
    )


def remember(store: Store, blob: LayerBlob) -> None:
    """How a layer of ours was compressed: another compressor would give other bytes."""
    known = read_layer(store, blob.diff_id)
    size = known.size if known else 0
    write_layer(
        store,
        LayerRecord(diff_id=blob.diff_id, digest=blob.descriptor.digest, size=size, packed=blob.packed),
    )
