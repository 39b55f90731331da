"""A shim from outside: the files in its directory, the messages of its socket, and functions for both.

Whoever starts a shim makes a directory and writes `shim.json` into it (settings.py has every field; `init`:
true puts a small PID 1 into the container, `start`: false leaves it created). The shim adds `shim.sock`,
`shim.pid`, `status.json` and the log. After the container's last exit it runs `exit_command` and ends: the
socket is gone then, and status.json says the rest.

Messages are JSON documents over SOCK_SEQPACKET, one request at a time on a connection:

    client                                                                                  shim
      | -- {"verb": "exec", "descriptors": ["process", "stream"], ...} + one descriptor each --> |
      | <- {"exec": "7f3a", "pid": 4711} --------------------------------------------------------|
      |                                     or                                                   |
      | <- {"error": {"kind": ..., "what": ..., "where": ..., "why": ..., "hint": ...}} ---------|

    subscribe                  -> {} and then {"event": name, "time": ..., "status": {...}, ...} for ever
    status                     -> {"status": {...}}
    start, pause, resume       -> {}
    kill    signal everyone    -> {}                 KILL, and the stop signal, count as stopped by hand
    stop    timeout signal     -> {}                 when it has ended; no restart follows
    restart timeout            -> {}                 when it runs again
    wait    exec               -> {"exit_code": n}   of the container's end without a restart, or an exec's
    update  restart resources  -> {}
    resize  rows columns exec  -> {}
    attach  stdin stdout stderr detach_keys multiplexed keeps_all  + "stream"  -> {}
    hold    + any descriptors  -> {}                 kept open until the container has ended for good
    exec    stdin detach_keys multiplexed    + "process" and ("stream" | "stdin" "stdout" "stderr")  -> above
    ps      -> {"pids": [...]}      stats -> {"stats": {...}}
    delete  force              -> {}                 the container is removed, and the shim ends

`stream` is a duplex socket, of any kind: the shim writes the container's output to it and reads its input
from it. `multiplexed`: each piece of output has Docker's header of eight bytes (stream number, three zeros,
big-endian length); never for a terminal. A daemon may hand on the connection of its own client. `detach_keys`
as Docker writes them, "ctrl-p,ctrl-q"; "" is none. When 1 MiB has come to wait for a client the container is
held up. With `keeps_all`, and for an exec, that lasts until it is taken; who else takes nothing for ten
seconds is dropped, and the log has everything. After the end of the shim's socket its process stays until the
last words are taken.

status.json, and `status` above: `status` is one of creating, created, running, paused, restarting, stopped;
times are RFC 3339, empty before there is one; `exit_code` counts once it is stopped or restarting. `health`
is null or {"status": starting|healthy|unhealthy, "failing_streak": n, "log": [{start, end, exit_code, output}
up to five]}. `log_lost_lines`: that many lines could not be written, `log_error` says why.
Events: created, start, exit (exit_code), oom, restart, kill (signal), stop, pause, resume, update,
health_status, exec_start, exec_exit (exec, exit_code), attach, detach, log_error, gone.
"""

from __future__ import annotations

import posix
from errno import ECONNREFUSED, ECONNRESET, ENOENT, EPIPE
from select import POLLIN, poll

from pyrunc import jsonio
from pyrunc.errors import INTERNAL, INVALID, NOT_FOUND, PyruncError, doing
from pyrunc.files import read_all, read_whole, write_all
from pyrunc.kernel import fds
from pyrunc.kernel.const import MFD_CLOEXEC
from pyrunc.kernel.procfs import is_alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

SETTINGS_FILE, SOCKET_FILE, PID_FILE, STATUS_FILE = "shim.json", "shim.sock", "shim.pid", "status.json"
CREATING, CREATED, RUNNING, PAUSED = "creating", "created", "running", "paused"
RESTARTING, STOPPED = "restarting", "stopped"
DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
UNKNOWN_EXIT_CODE = 255
_ERROR_FIELDS = ("kind", "what", "where", "why", "hint")
_GONE = "the container's shim is gone"


# --- messages -------------------------------------------------------------------------------------


