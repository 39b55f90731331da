"""The spawner's own process: read a request, call the runtime, answer; reap what has ended.

One thread, but what waits for others keeps nobody else waiting: a launch in which the child mounts, or a hook
takes its time, is a task that goes on when there is something to go on with. So one connection's requests
are carried out in order, and those of several side by side.

It ends when the first client has closed its end of the socket, or by a signal; launches in flight are undone.
Containers do not end: they go on, as children of whoever adopts orphans. Every process that it watches takes
two descriptors here: see RLIMIT_NOFILE.
"""

from __future__ import annotations

import gc
import posix
from errno import EMSGSIZE
from select import EPOLLIN

from pyrunc.errors import INTERNAL, INVALID, PyruncError, doing
from pyrunc.kernel import fds, signals, syscall
from pyrunc.kernel.signals import parse_signal
from pyrunc.linux.facts import probe
from pyrunc.runtime import store
from pyrunc.runtime.configcache import ConfigCache
from pyrunc.runtime.create import Begun, CreateRequest, creation
from pyrunc.runtime.delete import deletion
from pyrunc.runtime.exec import ExecRequest, execution
from pyrunc.runtime.exeseal import seal
from pyrunc.runtime.kill import kill
from pyrunc.runtime.spawn import Born
from pyrunc.runtime.start import starting
from pyrunc.runtime.state import describe
from pyrunc.shim import main as shim
from pyrunc.shim.loop import Loop, Timer
from pyrunc.shim.oci_runtime import preload
from pyrunc.spawner import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from pyrunc.waiting import Wait, Work

    Answer: TypeAlias = tuple[dict[str, Any], tuple[int, ...]]

_STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}
_DESCRIPTORS = {*_STREAMS, "console", "connection"}
_ENDING = tuple(signals.NUMBERS[name] for name in ("HUP", "INT", "TERM"))
_ANOTHERS_END = (-1, 0, None)  # some other task's


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
    def connection(self) -> int:
        return self.descriptors.get("connection", -1)

    @property
    def container(self) -> tuple[str, str]:
        """State root and id."""
        return self.arguments["state_root"], self.arguments["id"]


class Task:
    """A request that is being carried out, for the client at `connection`. `watched`: what it waits for now,
    or -1."""

    __slots__ = ("connection", "has_waited", "received", "timer", "watched", "work")

    def __init__(self, connection: int, received: tuple[int, ...], work: Work[Answer]) -> None:
        self.connection, self.received, self.work = connection, received, work
        self.has_waited = False
        self.watched = -1
        self.timer: Timer | None = None

    def close(self) -> None:
        """What came with it, and, if it has not ended, what it has begun."""
        self.work.close()
        for fd in self.received:
            posix.close(fd)


