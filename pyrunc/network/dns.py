"""The DNS server of a network: a process of its own, without any privilege, that answers its containers.

Where it listens: at 127.0.0.11 in each container's sandbox, as docker's users know it, and not at the
gateway. A container on two networks has one resolv.conf, and a resolver asks its second server only if the
first is silent: so one server has to know all networks of a container, and who asks, which the socket tells
beyond doubt. Nothing is open to the outside or to other networks, nothing collides with a server on the
host's port 53 (or the container's), and a network without any address of the host's has names too. The engine
makes the sockets, in the sandbox, and hands them over: this process needs neither root nor the namespace. A
filter rule in the sandbox leads port 53 to them.

Single-threaded, an epoll loop. It is told which containers to serve over a socket, and reads the names from
files that are replaced as a whole. Everything is bounded: questions under way and connections, in all and for
each container, bytes of a message, time.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from functools import partial

from pyrunc.kernel import syscall
from pyrunc.kernel.const import PR_SET_NO_NEW_PRIVS
from pyrunc.network import names
from pyrunc.network.forward import Forward

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.network.names import Question, Zone

_NOBODY = 65534
_FORWARDS_IN_ALL, _FORWARDS_EACH = 512, 64
_STREAMS_EACH, _STREAM_SECONDS = 16, 10.0
_AT_ONCE = 32  # datagrams of one container before the next one's turn
_MESSAGE_BYTES = 4096  # of a question, by either way
_CONTROL_BYTES = 65536
_RESOLV_CONF = "/etc/resolv.conf"


class WatchedFile:
    """What a file holds, parsed again when another one has taken its place."""

    def __init__(
        self, name: str, parse: Callable[[str], Any], nothing: Any, dir_fd: int | None = None
    ) -> None:
        self._name, self._parse, self._nothing, self._dir_fd = name, parse, nothing, dir_fd
        self._stamp: tuple[int, ...] = ()
        self._value = nothing

    def value(self) -> Any:
        try:
            found = os.stat(self._name, dir_fd=self._dir_fd)
            stamp = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
            if stamp != self._stamp:
                descriptor = os.open(self._name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._dir_fd)
                with open(descriptor, encoding="utf-8", errors="replace") as file:
                    self._value = self._parse(file.read())
                self._stamp = stamp
        except (OSError, ValueError, KeyError):
            self._value, self._stamp = self._nothing, ()
        return self._value


class Client:
    """A container: its two sockets, and what is its own."""

    def __init__(self, told: dict[str, Any], datagrams: socket.socket, listener: socket.socket) -> None:
        self.networks: list[str] = told["networks"]
        self.servers: list[str] = told["servers"]
        self.may_ask_outside: bool = told["forward"]
        self.extra: dict[str, str] = told["extra"]
        self.datagrams, self.listener = datagrams, listener
        self.forwards = self.streams = 0


class Stream:
    """A connection of a container's, with one question at a time."""

    def __init__(self, connection: socket.socket, client: Client, deadline: float) -> None:
        self.connection, self.client, self.deadline = connection, client, deadline
        self.received = b""
        self.is_waiting = self.is_busy = self.is_closed = False  # waiting: for an answer

    def take(self) -> bytes | None:
        """The next message, if all of it is there."""
        length = int.from_bytes(self.received[:2], "big")
        if len(self.received) < 2 + length or not self.received:
            return None
        message, self.received = self.received[2 : 2 + length], self.received[2 + length :]
        return message


