"""import: a tar of a root filesystem, as debootstrap's tree or `export` gives it, becomes an image of one
layer."""

from __future__ import annotations

from contextlib import contextmanager

from pyrunc.errors import INTERNAL, INVALID, NOT_FOUND, PyruncError
from pyrunc.image.compose import add_image, now
from pyrunc.image.http import Client, retried
from pyrunc.image.images import Image
from pyrunc.image.layerblob import ingest_layer
from pyrunc.image.options import ImportOptions
from pyrunc.image.platforms import host_platform
from pyrunc.image.progress import Reporter
from pyrunc.image.settings import apply_changes
from pyrunc.oci.reference import parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyrunc.image.store import Store


@contextmanager
def fetched(url: str) -> Iterator[Callable[[int], bytes]]:
    """What reads the archive at an http or https address, as import_tree wants it. Raises INVALID, NOT_FOUND,
    INTERNAL."""
    address = url if "://" in url else f"http://{url}"
    if not address.startswith(("http://", "https://")):
        raise PyruncError(INVALID, "only http and https addresses can be imported from", url)
    client = Client()
    try:
        with retried("can't fetch", url, lambda: client.request("GET", address, {}), attempts=2) as response:
            if response.status != 200:
                kind = NOT_FOUND if response.status == 404 else INTERNAL
                raise PyruncError(kind, "can't fetch", url, f"status {response.status}")

            def read(size: int) -> bytes:
                piece = bytearray(size)
                return bytes(piece[: response.readinto(memoryview(piece))])

            yield read
    finally:
        client.close()


def import_tree(store: Store, source: Callable[[int], bytes], options: ImportOptions) -> Image:
    """`source(n)` gives at most n bytes of the tar, compressed or not, none at the end. Raises INVALID."""
    if options.reference:
        parse_reference(options.reference)  # before the whole tar is read
    settings = apply_changes({}, options.changes)
    platform = options.platform or host_platform()
    with store.lease() as lease:
        blob = ingest_layer(store, source, lease, options.limits.layer_bytes)
        created = now()
        config = {
            "architecture": platform.architecture,
            **({"variant": platform.variant} if platform.variant else {}),
            "os": platform.os,
            "created": created,
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [blob.diff_id]},
            "history": [{"created": created, "comment": options.message}],
        }
        return add_image(
            store,
            lease,
            config=config,
            layers=(blob.descriptor,),
            reference=options.reference,
            limits=options.limits,
            reporter=Reporter(options.progress),
        )