def encode(document: Mapping[str, Any]) -> bytes:
    return jsonio.dumps(document).encode("utf-8", "surrogatepass")


def decode(message: bytes) -> dict[str, Any]:
    """Raises PyruncError INVALID."""
    document = jsonio.loads(message, "message")
    if type(document) is not dict:
        raise PyruncError(INVALID, "invalid message", "/", "is not an object")
    return document


def encode_error(error: PyruncError) -> bytes:
    return encode({"error": {name: getattr(error, name) for name in _ERROR_FIELDS}})


def decode_answer(message: bytes) -> dict[str, Any]:
    """Raises the PyruncError that the shim met."""
    if not message:
        raise PyruncError(NOT_FOUND, _GONE)
    document = decode(message)
    error = document.get("error")
    if error is not None:
        raise PyruncError(*(error[name] for name in _ERROR_FIELDS))
    return document


# --- starting, and what is on disk ----------------------------------------------------------------


def start(directory: str, program: Sequence[str | bytes], executable: str = "") -> None:
    """Start the shim whose settings are in `directory`: returns when its container is created (and started,
    unless `"start": false`). `program`: the words of our command line, as ("/usr/bin/pyrunc",); `executable`:
    the file, where it isn't the first of them. No fork: for a process with threads, too. Raises PyruncError,
    what the runtime said; nothing is left then but files."""
    reading, writing = posix.pipe2(posix.O_CLOEXEC)
    try:
        words = (*program, "shim", directory)
        executable = executable or str(words[0])
        with doing("start a shim", executable):
            pid = posix.posix_spawn(
                executable,
                words,
                posix.environ,
                file_actions=[
                    (posix.POSIX_SPAWN_OPEN, 0, "/dev/null", posix.O_RDONLY, 0),
                    (posix.POSIX_SPAWN_DUP2, writing, 1),
                ],
            )
        posix.close(writing)
        writing = -1
        answer = read_all(reading)
        posix.waitpid(pid, 0)
    finally:
        posix.close(reading)
        if writing >= 0:
            posix.close(writing)
    if not answer:
        raise PyruncError(INTERNAL, "the shim ended without a word", directory)
    decode_answer(answer)


def load_status(directory: str) -> dict[str, Any]:
    """status.json, held against what the kernel says: of a shim that was killed it may be old. A container
    that has ended unseen is stopped, with UNKNOWN_EXIT_CODE, and `error` says so. Raises PyruncError."""
    status = find_status(directory)
    if status is None:
        path = f"{directory}/{STATUS_FILE}"
        raise PyruncError.from_errno(ENOENT, "read the shim's status", path)
    return status


def find_status(directory: str) -> dict[str, Any] | None:
    """As `load_status`; None where no shim has written one yet. Raises PyruncError."""
    status = _read_status(directory)
    while status is not None and status["status"] != STOPPED and not is_running(directory):
        # One that ends well writes its last word before its socket goes, and that may have been just now.
        again = _read_status(directory)
        if again == status:
            return _end_unseen(status)
        status = again
    return status


def _end_unseen(status: dict[str, Any]) -> dict[str, Any]:
    status["error"] = _GONE
    if not (status["pid"] and is_alive(status["pid"], status["start_time"])):
        status.update(status=STOPPED, exit_code=UNKNOWN_EXIT_CODE, pid=0)
    return status


