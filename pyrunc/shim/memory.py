"""A shim waits, mostly, and there is one per container: what it doesn't need for that it gives back.

What was imported stays where it is: the collector need not look at it again, and a fork need not copy its
pages. Of the executable's pages most were wanted by the start alone: they are let go, and come back from the
page cache, which all shims share, one by one when they are wanted.
"""

from __future__ import annotations

import gc

from pyrunc.files import read_whole
from pyrunc.kernel import syscall

_MADV_DONTNEED = 4


def settle() -> None:
    """When the container runs, and whenever much has been done since."""
    gc.enable()  # the launcher's interpreter starts without
    gc.collect()
    gc.freeze()
    for begin, size in parse_clean_mappings(
        read_whole("/proc/self/smaps").decode("utf-8", "surrogateescape")
    ):
        syscall.call("madvise", begin, size, _MADV_DONTNEED)


def parse_clean_mappings(smaps: str) -> list[tuple[int, int]]:
    """(address, bytes) of mappings of files that can't be written to, and of which no page was ever changed
    (a page that the dynamic linker has relocated would be lost)."""
    found = []
    begin = end = 0
    is_candidate = False
    for line in smaps.splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            first, _, last = words[0].partition("-")
            begin, end = int(first, 16), int(last, 16)
            is_candidate = len(words) > 5 and words[5][0] == "/" and words[1][1] != "w"
        elif words[0] == "Anonymous:" and is_candidate and words[1] == "0":
            found.append((begin, end - begin))
    return found
