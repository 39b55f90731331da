"""The shim's socket: requests to what the container does, events to who subscribed (see protocol)."""

from __future__ import annotations

import posix
from select import EPOLLIN
from time import time_ns

from pyrunc import jsonio
from pyrunc.errors import INTERNAL, INVALID, NOT_FOUND, PyruncError
from pyrunc.files import read_all, write_atomically
from pyrunc.kernel import fds
from pyrunc.kernel.signals import parse_signal
from pyrunc.oci.node import Node
from pyrunc.oci.state import format_time
from pyrunc.record import replaced
from pyrunc.shim import protocol
from pyrunc.shim.attach import Hub, Wishes, parse_detach_keys
from pyrunc.shim.execution import Execution
from pyrunc.shim.oci_runtime import Outcome, Streams
from pyrunc.shim.protocol import CREATED, PAUSED, RUNNING
from pyrunc.shim.settings import parse_restart
from pyrunc.shim.streams import ProcessStreams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.shim.container import Container

_STREAM_NAMES = ("stdin", "stdout", "stderr")
_KEPT_SECONDS = 300.0  # that long the exit code of an exec can be asked for


class Request:
    """One of a client's. `descriptors` that nobody takes are closed when it has been looked at. To be
    answered once, now or later; the client may be gone by then."""

    __slots__ = ("_server", "connection", "descriptors", "node")

    def __init__(self, server: Server, connection: int, node: Node, descriptors: dict[str, int]) -> None:
        self._server, self.connection = server, connection
        self.node, self.descriptors = node, descriptors

    def answer(self, document: dict[str, Any]) -> None:
        self._server.unanswered.discard(self)
        self._server.send(self.connection, protocol.encode(document))

    def refuse(self, error: PyruncError) -> None:
        self._server.unanswered.discard(self)
        self._server.send(self.connection, protocol.encode_error(error))

    def settle(self, error: PyruncError | None) -> None:
        if error is None:
            self.answer({})
        else:
            self.refuse(error)

    def take(self, name: str) -> int:
        """A descriptor, which is the caller's from here on. Raises PyruncError INVALID."""
        if name not in self.descriptors:
            raise PyruncError(INVALID, "invalid message", "/descriptors", f"there is no {name}")
        return self.descriptors.pop(name)

    def signal(self) -> int | None:
        """Under `signal`: a name or a number."""
        value = self.node.value.get("signal")
        return None if value is None else parse_signal(str(value))

    def seconds(self, name: str) -> float | None:
        value = self.node.value.get(name)
        if value is not None and type(value) not in (int, float):
            raise self.node.wrong(name, "is not a number")
        return value