def _read_status(directory: str) -> dict[str, Any] | None:
    path = f"{directory}/{STATUS_FILE}"
    try:
        return decode(read_whole(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PyruncError.from_errno(error.errno or 0, "read the shim's status", path) from error


def is_running(directory: str) -> bool:
    """Does a shim answer there?"""
    try:
        posix.close(fds.connect_messages(f"{directory}/{SOCKET_FILE}"))
    except OSError as error:
        if error.errno in (ENOENT, ECONNREFUSED):
            return False
        raise PyruncError.from_errno(error.errno or 0, "connect to the shim", directory) from error
    return True


def pid_of(directory: str) -> int:
    """Of the shim, as it wrote it down; 0 if it hasn't."""
    try:
        return int(read_whole(f"{directory}/{PID_FILE}") or 0)
    except FileNotFoundError:
        return 0


# --- the socket -----------------------------------------------------------------------------------


class Connection:
    """To the shim of `directory`. One call at a time. Raises PyruncError NOT_FOUND where there is none."""

    def __init__(self, directory: str) -> None:
        self._fd = -1
        try:
            self._fd = fds.connect_messages(f"{directory}/{SOCKET_FILE}")
        except OSError as error:
            if error.errno in (ENOENT, ECONNREFUSED):
                raise PyruncError(NOT_FOUND, _GONE, directory) from None
            raise PyruncError.from_errno(error.errno or 0, "connect to the shim", directory) from error

    def fileno(self) -> int:
        return self._fd

    def call(
        self, verb: str, descriptors: Mapping[str, int] | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """The answer. Raises the PyruncError that the shim met."""
        given = descriptors or {}
        message = {"verb": verb, "descriptors": list(given), **arguments}
        try:
            fds.send(self._fd, encode(message), tuple(given.values()))
            return decode_answer(self._receive())
        except OSError as error:
            if error.errno not in (ECONNRESET, EPIPE):
                raise PyruncError.from_errno(error.errno or 0, "talk to the shim", verb) from error
            raise PyruncError(NOT_FOUND, _GONE, verb) from None

    def events(self) -> Iterator[dict[str, Any]]:
        """After `call("subscribe")`: each event, until the shim ends."""
        while True:
            try:
                message = self._receive()
            except ConnectionResetError:
                return
            if not message:
                return
            yield decode(message)

    def next_event(self, timeout_seconds: float) -> dict[str, Any] | None:
        """One of `events`, or None: no event within that time."""
        watch = poll()
        watch.register(self._fd, POLLIN)
        return decode_answer(self._receive()) if watch.poll(timeout_seconds * 1000) else None

    def close(self) -> None:
        if self._fd >= 0:
            posix.close(self._fd)
            self._fd = -1

    def _receive(self) -> bytes:
        message, received = fds.receive_whole(self._fd)
        for fd in received:
            posix.close(fd)
        return message


def call(
    directory: str, verb: str, descriptors: Mapping[str, int] | None = None, **arguments: Any
) -> dict[str, Any]:
    """One call on a connection of its own. Raises PyruncError."""
    connection = Connection(directory)
    try:
        return connection.call(verb, descriptors, **arguments)
    finally:
        connection.close()


def wait(directory: str) -> int:
    """The exit code, once the container has ended for good: also of one that had, and whose shim is gone."""
    try:
        code: int = call(directory, "wait")["exit_code"]
    except PyruncError as error:
        if not is_gone(error):
            raise
        code = load_status(directory)["exit_code"]
    return code


def execute(
    directory: str, process: Mapping[str, Any], descriptors: Mapping[str, int], **arguments: Any
) -> dict[str, Any]:
    """`process`: a process object of the specification. `descriptors`: "stream", or "stdin", "stdout",
    "stderr"; they stay the caller's. The answer has `exec`, its name for `wait` and `resize`, and `pid`."""
    fd = posix.memfd_create("process", MFD_CLOEXEC)
    try:
        write_all(fd, encode(process))
        posix.lseek(fd, 0, 0)
        return call(directory, "exec", {"process": fd, **descriptors}, **arguments)
    finally:
        posix.close(fd)


def is_gone(error: PyruncError) -> bool:
    """Was there no shim to ask, or has it ended before it answered?"""
    return error.kind == NOT_FOUND and error.what == _GONE


def remove(directory: str, *, force: bool) -> bool:
    """Have the shim remove its container, and end. False where there is no shim (any more): who has the state
    root deletes the container then. Raises PyruncError, as the runtime's delete does."""
    try:
        call(directory, "delete", force=force)
    except PyruncError as error:
        if is_gone(error):
            return False
        raise
    return True


def remove_files(directory: str) -> None:
    """What a shim leaves in its directory, logs and all, and the directory itself. Raises OSError."""
    for name in posix.listdir(directory):
        try:
            posix.unlink(f"{directory}/{name}")
        except FileNotFoundError:  # by the shim itself, which was just ending
            pass
    posix.rmdir(directory)
