"""The data root of images: content-addressed blobs, leases, and the locks that let two processes share it.

    blobs/sha256/HEX      committed: complete, verified, never changed
    ingest/HEX            being written; what a dead process left of it is gone on with
    names.json            references -> descriptors (`names`)
    images/HEX.json       a record per image (`records`); images live as long as their record
    layers/HEX.json       what a diff id is as a blob
    leases/NAME           what a running operation needs although no record says so yet
    snapshots/            unpacked layers and containers' directories (`snapshots`)
    lock                  held shared to make things reachable, exclusively to take unreachable things away

A blob is written aside, verified, synced and renamed; a record comes after all that it names. So a process
that dies at any line leaves blobs that the next one uses, and nothing that is half there has a name.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from contextlib import contextmanager

from pyrunc import jsonio
from pyrunc.errors import INTERNAL, INVALID, NOT_FOUND, PyruncError, doing
from pyrunc.files import read_whole, write_all
from pyrunc.image.locks import is_at, lock_file, locked, try_lock
from pyrunc.image.snapshots.choose import open_snapshots
from pyrunc.oci.digest import hasher, hex_of, of_bytes, require_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from pyrunc.image.snapshots.base import Snapshots

_READ = os.O_RDONLY | os.O_CLOEXEC
_CHUNK = 1 << 20


class Store:
    """An open data root. It may be used by several threads and processes at a time."""

    def __init__(self, root: str, snapshots: Snapshots) -> None:
        self.root = root
        self.snapshots = snapshots

    def path(self, *parts: str) -> str:
        return "/".join((self.root, *parts))

    # --- blobs ------------------------------------------------------------------------------------

    def blob_path(self, digest: str) -> str:
        algorithm, _, digits = require_digest(digest).partition(":")
        return self.path("blobs", algorithm, digits)

    def blob_places(self, digest: str) -> tuple[str, ...]:
        """Where to open a blob that may still be in the making: it goes from the second place to the
        first."""
        place = self.blob_path(digest)
        return place, self.path("ingest", hex_of(digest)), place

    def has(self, digest: str) -> bool:
        return os.path.exists(self.blob_path(digest))

    def blob_size(self, digest: str) -> int:
        """In bytes; 0 where there is none."""
        try:
            return os.stat(self.blob_path(digest)).st_size
        except FileNotFoundError:
            return 0

    def open_blob(self, digest: str) -> int:
        """A descriptor, to be closed by the caller. Raises NOT_FOUND."""
        try:
            return os.open(self.blob_path(digest), _READ)
        except FileNotFoundError:
            raise PyruncError(NOT_FOUND, "content is not in the store", digest) from None

    def read_blob(self, digest: str, maximum: int) -> bytes:
        """A document. Verified again, for a disk can fail, and manifests decide on everything else."""
        fd = self.open_blob(digest)
        with open(fd, "rb") as file:
            data = file.read(maximum + 1)
        if len(data) > maximum:
            raise PyruncError(INVALID, "document is too large", digest, f"at most {maximum} bytes")
        checked = hasher(digest)
        checked.update(data)
        if checked.hexdigest() != hex_of(digest):
            raise PyruncError(INTERNAL, "content in the store is damaged", self.blob_path(digest))
        return data

    def put_bytes(self, data: bytes, digest: str = "") -> str:
        """Commit a small blob; its digest. With `digest` it has to be that one."""
        found = of_bytes(data)
        if digest and not digest.startswith("sha256:"):
            checked = hasher(digest)
            checked.update(data)
            found = f"{digest.partition(':')[0]}:{checked.hexdigest()}"
        if digest and found != digest:
            raise PyruncError(INVALID, "content does not match its digest", digest, f"it is {found}")
        if not self.has(found):
            with self.ingest(found) as ingest:
                if not ingest.is_there:
                    ingest.restart()
                    ingest.write(data)
                    ingest.commit(len(data))
        return found

    @contextmanager
    def ingest(self, digest: str) -> Iterator[Ingest]:
        """Write the blob `digest`: one writer at a time, others wait for it. What an earlier attempt left is
        still there (`Ingest.offset`). Without a commit it stays for the next attempt."""
        with doing("write blob", self.path("ingest")):
            ingest = Ingest(self, digest)
        try:
            yield ingest
        finally:
            ingest.close()

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """Write a blob whose digest is not known yet. Without a commit nothing is left of it."""
        with doing("write blob", self.path("ingest")):
            draft = Draft(self)
        try:
            yield draft
        finally:
            draft.close()

    # --- locks and leases ---------------------------------------------------------------------------

    def locked(self, *, exclusive: bool) -> AbstractContextManager[None]:
        """Shared while something is made reachable, exclusive while what is unreachable is taken away; never
        for the time of a transfer."""
        return locked(self.path("lock"), exclusive=exclusive)

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """Keeps what it is told of from being collected, until the operation is over or its process dead."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            lease.end()

    def leased(self) -> set[str]:
        """All that living operations keep. Call it with the store locked exclusively."""
        kept: set[str] = set()
        for name in os.listdir(self.path("leases")):
            path = self.path("leases", name)
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if try_lock(fd):
                    os.unlink(path)
                else:
                    kept.update(read_whole(path).decode().split())
            finally:
                os.close(fd)
        return kept