class Server:
    """`removed()`: a client has had the container deleted."""

    def __init__(self, container: Container, removed: Callable[[], object]) -> None:
        self.container, self.tools = container, container.tools
        self.removed, self.is_deleting = removed, False
        self.sessions: dict[str, Session] = {}
        self.unanswered: set[Request] = set()
        self.exec_codes: dict[str, int] = {}
        self._leaving: list[Hub] = []
        self.held: list[int] = []
        self._numbers = 0
        self._connections: set[int] = set()
        self._subscribers: list[int] = []
        self._path = f"{self.tools.directory}/{protocol.SOCKET_FILE}"
        self._listener = fds.listen(self._path, keeps_messages=True)
        posix.set_blocking(self._listener, False)
        self.tools.loop.watch(self._listener, EPOLLIN, self._accept)

    def withdraw(self) -> None:
        """Nobody finds us any more, and what is held for the container is free; who is connected is still
        answered."""
        while self.held:
            posix.close(self.held.pop())
        path, self._path = self._path, ""
        if path:
            try:
                posix.unlink(path)
            except FileNotFoundError:
                pass

    def close(self) -> None:
        """No socket, no connection: who waits for an answer reads the end."""
        self.withdraw()  # first: who is refused takes the shim for one that has left nothing
        self.tools.loop.forget(self._listener)
        posix.close(self._listener)
        for connection in list(self._connections):
            self._hang_up(connection)

    def publish(self, event: str, more: dict[str, Any]) -> None:
        """To all who subscribed. One that doesn't read is dropped: it sees that, and can ask again."""
        if self._subscribers:
            message = {
                "event": event,
                "time": format_time(time_ns()),
                "status": self.container.status,
                **more,
            }
            data = protocol.encode(message)
            for connection in list(self._subscribers):
                self.send(connection, data)

    def send(self, connection: int, message: bytes) -> None:
        """Never waits. A client that is gone, or takes nothing, is hung up on."""
        if connection not in self._connections:
            return
        try:
            fds.send(connection, message)
        except OSError:
            self._hang_up(connection)

    def next_name(self) -> str:
        self._numbers += 1
        return f"{posix.getpid():x}-{self._numbers:x}"

    def keep_code(self, name: str, code: int) -> None:
        """For a while: that alone, and nothing else of the exec."""
        self.exec_codes[name] = code
        self.tools.loop.after(_KEPT_SECONDS, lambda: self.exec_codes.pop(name, None))

    def leave_to(self, hub: Hub) -> None:
        """An exec has ended; its client may not have taken all of its output yet."""
        self._leaving = [item for item in (*self._leaving, hub) if item.is_busy]

    def when_idle(self, told: Callable[[], object]) -> None:
        """Once nobody has any output to take of what has ended, perhaps now."""
        hubs = [self.container.hub, *self._leaving]

        def look() -> None:
            if not any(hub.is_busy for hub in hubs):
                told()

        for hub in hubs:
            hub.when_idle(look)
        look()

    def subscribe(self, connection: int) -> None:
        self._subscribers.append(connection)

    def _accept(self, _events: int) -> None:
        try:
            connection = fds.accept(self._listener)
        except BlockingIOError:
            return
        posix.set_blocking(connection, False)
        self._connections.add(connection)
        self.tools.loop.watch(connection, EPOLLIN, lambda _events: self._read(connection))

    def _hang_up(self, connection: int) -> None:
        self._connections.discard(connection)
        if connection in self._subscribers:
            self._subscribers.remove(connection)
        self.tools.loop.forget(connection)
        posix.close(connection)

    def _read(self, connection: int) -> None:
        try:
            message, received = fds.receive_whole(connection)
        except BlockingIOError:
            return
        except OSError:
            message, received = b"", ()
        if not message:
            self._hang_up(connection)
            return
        request = Request(self, connection, Node({}), {})
        self.unanswered.add(request)
        left = dict(enumerate(received))
        try:
            request.node = Node(protocol.decode(message))
            names = request.node.texts("descriptors")
            if len(names) != len(received) or len({*names}) != len(names):
                raise PyruncError(INVALID, "invalid message", "/descriptors", f"{len(received)} came")
            request.descriptors = dict(zip(names, received, strict=True))
            left = {}
            verb = request.node.need_text("verb")
            if verb not in VERBS:
                raise PyruncError(INVALID, "invalid message", "/verb", f"{verb!r} is not known")
            VERBS[verb](self, request)
        except PyruncError as error:
            request.refuse(error)
        except OSError as error:
            request.refuse(PyruncError.from_errno(error.errno or 0, "carry out a request"))
        except Exception as error:  # a bug of ours ends one request, and not the shim
            request.refuse(PyruncError(INTERNAL, "internal error", "", repr(error)))
        finally:
            for fd in (*left.values(), *request.descriptors.values()):
                posix.close(fd)


