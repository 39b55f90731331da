"""The state root: a directory per container, whose making is the lock for its id.

`state.json` is written aside and renamed, before the init process goes on: after a crash at any line the
directory says what there is to clean up. `config.json` beside it is the config as it was at `create`: later
changes of the bundle have no effect (spec, runtime.md, Lifecycle).
"""

from __future__ import annotations

import posix
from errno import EBUSY, EEXIST, ENOENT, ENOTDIR, ENOTEMPTY
from fcntl import LOCK_EX, LOCK_NB, flock
from stat import S_ISFIFO

from pyrunc import jsonio
from pyrunc.errors import CONFLICT, INVALID, NOT_FOUND, PyruncError, doing
from pyrunc.files import read_whole, write_atomically
from pyrunc.kernel.procfs import is_alive
from pyrunc.record import Record
from pyrunc.runtime.lifecycle import CREATED, CREATING, PAUSED, RUNNING, STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FIFO = "exec.fifo"
_NAME_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-")
_VERSION = 1
_PAIRS, _LISTS = ("annotations", "cgroup_paths"), ("resctrl_groups",)
_REQUIRED = frozenset({"id", "bundle", "rootfs", "created", "oci_version", *_PAIRS})
_MNT_DETACH = 2


class State(Record):
    """What is kept of a container. `pid` and `start_time` (clock ticks since boot, proc(5)) name its init;
    `cgroup_paths` is hierarchy name -> directory; `systemd_unit` its scope, where systemd made these;
    `created` is RFC 3339 with nanoseconds, UTC."""

    id: str
    bundle: str
    rootfs: str
    created: str
    oci_version: str
    pid: int = 0
    start_time: int = 0
    owner_uid: int = 0
    annotations: tuple[tuple[str, str], ...] = ()
    cgroup_paths: tuple[tuple[str, str], ...] = ()
    has_own_pid_namespace: bool = True
    has_poststop: bool = False
    has_start_hooks: bool = False
    notify_socket: str = ""
    program: str = ""
    keyring: str = ""
    systemd_unit: str = ""
    is_user_unit: bool = False
    resctrl_groups: tuple[str, ...] = ()


def directory(state_root: str, container_id: str) -> str:
    return f"{state_root}/{container_id}"


def check_id(container_id: str) -> None:
    """Raises PyruncError INVALID: an id becomes the name of directories."""
    if not container_id or container_id in (".", "..") or not _NAME_LETTERS.issuperset(container_id):
        raise PyruncError(
            INVALID,
            "invalid container ID format",
            repr(container_id),
            hint="letters, digits and _+.- make an id",
        )
    if len(container_id) > 255:
        raise PyruncError(INVALID, "invalid container ID format", f"{container_id[:32]}…", "is too long")


def reserve(state_root: str, container_id: str) -> str:
    """Make the directory of a new container; who makes it has the id. Raises PyruncError CONFLICT."""
    check_id(container_id)
    path = directory(state_root, container_id)
    with doing("make state directory", path):
        _make_directories(state_root)
        try:
            posix.mkdir(path, 0o711)
        except FileExistsError:
            raise PyruncError(CONFLICT, "container with given ID already exists", container_id) from None
    return path


def _make_directories(path: str) -> None:
    try:
        posix.mkdir(path, 0o711)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_directories(path.rpartition("/")[0])
        posix.mkdir(path, 0o711)


def save(state_root: str, state: State) -> None:
    document = {**state.__dict__, "annotations": dict(state.annotations), "version": _VERSION}
    document["cgroup_paths"] = dict(state.cgroup_paths)
    data = jsonio.dumps(document).encode("utf-8", "surrogateescape")
    path = f"{directory(state_root, state.id)}/state.json"
    with doing("save state", path):
        write_atomically(path, data, 0o600)


def load(state_root: str, container_id: str) -> State:
    """Raises PyruncError NOT_FOUND with the sentence that callers know, INVALID for what we did not write."""
    check_id(container_id)
    path = f"{directory(state_root, container_id)}/state.json"
    try:
        data = read_whole(path)
    except OSError as error:
        if error.errno in (ENOENT, ENOTDIR):
            raise PyruncError(NOT_FOUND, "container does not exist", container_id) from None
        raise PyruncError.from_errno(error.errno or 0, "read state", path) from error
    return _parse(jsonio.loads(data, path), container_id, path)