class Server:
    """`clients`: connection -> what is being done for it; `waiting`: the tasks that wait for others;
    `held_up`: those that wait for one of these."""

    def __init__(self, connection: int) -> None:
        self.cache = ConfigCache()
        self.loop = Loop()
        self.clients: dict[int, Task | None] = {}
        self.waiting: set[Task] = set()
        self.held_up: list[Task] = []
        self._first = connection
        self.welcome(connection)
        self.loop.watch(syscall.signalfd(_ENDING), EPOLLIN, lambda _events: self.loop.stop())

    def serve(self) -> None:
        """Until the first client is gone, or a signal ends us."""
        try:
            self.loop.run()
        finally:
            for connection in [*self.clients]:
                self._leave(connection)

    def welcome(self, connection: int) -> None:
        """It is ours from here on. Raises OSError for what nothing can be heard from."""
        try:
            self.loop.watch(connection, EPOLLIN, lambda _events: self._hear(connection))
        except OSError:
            posix.close(connection)
            raise
        self.clients[connection] = None

    def _leave(self, connection: int) -> None:
        """Without a client nobody would know of what is in flight for it: that is undone."""
        task = self.clients.pop(connection)
        self.loop.forget(connection)
        posix.close(connection)
        if task is not None:
            self._calm(task)
            task.close()
            self._ended()
        if connection == self._first:
            self.loop.stop()

    def _hear(self, connection: int) -> None:
        if self.clients[connection] is not None:  # what is heard of a client that waits is its end
            self._leave(connection)
            return
        try:
            message, received = fds.receive_whole(connection)
        except OSError:  # what we were given is no such socket, or its other end has been reset
            message, received = b"", ()
        if message:
            task = Task(connection, received, self._work(message, received))
            self.clients[connection] = task
            self._go_on(task)
        else:
            self._leave(connection)

    def _work(self, message: bytes, received: tuple[int, ...]) -> Work[Answer]:
        document = protocol.decode(message)
        names = document.get("streams")
        if type(names) is not list or len(names) != len(received) or not {*names} <= _DESCRIPTORS:
            raise PyruncError(INVALID, "invalid message", "/streams", f"{len(received)} descriptors came")
        verb = document.get("verb")
        if type(verb) is not str or verb not in VERBS:
            raise PyruncError(INVALID, "invalid message", "/verb", f"{verb!r} is not known")
        do, kinds, needed = VERBS[verb]
        of_all = {} if verb in _OF_NO_CONTAINER else _CONTAINER
        arguments = protocol.take(document, {**of_all, **kinds}, (*of_all, *needed))
        done = do(self, Call(arguments, dict(zip(names, received, strict=True))))
        return done if isinstance(done, tuple) else (yield from done)

    def _go_on(self, task: Task) -> None:
        """Until it waits, or is done."""
        given: tuple[int, ...] = ()
        try:
            wait = next(task.work)
        except StopIteration as done:
            document, given = done.value
            answer = protocol.encode(document)
        except PyruncError as error:
            answer = protocol.encode_error(error)
        except Exception as error:  # a bug of ours ends one request, and not the spawner
            answer = protocol.encode_error(PyruncError(INTERNAL, "internal error", "", repr(error)))
        else:
            self._let_wait(task, wait)
            return
        self._answer(task, answer, given)

    def _let_wait(self, task: Task, wait: Wait) -> None:
        if not task.has_waited:
            task.has_waited = True
            self.loop.change(task.connection, 0)  # of its client only the end is of interest now
        if wait is _ANOTHERS_END:
            self.held_up.append(task)
            return
        task.watched, events, seconds = wait
        self.waiting.add(task)
        self.loop.watch(task.watched, events, lambda _events: self._resume(task))
        if seconds is not None:
            task.timer = self.loop.after(seconds, lambda: self._resume(task))

    def _resume(self, task: Task) -> None:
        self._calm(task)
        self._go_on(task)

    def _calm(self, task: Task) -> None:
        """It waits no more."""
        if task.watched >= 0:
            self.loop.forget(task.watched)
            task.watched = -1
        if task.timer is not None:
            task.timer.cancel()
            task.timer = None
        self.waiting.discard(task)
        if task in self.held_up:
            self.held_up.remove(task)

    def _answer(self, task: Task, answer: bytes, given: tuple[int, ...]) -> None:
        connection = task.connection
        self.clients[connection] = None
        task.close()
        try:
            is_there = self._send(connection, answer, given)
        finally:
            for fd in given[1:]:  # the reading end is the client's alone
                posix.close(fd)
        if not is_there:
            self._leave(connection)
        elif task.has_waited:
            self.loop.change(connection, EPOLLIN)
        self._ended()

    def _ended(self) -> None:
        """Whoever waits for that looks again."""
        if self.held_up:
            self.loop.after(0, self._look_again)

    def _look_again(self) -> None:
        for task in [*self.held_up]:
            self._resume(task)

    def _send(self, connection: int, answer: bytes, given: tuple[int, ...]) -> bool:
        try:
            fds.send(connection, answer, given)
        except (BrokenPipeError, ConnectionResetError):
            return False
        except OSError as error:
            if error.errno != EMSGSIZE:
                raise
            too_long = PyruncError(
                INTERNAL, "the answer is too long for a message", "", f"{len(answer)} bytes"
            )
            fds.send(connection, protocol.encode_error(too_long))
        return True

    def when_free(self, container: tuple[str, str]) -> Work[None]:
        """Its lock may be one that another task holds, which would not get on if we waited for the lock."""
        while self.waiting and _is_locked(*container):
            yield _ANOTHERS_END

    def watch(self, making: Work[Begun] | Work[Born]) -> Work[Answer]:
        """The answer that tells of the child which is made, and which is reaped here from now on."""
        reading, writing = posix.pipe2(posix.O_CLOEXEC)
        try:
            made = yield from making
        except BaseException:
            posix.close(reading)
            posix.close(writing)
            raise
        pid, pidfd = made.pid, made.pidfd
        self.loop.watch(pidfd, EPOLLIN, lambda _events: self._reap(pid, pidfd, writing))
        return {"pid": pid}, (pidfd, reading)

    def _reap(self, pid: int, pidfd: int, writing: int) -> None:
        self.loop.forget(pidfd)
        posix.close(pidfd)
        _, status = posix.waitpid(pid, 0)
        try:
            posix.write(writing, protocol.encode_status(status))
        except BrokenPipeError:  # nobody wants to know
            pass
        posix.close(writing)