class Session:
    """An exec of a client's: the process file, its streams, who waits for it."""

    def __init__(self, server: Server, request: Request) -> None:
        self.server, self.request, self.name = server, request, server.next_name()
        self.waiting: list[Callable[[int], object]] = []
        self._text = _read_process(request)
        terminal = Node(jsonio.loads(self._text, "process")).flag("terminal")
        self._wishes = replaced(_wishes(request, terminal=terminal), keeps_all=True)
        self._path = f"{server.tools.directory}/process-{self.name}"
        self._execution: Execution | None = None
        self._direct = {name: request.take(name) for name in _STREAM_NAMES if name in request.descriptors}
        self._stream = -1 if self._direct else request.take("stream")
        self._hub: Hub | None = None
        self.streams: ProcessStreams | None = None
        if not self._direct:
            self._hub = Hub(server.tools.loop, stdin_once=True, told=lambda _event: None)
            self.streams = ProcessStreams(
                server.tools.loop,
                f"{server.tools.directory}/console-{self.name}.sock",
                terminal=terminal,
                open_stdin=self._wishes.stdin,
                deliver=self._hub.deliver,
                drained=self._hub.continue_input,
            )

    def begin(self) -> None:
        """Raises OSError, and nothing is open then."""
        given = Streams(
            stdin=self._direct.get("stdin", -1),
            stdout=self._direct.get("stdout", -1),
            stderr=self._direct.get("stderr", -1),
        )
        if self.streams is not None:
            given = self.streams.given
        try:
            write_atomically(self._path, self._text, 0o600)
            self._execution = Execution(
                self.server.tools,
                self.server.container.settings.id,
                (("--process", self._path), ()),
                streams=self.streams,
                given=given,
                begun=self._tell,
                ended=self._end,
            )
        except BaseException:
            self._close()
            raise
        self.server.sessions[self.name] = self

    def _close(self) -> None:
        for fd in (*self._direct.values(), self._stream):
            if fd >= 0:
                posix.close(fd)
        self._direct, self._stream = {}, -1
        if self.streams is not None:
            self.streams.close()

    def _tell(self, error: PyruncError | None) -> None:
        posix.unlink(self._path)
        if error is not None:
            self.server.sessions.pop(self.name, None)
            self._close()
            self.request.refuse(error)
            return
        pid = self._execution.pid if self._execution is not None else 0
        self.request.answer({"exec": self.name, "pid": pid})
        if self._hub is not None and self.streams is not None:
            self._hub.add(self._stream, self._wishes)
            self._hub.serve(self.streams)
        for fd in self._direct.values():
            posix.close(fd)
        self._direct, self._stream = {}, -1
        self.server.publish("exec_start", {"exec": self.name, "pid": pid})

    def _end(self, code: int) -> None:
        server = self.server
        if server.sessions.pop(self.name, None) is None:
            return  # it has been told as one that did not begin
        if self._hub is not None:
            self._hub.end()
            server.leave_to(self._hub)
        server.keep_code(self.name, code)
        for told in self.waiting:
            told(code)
        server.publish("exec_exit", {"exec": self.name, "exit_code": code})


def _read_process(request: Request) -> bytes:
    fd = request.take("process")
    try:
        return read_all(fd)
    finally:
        posix.close(fd)


# --- the verbs ------------------------------------------------------------------------------------


def _status(server: Server, request: Request) -> None:
    request.answer({"status": server.container.status})


def _hold(server: Server, request: Request) -> None:
    """Descriptors that somebody has to keep open while there is the container: of ports that are its."""
    server.held += [request.take(name) for name in list(request.descriptors)]
    request.answer({})


def _subscribe(server: Server, request: Request) -> None:
    request.answer({})
    server.subscribe(request.connection)


def _start(server: Server, request: Request) -> None:
    server.container.start(request.settle)


def _kill(server: Server, request: Request) -> None:
    number = request.signal()
    server.container.kill(15 if number is None else number, request.node.flag("everyone"), request.settle)


def _stop(server: Server, request: Request) -> None:
    server.container.stop(request.signal(), request.seconds("timeout"), request.settle)


def _restart(server: Server, request: Request) -> None:
    server.container.restart(request.signal(), request.seconds("timeout"), request.settle)


def _change(server: Server, request: Request) -> None:
    server.container.change(request.node.text("verb"), request.settle)


def _wait(server: Server, request: Request) -> None:
    def told(code: int) -> None:
        request.answer({"exit_code": code})

    name = request.node.text("exec")
    if not name:
        server.container.wait(told)
    elif name in server.exec_codes:
        told(server.exec_codes[name])
    else:
        _find_session(server, name).waiting.append(told)


