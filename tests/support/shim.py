"""containerd-shim-pyrunc-v2 without containerd: started as containerd does, asked over its socket, and its
events taken by an end of our own, which can go away and come again."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyrunc.shim.containerd import messages, ttrpc
from support import leaks
from support.bundle import Bundle
from support.caller import own_directory
from support.runtime import CHECKOUT
from support.waiting import PATIENCE, until

NAME = "containerd-shim-pyrunc-v2"
SECONDS = 60 * PATIENCE
_SCRIPT = """#!/bin/sh
exec {python} -ISEXutf8 -c {program} "$@"
"""
_PROGRAM = (
    "import sys; sys.path.insert(0, {checkout!r}); sys.path.append({packages!r}); "
    "from pyrunc.shim.containerd.main import entry; entry()"
)


def find_shim(runtime: str, directory: Path) -> Path:
    """The shim that is installed beside the runtime under test; else a script for this checkout's, made in
    `directory`."""
    installed = Path(runtime).with_name(NAME)
    if installed.exists():
        return installed
    path = directory / NAME
    program = _PROGRAM.format(checkout=str(CHECKOUT), packages=sysconfig.get_path("purelib"))
    path.write_text(_SCRIPT.format(python=shlex.quote(sys.executable), program=shlex.quote(program)))
    path.chmod(0o755)
    return path


class Refused(Exception):
    def __init__(self, failure: ttrpc.Failure) -> None:
        super().__init__(failure.message)
        self.code = failure.code


class Client:
    """A connection to a shim. One request at a time, unless `ask` and `take` are called by themselves."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(SECONDS)
        self.socket.connect(path)
        self._decoder = ttrpc.Decoder()
        self._stream = -1
        self._asked: dict[int, str] = {}
        self._answers: dict[int, ttrpc.Frame] = {}

    def ask(self, method: str, **fields: Any) -> int:
        self._stream += 2
        self._asked[self._stream] = method
        payload = messages.encode(messages.METHODS[method][0], fields)
        request = ttrpc.Request(service="containerd.task.v2.Task", method=method, payload=payload)
        self.socket.sendall(ttrpc.encode_request(self._stream, request, 0))
        return self._stream

    def take(self, stream: int) -> dict[str, Any]:
        """The answer to one of `ask`. Raises Refused."""
        while stream not in self._answers:
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the shim is gone")
            self._answers.update((frame.stream, frame) for frame in self._decoder.feed(data))
        try:
            payload = ttrpc.decode_answer(self._answers.pop(stream))
        except ttrpc.Failure as failure:
            raise Refused(failure) from None
        return messages.decode(messages.METHODS[self._asked.pop(stream)][1], payload)

    def has_come(self, stream: int) -> bool:
        """Before, or together with, what was taken last."""
        return stream in self._answers

    def __call__(self, method: str, **fields: Any) -> dict[str, Any]:
        return self.take(self.ask(method, **fields))

    def close(self) -> None:
        self.socket.close()


class Sink:
    """Where containerd's event service would be. `events`: (type, fields), as they came."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._listener: socket.socket | None = None
        self._connections: list[socket.socket] = []
        self.begin()

    def begin(self) -> None:
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def end(self) -> None:
        """As a containerd that is stopped."""
        assert self._listener is not None
        for each in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._connections.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        decoder = ttrpc.Decoder()
        with contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                for frame in decoder.feed(data):
                    self._take(ttrpc.decode_request(frame))
                    connection.sendall(ttrpc.encode_answer(frame.stream, b""))

    def _take(self, request: ttrpc.Request) -> None:
        envelope = messages.decode(messages.FORWARD, request.payload)["envelope"]
        name = envelope["event"]["type_url"].removeprefix("containerd.events.")
        topic, table = messages.EVENTS[name]
        assert envelope["topic"] == topic
        self.events.append((name, messages.decode(table, envelope["event"]["value"])))

    def names(self, container: str) -> list[str]:
        """Of the events of one container, in order; an exec's end is TaskExit:ID."""
        found = []
        for name, fields in self.events:
            if fields["container_id"] == container:
                process = fields.get("id") if name == "TaskExit" else fields.get("exec_id")
                found.append(name if process in (None, "", container) else f"{name}:{process}")
        return found

    def until(self, container: str, *names: str) -> None:
        """All of these have come, in this order, with perhaps others between."""

        def has_come() -> bool:
            rest = iter(self.names(container))
            return all(name in rest for name in names)

        try:
            until(has_come, f"{container}: {names}", 20)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.names(container)}") from None


