"""Layers of an image into snapshots: several at a time, each into a directory of its own, named in order.

An overlay needs no parent to unpack on. What a layer needs of those below it is amended when they are there,
and then it gets its name, so that no layer has one before its parent.
"""

from __future__ import annotations

import os
import threading
from functools import partial

from pyrunc.errors import INVALID, PyruncError
from pyrunc.image.records import LayerRecord, read_layer, write_layer
from pyrunc.image.snapshots.base import Usage
from pyrunc.image.tasks import Cancelled, Tasks
from pyrunc.image.workers import Feed, Workers
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.image.options import Limits
    from pyrunc.image.progress import Reporter
    from pyrunc.image.snapshots.base import Making
    from pyrunc.image.store import Store
    from pyrunc.image.workers import Worker

_POLL_SECONDS = 0.2


class Job(Record):
    """A layer: its blob's digest and size, what it has to become, and where it stands. `short` is for
    people."""

    digest: str
    size: int
    diff_id: str
    chain_id: str
    parent: str
    short: str


class Unpacking:
    """Of one image. `feeds` tell, by the blob's digest, how much of it is there."""

    def __init__(
        self,
        store: Store,
        jobs: tuple[Job, ...],
        feeds: dict[str, Feed],
        limits: Limits,
        reporter: Reporter,
        tasks: Tasks,
    ) -> None:
        self._store, self._jobs, self._feeds = store, jobs, feeds
        self._limits, self._reporter, self._tasks = limits, reporter, tasks
        self._named = {job.chain_id: threading.Event() for job in jobs}

    def start(self, workers: Workers) -> None:
        at_a_time = min(len(self._jobs), max(2, os.cpu_count() or 1))
        if self._jobs:
            self._tasks.run([partial(self._unpack, job, workers) for job in self._jobs], at_a_time)

    def _wait_for_parent(self, job: Job) -> None:
        """Jobs are taken in order, so the parent's is under way before."""
        event = self._named.get(job.parent)
        while event is not None and not event.wait(_POLL_SECONDS):
            if self._tasks.is_cancelled():
                raise Cancelled

    def _unpack(self, job: Job, workers: Workers) -> None:
        snapshots = self._store.snapshots
        if snapshots.needs_parent:
            self._wait_for_parent(job)
        with snapshots.making(job.chain_id, job.parent) as making:
            if making is not None:
                feed = self._feeds[job.digest]
                feed.wait_for_some()
                with workers.worker() as worker:
                    self._fill(job, making, feed, worker)
            else:
                self._wait_for_parent(job)
        self._named[job.chain_id].set()
        self._reporter.say("Pull complete", job.short)

    def _fill(self, job: Job, making: Making, feed: Feed, worker: Worker) -> None:
        snapshots = self._store.snapshots
        found = worker.unpack(
            self._store.blob_places(job.digest),
            feed,
            making.path,
            whiteouts="apply" if snapshots.needs_parent else "overlay",
            algorithm=job.diff_id.partition(":")[0],
            limits=self._limits,
            progress=lambda read: self._reporter.say("Extracting", job.short, read, job.size),
        )
        if found["diff_id"] != job.diff_id:
            why = f"the image says {job.diff_id}, it is {found['diff_id']}"
            raise PyruncError(INVALID, "layer does not match the image's config", job.digest, why)
        self._wait_for_parent(job)
        self._amend(job, making, found, worker)
        _remember(self._store, job, int(found["bytes"]))
        usage = Usage(bytes=int(found["bytes"]), inodes=int(found["entries"]))
        snapshots.finish(making, usage, opaque=bool(found["opaque"]))

    def _amend(self, job: Job, making: Making, found: dict[str, Any], worker: Worker) -> None:
        snapshots = self._store.snapshots
        if snapshots.needs_parent or not (found["links"] or found["implicit"]):
            return
        if found["links"] or job.parent:
            lower = snapshots.layers_of(job.parent)
            worker.amend(making.path, lower, found["links"], found["implicit"])


def _remember(store: Store, job: Job, size: int) -> None:
    """What is known of the layer; one that we packed ourselves keeps how."""
    known = read_layer(store, job.diff_id)
    packed = known.packed if known and known.digest == job.digest else ""
    write_layer(store, LayerRecord(diff_id=job.diff_id, digest=job.digest, size=size, packed=packed))


def unpack_blobs(store: Store, jobs: tuple[Job, ...], limits: Limits, reporter: Reporter) -> None:
    """Layers whose blobs are in the store. Raises PyruncError."""
    feeds = {job.digest: Feed() for job in jobs}
    for job in jobs:
        feeds[job.digest].advance(job.size, complete=True)
    tasks = Tasks()
    with Workers(max(2, os.cpu_count() or 1)) as workers:
        Unpacking(store, jobs, feeds, limits, reporter, tasks).start(workers)
        tasks.join()
