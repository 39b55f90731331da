"""What the steps of a child share: the descriptors it was born with, and its root once that is attached."""

from __future__ import annotations

import posix

from pyrunc.kernel import syscall


class Child:
    """`saved`: descriptors by the names that the plan gives them; `mounted`: trees by where we put them.
    `preserved`: where our parent has business with others, too, how many descriptors beyond the streams the
    program gets; else -1, and all that is open is for us."""

    __slots__ = ("channel", "fifo", "mounted", "payload", "preserved", "root", "saved", "stub")

    def __init__(
        self, saved: dict[str, int], channel: int, stub: int, fifo: int, preserved: int = -1
    ) -> None:
        self.preserved = preserved
        self.saved = saved
        self.channel = channel
        self.stub = stub
        self.fifo = fifo
        self.root = -1
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