def _parse(document: Any, container_id: str, path: str) -> State:
    """Every field is what State has it for: by `id` directories are removed, by others processes end."""
    known: dict[str, Any] = {}
    for name in State.FIELDS if type(document) is dict else ():
        if name not in document:
            continue
        value = document[name]
        if name in _PAIRS:
            is_right = type(value) is dict and {*map(type, value.values())} <= {str}
            value = tuple(value.items()) if is_right else value
        elif name in _LISTS:
            is_right = type(value) is list and {*map(type, value)} <= {str}
            value = tuple(value) if is_right else value
        else:
            is_right = type(value) is type(getattr(State, name, ""))
        if not is_right:
            raise _damaged(path, f"/{name} is not what it was")
        known[name] = value
    if not _REQUIRED.issubset(known) or known["id"] != container_id:
        raise _damaged(path, f"it is not the state of {container_id}")
    return State(**known)


def _damaged(path: str, why: str) -> PyruncError:
    hint = "end the container's processes, then remove this directory"
    return PyruncError(INVALID, "the container's state is damaged", path, why, hint)


def read_config(state_root: str, container_id: str) -> dict[str, Any]:
    """The config as it was at create."""
    path = f"{directory(state_root, container_id)}/config.json"
    with doing("read config", path):
        document: dict[str, Any] = jsonio.loads(read_whole(path), path)
    return document


def names(state_root: str) -> list[str]:
    """Of all containers, sorted. Raises OSError when the root isn't there."""
    found = []
    for name in posix.listdir(state_root):
        if name not in (".", "..") and _NAME_LETTERS.issuperset(name):
            found.append(name)
    return sorted(found)


def lock(state_root: str, container_id: str) -> int:
    """Hold the container for a verb that changes it; close the descriptor to let go. Waits for others."""
    path = directory(state_root, container_id)
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError as error:
        if error.errno in (ENOENT, ENOTDIR):
            raise PyruncError(NOT_FOUND, "container does not exist", container_id) from None
        raise PyruncError.from_errno(error.errno or 0, "open state directory", path) from error
    with doing("lock state directory", path):
        flock(fd, LOCK_EX)
    return fd


def is_locked(state_root: str, container_id: str) -> bool:
    """Is some verb at work on it?"""
    fd = posix.open(directory(state_root, container_id), posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        flock(fd, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        posix.close(fd)
    return False


def remove(state_root: str, container_id: str) -> None:
    """The directory with all in it; the last name to go is state.json, by which a crash here is mended."""
    path = directory(state_root, container_id)
    with doing("remove state directory", path):
        _remove_tree(path)


def _remove_tree(path: str) -> None:
    try:
        entries = posix.listdir(path)
    except FileNotFoundError:
        return
    for name in sorted(entries, key=lambda entry: entry == "state.json"):
        try:
            posix.unlink(f"{path}/{name}")
        except IsADirectoryError:
            _remove_directory(f"{path}/{name}")
        except FileNotFoundError:
            pass
    try:
        posix.rmdir(path)
    except OSError as error:
        if error.errno in (ENOTEMPTY, EEXIST):
            _remove_tree(path)
        elif error.errno != ENOENT:
            raise


def _remove_directory(path: str) -> None:
    """A restore that was killed leaves the rootfs mounted here: what is below is then not ours to remove."""
    try:
        posix.rmdir(path)
    except OSError as error:
        if error.errno == EBUSY:
            syscall: Any = __import__("pyrunc.kernel.syscall", fromlist=("",))
            syscall.umount2(path, _MNT_DETACH)
            posix.rmdir(path)
        elif error.errno in (ENOTEMPTY, EEXIST):
            _remove_tree(path)
        elif error.errno != ENOENT:
            raise


def read_status(
    state_root: str, state: State, is_frozen: Callable[[tuple[tuple[str, str], ...]], bool]
) -> str:
    """What the container is doing, by what the kernel says now; its freezer is asked last, by `is_frozen`."""
    if not state.pid:
        return CREATING
    if not is_alive(state.pid, state.start_time):
        return STOPPED
    if is_frozen(state.cgroup_paths):
        return PAUSED
    try:
        fifo = posix.stat(f"{directory(state_root, state.id)}/{FIFO}")
    except FileNotFoundError:
        return RUNNING
    return CREATED if S_ISFIFO(fifo.st_mode) else RUNNING
