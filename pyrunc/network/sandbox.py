"""A sandbox: a network namespace held by a file that it is mounted on. It outlives the processes in it, so a
container restarts with its addresses, and its ends of the veth pairs are there before it is."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager

from pyrunc.errors import doing
from pyrunc.kernel import syscall
from pyrunc.kernel.const import CLONE_NEWNET, MNT_DETACH, MS_BIND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrunc.network.model import Site

_OURS = "/proc/thread-self/ns/net"


def directory(site: Site) -> str:
    return f"{site.run_root}/netns"


def path_of(site: Site, container_id: str) -> str:
    """What goes into config.json as the path of the network namespace."""
    return f"{directory(site)}/{container_id}"


@contextmanager
def _returning() -> Iterator[None]:
    """The calling thread comes back to the namespace it is in; other threads are not concerned (setns(2))."""
    own = os.open(_OURS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            yield
        finally:
            syscall.setns(own, CLONE_NEWNET)
    finally:
        os.close(own)


def is_there(path: str) -> bool:
    """Is a namespace mounted at `path`, or is there an empty file of a crash?"""
    try:
        return os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev
    except FileNotFoundError:
        return False


def create(path: str) -> None:
    """A new namespace at `path`; one that is there is kept. Raises PyruncError."""
    if is_there(path):
        return
    with doing("create network namespace", path):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            with _returning():
                syscall.unshare(CLONE_NEWNET)
                syscall.mount(_OURS, path, "", MS_BIND, "")
        except BaseException:
            os.unlink(path)
            raise


def remove(path: str) -> None:
    """Let go of it; it ends with the last process in it. Nothing is done where there is none."""
    with doing("remove network namespace", path):
        try:
            syscall.umount2(path, MNT_DETACH)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINVAL):
                raise
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


@contextmanager
def open_namespace(path: str) -> Iterator[int]:
    """A descriptor of it, for as long as the block lasts."""
    with doing("open network namespace", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def inside(namespace_fd: int) -> Iterator[None]:
    """The calling thread is in the namespace: sockets opened and files of /proc/sys/net are those of it."""
    with _returning():
        with doing("join network namespace"):
            syscall.setns(namespace_fd, CLONE_NEWNET)
        yield
