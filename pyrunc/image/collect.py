"""What nothing reaches is taken away: blobs, layers, records of layers.

Reached is what an image's record leads to, what a name leads to, what an active snapshot stands on, and what
a running operation has a lease on. Nobody can make anything reachable meanwhile: the store is locked.
"""

from __future__ import annotations

import os

from pyrunc.errors import PyruncError, doing
from pyrunc.image.locks import try_lock
from pyrunc.image.names import read_names
from pyrunc.image.records import read_config, read_layer, read_manifest, read_records
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.image.store import Store


class Collected(Record):
    """`layers`: chain ids, those on top first; `bytes`: what is free now, of layers and blobs together."""

    layers: tuple[str, ...]
    bytes: int


def collect(store: Store) -> Collected:
    """Call it with the store locked exclusively. Raises PyruncError for a damaged one: better nothing is
    taken away than too much."""
    kept = _reachable(store)
    layers, freed = _collect_layers(store, kept)
    freed += _collect_blobs(store, kept)
    _collect_drafts(store)
    return Collected(layers=layers, bytes=freed)


def _reachable(store: Store) -> set[str]:
    kept = store.leased()
    for target in read_names(store).values():
        kept.add(target.digest)
    for record in read_records(store):
        manifest, config = read_manifest(store, record.manifest), read_config(store, record.id)
        kept.update((record.id, record.manifest.digest, *config.diff_ids, *config.chain_ids))
        kept.update(layer.digest for layer in manifest.layers)
        known = (read_layer(store, diff_id) for diff_id in config.diff_ids)
        kept.update(layer.digest for layer in known if layer)
    snapshots = store.snapshots
    for key in snapshots.active():
        chain = snapshots.parent_of(key)
        if chain:
            kept.update(snapshots.chain_of(chain))
    return kept


def _collect_layers(store: Store, kept: set[str]) -> tuple[tuple[str, ...], int]:
    """The topmost first, so that there is never one without its parent."""
    snapshots = store.snapshots
    snapshots.clean()
    unwanted = [chain for chain in snapshots.committed() if chain not in kept]
    unwanted.sort(key=lambda chain: -len(snapshots.chain_of(chain)))
    freed = 0
    for chain in unwanted:
        freed += snapshots.layer_usage(chain).bytes
        snapshots.remove_layer(chain)
    return tuple(unwanted), freed


def _collect_blobs(store: Store, kept: set[str]) -> int:
    freed = 0
    for algorithm in os.listdir(store.path("blobs")):
        for name in os.listdir(store.path("blobs", algorithm)):
            path = store.path("blobs", algorithm, name)
            if f"{algorithm}:{name}" not in kept:
                with doing("remove blob"):
                    freed += os.stat(path).st_size
                    os.unlink(path)
    for name in os.listdir(store.path("layers")):  # also what dead writers left: none is alive now
        if f"sha256:{name.removesuffix('.json')}" not in kept:
            os.unlink(store.path("layers", name))
    return freed


def _collect_drafts(store: Store) -> None:
    """Of dead processes. What was begun of a blob with a known digest stays: it is gone on with."""
    for name in os.listdir(store.path("ingest")):
        if name.startswith("new-"):
            path = store.path("ingest", name)
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if try_lock(fd):
                    os.unlink(path)
            finally:
                os.close(fd)


def collect_partial(store: Store) -> int:
    """What was begun to be fetched and is not being fetched now; how many bytes that was."""
    freed = 0
    for name in os.listdir(store.path("ingest")):
        path = store.path("ingest", name)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            if try_lock(fd):
                freed += os.fstat(fd).st_size
                os.unlink(path)
        except FileNotFoundError as error:
            raise PyruncError.from_errno(error.errno or 0, "remove partial blob", path) from error
        finally:
            os.close(fd)
    return freed
