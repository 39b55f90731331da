"""The spawner's own process: read a request, call the runtime, answer; reap what has ended.

It ends when the client has closed its end of the socket. Containers do not: they go on, as children of
whoever adopts orphans. Every process that it watches takes two descriptors here: see RLIMIT_NOFILE.
"""

from __future__ import annotations

import gc
import posix
from errno import EMSGSIZE
from select import EPOLLIN, epoll

from pyrunc.errors import INTERNAL, INVALID, PyruncError
from pyrunc.kernel import fds
from pyrunc.kernel.signals import parse_signal
from pyrunc.linux.facts import probe
from pyrunc.runtime.configcache import ConfigCache
from pyrunc.runtime.create import Begun, CreateRequest, begin
from pyrunc.runtime.delete import delete
from pyrunc.runtime.exec import ExecRequest, begin_exec
from pyrunc.runtime.exeseal import seal
from pyrunc.runtime.kill import kill
from pyrunc.runtime.spawn import Born
from pyrunc.runtime.start import start
from pyrunc.runtime.state import describe
from pyrunc.shim import main as shim
from pyrunc.shim.oci_runtime import preload
from pyrunc.spawner import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Answer: TypeAlias = tuple[dict[str, Any], tuple[int, ...]]

_STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}


class Call:
    """One request: its arguments, and the descriptors that came with it by their names."""

    __slots__ = ("arguments", "descriptors")

    def __init__(self, arguments: dict[str, Any], descriptors: dict[str, int]) -> None:
        self.arguments, self.descriptors = arguments, descriptors

    def stand_in(self) -> tuple[tuple[int, int], ...]:
        """Copies for the container, which its launch closes."""
        return tuple(
            (_STREAMS[name], posix.dup(fd)) for name, fd in self.descriptors.items() if name in _STREAMS
        )

    @property
    def console(self) -> int:
        return self.descriptors.get("console", -1)

    @property
    def container(self) -> tuple[str, str]:
        """State root and id."""
        return self.arguments["state_root"], self.arguments["id"]


class Server:
    """`children`: pidfd -> pid, and the writing end of its exit pipe."""

    def __init__(self, connection: int) -> None:
        self.connection = connection
        self.cache = ConfigCache()
        self.children: dict[int, tuple[int, int]] = {}
        self.events = epoll()
        self.events.register(connection, EPOLLIN)

    def serve(self) -> None:
        """Until the client is gone."""
        while True:
            ready = [fd for fd, _ in self.events.poll()]
            for fd in ready:
                if fd != self.connection:
                    self._reap(fd)
            if self.connection in ready and not self._answer():
                return

    def _answer(self) -> bool:
        message, received = fds.receive_whole(self.connection)
        if not message:
            return False
        given: tuple[int, ...] = ()
        try:
            try:
                document, given = self._carry_out(message, received)
                answer = protocol.encode(document)
            except PyruncError as error:
                answer = protocol.encode_error(error)
            except Exception as error:  # a bug of ours ends one request, and not the spawner
                answer = protocol.encode_error(PyruncError(INTERNAL, "internal error", "", repr(error)))
            return self._send(answer, given)
        finally:
            for fd in received:
                posix.close(fd)
            for fd in given[1:]:  # the reading end is the client's alone
                posix.close(fd)

    def _carry_out(self, message: bytes, received: tuple[int, ...]) -> Answer:
        document = protocol.decode(message)
        names = document.get("streams")
        if type(names) is not list or len(names) != len(received) or not {*names} <= {*_STREAMS, "console"}:
            raise PyruncError(INVALID, "invalid message", "/streams", f"{len(received)} descriptors came")
        verb = document.get("verb")
        if type(verb) is not str or verb not in VERBS:
            raise PyruncError(INVALID, "invalid message", "/verb", f"{verb!r} is not known")
        do, kinds, needed = VERBS[verb]
        of_all = {} if verb == "shim" else _CONTAINER
        arguments = protocol.take(document, {**of_all, **kinds}, (*of_all, *needed))
        return do(self, Call(arguments, dict(zip(names, received, strict=True))))

    def _send(self, answer: bytes, given: tuple[int, ...]) -> bool:
        try:
            fds.send(self.connection, answer, given)
        except BrokenPipeError:
            return False
        except OSError as error:
            if error.errno != EMSGSIZE:
                raise
            too_long = PyruncError(
                INTERNAL, "the answer is too long for a message", "", f"{len(answer)} bytes"
            )
            fds.send(self.connection, protocol.encode_error(too_long))
        return True

    def watch(self, make: Callable[[], Begun | Born]) -> Answer:
        """The answer that tells of the child which `make` makes, and which is reaped here from now on."""
        reading, writing = posix.pipe2(posix.O_CLOEXEC)
        try:
            made = make()
        except BaseException:
            posix.close(reading)
            posix.close(writing)
            raise
        self.children[made.pidfd] = made.pid, writing
        self.events.register(made.pidfd, EPOLLIN)
        return {"pid": made.pid}, (made.pidfd, reading)

    def _reap(self, pidfd: int) -> None:
        pid, writing = self.children.pop(pidfd)
        self.events.unregister(pidfd)
        posix.close(pidfd)
        _, status = posix.waitpid(pid, 0)
        try:
            posix.write(writing, protocol.encode_status(status))
        except BrokenPipeError:  # nobody wants to know
            pass
        posix.close(writing)


