"""Containers by a spawner:

    with Spawner() as spawner:
        init = spawner.create("/bundle", "web", state_root="/run/pyrunc")
        spawner.start("web", state_root="/run/pyrunc")
        print(spawner.exec("web", ["id"], state_root="/run/pyrunc").wait())

Methods are the verbs, and raise the PyruncError that the spawner met. One call at a time and connection:
threads that share a spawner have a connection each (`spawner.connect()`), or take turns by a lock of theirs.
`Process` may be used from any thread.
"""

from __future__ import annotations

import posix
import sys
from errno import ECONNRESET, EMSGSIZE, EPIPE
from select import POLLIN, poll

from pyrunc.errors import INTERNAL, INVALID, PyruncError
from pyrunc.files import absolute
from pyrunc.kernel import fds, signals
from pyrunc.spawner import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike
    from typing import Any, Self, TypeAlias

    StrPath: TypeAlias = str | PathLike[str]

_PROGRAM = "import sys; sys.path.insert(0, {path!r}); from pyrunc.spawner.server import main; main({fd})"
_HELD_AT = 3


class Process:
    """A container's init, or a process that `exec` made. `pidfd` becomes readable when it ends, `exit_pipe`
    with how it did."""

    __slots__ = ("exit_pipe", "pid", "pidfd")

    def __init__(self, pid: int, pidfd: int, exit_pipe: int) -> None:
        self.pid, self.pidfd, self.exit_pipe = pid, pidfd, exit_pipe

    def wait(self) -> int:
        """Until it has ended: its exit code, or 128 and the number of the signal. Once, and it closes."""
        status = protocol.decode_status(posix.read(self.exit_pipe, protocol.STATUS_BYTES))
        self.close()
        if status is None:
            raise PyruncError(INTERNAL, "cannot tell the exit code", str(self.pid), "the spawner is gone")
        code = posix.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        """To this very process, whoever has its number now. Raises OSError."""
        signals.send(self.pidfd, number)

    def close(self) -> None:
        """Lets go of it; how it ends is of no interest then."""
        for fd in (self.pidfd, self.exit_pipe):
            if fd >= 0:
                posix.close(fd)
        self.pidfd = self.exit_pipe = -1