def _find_session(server: Server, name: str) -> Session:
    if name not in server.sessions:
        raise PyruncError(NOT_FOUND, "there is no such exec", name)
    return server.sessions[name]


def _update(server: Server, request: Request) -> None:
    container = server.container
    policy = request.node.child("restart")
    resources = request.node.child("resources")
    if policy is not None:
        container.policy = parse_restart(policy)
    if resources is None:
        request.answer({})
        return

    def updated(outcome: Outcome) -> None:
        if outcome.error is None:
            container.tell("update")
        request.settle(outcome.error)

    words = ("update", "--resources", "-", container.settings.id)
    container.tools.door.call(words, updated, protocol.encode(resources.value))


def _resize(server: Server, request: Request) -> None:
    rows, columns = request.node.need_number("rows"), request.node.need_number("columns")
    if not (0 <= rows < 1 << 16 and 0 <= columns < 1 << 16):
        raise PyruncError(INVALID, "invalid message", "/rows", "is no size of a terminal")
    name = request.node.text("exec")
    streams = _find_session(server, name).streams if name else server.container.streams
    if streams is None:
        raise PyruncError(NOT_FOUND, "there is no terminal", name)
    streams.resize(rows, columns)
    request.answer({})


def _wishes(request: Request, *, terminal: bool) -> Wishes:
    node = request.node
    return Wishes(
        stdin=node.flag("stdin"),
        stdout=node.maybe_flag("stdout") is not False,
        stderr=node.maybe_flag("stderr") is not False,
        multiplexed=node.flag("multiplexed") and not terminal,
        detach_keys=parse_detach_keys(node.text("detach_keys")),
        keeps_all=node.flag("keeps_all"),
    )


def _attach(server: Server, request: Request) -> None:
    """The answer goes first: on the stream there may be output at once."""
    container = server.container
    container.require(protocol.CREATING, CREATED, RUNNING, PAUSED, protocol.RESTARTING)
    wishes = _wishes(request, terminal=container.settings.terminal)
    stream = request.take("stream")
    request.answer({})
    container.hub.add(stream, wishes)


def _exec(server: Server, request: Request) -> None:
    server.container.require(RUNNING)
    Session(server, request).begin()


def _asked(words: tuple[str, ...], name: str) -> Callable[[Server, Request], None]:
    """A verb of the runtime that answers with a document."""

    def ask(server: Server, request: Request) -> None:
        def told(outcome: Outcome) -> None:
            try:
                request.answer({name: outcome.document()})
            except PyruncError as error:
                request.refuse(error)

        server.tools.door.call((*words, server.container.settings.id), told)

    return ask


def _delete(server: Server, request: Request) -> None:
    """As the runtime's: without force what runs stays."""
    container = server.container
    force = request.node.flag("force")
    if container.is_busy and not force:
        why = container.status["status"]
        raise PyruncError(
            "wrong state", f"cannot delete container {container.settings.id} that is not stopped", "", why
        )
    server.is_deleting = True
    container.stop_restarting()

    def ended(_error: PyruncError | None) -> None:
        container.tools.door.call(("delete", "--force", container.settings.id), deleted)

    def deleted(outcome: Outcome) -> None:
        server.is_deleting = False
        if outcome.error is None or not container.is_alive:
            server.removed()  # first: another container may have our directory as soon as this is answered
        request.settle(outcome.error)

    if container.is_busy:
        container.stop(9, 0, ended)
    else:
        ended(None)


VERBS: dict[str, Callable[[Server, Request], None]] = {
    "status": _status,
    "hold": _hold,
    "subscribe": _subscribe,
    "start": _start,
    "kill": _kill,
    "stop": _stop,
    "restart": _restart,
    "pause": _change,
    "resume": _change,
    "wait": _wait,
    "update": _update,
    "resize": _resize,
    "attach": _attach,
    "exec": _exec,
    "ps": _asked(("ps", "--format", "json"), "pids"),
    "stats": _asked(("events", "--stats"), "stats"),
    "delete": _delete,
}