class Shim:
    """What containerd knows of one: how it is started, and where it listens."""

    def __init__(self, program: Path, directory: Path, namespace: str) -> None:
        self.program, self.directory, self.namespace = program, directory, namespace
        self.sink = Sink(directory / "events.sock")
        self.addresses: set[str] = set()
        self.bundles: dict[str, Path] = {}
        self.clients: list[Client] = []

    def words(self, id: str, bundle: Path, verb: str) -> list[str]:
        return [
            str(self.program), "-namespace", self.namespace, "-address", f"{self.directory}/containerd.sock",
            "-publish-binary", "/bin/false", "-id", id, "-bundle", str(bundle), verb,
        ]  # fmt: skip

    def call(
        self, id: str, bundle: Path, verb: str, input: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """One of the program's verbs; stdout and stderr are one, as containerd has them."""
        env = {**os.environ, "TTRPC_ADDRESS": str(self.sink.path), "NAMESPACE": self.namespace}
        return subprocess.run(
            self.words(id, bundle, verb), cwd=bundle, env=env, input=input, timeout=SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip

    def start(self, id: str, bundle: Path, options: bytes = b"") -> str:
        """The socket's path."""
        done = self.call(id, bundle, "start", options)
        assert done.returncode == 0, done.stdout
        address = done.stdout.decode()
        assert address.startswith("unix:///run/containerd/s/"), address
        assert (bundle / "address").read_text() == address
        path = address.removeprefix("unix://")
        self.addresses.add(path)
        self.bundles[id] = bundle
        return path

    def connect(self, path: str) -> Client:
        client = Client(path)
        self.clients.append(client)
        return client

    def delete(self, id: str, bundle: Path) -> dict[str, Any]:
        done = self.call(id, bundle, "delete")
        assert done.returncode == 0, done.stdout
        return messages.decode(messages.DELETED, done.stdout)

    def pid(self, path: str) -> int:
        client = Client(path)
        try:
            pid: int = client("Connect", id="")["shim_pid"]
            return pid
        finally:
            client.close()

    def close(self) -> None:
        """Every shim that still listens is told to end, and does; what a failed test left goes."""
        for client in self.clients:
            client.close()
        for path in self.addresses:
            with contextlib.suppress(OSError):
                client = Client(path)
                with contextlib.suppress(OSError):
                    client("Shutdown", id="", now=True)
                client.close()
        until(lambda: not any(Path(path).exists() for path in self.addresses), "the shims have ended")
        for id, bundle in self.bundles.items():
            if Path("/run/containerd/pyrunc", self.namespace, id).exists():
                self.delete(id, bundle)
        self.sink.end()


def options(**fields: Any) -> dict[str, Any]:
    """runc's, as an Any."""
    return messages.wrap(messages.OPTIONS_TYPE, messages.encode(messages.OPTIONS, fields))


def process(*args: str, **changes: Any) -> dict[str, Any]:
    """What Exec is given, as an Any."""
    document = {"args": [*args], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}, **changes}
    return messages.wrap(
        "types.containerd.io/opencontainers/runtime-spec/1/Process", json.dumps(document).encode()
    )


class Fifo:
    """One end of a stream, as containerd's client holds it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(path)
        self._reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._said = b""

    def read(self, seconds: float = 20) -> bytes:
        """To the end."""
        return self._until(None, seconds)

    def expect(self, words: bytes, seconds: float = 20) -> bytes:
        return self._until(words, seconds)

    def _until(self, words: bytes | None, seconds: float) -> bytes:
        seconds *= PATIENCE
        watched = select.poll()
        watched.register(self._reading, select.POLLIN)
        while words is None or words not in self._said:
            assert watched.poll(seconds * 1000), f"not within {seconds} s: {words!r}, but {self._said!r}"
            data = os.read(self._reading, 1 << 16)
            if not data:
                assert words is None, f"{words!r} never came, but {self._said!r}"
                break
            self._said += data
        end = len(self._said) if words is None else self._said.index(words) + len(words)
        found, self._said = self._said[:end], self._said[end:]
        return found

    def close(self) -> None:
        os.close(self._reading)


class Box:
    """A bundle, its fifos, and the connection to its shim."""

    def __init__(self, shim: Shim, directory: Path, *args: str, **how: Any) -> None:
        self.shim, self.directory = shim, directory
        path = directory / f"b{len(list(directory.glob('b*')))}"
        rootfs = how.pop("rootfs_at", None)
        self.bundle = Bundle(path, rootfs=rootfs is None)
        if rootfs is not None:
            self.bundle.config["root"]["path"] = str(rootfs)
        self.id = self.bundle.id
        self.bundle.process["args"] = [*args] or ["sleep", "1000"]
        self.bundle.process["terminal"] = how.pop("terminal", False)
        self.bundle.config["linux"]["cgroupsPath"] = f"/{shim.namespace}/{self.id}"
        self.group = how.pop("group", "")
        if self.group:
            self.bundle.config["annotations"] = {"io.kubernetes.cri.sandbox-id": self.group}
        self.how = how
        self.out, self.err = Fifo(directory / f"{self.id}.out"), Fifo(directory / f"{self.id}.err")

    def begin(self) -> Client:
        """Its shim is there."""
        self.bundle.write()
        self.socket = self.shim.start(self.id, self.bundle.path)
        self.ask = self.shim.connect(self.socket)
        return self.ask

    def create(self) -> Box:
        self.begin()
        terminal = self.bundle.process["terminal"]
        given = {
            "bundle": str(self.bundle.path), "terminal": terminal, "stdout": self.out.path,
            "stderr": "" if terminal else self.err.path, **self.how,
        }  # fmt: skip
        self.pid = self("Create", **given)["pid"]
        return self

    def start(self) -> Box:
        self.create()
        self.pid = self("Start")["pid"]
        return self

    def __call__(self, method: str, **fields: Any) -> dict[str, Any]:
        return self.ask(method, id=self.id, **fields)

    def exec(self, name: str, *args: str, **fields: Any) -> int:
        self("Exec", exec_id=name, spec=process(*args), **fields)
        pid: int = self("Start", exec_id=name)["pid"]
        return pid

    def end(self) -> dict[str, Any]:
        """Killed if it lives, and deleted; the shim goes if it was the last."""
        if self("State")["status"] != messages.STOPPED:
            self("Kill", signal=9, all=True)
            self("Wait")
        deleted = self("Delete")
        self("Shutdown")
        return deleted


@contextlib.contextmanager
def shims(program: Path, namespace: str) -> Iterator[Shim]:
    """At the end nothing of them is left: no process, state, cgroup, mount."""
    before = leaks.children()
    with own_directory() as directory:
        made = Shim(program, directory, namespace)
        try:
            yield made
        finally:
            made.close()
        until(lambda: not leaks.reap_orphans(before), "shims and containers have ended")
        left = [path for path in leaks.cgroups(namespace) if [*path.rglob("*/")]]
        state = Path("/run/containerd/pyrunc", namespace)
        if state.is_dir():
            assert os.listdir(state) == []
            state.rmdir()
        assert not left
        assert not leaks.mounts_below(directory)
        for path in reversed(leaks.cgroups(namespace)):
            path.rmdir()
