"""Reading and walking a cgroup filesystem."""

from __future__ import annotations

import posix
from errno import ENODEV, ENOENT, ESRCH

from pyrunc.kernel.procfs import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

Paths = tuple[tuple[str, str], ...]

# what ended meanwhile: ENOENT by name, ENODEV through a cgroup's open file, ESRCH through a process's
GONE = (ENOENT, ENODEV, ESRCH)


def write_file(path: str, value: str) -> None:
    """One write(2). Never creates: a file that a cgroup doesn't have is ENOENT, not EPERM."""
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, value.encode())
    finally:
        posix.close(fd)


def read_if_there(path: str) -> str | None:
    """None for a file, or a cgroup, that doesn't exist."""
    try:
        return read_text(path)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise


def read_existing(files: Iterable[str]) -> dict[str, str]:
    """What `plan.cgroup_update` takes as `current`: file -> text, without those that don't exist."""
    found = {}
    for path in files:
        text = read_if_there(path)
        if text is not None:
            found[path] = text
    return found


def flat_keyed(text: str) -> dict[str, int]:
    """`KEY NUMBER` lines, such as of memory.stat and cgroup.events. Lines of another form are left out."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.isdigit():
            found[key] = int(value)
    return found


def place_of(paths: Paths, controller: str) -> str:
    """The directory in the v1 hierarchy that has `controller` ("cpu,cpuacct" has two); "" for none."""
    for name, path in paths:
        if controller in name.split(","):
            return path
    return ""


def is_frozen(paths: Paths) -> bool:
    """Also because of a cgroup above ours, and while processes are still on their way to it; False for a
    cgroup that is gone, or can't be frozen."""
    directory = place_of(paths, "freezer")
    if directory:
        text = read_if_there(f"{directory}/freezer.state")
        return text is not None and text.strip() != "THAWED"
    directory = dict(paths).get("", "")
    text = read_if_there(f"{directory}/cgroup.events") if directory else None
    return text is not None and flat_keyed(text).get("frozen") == 1


def is_v2(paths: Paths) -> bool:
    return all(not name for name, _ in paths)


def subtree(directory: str) -> list[str]:
    """`directory` and all cgroups below it, each before those inside it; none if it doesn't exist."""
    found, rest = [], [directory]
    while rest:
        path = rest.pop()
        try:
            links = posix.stat(path).st_nlink
            found.append(path)
            if links > 2:  # kernfs counts subdirectories: most cgroups have none
                with posix.scandir(path) as entries:
                    rest += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            if error.errno not in GONE:
                raise
    return found
