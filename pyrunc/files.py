"""Whole files: read one, replace one so that a reader sees the old or the new, never half of it.

There is no fsync: what a runtime writes lives in /run or belongs to a caller who is waiting for it. We
guard against a process that dies at any line, and a machine that does takes its containers with it.
"""

from __future__ import annotations

import errno
import posix
import stat

_FIRST_BYTES, _CHUNK_BYTES = 1 << 13, 1 << 16


def absolute(path: str) -> str:
    """`path` from the root, without `.`, `..` and doubled slashes. By its words only: links stay."""
    if path[:1] != "/":
        path = f"{posix.getcwd()}/{path}"
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part and part != ".":
            kept.append(part)
    return "/" + "/".join(kept)


def write_all(descriptor: int, data: bytes) -> None:
    """write(2) until all of `data` is out: into a pipe it takes what there is room for."""
    rest = memoryview(data)
    while rest:
        rest = rest[posix.write(descriptor, rest) :]


def read_all(descriptor: int) -> bytes:
    """Everything up to the end, of a pipe as well as of a file in /proc whose size is said to be 0."""
    chunks, size = [], _FIRST_BYTES  # most are small, and the heap need not grow for those
    while chunk := posix.read(descriptor, size):
        chunks.append(chunk)
        if len(chunk) == size:
            size = _CHUNK_BYTES
    return b"".join(chunks)


def read_whole(path: str) -> bytes:
    """Raises OSError that names `path`, also for what fails after the open."""
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return read_all(descriptor)
    except OSError as error:
        error.filename = path
        raise
    finally:
        posix.close(descriptor)


def read_once(path: str) -> bytes:
    """As `read_whole`; `-` is standard input. What comes from a pipe can't be had twice, so it takes the
    pipe's place as a file: where our interpreter is a part of the launcher, the call is begun anew with a
    whole one if it needs that, to ask systemd or to explain what is wrong here. Who inherits the descriptor
    finds it at its end, as the pipe would be."""
    number = _descriptor_in(path)
    if number < 0 or (stat.S_ISREG(posix.fstat(number).st_mode) and path != "-"):
        return read_whole(path)
    data = read_all(number)
    copy = posix.memfd_create("input")
    write_all(copy, data)
    if path == "-":
        posix.lseek(copy, 0, 0)
    posix.dup2(copy, number)
    posix.close(copy)
    return data


def _descriptor_in(path: str) -> int:
    """The number of the descriptor that a name stands for, -1 for other names."""
    if path in ("-", "/dev/stdin"):
        return 0
    directory, _, name = path.rpartition("/")
    return int(name) if directory in ("/dev/fd", "/proc/self/fd") and name.isdecimal() else -1


def write_atomically(path: str, data: bytes, mode: int = 0o644) -> None:
    """Write a hidden file beside `path`, then rename it: `path` appears with all of `data` or not at all.

    Exactly `data`: containerd refuses a pid file that ends in a newline. A symbolic link at `path` is
    replaced, not followed. The umask applies to `mode`, as it would to any new file.
    """
    directory, slash, name = path.rpartition("/")
    temporary = f"{directory}{slash}.{name}.{posix.getpid()}"
    descriptor = _create(temporary, mode)
    try:
        try:
            write_all(descriptor, data)
        finally:
            posix.close(descriptor)
        posix.rename(temporary, path)
    except BaseException:
        posix.unlink(temporary)
        raise


def _create(path: str, mode: int) -> int:
    """A new file. One that is in the way was left by a dead process which had our pid: it goes."""
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
    try:
        return posix.open(path, flags, mode)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
    posix.unlink(path)
    return posix.open(path, flags, mode)


def remove_tree(path: str) -> None:
    """A directory with all in it, which nobody else writes to; one that isn't there is no error."""
    try:
        names = posix.listdir(path)
    except FileNotFoundError:
        return
    for name in names:
        try:
            posix.unlink(f"{path}/{name}")
        except IsADirectoryError:
            remove_tree(f"{path}/{name}")
    posix.rmdir(path)