class Server:
    def __init__(self, control: socket.socket, directory: int) -> None:
        self._control, self._directory = control, directory
        self._epoll = select.epoll()
        self._on_event: dict[int, Callable[[], None]] = {}
        self._clients: dict[str, Client] = {}
        self._forwards: set[Forward] = set()
        self._streams: set[Stream] = set()
        self._zones: dict[str, WatchedFile] = {}
        self._resolv_conf = WatchedFile(_RESOLV_CONF, names.parse_resolv_conf, ())
        self._turn, self._ends = 0, False
        self._watch(control, self._accept_control)

    def run(self) -> None:
        while not self._ends:
            deadlines = [item.deadline for item in self._forwards] + [item.deadline for item in self._streams]
            wait = max(0.0, min(deadlines) - time.monotonic()) if deadlines else -1
            for descriptor, _ in self._epoll.poll(wait):
                action = self._on_event.get(descriptor)
                if action is not None:
                    action()
            if deadlines:
                self._expire(time.monotonic())

    def _watch(self, item: socket.socket, action: Callable[[], None], events: int = select.EPOLLIN) -> None:
        item.setblocking(False)
        self._epoll.register(item.fileno(), events)
        self._on_event[item.fileno()] = action

    def _forget(self, item: socket.socket) -> None:
        if self._on_event.pop(item.fileno(), None) is not None:
            self._epoll.unregister(item.fileno())
        item.close()

    def _expire(self, now: float) -> None:
        for forward in [item for item in self._forwards if item.deadline <= now]:
            self._step(forward, partial(forward.ask_next, now))
        for stream in [item for item in self._streams if item.deadline <= now]:
            self._close_stream(stream)

    # ── what the engine says ──

    def _accept_control(self) -> None:
        try:
            connection, _ = self._control.accept()
        except OSError:
            return
        self._watch(connection, lambda: self._read_control(connection))

    def _read_control(self, connection: socket.socket) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(connection, _CONTROL_BYTES, 2)
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._forget(connection)
            return
        told = json.loads(data)
        if told["do"] == "serve":
            sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
            self._stop_serving(told["container"])
            self._serve(told, *sockets)
        elif told["do"] == "forget":
            self._stop_serving(told["container"])
        elif told["do"] == "stop":
            self._ends = True
        connection.send(b"done")

    def _serve(self, told: dict[str, Any], datagrams: socket.socket, listener: socket.socket) -> None:
        client = self._clients[told["container"]] = Client(told, datagrams, listener)
        self._watch(datagrams, lambda: self._read_datagrams(client))
        self._watch(listener, lambda: self._accept_stream(client))

    def _stop_serving(self, container: str) -> None:
        client = self._clients.pop(container, None)
        if client is None:
            return
        for stream in [item for item in self._streams if item.client is client]:
            self._close_stream(stream)
        self._forget(client.datagrams)
        self._forget(client.listener)

    # ── what a container asks ──

    def _read_datagrams(self, client: Client) -> None:
        for _ in range(_AT_ONCE):
            try:
                message, asker = client.datagrams.recvfrom(_MESSAGE_BYTES)
            except OSError:
                return
            self._answer(client, message, partial(_send_to, client.datagrams, asker))

    def _accept_stream(self, client: Client) -> None:
        try:
            connection, _ = client.listener.accept()
        except OSError:
            return
        if client.streams >= _STREAMS_EACH:
            connection.close()
            return
        stream = Stream(connection, client, time.monotonic() + _STREAM_SECONDS)
        client.streams += 1
        self._streams.add(stream)
        self._watch(connection, lambda: self._on_stream(stream))

    def _on_stream(self, stream: Stream) -> None:
        try:
            data = stream.connection.recv(_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        stream.received += data
        if not data or len(stream.received) > 2 * _MESSAGE_BYTES:
            self._close_stream(stream)
            return
        self._answer_stream(stream)

    def _answer_stream(self, stream: Stream) -> None:
        """One question after the other, in a loop: an answer at hand comes back here before this has
        returned, and a buffer full of small questions would be a deep recursion."""
        if stream.is_busy:
            return
        stream.is_busy = True
        while not (stream.is_closed or stream.is_waiting):
            message = stream.take()
            if message is None:
                break
            stream.is_waiting = True
            self._answer(
                stream.client, message, lambda reply: self._reply_to_stream(stream, reply), by_tcp=True
            )
        stream.is_busy = False

    def _reply_to_stream(self, stream: Stream, reply: bytes) -> None:
        """One that does not take its answer is closed (answers are smaller than a socket's buffer), and so is
        one that sends what has no answer."""
        stream.is_waiting = False
        if stream.is_closed:
            return
        frame = len(reply).to_bytes(2, "big") + reply
        try:
            is_sent = bool(reply) and stream.connection.send(frame) == len(frame)
        except OSError:
            is_sent = False
        if not is_sent:
            self._close_stream(stream)
            return
        stream.deadline = time.monotonic() + _STREAM_SECONDS
        self._answer_stream(stream)

    def _close_stream(self, stream: Stream) -> None:
        if not stream.is_closed:
            stream.is_closed = True
            stream.client.streams -= 1
            self._streams.discard(stream)
            self._forget(stream.connection)

    def _answer(
        self, client: Client, message: bytes, reply: Callable[[bytes], None], by_tcp: bool = False
    ) -> None:
        try:
            question = names.parse_question(message)
        except ValueError:
            reply(names.failure(message, names.FORMAT_ERROR))
            return
        self._turn += 1
        zones: list[Zone] = [zone for zone in map(self._zone, client.networks) if zone is not None]
        limit = names.UDP_BYTES if not by_tcp else 65535
        told = names.resolve(question, zones, client.extra, limit, self._turn)
        if told is not None:
            reply(told)
        else:
            self._ask_outside(client, message, question, reply, by_tcp)

    def _zone(self, network: str) -> Zone | None:
        watched = self._zones.get(network)
        if watched is None:
            watched = WatchedFile(
                f"{network}.json", lambda text: names.zone(json.loads(text)), None, self._directory
            )  # fmt: skip
            self._zones[network] = watched
        found: Zone | None = watched.value()
        return found

    # ── what others know ──

    def _ask_outside(
        self,
        client: Client,
        message: bytes,
        question: Question,
        reply: Callable[[bytes], None],
        by_tcp: bool,
    ) -> None:
        servers = client.servers or list(self._resolv_conf.value())
        refused = len(self._forwards) >= _FORWARDS_IN_ALL or client.forwards >= _FORWARDS_EACH
        if not client.may_ask_outside or refused or not servers:
            reply(names.answer(question, names.SERVER_FAILURE))
            return

        def done(told: bytes | None) -> None:
            client.forwards -= 1
            reply(told if told is not None else names.answer(question, names.SERVER_FAILURE))

        forward = Forward(message, question, servers, by_tcp, done)
        client.forwards += 1
        self._forwards.add(forward)
        self._step(forward, lambda: forward.ask_next(time.monotonic()))

    def _step(self, forward: Forward, step: Callable[[], bool]) -> None:
        """One step of it, which may leave it with another socket, or with none."""
        before = forward.socket
        if before is not None and self._on_event.pop(before.fileno(), None) is not None:
            self._epoll.unregister(before.fileno())
        if not step():
            self._forwards.discard(forward)
            return
        assert forward.socket is not None
        events = select.EPOLLOUT if forward.wants_to_write else select.EPOLLIN
        act = lambda: self._step(forward, lambda: forward.on_event(time.monotonic()))  # noqa: E731
        self._watch(forward.socket, act, events)


def _send_to(datagrams: socket.socket, asker: Any, reply: bytes) -> None:
    try:
        if reply:
            datagrams.sendto(reply, asker)
    except OSError:
        pass  # it has gone away, or takes no more: it will ask again


def _drop_privileges() -> None:
    """Nothing that is left needs any: the sockets are made by others, the names may be read by all."""
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    syscall.prctl(PR_SET_NO_NEW_PRIVS, 1)


def main(directory: str, network: str) -> None:
    """Go into the background, listen, serve, until told to stop. Whoever has started us knows that
    messages will be heard once the first process has ended well."""
    heard, ready = os.pipe()
    if os.fork():
        os.close(ready)
        os._exit(0 if os.read(heard, 1) else 1)
    os.close(heard)
    os.setsid()
    os.chdir("/")
    directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    control = _listen(f"/proc/self/fd/{directory_fd}/{network}.sock")
    _drop_privileges()
    os.write(ready, b"1")
    os.close(ready)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    Server(control, directory_fd).run()


def _listen(path: str) -> socket.socket:
    """By the process that will serve: the kernel tells others the pid of whoever has called listen(2)."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.umask(0o177)
    control.bind(path)
    control.listen()
    return control
