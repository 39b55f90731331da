"""Shims of the command line: each container of `--shim` has a directory for its own, below the state root.

`run` and `create` write it; `logs`, `wait` and `attach` read it; a verb that changes what the shim believes
is carried out by the shim (`ask`), which knows then that a kill was meant and no restart is wanted.
"""

from __future__ import annotations

import posix
import sys
from errno import ENOENT, ENOTEMPTY

from pyrunc import jsonio
from pyrunc.cli.main import SHIMS, Settings
from pyrunc.cli.units import parse_bytes
from pyrunc.errors import CONFLICT, INVALID, NOT_FOUND, PyruncError, doing
from pyrunc.files import absolute, read_whole, write_atomically
from pyrunc.runtime import store
from pyrunc.shim import protocol
from pyrunc.shim.settings import parse as parse_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NOT_WITH_SHIM = ("console-socket", "pidfd-socket", "preserve-fds")
LOG_FILE = "container.log"
_ATTEMPTS = 5


def directory_of(settings: Settings, container_id: str) -> str:
    """Raises PyruncError for a name that can't be a container's."""
    store.check_id(container_id)
    return f"{settings.state_root}/{SHIMS}/{container_id}"


def require(settings: Settings, container_id: str) -> str:
    """The directory of a shim that is, or was. Raises PyruncError NOT_FOUND."""
    directory = directory_of(settings, container_id)
    if posix.access(f"{directory}/{protocol.STATUS_FILE}", posix.F_OK):
        return directory
    store.load(settings.state_root, container_id)
    hint = "it was made without --shim"
    raise PyruncError(NOT_FOUND, "the container has no shim", container_id, hint=hint)


def launch(settings: Settings, given: dict[str, Any], *, starts: bool) -> None:
    """Create a container with a shim, and start it. Raises PyruncError, and nothing is left then."""
    for name in _NOT_WITH_SHIM:
        if given[name]:
            raise PyruncError(INVALID, f"--{name} can't be given with --shim", "", "the shim has the streams")
    directory = directory_of(settings, given["container"])
    document = settings_document(settings, given, directory, starts=starts)
    parse_settings(document)  # what is wrong with it is said before anything is made
    if posix.access(store.directory(settings.state_root, given["container"]), posix.F_OK):
        raise PyruncError(CONFLICT, "container with given ID already exists", given["container"])
    with doing("make the shim's directory", directory):
        _make_directories(directory)
    try:
        path = f"{directory}/{protocol.SETTINGS_FILE}"
        with doing("write the shim's settings", path):
            write_atomically(path, jsonio.dumps(document).encode("utf-8", "surrogateescape"))
        # Begun anew, and not forked: what `run` has imported is of no use to a shim.
        protocol.start(directory, own_words(), "/proc/self/exe")
    except BaseException:
        _remove_directories(directory)
        raise


def own_words() -> tuple[bytes, ...]:
    """How the command line of this process was begun, without what it was given: by the launcher, or by an
    interpreter with a script."""
    words = read_whole("/proc/self/cmdline").split(b"\0")[:-1]
    return tuple(words[: len(words) - len(sys.argv) + 1])


def settings_document(
    settings: Settings, given: dict[str, Any], directory: str, *, starts: bool
) -> dict[str, Any]:
    """shim.json from the command line; whether there is a terminal config.json says."""
    bundle = absolute(given["bundle"])
    path = f"{bundle}/config.json"
    with doing("read config", path):
        config = jsonio.loads(read_whole(path), path)
    process = config.get("process") if type(config) is dict else None
    terminal = type(process) is dict and process.get("terminal") is True
    options = [f"--{name}" for name in ("no-pivot", "no-new-keyring") if given[name]]
    if given["pid-file"]:
        options += ["--pid-file", absolute(given["pid-file"])]
    log: dict[str, Any] = {"driver": given["log-driver"], "path": f"{directory}/{LOG_FILE}"}
    if given["log-max-size"]:
        log["max_size"] = _bytes(given["log-max-size"])
    if given["log-max-file"]:
        log["max_file"] = given["log-max-file"]
    return {
        "id": given["container"],
        "bundle": bundle,
        "state_root": settings.state_root,
        "cgroup_manager": settings.cgroup_manager,
        "rootless": settings.rootless,
        "create_options": options,
        "terminal": terminal,
        "open_stdin": terminal or given["interactive"],
        "init": given["init"],
        "start": starts,
        "log": log,
        "restart": _restart(given["restart"]),
    }


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError:
        raise PyruncError(INVALID, "invalid value for log-max-size", text) from None


def _restart(text: str) -> dict[str, Any]:
    """no, always, unless-stopped, on-failure[:N]"""
    name, colon, count = text.partition(":")
    if colon and not (name == "on-failure" and count.isdigit() and count.isascii()):
        raise PyruncError(INVALID, "invalid value for restart", text)
    return {"name": name, "maximum_retry_count": int(count) if count else 0}


def _make_directories(path: str) -> None:
    """What a shim that is gone left by that name goes first: its container is gone, too. Begins again where
    another call, which removes its own, was faster."""
    for _ in range(_ATTEMPTS):
        try:
            for end in range(2, path.count("/") + 2):
                _make_directory("/".join(path.split("/")[:end]), is_last=end == path.count("/") + 1)
            return
        except FileNotFoundError:
            continue


def _make_directory(path: str, *, is_last: bool) -> None:
    try:
        posix.mkdir(path, 0o700)
    except FileExistsError:
        if is_last:
            protocol.remove_files(path)
            posix.mkdir(path, 0o700)


def _remove_directories(directory: str) -> None:
    """A shim's, and that of all of them with the last."""
    protocol.remove_files(directory)
    try:
        posix.rmdir(directory.rpartition("/")[0])
    except OSError as error:
        if error.errno not in (ENOTEMPTY, ENOENT):
            raise


def ask(settings: Settings, container_id: str, verb: str, arguments: dict[str, Any]) -> bool:
    """Have the shim do it, if there is one that lives. Raises PyruncError, what it met."""
    try:
        protocol.call(directory_of(settings, container_id), verb, **arguments)
    except PyruncError as error:
        if protocol.is_gone(error):
            return False
        raise
    return True


def delete(settings: Settings, container_id: str, *, force: bool) -> None:
    """By the shim while it lives, by ourselves after; then what it left. Raises PyruncError."""
    directory = directory_of(settings, container_id)
    if not protocol.remove(directory, force=force):
        runtime: Any = __import__("pyrunc.runtime.delete", fromlist=("",))
        try:
            runtime.delete(settings.state_root, container_id, force=force)
        except PyruncError as error:
            if error.kind != NOT_FOUND:  # a restart that failed leaves a shim's files alone
                raise
    _remove_directories(directory)


def summary(settings: Settings, container_id: str) -> dict[str, Any] | None:
    """What `state` adds for a container with a shim."""
    directory = directory_of(settings, container_id)
    try:
        status = protocol.load_status(directory)
    except PyruncError:
        return None
    keys = ("status", "exit_code", "oom_killed", "restart_count", "health", "error")
    return {"pid": protocol.pid_of(directory), **{key: status[key] for key in keys}}
