"""Push: blobs that the registry lacks, then the manifest, byte for byte as it is here, then the index if
there is one.

A blob is not sent if the registry has it, or can take it from another of its repositories. An upload goes in
chunks, and after a failure on from what has arrived.
"""

from __future__ import annotations

import os
from functools import partial

from pyrunc.errors import INTERNAL, NOT_FOUND, PyruncError
from pyrunc.image.auth import find_credentials
from pyrunc.image.endpoints import plan_endpoints
from pyrunc.image.http import retried
from pyrunc.image.images import find_image, find_target, read_index
from pyrunc.image.names import read_names, set_name
from pyrunc.image.options import PushOptions
from pyrunc.image.progress import Reporter
from pyrunc.image.records import read_manifest
from pyrunc.image.registry import Repository, Unreachable
from pyrunc.image.tasks import Cancelled, Tasks
from pyrunc.oci.digest import short
from pyrunc.oci.image import INDEXES, MAXIMUM_DOCUMENT, Descriptor
from pyrunc.oci.reference import Reference, parse_full
from pyrunc.record import replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.image.store import Store
    from pyrunc.oci.image import Manifest

_CHUNK = 8 << 20


def push(store: Store, reference: Reference, options: PushOptions) -> Descriptor:
    """What `reference` (repo:tag) names, to where it says; the descriptor of what the tag is there. Raises
    NOT_FOUND, DENIED, INTERNAL."""
    target = find_target(store, reference.full)
    if target is None:
        what = f"An image does not exist locally with the tag: {reference.familiar_repository}"
        raise PyruncError(NOT_FOUND, what)
    reporter = Reporter(options.progress)
    reporter.say(f"The push refers to repository [{reference.repository}]")
    target, manifests = _content(store, target, reference, options)
    repository = _connect(reference, options)
    try:
        with store.lease() as lease:
            lease.keep([target.digest, *(manifest.digest for manifest in manifests)])
            _Push(store, repository, reference, options, reporter).push(target, manifests)
    finally:
        repository.close()
    set_name(store, reference, target, by_digest=True)
    tag = reference.tag or reference.digest
    reporter.say(f"{tag}: digest: {target.digest} size: {target.size}")
    return target


def _content(
    store: Store, target: Descriptor, reference: Reference, options: PushOptions
) -> tuple[Descriptor, tuple[Descriptor, ...]]:
    """What the tag becomes, and the manifests that belong to it. An index goes out if all of its images are
    here, else the one image that is."""
    if target.media_type not in INDEXES:
        return target, (target,)
    listed = read_index(store, target).manifests
    if options.platform is None and all(_is_whole(store, item) for item in listed):
        return target, tuple(replaced(item, platform=None, annotations=()) for item in listed)
    chosen = find_image(store, reference.full, options.platform).record.manifest
    return chosen, (chosen,)


def _is_whole(store: Store, descriptor: Descriptor) -> bool:
    if descriptor.media_type in INDEXES or not store.has(descriptor.digest):
        return False
    manifest = read_manifest(store, descriptor)
    return all(store.has(blob.digest) for blob in (manifest.config, *manifest.layers))


def _connect(reference: Reference, options: PushOptions) -> Repository:
    """The registry itself: a mirror is for reading."""
    credentials = options.credentials or find_credentials(reference.registry, options.config_file)
    failure: PyruncError | None = None
    for endpoint in plan_endpoints(reference.registry, options.registries, mirrors=False):
        repository = Repository(
            endpoint, reference.path, credentials, "pull,push", shown=reference.familiar_repository
        )
        try:
            repository.connect()
        except Unreachable as error:
            repository.close()
            failure = failure or error
        else:
            return repository
    assert failure
    raise failure