def _is_locked(state_root: str, container_id: str) -> bool:
    try:
        return store.is_locked(state_root, container_id)
    except OSError:  # what is wrong is for the verb to say
        return False


_CONTAINER = {"id": "string", "state_root": "string"}
_OF_NO_CONTAINER = ("connect", "shim")
_STRING, _STRINGS, _FLAG = "string", "list of strings", "boolean"


def _create(server: Server, call: Call) -> Work[Answer]:
    request = CreateRequest(
        **call.arguments, console_fd=call.console, stand_in=call.stand_in, cache=server.cache
    )
    return server.watch(creation(request, is_detached=True))


def _exec(server: Server, call: Call) -> Work[Answer]:
    request = ExecRequest(
        **call.arguments, console_fd=call.console, stand_in=call.stand_in, cache=server.cache
    )
    return server.watch(_execution(request))


def _execution(request: ExecRequest) -> Work[Born]:
    born = yield from execution(request)
    posix.close(born.channel)
    return born


def _start(server: Server, call: Call) -> Work[Answer]:
    yield from server.when_free(call.container)
    yield from starting(*call.container)
    return {}, ()


def _kill(_server: Server, call: Call) -> Answer:
    signal = parse_signal(call.arguments["signal"])
    kill(*call.container, signal, everyone=call.arguments.get("everyone", False))
    return {}, ()


def _delete(server: Server, call: Call) -> Work[Answer]:
    yield from server.when_free(call.container)
    yield from deletion(*call.container, force=call.arguments.get("force", False))
    return {}, ()


def _state(_server: Server, call: Call) -> Answer:
    return {"state": describe(*call.container)}, ()


def _shim(_server: Server, call: Call) -> Work[Answer]:
    """It is nobody's child here: what it is told of, it tells by its own socket (shim.protocol)."""
    directory = call.arguments["directory"]
    yield from shim.launching(directory, shim.begin(directory))
    return {}, ()


def _connect(server: Server, call: Call) -> Answer:
    if call.connection < 0:
        raise PyruncError(INVALID, "invalid message", "/streams", "connection is required")
    with doing("listen to the new connection"):
        server.welcome(posix.dup(call.connection))
    return {}, ()


# verb -> what does it, the arguments that it has, and those that it can't be without besides the container
VERBS: dict[str, tuple[Callable[[Server, Call], Answer | Work[Answer]], dict[str, str], tuple[str, ...]]] = {
    "connect": (_connect, {}, ()),
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
    signals.block(_ENDING)  # until we listen for them in the loop; children let them through again
    posix.chdir("/")
    preload()
    gc.collect()
    gc.freeze()
    Server(connection).serve()