_CONTAINER = {"id": "string", "state_root": "string"}
_STRING, _STRINGS, _FLAG = "string", "list of strings", "boolean"


def _create(server: Server, call: Call) -> Answer:
    return server.watch(
        lambda: begin(
            CreateRequest(
                **call.arguments, console_fd=call.console, stand_in=call.stand_in, cache=server.cache
            ),
            is_detached=True,
        )
    )


def _exec(server: Server, call: Call) -> Answer:
    def make() -> Born:
        request = ExecRequest(
            **call.arguments, console_fd=call.console, stand_in=call.stand_in, cache=server.cache
        )
        born = begin_exec(request)
        posix.close(born.channel)
        return born

    return server.watch(make)


def _start(_server: Server, call: Call) -> Answer:
    start(*call.container)
    return {}, ()


def _kill(_server: Server, call: Call) -> Answer:
    signal = parse_signal(call.arguments["signal"])
    kill(*call.container, signal, everyone=call.arguments.get("everyone", False))
    return {}, ()


def _delete(_server: Server, call: Call) -> Answer:
    delete(*call.container, force=call.arguments.get("force", False))
    return {}, ()


def _state(_server: Server, call: Call) -> Answer:
    return {"state": describe(*call.container)}, ()


def _shim(_server: Server, call: Call) -> Answer:
    """It is nobody's child here: what it is told of, it tells by its own socket (shim.protocol)."""
    directory = call.arguments["directory"]
    shim.launch(directory, shim.begin(directory))
    return {}, ()


# verb -> what does it, the arguments that it has, and those that it can't be without besides the container
VERBS: dict[str, tuple[Callable[[Server, Call], Answer], dict[str, str], tuple[str, ...]]] = {
    "create": (
        _create,
        {
            "bundle": _STRING, "pid_file": _STRING, "console_socket": _STRING, "no_pivot": _FLAG,
            "no_new_keyring": _FLAG, "rootless": _STRING,
        },
        ("bundle",),
    ),
    "delete": (_delete, {"force": _FLAG}, ()),
    "exec": (
        _exec,
        {
            "args": _STRINGS, "process_file": _STRING, "env": _STRINGS, "cwd": _STRING, "user": _STRING,
            "additional_gids": "list of integers", "caps": _STRINGS, "tty": _FLAG, "pid_file": _STRING,
            "no_new_privs": _FLAG, "cgroup": _STRING, "ignore_paused": _FLAG,
        },
        (),
    ),
    "kill": (_kill, {"signal": _STRING, "everyone": _FLAG}, ("signal",)),
    "shim": (_shim, {"directory": _STRING}, ("directory",)),
    "start": (_start, {}, ()),
    "state": (_state, {}, ()),
}  # fmt: skip


def main(connection: int) -> None:
    """What a shim will want is there from the beginning, and so shared by all. What is there now stays: a
    collection need not look at it, nor copy its pages in a child. Executions go from here into containers
    that may trace them: our executable is sealed once, for all of them."""
    if probe().is_privileged:
        seal()
    posix.set_inheritable(connection, False)
    posix.chdir("/")
    preload()
    gc.collect()
    gc.freeze()
    Server(connection).serve()
