"""Pull: a reference becomes an image that is here, unpacked.

The trip: name -> descriptor -> manifest for the platform -> config -> layers, fetched and unpacked at the
same time -> last of all the image's record and its name. A blob that is there is not fetched again, one that
is half there is gone on with; a layer that is unpacked stays so. A crash leaves nothing that isn't used the
next time.
"""

from __future__ import annotations

from functools import partial

from pyrunc.errors import INVALID, NOT_FOUND, PyruncError
from pyrunc.image.compose import jobs_for
from pyrunc.image.fetch import Remote
from pyrunc.image.images import Image, find_image
from pyrunc.image.names import set_name
from pyrunc.image.options import PullOptions
from pyrunc.image.platforms import choose_manifest, host_platform, rank
from pyrunc.image.progress import Reporter
from pyrunc.image.records import write_record
from pyrunc.image.tasks import Tasks
from pyrunc.image.unpack import Unpacking
from pyrunc.image.workers import Feed, Workers
from pyrunc.oci.digest import short
from pyrunc.oci.image import (
    DOCKER_LAYER,
    INDEXES,
    MAXIMUM_CONFIG,
    OCI_FOREIGN,
    OCI_LAYER,
    Descriptor,
    ImageConfig,
    Manifest,
    describe,
    document_type,
    parse_image_config,
    parse_index,
    parse_manifest,
)
from pyrunc.oci.reference import Reference
from pyrunc.record import replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.image.store import Lease, Store

_LAYERS = (OCI_LAYER, DOCKER_LAYER, OCI_FOREIGN)


def list_tags(reference: Reference, options: PullOptions) -> tuple[str, ...]:
    """All tags of the repository. Raises NOT_FOUND, DENIED."""
    remote = Remote(reference, options)
    try:
        return remote.tags()
    finally:
        remote.close()


def pull(store: Store, reference: Reference, options: PullOptions) -> Image:
    """Raises PyruncError: NOT_FOUND, DENIED, INVALID (what came was wrong), INTERNAL (it didn't come)."""
    reporter = Reporter(options.progress)
    remote = Remote(reference, options)
    try:
        with store.lease() as lease:
            reporter.say(f"Pulling from {reference.path}", reference.tag or reference.digest)
            return _Pull(store, remote, options, reporter, lease).pull(reference)
    finally:
        remote.close()


