"""How much images take, and how much of it they share."""

from __future__ import annotations

import os
from collections import Counter

from pyrunc.image.images import list_images
from pyrunc.image.options import DiskUsage, ImageUsage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.image.store import Store


def disk_usage(store: Store) -> DiskUsage:
    """As `docker system df -v` has it: sizes of unpacked layers, each image's and those that another has
    too."""
    images = list_images(store)
    snapshots = store.snapshots
    sizes = {chain: snapshots.layer_usage(chain).bytes for chain in snapshots.committed()}
    owners = Counter(chain for image in images for chain in image.config.chain_ids)
    found = [
        ImageUsage(
            image_id=image.id,
            size=sum(sizes.get(chain, 0) for chain in image.config.chain_ids),
            shared=sum(sizes.get(chain, 0) for chain in image.config.chain_ids if owners[chain] > 1),
        )
        for image in images
    ]
    return DiskUsage(images=tuple(found), layers_bytes=sum(sizes.values()), blobs_bytes=_blobs(store))


def _blobs(store: Store) -> int:
    total = 0
    for algorithm in os.listdir(store.path("blobs")):
        with os.scandir(store.path("blobs", algorithm)) as entries:
            total += sum(entry.stat().st_size for entry in entries)
    return total
