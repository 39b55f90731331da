"""What the steps of a child share: the descriptors it was born with, and its root once that is attached."""

from __future__ import annotations

import posix


class Child:
    """`saved`: descriptors by the names that the plan gives them; `mounted`: trees by where we put them."""

    __slots__ = ("channel", "fifo", "mounted", "payload", "root", "saved", "stub")

    def __init__(self, saved: dict[str, int], channel: int, stub: int, fifo: int) -> None:
        self.saved = saved
        self.channel = channel
        self.stub = stub
        self.fifo = fifo
        self.root = -1
        self.mounted: dict[str, int] = {}
        self.payload = b""  # what came with the last sync point: the state, for hooks


def write_file(name: str, text: str, directory: int | None = None) -> None:
    """A file of procfs: one write, which the kernel takes or refuses as a whole."""
    fd = posix.open(name, posix.O_WRONLY | posix.O_CLOEXEC, dir_fd=directory)
    posix.write(fd, text.encode("utf-8", "surrogateescape"))
    posix.close(fd)