class _Push:
    def __init__(
        self,
        store: Store,
        repository: Repository,
        reference: Reference,
        options: PushOptions,
        reporter: Reporter,
    ) -> None:
        self._store, self._repository, self._reference = store, repository, reference
        self._options, self._reporter = options, reporter
        self._configs: set[str] = set()
        self._tasks = Tasks()

    def push(self, target: Descriptor, manifests: tuple[Descriptor, ...]) -> None:
        blobs: dict[str, Descriptor] = {}
        for descriptor in manifests:
            manifest = read_manifest(self._store, descriptor)
            blobs.update({blob.digest: blob for blob in (*manifest.layers, manifest.config)})
            self._configs.add(manifest.config.digest)
        origins = self._origins(set(blobs))
        for origin in sorted(set(origins.values())):
            self._repository.also_reads(origin)
        for digest in blobs:
            self._say("Preparing", digest)
        jobs = [partial(self._blob, blob, origins.get(digest, "")) for digest, blob in blobs.items()]
        self._tasks.run(jobs, min(self._options.parallel, len(jobs)))
        self._tasks.join()
        for descriptor in manifests:
            if descriptor.digest != target.digest:
                self._manifest(descriptor, descriptor.digest)
        self._manifest(target, self._reference.tag or target.digest)

    def _manifest(self, descriptor: Descriptor, name: str) -> None:
        data = self._store.read_blob(descriptor.digest, MAXIMUM_DOCUMENT)
        self._repository.put_manifest(name, data, descriptor.media_type)

    def _origins(self, digests: set[str]) -> dict[str, str]:
        """Blobs that another repository of this registry should have: it has a name that we know of."""
        found: dict[str, str] = {}
        for name, target in read_names(self._store).items():
            other = parse_full(name)
            if other.registry != self._reference.registry or other.path == self._reference.path:
                continue
            if not other.digest or target.media_type in INDEXES or not self._store.has(target.digest):
                continue  # a tag may be there or not; a digest was there once
            manifest: Manifest = read_manifest(self._store, target)
            for layer in manifest.layers:
                if layer.digest in digests:
                    found.setdefault(layer.digest, other.path)
        return found

    def _blob(self, blob: Descriptor, origin: str) -> None:
        if self._repository.has_blob(blob.digest):
            self._say("Layer already exists", blob.digest)
            return
        url = self._repository.start_upload(blob.digest, origin)
        if not url:
            self._say(f"Mounted from {origin}", blob.digest)
            return
        fd = self._store.open_blob(blob.digest)
        try:
            self._repository.finish_upload(self._upload(fd, url, blob), blob.digest)
        finally:
            os.close(fd)
        self._say("Pushed", blob.digest)

    def _say(self, text: str, digest: str, *numbers: int) -> None:
        """Of layers: an image's config goes out unmentioned, as with docker."""
        if digest not in self._configs:
            self._reporter.say(text, short(digest), *numbers)

    def _upload(self, fd: int, url: str, blob: Descriptor) -> str:
        """All of the blob, in chunks; the address where it is to be finished."""

        def tell(offset: int) -> None:
            if self._tasks.is_cancelled():
                raise Cancelled
            self._say("Pushing", blob.digest, offset, blob.size)

        upload = _Upload(self._repository, fd, url, blob)
        retried("upload failed", blob.digest, partial(upload.go_on, tell), lambda: upload.offset)
        return upload.url


class _Upload:
    """How far a blob has come. Where it goes on is told by the registry with each chunk."""

    def __init__(self, repository: Repository, fd: int, url: str, blob: Descriptor) -> None:
        self._repository, self._fd, self._blob = repository, fd, blob
        self.url, self.offset = url, 0
        self._is_begun = False

    def go_on(self, tell: Callable[[int], None]) -> None:
        """One attempt. Of an earlier one the registry knows what has arrived."""
        if self._is_begun:
            found = self._repository.upload_offset(self.url)
            self.url, self.offset = found or (self._repository.start_upload(self._blob.digest), 0)
        self._is_begun = True
        while self.offset < self._blob.size:
            data = os.pread(self._fd, min(_CHUNK, self._blob.size - self.offset), self.offset)
            if not data:
                raise PyruncError(INTERNAL, "blob in the store is too short", self._blob.digest)
            self.url = self._repository.upload_chunk(self.url, data, self.offset)
            self.offset += len(data)
            tell(self.offset)