class _Pull:
    def __init__(
        self, store: Store, remote: Remote, options: PullOptions, reporter: Reporter, lease: Lease
    ) -> None:
        self._store, self._remote, self._options = store, remote, options
        self._reporter, self._lease = reporter, lease

    def pull(self, reference: Reference) -> Image:
        target = self._document(reference.digest or reference.tag)
        chosen = self._choose(target, reference)
        manifest = parse_manifest(self._store.read_blob(chosen.digest, 4 << 20), chosen.media_type)
        config = self._config(manifest, chosen)
        self._layers(manifest, config)
        with self._store.locked(exclusive=False):
            write_record(self._store, manifest.config.digest, chosen)
            before = set_name(self._store, reference, target, by_digest=True)
        self._reporter.say(f"Digest: {target.digest}")
        is_new = before is None or before.digest != target.digest
        words = "Downloaded newer image for" if is_new else "Image is up to date for"
        self._reporter.say(f"Status: {words} {reference.familiar}")
        by_digest = replaced(reference, tag="", digest=target.digest)
        return find_image(self._store, by_digest.full, config.platform if target != chosen else None)

    def _document(self, name: str) -> Descriptor:
        """A manifest or an index by tag or digest, committed."""
        data, said = self._remote.manifest(name)
        found = describe(document_type(data, said), data)
        if ":" in name:
            found = replaced(found, digest=name)
        self._lease.keep([found.digest])
        self._store.put_bytes(data, found.digest)
        return found

    def _choose(self, target: Descriptor, reference: Reference) -> Descriptor:
        if target.media_type not in INDEXES:
            return target
        wanted = self._options.platform or host_platform()
        index = parse_index(self._store.read_blob(target.digest, 4 << 20), target.media_type)
        chosen = choose_manifest(index, wanted)
        if chosen is None:
            there = ", ".join(item.platform.text for item in index.manifests if item.platform)[:500]
            what = f"no matching manifest for {wanted.text} in the manifest list entries"
            raise PyruncError(NOT_FOUND, what, reference.familiar, f"there are {there or 'none'}")
        found = self._document(chosen.digest)
        if found.size != chosen.size or (chosen.media_type and found.media_type != chosen.media_type):
            raise PyruncError(INVALID, "image manifest is not what the index says", chosen.digest)
        return found

    def _config(self, manifest: Manifest, chosen: Descriptor) -> ImageConfig:
        descriptor = manifest.config
        self._lease.keep([descriptor.digest, *(layer.digest for layer in manifest.layers)])
        if not self._store.has(descriptor.digest):
            self._store.put_bytes(self._remote.small_blob(descriptor, MAXIMUM_CONFIG), descriptor.digest)
        config = parse_image_config(self._store.read_blob(descriptor.digest, MAXIMUM_CONFIG))
        check_image(manifest, config)
        wanted = self._options.platform
        if wanted and not rank(wanted, config.platform):
            what = f"image was found but does not match the specified platform: wanted {wanted.text}"
            raise PyruncError(NOT_FOUND, what, chosen.digest, f"actual: {config.platform.text}")
        self._lease.keep(config.chain_ids)
        return config

    def _layers(self, manifest: Manifest, config: ImageConfig) -> None:
        """Fetch and unpack what is missing, at the same time."""
        jobs = jobs_for(manifest.layers, config.diff_ids)
        missing = tuple(job for job in jobs if not self._store.snapshots.has(job.chain_id))
        wanted: dict[str, Descriptor] = {}
        for layer, job in zip(manifest.layers, jobs, strict=True):
            if self._store.has(layer.digest):
                if job not in missing:
                    self._reporter.say("Already exists", job.short)
            elif layer.digest not in wanted:
                wanted[layer.digest] = layer
                self._reporter.say("Pulling fs layer", job.short)
        feeds = {layer.digest: Feed() for layer in manifest.layers}
        tasks = Tasks()
        tasks.when_cancelled = [feed.fail for feed in feeds.values()]
        with Workers(3) as workers:
            tasks.run(
                [partial(self._fetch, layer, feeds[layer.digest], tasks) for layer in wanted.values()],
                min(self._options.parallel, max(1, len(wanted))),
            )
            for layer in manifest.layers:
                if layer.digest not in wanted:
                    feeds[layer.digest].advance(layer.size, complete=True)
            Unpacking(self._store, missing, feeds, self._options.limits, self._reporter, tasks).start(workers)
            tasks.join()

    def _fetch(self, layer: Descriptor, feed: Feed, tasks: Tasks) -> None:
        try:
            self._download(layer, feed, tasks)
        except BaseException:
            feed.fail()
            raise

    def _download(self, layer: Descriptor, feed: Feed, tasks: Tasks) -> None:
        """What an earlier attempt left is gone on with, and thrown away if nothing right comes of that."""
        name = short(layer.digest)
        with self._store.ingest(layer.digest) as ingest:
            if ingest.is_there:
                feed.advance(layer.size, complete=True)
                return
            resumed = ingest.offset > 0
            if ingest.offset > layer.size:
                ingest.restart()

            def progress(offset: int) -> None:
                self._reporter.say("Downloading", name, offset, layer.size)
                if not resumed:
                    feed.advance(offset)

            for attempt in range(2):
                try:
                    self._remote.blob(layer, ingest, progress, tasks.is_cancelled)
                    self._reporter.say("Verifying Checksum", name)
                    ingest.commit(layer.size)
                    break
                except PyruncError as error:
                    if error.kind != INVALID or not resumed or attempt:
                        raise
                    ingest.restart()
            self._reporter.say("Download complete", name)
            feed.advance(layer.size, complete=True)


def check_image(manifest: Manifest, config: ImageConfig) -> None:
    """Raises INVALID where a manifest and its config don't fit, or layers are of a type that is none."""
    if len(manifest.layers) != len(config.diff_ids):
        why = f"{len(manifest.layers)} layers, and {len(config.diff_ids)} diff_ids"
        raise PyruncError(INVALID, "image config does not fit its manifest", "/rootfs/diff_ids", why)
    for index, layer in enumerate(manifest.layers):
        if not layer.media_type.startswith(_LAYERS) and not layer.media_type.startswith(
            "application/vnd.docker.image.rootfs.foreign"
        ):
            where = f"/layers/{index}/mediaType"
            raise PyruncError(INVALID, "image has a layer of an unknown type", where, layer.media_type[:200])