class Lease:
    """A file with a word per line, and a lock on it that dies with us."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guard = threading.Lock()
        self.path = store.path("leases", f"{os.getpid()}-{secrets.token_hex(8)}")
        with store.locked(exclusive=False):
            self._fd = os.open(
                self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def keep(self, names: Iterable[str]) -> None:
        """Digests and chain ids. When this returns no collector takes them away any more, so whoever wants to
        know whether they are there asks afterwards."""
        with self._guard, self._store.locked(exclusive=False):
            write_all(self._fd, "".join(f"{name}\n" for name in names).encode())

    def end(self) -> None:
        os.unlink(self.path)
        os.close(self._fd)


class Ingest:
    """A blob in the making: the file `ingest/HEX`, locked. `digest` is what it has to become."""

    def __init__(self, store: Store, digest: str) -> None:
        self._store, self.digest = store, digest
        self.path = store.path("ingest", hex_of(require_digest(digest)))
        self.fd = lock_file(self.path)
        self.offset = os.fstat(self.fd).st_size
        self._hash = hasher(digest)
        self._hashed = 0

    @property
    def is_there(self) -> bool:
        """Somebody committed it while we waited for the lock."""
        return self._store.has(self.digest)

    def write(self, data: bytes | memoryview) -> None:
        """At `offset`, which grows. The hash goes along."""
        self._catch_up()
        self._hash.update(data)
        rest = memoryview(data)
        with doing("write blob", self.path):
            while rest:
                written = os.pwrite(self.fd, rest, self.offset)
                self.offset += written
                rest = rest[written:]
        self._hashed = self.offset

    def _catch_up(self) -> None:
        """Hash what was there before we came."""
        while self._hashed < self.offset:
            data = os.pread(self.fd, min(_CHUNK, self.offset - self._hashed), self._hashed)
            if not data:
                raise PyruncError(INTERNAL, "blob was cut short while it was read", self.path)
            self._hash.update(data)
            self._hashed += len(data)

    def restart(self) -> None:
        """From the beginning: what is there is wrong, or can't be gone on with."""
        os.ftruncate(self.fd, 0)
        self.offset = self._hashed = 0
        self._hash = hasher(self.digest)

    def commit(self, size: int = -1) -> None:
        """Verify, sync, rename: from now on it is in the store. What doesn't verify is thrown away: it could
        never be gone on with. Raises INVALID."""
        self._catch_up()
        found = f"{self.digest.partition(':')[0]}:{self._hash.hexdigest()}"
        if found != self.digest or size not in (-1, self.offset):
            why = f"it is {found}, {self.offset} bytes" + ("" if size < 0 else f", not {size}")
            self.restart()
            raise PyruncError(INVALID, "content does not match its digest", self.digest, why)
        with doing("commit blob"):
            os.fchmod(self.fd, 0o644)
            os.fsync(self.fd)
            os.rename(self.path, self._store.blob_path(self.digest))

    def close(self) -> None:
        """A file that nothing was written to needs not stay. While we hold the lock the name is ours."""
        if self.offset == 0 and is_at(self.fd, self.path):
            os.unlink(self.path)
        os.close(self.fd)


class Draft:
    """A blob in the making that gets its name, a sha256 digest, from what is written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = store.path("ingest", f"new-{secrets.token_hex(16)}")
        self._fd = lock_file(self._path)
        self._hash = hasher("sha256:")
        self._is_there = True
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        self.size += len(data)
        rest = memoryview(data)
        with doing("write blob", self._path):
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def commit(self) -> str:
        """The digest under which it is in the store now. Have a lease keep it before."""
        digest = self.digest
        if not self._store.has(digest):
            with doing("commit blob"):
                os.fchmod(self._fd, 0o644)
                os.fsync(self._fd)
                os.rename(self._path, self._store.blob_path(digest))
            self._is_there = False
        return digest

    def close(self) -> None:
        if self._is_there:
            os.unlink(self._path)
        os.close(self._fd)


def write_synced(path: str, data: bytes) -> None:
    """write_atomically, and on the disk before it has its name: blobs and names must outlive a power cut."""
    directory, _, name = path.rpartition("/")
    temporary = f"{directory}/.{name}.{os.getpid()}.{threading.get_ident()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def open_store(root: str, driver: str = "") -> Store:
    """The store at `root`, made if it is not there. `driver`: overlay, plain, or "" for what was taken
    before, else what the file system can. Raises CONFLICT where the root was made with another driver."""
    with doing("open image store", root):
        for name in ("blobs/sha256", "blobs/sha512", "ingest", "images", "layers", "leases", "snapshots"):
            os.makedirs(f"{root}/{name}", exist_ok=True)
        return Store(root, open_snapshots(f"{root}/snapshots", driver, f"{root}/lock"))


def read_json(path: str) -> dict[str, object] | None:
    """A record of ours; None where there is none."""
    try:
        value = jsonio.loads(read_whole(path), path)
    except FileNotFoundError:
        return None
    if not isinstance(value, dict):
        raise PyruncError(INTERNAL, "record is damaged", path)
    return value


def write_json(path: str, value: dict[str, object]) -> None:
    write_synced(path, jsonio.dumps(value).encode("utf-8", "replace"))