class Connection:
    """One way to ask a spawner. It answers one request after the other; those of several connections it
    carries out side by side. What it has in flight for a connection that is closed, it undoes.

    A method returns when its answer is there. For who has more to wait for: `ask_create` and `ask_exec`
    return at once, `fileno` can be read when the answer is there, and `take_process` takes it."""

    def __init__(self, connection: int) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._connection

    def close(self) -> None:
        if self._connection >= 0:
            posix.close(self._connection)
            self._connection = -1

    def connect(self) -> Connection:
        """Another one, to the same spawner, for another thread or another thing in flight."""
        ours, theirs = fds.socket_pair()
        try:
            self._call("connect", {}, {"connection": theirs})
        except BaseException:
            posix.close(ours)
            raise
        finally:
            posix.close(theirs)
        return Connection(ours)

    def create(
        self,
        bundle: StrPath,
        id: str,
        *,
        state_root: StrPath,
        streams: Mapping[str, int] | None = None,
        **options: Any,
    ) -> Process:
        """`streams`: descriptors by the names stdin, stdout, stderr; or, for a terminal, console, the socket
        that it is sent to. If not given: /dev/null for stdin, and ours. `options`: see server.VERBS."""
        self.ask_create(bundle, id, state_root=state_root, streams=streams, **options)
        return self.take_process()

    def ask_create(
        self,
        bundle: StrPath,
        id: str,
        *,
        state_root: StrPath,
        streams: Mapping[str, int] | None = None,
        **options: Any,
    ) -> None:
        """As `create`, whose answer is to be taken later."""
        given = {"bundle": bundle, "id": id, "state_root": state_root, **options}
        self._ask("create", given, streams)

    def exec(
        self,
        id: str,
        args: Sequence[str],
        *,
        state_root: StrPath,
        streams: Mapping[str, int] | None = None,
        **options: Any,
    ) -> Process:
        """`streams` as for `create`; `options`: see server.VERBS."""
        self.ask_exec(id, args, state_root=state_root, streams=streams, **options)
        return self.take_process()

    def ask_exec(
        self,
        id: str,
        args: Sequence[str],
        *,
        state_root: StrPath,
        streams: Mapping[str, int] | None = None,
        **options: Any,
    ) -> None:
        """As `exec`, whose answer is to be taken later."""
        given = {"id": id, "args": list(args), "state_root": state_root, **options}
        self._ask("exec", given, streams)

    def take_process(self) -> Process:
        """The answer to `ask_create` or `ask_exec`. Raises what these would have raised."""
        answer, (pidfd, exit_pipe) = self._take()
        return Process(answer["pid"], pidfd, exit_pipe)

    def start(self, id: str, *, state_root: StrPath) -> None:
        self._call("start", {"id": id, "state_root": state_root})

    def kill(self, id: str, signal: str = "TERM", *, state_root: StrPath, everyone: bool = False) -> None:
        given = {"id": id, "signal": signal, "state_root": state_root, "everyone": everyone}
        self._call("kill", given)

    def delete(self, id: str, *, state_root: StrPath, force: bool = False) -> None:
        self._call("delete", {"id": id, "state_root": state_root, "force": force})

    def state(self, id: str, *, state_root: StrPath) -> dict[str, Any]:
        answer, _ = self._call("state", {"id": id, "state_root": state_root})
        found: dict[str, Any] = answer["state"]
        return found

    def shim(self, directory: StrPath) -> None:
        """Leave a shim behind (pyrunc.shim.protocol), by a fork of the spawner: it shares its memory with it
        and with all others, and outlives it. Returns when its container is created, or started."""
        self._call("shim", {"directory": directory})

    def _call(
        self, verb: str, arguments: dict[str, Any], streams: Mapping[str, int] | None = None
    ) -> tuple[dict[str, Any], tuple[int, ...]]:
        self._ask(verb, arguments, streams)
        return self._take()

    def _ask(self, verb: str, arguments: dict[str, Any], streams: Mapping[str, int] | None) -> None:
        streams = streams or {}
        for name in protocol.PATHS:
            if name in arguments:
                arguments[name] = absolute(posix.fspath(arguments[name]))
        message = protocol.encode({"verb": verb, "streams": list(streams), **arguments})
        try:
            fds.send(self._connection, message, tuple(streams.values()))
        except OSError as error:
            if error.errno == EMSGSIZE:
                why = f"{len(message)} bytes"
                raise PyruncError(INVALID, "the request is too long for a message", verb, why) from None
            raise _explained(error, verb) from None

    def _take(self) -> tuple[dict[str, Any], tuple[int, ...]]:
        """`poll` lets other threads run meanwhile, as a system call of ours does not."""
        watch = poll()
        watch.register(self._connection, POLLIN)
        watch.poll()
        try:
            answer, received = fds.receive_whole(self._connection)
        except OSError as error:
            raise _explained(error) from None
        return protocol.decode_answer(answer), received


class Spawner(Connection):
    """Starts one; it ends with `close`, with the context, or with us."""

    def __init__(self, python: str = sys.executable) -> None:
        ours, theirs = fds.socket_pair()
        package = __file__.rpartition("/pyrunc/")[0]
        program = _PROGRAM.format(path=package, fd=_HELD_AT)
        try:
            self.pid = posix.posix_spawn(
                python,
                (python, "-ISEB", "-X", "utf8", "-c", program),
                {},
                file_actions=[
                    (posix.POSIX_SPAWN_DUP2, theirs, _HELD_AT),
                    (posix.POSIX_SPAWN_OPEN, 0, "/dev/null", posix.O_RDONLY, 0),
                ],
                setsid=True,
            )
        except BaseException:
            posix.close(ours)
            raise
        finally:
            posix.close(theirs)
        super().__init__(ours)

    def close(self) -> None:
        if self._connection >= 0:
            super().close()
            posix.waitpid(self.pid, 0)


def _explained(error: OSError, verb: str = "") -> OSError | PyruncError:
    gone = error.errno in (ECONNRESET, EPIPE)
    return PyruncError(INTERNAL, "the spawner is gone", verb) if gone else error
