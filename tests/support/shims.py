"""Shims as an engine starts them: a directory, a shim.json, and the functions of shim.protocol."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

from pyrunc.shim import protocol
from support.bundle import Bundle
from support.runtime import Runtime
from support.waiting import until


class ShimOf:
    """The shim of one container. `settings`: of shim.json, beyond what every one has."""

    def __init__(self, runtime: Runtime, bundle: Bundle, *command: str, **settings: Any) -> None:
        self.runtime, self.bundle = runtime, bundle
        self.id = runtime.prepare(bundle, *command)
        self.directory = runtime.work / f"shim-{self.id}"
        self.directory.mkdir()
        self.log = self.directory / "log"
        self.settings = {
            "id": self.id,
            "bundle": str(bundle.path),
            "state_root": str(runtime.root),
            "terminal": bundle.process.get("terminal", False),
            "log": {"driver": "json-file", "path": str(self.log)},
            **settings,
        }

    def start(self) -> ShimOf:
        (self.directory / "shim.json").write_text(json.dumps(self.settings))
        protocol.start(str(self.directory), (self.runtime.command,))
        return self

    def call(self, verb: str, descriptors: dict[str, int] | None = None, **arguments: Any) -> dict[str, Any]:
        return protocol.call(str(self.directory), verb, descriptors, **arguments)

    @property
    def status(self) -> dict[str, Any]:
        return protocol.load_status(str(self.directory))

    @property
    def pid(self) -> int:
        return protocol.pid_of(str(self.directory))

    def wait(self) -> int:
        return protocol.wait(str(self.directory))

    def until(self, status: str, seconds: float = 10) -> dict[str, Any]:
        until(lambda: self.status["status"] == status, f"{self.id} is {status}: {self.status}", seconds)
        return self.status

    def until_gone(self) -> None:
        until(lambda: not protocol.is_running(str(self.directory)), f"the shim of {self.id} ends")

    def said(self) -> str:
        """All of the log's text."""
        return "".join(entry["log"] for entry in self.entries())

    def entries(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.log.read_bytes().splitlines()]

    def until_said(self, text: str, seconds: float = 10) -> None:
        until(lambda: self.log.exists() and text in self.said(), f"{text!r} is in the log", seconds)

    def attach(self, **wishes: Any) -> Stream:
        return Stream(self.call, "attach", {}, wishes)

    def exec(self, *args: str, process: dict[str, Any] | None = None, **wishes: Any) -> Stream:
        document = {"args": list(args), "cwd": "/", "user": {"uid": 0, "gid": 0},
                    "env": self.bundle.process["env"], **(process or {})}  # fmt: skip

        def call(_verb: str, descriptors: dict[str, int], **arguments: Any) -> dict[str, Any]:
            return protocol.execute(str(self.directory), document, descriptors, **arguments)

        return Stream(call, "exec", {}, wishes)


class Stream:
    """One client's duplex stream."""

    def __init__(self, call: Any, verb: str, descriptors: dict[str, int], wishes: dict[str, Any]) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.answer = call(verb, {"stream": theirs.fileno(), **descriptors}, **wishes)
        self.socket.settimeout(30)
        self.seen = b""

    def expect(self, text: bytes) -> bytes:
        """All up to the end of `text`, once that has come."""
        while text not in self.seen:
            data = self.socket.recv(65536)
            assert data, f"no {text!r} in {self.seen!r}"
            self.seen += data
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def rest(self) -> bytes:
        """All up to the end of the stream."""
        pieces = [self.seen]
        while data := self.socket.recv(1 << 20):
            pieces.append(data)
        self.seen = b"".join(pieces)
        return self.seen

    def type(self, data: bytes) -> None:
        self.socket.sendall(data)

    def end_input(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()


def parse_multiplexed(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        stream, size = data[0], int.from_bytes(data[4:8], "big")
        found.append((stream, data[8 : 8 + size]))
        data = data[8 + size :]
    return found


def descriptors(pid: int) -> list[str]:
    """What they are of; one that is closed meanwhile is none."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(path))
    return found
