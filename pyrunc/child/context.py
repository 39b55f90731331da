"""What the steps of a child share: the descriptors it was born with, and its root once that is attached."""

from __future__ import annotations

import posix
from errno import EBADF
from stat import S_ISCHR

from pyrunc.kernel import syscall

_NULL = posix.makedev(1, 3)


class Child:
    """`saved`: descriptors by the names that the plan gives them; `mounted`: trees by where we put them;
    `place`: a directory of the container that is held for what comes next in it (rootfs._hold), by its name;
    `ordinary`: filesystems that aren't procfs, by device; `nulls`: standard streams that lead to nothing.
    `preserved`: where our parent has business with others, too, how many descriptors beyond the streams the
    program gets; else -1, and all that is open is for us."""

    def __init__(
        self, saved: dict[str, int], channel: int, stub: int, fifo: int, preserved: int = -1
    ) -> None:
        self.preserved = preserved
        self.saved = saved
        self.channel = channel
        self.stub = stub
        self.fifo = fifo
        self.root = -1
        self.root_is = (0, 0)  # its device and inode
        self.place, self.place_fd = "", -1
        self.ordinary: set[int] = set()
        self.nulls: list[int] = []
        self.mounted: dict[str, int] = {}
        self.payload = b""  # what came with the last sync point: the state, for hooks

    def close_others(self) -> None:
        """Who may trace a child that is born among them may take its descriptors. Of those of a process that
        has other business (the spawner, a user of the library) it keeps what the plan names. And while it
        waits for its hooks, nobody waits for the end of a stream, or for a lock, that it holds by chance."""
        kept = {self.channel, self.stub, self.fifo, *self.saved.values()}
        first = 3 + self.preserved
        for fd in sorted(fd for fd in kept if fd >= first):
            if fd > first:
                syscall.close_range(first, fd - 1, 0)
            first = fd + 1
        syscall.close_range(first, 0xFFFF_FFFF, 0)
        self.preserved = -1


def write_file(name: str, text: str, directory: int | None = None) -> None:
    """A file of procfs: one write, which the kernel takes or refuses as a whole."""
    fd = posix.open(name, posix.O_WRONLY | posix.O_CLOEXEC, dir_fd=directory)
    posix.write(fd, text.encode("utf-8", "surrogateescape"))
    posix.close(fd)


def is_null(fd: int) -> bool:
    """The null device, by what it is. A stream may have been closed by the caller."""
    try:
        found = posix.fstat(fd)
    except OSError as error:
        if error.errno != EBADF:
            raise
        return False
    return S_ISCHR(found.st_mode) and found.st_rdev == _NULL
