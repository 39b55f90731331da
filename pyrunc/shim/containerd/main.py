"""containerd-shim-pyrunc-v2: the program that containerd starts, and its verbs.

    containerd-shim-pyrunc-v2 -namespace NS -address SOCKET -publish-binary PATH -id ID [-bundle DIR] VERB

`start` (in the bundle) leaves a daemon behind and prints where it listens; for a container of a pod whose
shim is there, it prints where that one does. The daemon is a fork of `start`: a second interpreter would cost
as much as the rest of it. `delete` cleans up, also after a daemon that was killed, and prints how the
container ended. `-info` prints what the runtime can do. containerd reads stdout and stderr as one: nothing
else may be said.
"""

from __future__ import annotations

import posix
import sys
from errno import ECONNREFUSED, ENOENT
from fcntl import LOCK_EX, flock
from time import time_ns

from pyrunc import __version__, jsonio
from pyrunc.errors import INVALID, PyruncError, describe_errno, doing
from pyrunc.files import read_all, read_whole, remove_tree, write_all, write_atomically
from pyrunc.kernel import fds
from pyrunc.protowire import Malformed
from pyrunc.record import Record
from pyrunc.shim.containerd import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

NAME = "io.containerd.pyrunc.v2"
SOCKETS = "/run/containerd/s"
ADDRESS_FILE, PID_FILE, INIT_PID_FILE = "address", "shim.pid", "init.pid"
_TEXTS = ("namespace", "address", "publish-binary", "id", "bundle", "socket")
_SWITCHES = ("debug", "v", "info")
# Containers with the same value of one of these share a shim (reference of containerd's own shim)
_GROUPS = ("io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id")
_KILLED = 137


class Words(Record):
    """The command line, in Go's way: one dash or two, `-name value` or `-name=value`."""

    verb: str = ""
    namespace: str = ""
    address: str = ""
    publish_binary: str = ""
    id: str = ""
    bundle: str = ""
    socket: str = ""
    debug: bool = False
    v: bool = False
    info: bool = False


def parse_words(words: Sequence[str]) -> Words:
    """Raises PyruncError INVALID."""
    given: dict[str, Any] = {}
    rest = list(words)
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        flag, equals, value = rest.pop(0).lstrip("-").partition("=")
        if flag in _SWITCHES:
            given[flag] = value not in ("false", "0") if equals else True
        elif flag in _TEXTS:
            if not equals and not rest:
                raise PyruncError(INVALID, "flag needs a value", f"-{flag}")
            given[flag.replace("-", "_")] = value if equals else rest.pop(0)
        else:
            raise PyruncError(INVALID, "unknown flag", f"-{flag}")
    if len(rest) > 1:
        raise PyruncError(INVALID, "too many words", rest[1])
    return Words(verb=rest[0] if rest else "", **given)


