"""/proc: pure parsers of its formats (proc(5)), and readers of a process's entries."""

from __future__ import annotations

from pyrunc.files import read_whole
from pyrunc.record import Record


class MountEntry(Record):
    """One line of mountinfo. `root`: which part of the filesystem is mounted; options as listed."""

    mount_id: int
    parent_id: int
    root: str
    mountpoint: str
    options: str
    propagation: tuple[str, ...]
    fstype: str
    source: str
    super_options: str


def _unescape(field: str) -> str:
    """mountinfo writes space, tab, newline and backslash as three octal digits."""
    if "\\" not in field:
        return field
    first, *rest = field.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def parse_mountinfo(text: str) -> tuple[MountEntry, ...]:
    """/proc/PID/mountinfo, in its order."""
    entries = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        ids = before.split(" ")
        fstype, source, super_options = after.split(" ", 2)
        entries.append(
            MountEntry(
                mount_id=int(ids[0]),
                parent_id=int(ids[1]),
                root=_unescape(ids[3]),
                mountpoint=_unescape(ids[4]),
                options=ids[5],
                propagation=tuple(ids[6:]),
                fstype=fstype,
                source=_unescape(source),
                super_options=super_options,
            )
        )
    return tuple(entries)


def parse_cgroup(text: str) -> tuple[tuple[tuple[str, ...], str], ...]:
    """/proc/PID/cgroup: (controllers, path) of each hierarchy; no controllers for the unified one."""
    found = []
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        found.append((tuple(controllers.split(",")) if controllers else (), path))
    return tuple(found)


class Stat(Record):
    """/proc/PID/stat: state letter (R, S, D, Z, X …) and start time in clock ticks since boot (field 22)."""

    state: str
    start_time: int


def parse_stat(text: str) -> Stat:
    """The command name may hold spaces and parentheses: the fields start after the last one."""
    fields = text.rpartition(")")[2].split()
    return Stat(state=fields[0], start_time=int(fields[19]))


def read_text(path: str) -> str:
    """A whole file of /proc or /sys; bytes that are not UTF-8 survive as surrogates. Raises OSError."""
    return read_whole(path).decode("utf-8", "surrogateescape")


def read_stat(pid: int) -> Stat | None:
    """None when there is no such process."""
    try:
        return parse_stat(read_text(f"/proc/{pid}/stat"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def inner_pid(pid: int) -> int:
    """The number that `pid` has in the innermost pid namespace that it is in (NSpid). Raises OSError."""
    for line in read_text(f"/proc/{pid}/status").splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return pid


def is_alive(pid: int, start_time: int) -> bool:
    """Is `pid` still the process that began at `start_time`, and not a zombie?"""
    found = read_stat(pid)
    return found is not None and found.start_time == start_time and found.state not in "ZXx"
