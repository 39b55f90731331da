"""What containerd's configuration says of the runtime: the options of a task, in each form that they come in.

From `ctr` and for a runtime that containerd takes for runc's they are a message; for any other name of a
runtime they are TOML, in a file or in the message itself, with the words of containerd's documentation for
runc's options:

    BinaryName = "/usr/sbin/runc"
    SystemdCgroup = true
"""

from __future__ import annotations

import posix
import sys

from pyrunc import jsonio
from pyrunc.errors import INTERNAL, INVALID, NOT_FOUND, PyruncError, doing
from pyrunc.files import absolute, read_all, read_whole, write_all
from pyrunc.protowire import Malformed
from pyrunc.record import Record
from pyrunc.shim.containerd import messages
from pyrunc.shim.oci_runtime import RuntimeSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_ROOT = "/run/containerd/pyrunc"
FILE = "options.json"  # in the bundle, for `delete`, which is told none
_USUAL_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Word of the TOML -> field
_WORDS = {
    "BinaryName": "binary_name", "Root": "root", "SystemdCgroup": "systemd_cgroup",
    "NoPivotRoot": "no_pivot_root", "NoNewKeyring": "no_new_keyring", "ShimCgroup": "shim_cgroup",
    "IoUid": "io_uid", "IoGid": "io_gid", "CriuImagePath": "criu_image_path",
    "CriuWorkPath": "criu_work_path",
}  # fmt: skip


class Options(Record):
    """`binary_name`: another runtime's program; none is ours. `root`: where state is kept, below which is a
    directory for each namespace of containerd's. `io_uid`, `io_gid`: who owns the pipes."""

    binary_name: str = ""
    root: str = ""
    systemd_cgroup: bool = False
    no_pivot_root: bool = False
    no_new_keyring: bool = False
    shim_cgroup: str = ""
    io_uid: int = 0
    io_gid: int = 0
    criu_image_path: str = ""
    criu_work_path: str = ""


def parse_options(wrapped: dict[str, Any] | None) -> Options:
    """Of an Any, decoded. Raises PyruncError INVALID."""
    if wrapped is None or not wrapped["type_url"]:
        return Options()
    kind = messages.type_of(wrapped)
    try:
        if kind == messages.OPTIONS_TYPE:
            return Options(**messages.decode(messages.OPTIONS, wrapped["value"]))
        if kind == messages.OLD_OPTIONS_TYPE:
            return Options(**messages.decode(messages.OLD_OPTIONS, wrapped["value"]))
        if kind == messages.GENERIC_OPTIONS_TYPE:
            generic = messages.decode(messages.GENERIC_OPTIONS, wrapped["value"])
            return _from_toml(generic["config_body"], generic["config_path"])
    except Malformed:
        raise PyruncError(INVALID, "malformed runtime options", kind) from None
    raise PyruncError(INVALID, "unsupported type of runtime options", kind)


def _from_toml(body: bytes, path: str) -> Options:
    if not body and not path:
        return Options()
    if not body:
        with doing("read runtime options", path):
            body = read_whole(path)
    return from_words(_in_fork(body, path), path)


def from_words(document: dict[str, Any], where: str) -> Options:
    """Raises PyruncError INVALID for a word that isn't one, or a value of another type."""
    given = {}
    for word, value in document.items():
        name = _WORDS.get(word)
        if name is None:
            hint = f"there are {', '.join(sorted(_WORDS))}"
            raise PyruncError(INVALID, "unknown runtime option", f"{where}: {word}", hint=hint)
        if type(value) is not type(getattr(Options, name)):
            kind = type(getattr(Options, name)).__name__
            raise PyruncError(INVALID, "invalid runtime option", f"{where}: {word}", f"is not {kind}")
        given[name] = value
    return Options(**given)


def _in_fork(body: bytes, path: str) -> dict[str, Any]:
    """Parsed where the parser's memory is given back: a shim lives long, and reads this once. The launcher's
    interpreter has no parser: there an ordinary one does it (main, the verb `options`)."""
    reading, writing = posix.pipe2(posix.O_CLOEXEC)
    given = posix.memfd_create("options", posix.MFD_CLOEXEC)
    write_all(given, body)
    posix.lseek(given, 0, 0)
    pid = posix.fork()
    if pid == 0:
        _be_parser(given, writing)
    posix.close(writing)
    posix.close(given)
    try:
        said = read_all(reading)
    finally:
        posix.close(reading)
        _, status = posix.waitpid(pid, 0)
    if status:
        kind = INVALID if said else INTERNAL
        raise PyruncError(kind, "runtime options are no TOML", path, said.decode(errors="replace").strip())
    document: dict[str, Any] = jsonio.loads(said, path)
    return document


def _be_parser(given: int, writing: int) -> None:
    code = 1
    try:
        posix.dup2(given, 0)
        posix.dup2(writing, 1)
        posix.dup2(writing, 2)
        if "_pyrunc" in sys.builtin_module_names:
            script = f"{__file__.rpartition('/pyrunc/')[0]}/bin/containerd-shim-pyrunc-v2"
            posix.execv(script, (script, "options"))
        print_parsed()
        code = 0
    except PyruncError as error:
        write_all(2, str(error).encode(errors="surrogateescape"))
    except OSError as error:
        write_all(2, f"{error.filename}: {error.strerror}".encode(errors="surrogateescape"))
    finally:
        posix._exit(code)


def print_parsed() -> None:
    """TOML on standard input, JSON on standard output. Raises PyruncError INVALID."""
    toml: Any = __import__("tomllib")
    try:
        document = toml.loads(read_all(0).decode())
        write_all(1, jsonio.dumps(document).encode())
    except (ValueError, TypeError) as error:  # TypeError: a date is no JSON, and no option either
        raise PyruncError(INVALID, str(error)) from None


def settings(options: Options, namespace: str) -> RuntimeSettings:
    """For the door to the runtime. Raises PyruncError NOT_FOUND where there is no such program."""
    return RuntimeSettings(
        state_root=absolute(f"{options.root or DEFAULT_ROOT}/{namespace}"),
        program=_find_program(options.binary_name),
        cgroup_manager="systemd" if options.systemd_cgroup else "cgroupfs",
    )


def _find_program(name: str) -> str:
    """As the shell would."""
    if not name or name.startswith("/"):
        return name
    search = posix.environ.get(b"PATH", _USUAL_PATH).decode("utf-8", "surrogateescape")
    for directory in search.split(":"):
        path = absolute(f"{directory or '.'}/{name}")
        if posix.access(path, posix.X_OK):
            return path
    raise PyruncError(NOT_FOUND, "runtime is not in $PATH", name)


def to_json(options: Options) -> bytes:
    return jsonio.dumps(options.__dict__).encode("utf-8", "surrogateescape")


def from_json(data: bytes, where: str) -> Options:
    """Raises PyruncError INVALID."""
    document = jsonio.loads(data, where)
    if type(document) is not dict or not {*document} <= {*Options.FIELDS}:
        raise PyruncError(INVALID, "these are no options of a task", where)
    return Options(**document)