def entry() -> NoReturn:
    """The process's own command line."""
    try:
        code = run(parse_words(sys.argv[1:]))
    except PyruncError as error:
        _say(2, f"{error}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        code = 1
    except OSError as error:
        _say(2, f"{error.filename or error.strerror}: {describe_errno(error.errno or 0)}\n")
        code = 1
    posix._exit(code)


def run(words: Words) -> int:
    """The exit code. Raises PyruncError, OSError."""
    if words.v:
        _say(1, f"containerd-shim-pyrunc-v2:\n  Version:  {__version__}\n")
        return 0
    if words.info:
        write_all(1, load("pyrunc.shim.containerd.once").describe_runtime(NAME, _read_options()))
        return 0
    if words.verb == "options":
        load("pyrunc.shim.containerd.options").print_parsed()
        return 0
    if words.verb not in _VERBS:
        known = ", ".join(_VERBS)
        raise PyruncError(INVALID, "unknown verb", words.verb or "none", hint=f"there are {known}")
    if not words.namespace or not words.id:
        raise PyruncError(INVALID, "-namespace and -id are needed", words.verb)
    for name in (words.namespace, words.id):
        if "/" in name or name in (".", ".."):
            raise PyruncError(INVALID, "invalid name", name)
    _VERBS[words.verb](words)
    return 0


def load(name: str) -> Any:
    """What only one of the verbs needs."""
    return __import__(name, fromlist=("",))


def _say(fd: int, text: str) -> None:
    write_all(fd, text.encode("utf-8", "surrogateescape"))


def _read_options() -> Any:
    """An Any, decoded, of stdin; None if there is nothing. Raises PyruncError INVALID."""
    data = read_all(0)
    if not data:
        return None
    try:
        wrapped = messages.decode(messages.ANY, data)
    except Malformed:
        raise PyruncError(INVALID, "malformed options on standard input") from None
    return wrapped


# --- start ----------------------------------------------------------------------------------------


def socket_path(address: str, namespace: str, group: str) -> str:
    """Where the shim of a group listens: the same for all who ask, and short."""
    digest = load("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256
    name = "\0".join((address, namespace, group)).encode("utf-8", "surrogateescape")
    return f"{SOCKETS}/{digest(name).hexdigest()}"


def find_group(bundle: str, container_id: str) -> str:
    """Which shim is the container's. Raises PyruncError."""
    path = f"{bundle}/config.json"
    with doing("read config", path):
        data = read_whole(path)
    document = jsonio.loads(data, path)
    annotations = document.get("annotations") if type(document) is dict else None
    for label in _GROUPS:
        group = annotations.get(label) if type(annotations) is dict else None
        if type(group) is str and group:
            return group
    return container_id


def start(words: Words) -> None:
    """In the bundle. Raises PyruncError, and leaves nothing then."""
    options = _read_options()
    path = socket_path(words.address, words.namespace, find_group(".", words.id))
    _make_directories(SOCKETS, 0o700)
    _lock_sockets()
    if not is_alive(path):
        with doing("listen", path):
            listener = fds.listen(path, keeps_messages=False)
        try:
            _leave_daemon(words, listener, path, options)
        except BaseException:
            posix.unlink(path)
            raise
    address = f"unix://{path}"
    write_atomically(ADDRESS_FILE, address.encode())
    _say(1, address)


def _lock_sockets() -> None:
    """Until this process ends: two containers of a pod may start at once, or one while another is deleted."""
    flock(posix.open(SOCKETS, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC), LOCK_EX)


def is_alive(path: str) -> bool:
    """Does somebody listen there?"""
    try:
        posix.close(fds.connect_stream(path))
    except OSError as error:
        if error.errno not in (ENOENT, ECONNREFUSED):
            raise
        return False
    return True


def _make_directories(path: str, mode: int) -> None:
    try:
        posix.mkdir(path, mode)
    except FileExistsError:
        pass
    except FileNotFoundError:
        _make_directories(path.rpartition("/")[0], 0o711)
        posix.mkdir(path, mode)


def _leave_daemon(words: Words, listener: int, path: str, options: Any) -> None:
    """All that the daemon needs is imported before the fork: that it begins is all that can fail then."""
    daemon = load("pyrunc.shim.containerd.daemon")
    chosen = load("pyrunc.shim.containerd.options").parse_options(options)
    work = f"{path}.d"
    remove_tree(work)
    posix.mkdir(work, 0o700)
    pid = posix.fork()
    if pid == 0:
        daemon.serve(words, listener, path, work)
    try:
        daemon.place(pid, chosen.shim_cgroup)
    except BaseException:
        posix.kill(pid, 9)
        posix.waitpid(pid, 0)
        remove_tree(work)
        raise
    posix.close(listener)
    write_atomically(PID_FILE, str(pid).encode())


# --- delete ---------------------------------------------------------------------------------------


def delete(words: Words) -> None:
    """All that is left of a container, whoever is to blame. Raises PyruncError."""
    bundle = words.bundle or posix.getcwd()
    module, rootfs = load("pyrunc.shim.containerd.options"), load("pyrunc.shim.containerd.rootfs")
    path = f"{bundle}/{module.FILE}"
    try:
        options = module.from_json(read_whole(path), path)
    except FileNotFoundError:
        options = module.Options()  # it died before its Create
    command = ("delete", "--force", words.id)
    load("pyrunc.shim.containerd.once").ask(module.settings(options, words.namespace), command)
    rootfs.unmount(f"{bundle}/rootfs")
    _forget_socket(words, bundle)
    when = messages.timestamp(time_ns())
    answer = {"pid": _init_pid(bundle), "exit_status": _KILLED, "exited_at": when}
    write_all(1, messages.encode(messages.DELETED, answer))


def _init_pid(bundle: str) -> int:
    """0 of a container that never had a process: the shim writes it down."""
    try:
        return int(read_whole(f"{bundle}/{INIT_PID_FILE}"))
    except FileNotFoundError:
        return 0


def _forget_socket(words: Words, bundle: str) -> None:
    """Of a shim that is dead; one that lives has other containers."""
    try:
        path = read_whole(f"{bundle}/{ADDRESS_FILE}").decode().removeprefix("unix://")
    except FileNotFoundError:
        try:
            path = socket_path(words.address, words.namespace, find_group(bundle, words.id))
        except PyruncError:
            return  # nor is there a config.json, by which the shim's name could be known
    if not path.startswith(f"{SOCKETS}/") or not posix.access(SOCKETS, posix.F_OK):
        return
    _lock_sockets()
    if not is_alive(path):
        try:
            posix.unlink(path)
        except FileNotFoundError:
            pass
        remove_tree(f"{path}.d")


_VERBS = {"start": start, "delete": delete}
