"""Reading from a registry by whichever of its endpoints answers: the pieces of a pull."""

from __future__ import annotations

import threading

from pyrunc.errors import INVALID, PyruncError
from pyrunc.image.auth import find_credentials
from pyrunc.image.endpoints import plan_endpoints
from pyrunc.image.http import retried
from pyrunc.image.registry import Repository, Unreachable
from pyrunc.image.tasks import Cancelled
from pyrunc.oci.digest import hasher, hex_of
from pyrunc.oci.image import MAXIMUM_DOCUMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pyrunc.image.options import PullOptions
    from pyrunc.image.store import Ingest
    from pyrunc.oci.image import Descriptor
    from pyrunc.oci.reference import Reference

    _T = TypeVar("_T")

_BUFFER = 512 << 10


class Remote:
    """A repository at its mirrors and at its registry: the first that has what is asked for."""

    def __init__(self, reference: Reference, options: PullOptions) -> None:
        self._reference = reference
        self._repositories = []
        for endpoint in plan_endpoints(reference.registry, options.registries, mirrors=True):
            credentials = options.credentials if not endpoint.is_mirror else None
            if credentials is None:
                credentials = find_credentials(endpoint.registry, options.config_file)
            shown = reference.familiar_repository
            self._repositories.append(Repository(endpoint, reference.path, credentials, shown=shown))
        self._connected: list[Repository] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        for repository in self._repositories:
            repository.close()

    def _first(self, action: Callable[[Repository], _T]) -> _T:
        """Of the endpoints that answer. A mirror may lack what the registry has; what the registry says
        counts, and of an endpoint that can't be reached only when there is none that can."""
        failure: PyruncError | None = None
        for repository in [*self._repositories]:
            try:
                self._connect(repository)
            except Unreachable as error:
                failure = failure or error
                continue
            try:
                return action(repository)
            except PyruncError as error:
                if not repository.endpoint.is_mirror:
                    raise
                failure = error
        assert failure
        raise failure

    def _connect(self, repository: Repository) -> None:
        """Once for each: one that wasn't there is not asked again."""
        with self._lock:
            if repository not in self._connected:
                try:
                    repository.connect()
                except Unreachable:
                    self._repositories.remove(repository)
                    raise
                self._connected.append(repository)

    def manifest(self, reference: str) -> tuple[bytes, str]:
        """By tag or digest; of a digest the bytes are verified. See Repository.manifest."""

        def read(repository: Repository) -> tuple[bytes, str]:
            data, kind = repository.manifest(reference)
            if ":" in reference:
                require_match(data, reference)
            return data, kind

        return self._first(read)

    def tags(self) -> tuple[str, ...]:
        return self._first(lambda repository: tuple(repository.tags()))

    def small_blob(self, descriptor: Descriptor, maximum: int = MAXIMUM_DOCUMENT) -> bytes:
        """A blob that is wanted in memory, verified."""
        if descriptor.size > maximum:
            raise PyruncError(INVALID, "document is too large", descriptor.digest, f"{descriptor.size} bytes")

        def fetch(repository: Repository) -> bytes:
            def once() -> bytes:
                response, _ = repository.open_blob(descriptor.digest, 0)
                with response:
                    return response.read(descriptor.size)

            data = retried("can't read blob", descriptor.digest, once)
            require_match(data, descriptor.digest, descriptor.size)
            return data

        return self._first(fetch)

    def blob(
        self,
        descriptor: Descriptor,
        ingest: Ingest,
        progress: Callable[[int], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        """The bytes that `ingest` lacks. Not verified: that is its commit's. Raises Cancelled."""
        self._first(
            lambda repository: retried(
                "download failed",
                descriptor.digest,
                lambda: _download(repository, descriptor, ingest, progress, is_cancelled),
                lambda: ingest.offset,
            )
        )


def require_match(data: bytes, digest: str, size: int = -1) -> None:
    """Raises INVALID for bytes that are not what their descriptor says."""
    checked = hasher(digest)
    checked.update(data)
    if checked.hexdigest() != hex_of(digest) or size not in (-1, len(data)):
        why = f"it has {checked.hexdigest()}, {len(data)} bytes"
        raise PyruncError(INVALID, "content does not match its digest", digest, why)


def _download(
    repository: Repository,
    descriptor: Descriptor,
    ingest: Ingest,
    progress: Callable[[int], None],
    is_cancelled: Callable[[], bool],
) -> None:
    """One attempt, from where the last one came to."""
    if ingest.offset >= descriptor.size:
        return
    response, position = repository.open_blob(descriptor.digest, ingest.offset)
    buffer = memoryview(bytearray(min(_BUFFER, max(descriptor.size, 1))))
    with response:
        while True:
            if is_cancelled():
                raise Cancelled
            count = response.readinto(buffer)
            if not count:
                break
            start = max(0, ingest.offset - position)  # a server without ranges sends again what we have
            position += count
            if start >= count:
                continue
            if ingest.offset + count - start > descriptor.size:
                ingest.restart()
                why = f"the registry sends more than the {descriptor.size} bytes that its manifest says"
                raise PyruncError(INVALID, "content does not match its digest", descriptor.digest, why)
            ingest.write(buffer[start:count])
            progress(ingest.offset)
    if ingest.offset < descriptor.size:
        if position and response.headers.get("content-length") and _is_whole(response.headers, position):
            why = f"the registry has {position} bytes, its manifest says {descriptor.size}"
            raise PyruncError(INVALID, "content does not match its digest", descriptor.digest, why)
        raise ConnectionError(f"connection closed after {ingest.offset} of {descriptor.size} bytes")


def _is_whole(headers: dict[str, str], position: int) -> bool:
    """Whether the answer had all that it announced: then there is no more to come."""
    length = headers.get("content-length", "")
    return "content-range" not in headers and length.isdigit() and int(length) == position
