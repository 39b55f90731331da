"""commit: what a container has written becomes a layer, and with the layers below it an image."""

from __future__ import annotations

from pyrunc.image.changes import write_layer_tar
from pyrunc.image.compose import add_image, now, remember
from pyrunc.image.images import Image, find_image
from pyrunc.image.layerblob import Packer
from pyrunc.image.options import CommitOptions, Limits
from pyrunc.image.platforms import host_platform
from pyrunc.image.progress import Reporter
from pyrunc.image.settings import apply_changes
from pyrunc.oci.image import DOCKER_MANIFEST, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor
from pyrunc.oci.reference import parse_reference
from pyrunc.record import replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.image.layerblob import LayerBlob
    from pyrunc.image.store import Store

_DOCKER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def commit(store: Store, key: str, options: CommitOptions, without: frozenset[str] = frozenset()) -> Image:
    """Of the active snapshot `key`; whoever runs in it should be paused. `without`: names, as `changes` has
    them, that are no part of it. Raises NOT_FOUND, INVALID."""
    if options.reference:
        parse_reference(options.reference)
    base = find_image(store, options.image_id) if options.image_id else None
    raw: dict[str, Any] = dict(base.config.raw) if base else _empty()
    settings = dict(options.config if options.config is not None else raw.get("config") or {})
    with store.lease() as lease:
        with store.draft() as draft:
            packer = Packer(draft)
            changed = write_layer_tar(store, key, packer.write, without)
            blob = packer.finish(lease) if changed else None
        layers = base.manifest.layers if base else ()
        lease.keep([layer.digest for layer in layers])
        if blob:
            remember(store, blob)
        created = now()
        raw["created"], raw["author"] = created, options.author
        raw["config"] = apply_changes(settings, options.changes)
        raw["container"] = options.container
        diff_ids = [*(base.config.diff_ids if base else ()), *((blob.diff_id,) if blob else ())]
        raw["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
        raw["history"] = [*(raw.get("history") or []), _step(options, created, is_empty=blob is None)]
        return add_image(
            store,
            lease,
            config={name: value for name, value in raw.items() if value not in ("", None)},
            layers=(*layers, *((_layer(blob, base),) if blob else ())),
            config_type=base.manifest.config.media_type if base else OCI_CONFIG,
            manifest_type=base.manifest.media_type if base else OCI_MANIFEST,
            parent=base.id if base else "",
            reference=options.reference,
            limits=Limits(),
            reporter=Reporter(None),
        )


def _empty() -> dict[str, Any]:
    platform = host_platform()
    return {"architecture": platform.architecture, "os": platform.os}


def _layer(blob: LayerBlob, base: Image | None) -> Descriptor:
    """In a manifest of docker's kind its layers are of docker's kind, too."""
    assert blob.descriptor.media_type == f"{OCI_LAYER}+gzip"
    if base and base.manifest.media_type == DOCKER_MANIFEST:
        return replaced(blob.descriptor, media_type=_DOCKER_GZIP)
    return blob.descriptor


def _step(options: CommitOptions, created: str, *, is_empty: bool) -> dict[str, Any]:
    step: dict[str, Any] = {"created": created, "created_by": options.created_by}
    if options.author:
        step["author"] = options.author
    if options.comment:
        step["comment"] = options.comment
    if is_empty:
        step["empty_layer"] = True
    return step
