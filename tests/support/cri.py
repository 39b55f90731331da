"""A client of the Kubernetes Container Runtime Interface, runtime.v1: what the kubelet asks of containerd.

Of its messages those fields that the tests use, by the numbers of k8s.io/cri-api; gRPC is grpcio's.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pyrunc.protowire import BOOL, BYTES, INT, TEXT, UINT, decode, encode, table
from support.waiting import until

POD, CONTAINER, NODE, TARGET = 0, 1, 2, 3  # NamespaceMode
READY, NOTREADY = 0, 1  # PodSandboxState
CREATED, RUNNING, EXITED = 0, 1, 2  # ContainerState

_MAP = table(key=(1, TEXT), value=(2, TEXT))
_VALUE = table(value=(1, UINT))
_ID_MAPPING = table(host_id=(1, UINT), container_id=(2, UINT), length=(3, UINT))
_NAMESPACES = table(
    network=(1, INT), pid=(2, INT), ipc=(3, INT), target_id=(4, TEXT),
    userns_options=(5, table(mode=(1, INT), uids=(2, _ID_MAPPING, True), gids=(3, _ID_MAPPING, True))),
)  # fmt: skip
_SANDBOX = table(
    metadata=(1, table(name=(1, TEXT), uid=(2, TEXT), namespace=(3, TEXT), attempt=(4, UINT))),
    hostname=(2, TEXT),
    log_directory=(3, TEXT),
    labels=(6, _MAP, True),
    annotations=(7, _MAP, True),
    linux=(
        8,
        table(cgroup_parent=(1, TEXT), security_context=(2, table(namespace_options=(1, _NAMESPACES)))),
    ),
)
_RESOURCES = table(
    cpu_period=(1, INT), cpu_quota=(2, INT), cpu_shares=(3, INT), memory_limit_in_bytes=(4, INT),
    oom_score_adj=(5, INT),
)  # fmt: skip
_CONTAINER = table(
    metadata=(1, table(name=(1, TEXT), attempt=(2, UINT))),
    image=(2, table(image=(1, TEXT))),
    command=(3, TEXT, True),
    args=(4, TEXT, True),
    envs=(6, _MAP, True),
    log_path=(11, TEXT),
    stdin=(12, BOOL),
    stdin_once=(13, BOOL),
    tty=(14, BOOL),
    linux=(15, table(
        resources=(1, _RESOURCES),
        security_context=(2, table(
            privileged=(2, BOOL), namespace_options=(3, _NAMESPACES), run_as_user=(5, table(value=(1, INT))),
        )),
    )),
)  # fmt: skip
_SANDBOX_ID = table(pod_sandbox_id=(1, TEXT))
_CONTAINER_ID = table(container_id=(1, TEXT))
_URL = table(url=(1, TEXT))
_STATUS = table(
    id=(1, TEXT), state=(3, INT), started_at=(5, INT), finished_at=(6, INT), exit_code=(7, INT),
    reason=(10, TEXT), message=(11, TEXT),
)  # fmt: skip
_USAGE = table(usage_core_nano_seconds=(2, _VALUE))
_MEMORY = table(working_set_bytes=(2, _VALUE), usage_bytes=(4, _VALUE))

METHODS = {
    "Status": ({}, table(status=(1, table(conditions=(1, table(type=(1, TEXT), status=(2, BOOL)), True))))),
    "RunPodSandbox": (table(config=(1, _SANDBOX), runtime_handler=(2, TEXT)), _SANDBOX_ID),
    "StopPodSandbox": (_SANDBOX_ID, {}),
    "RemovePodSandbox": (_SANDBOX_ID, {}),
    "PodSandboxStatus": (
        _SANDBOX_ID,
        table(status=(1, table(id=(1, TEXT), state=(3, INT), network=(5, table(ip=(1, TEXT)))))),
    ),
    "CreateContainer": (
        table(pod_sandbox_id=(1, TEXT), config=(2, _CONTAINER), sandbox_config=(3, _SANDBOX)), _CONTAINER_ID,
    ),
    "StartContainer": (_CONTAINER_ID, {}),
    "StopContainer": (table(container_id=(1, TEXT), timeout=(2, INT)), {}),
    "RemoveContainer": (_CONTAINER_ID, {}),
    "ContainerStatus": (_CONTAINER_ID, table(status=(1, _STATUS))),
    "ContainerStats": (_CONTAINER_ID, table(stats=(1, table(cpu=(2, _USAGE), memory=(3, _MEMORY))))),
    "UpdateContainerResources": (table(container_id=(1, TEXT), linux=(2, _RESOURCES)), {}),
    "ExecSync": (
        table(container_id=(1, TEXT), cmd=(2, TEXT, True), timeout=(3, INT)),
        table(stdout=(1, BYTES), stderr=(2, BYTES), exit_code=(3, INT)),
    ),
    "Exec": (
        table(container_id=(1, TEXT), cmd=(2, TEXT, True), tty=(3, BOOL), stdin=(4, BOOL), stdout=(5, BOOL),
              stderr=(6, BOOL)),
        _URL,
    ),
    "Attach": (
        table(container_id=(1, TEXT), stdin=(2, BOOL), tty=(3, BOOL), stdout=(4, BOOL), stderr=(5, BOOL)),
        _URL,
    ),
    "ListPodSandbox": ({}, table(items=(1, table(id=(1, TEXT)), True))),
}  # fmt: skip


def mapping(values: Mapping[str, str]) -> tuple[dict[str, str], ...]:
    return tuple({"key": key, "value": value} for key, value in values.items())


class Cri:
    """A connection to the socket at `path`. A call that is refused raises grpc.RpcError."""

    def __init__(self, path: str) -> None:
        grpc = pytest.importorskip("grpc")
        # The default authority would be the path, escaped, which Go's server refuses
        self._channel = grpc.insecure_channel(
            f"unix:{path}", options=[("grpc.default_authority", "localhost")]
        )

    def __call__(self, method: str, **fields: Any) -> dict[str, Any]:
        request, answer = METHODS[method]
        call = self._channel.unary_unary(
            f"/runtime.v1.RuntimeService/{method}",
            request_serializer=lambda message: encode(request, message),
            response_deserializer=lambda data: decode(answer, data, with_zeros=True),
        )
        found: dict[str, Any] = call(fields, timeout=60)
        return found

    def close(self) -> None:
        self._channel.close()


class Stream:
    """The other end of Exec and Attach: a web socket with a byte before each message that names the channel
    (Kubernetes' v4.channel.k8s.io; RFC 6455)."""

    STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)

    def __init__(self, url: str, connect: Any = socket.create_connection) -> None:
        parts = urlsplit(url)
        self._socket = connect((parts.hostname, parts.port))
        self._socket.settimeout(30)
        request = (
            f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        )
        self._socket.sendall(request.encode())
        self._data = b""
        head = self._until(b"\r\n\r\n")
        assert b" 101 " in head.split(b"\r\n")[0], head
        self.said = dict.fromkeys(range(5), b"")

    def _until(self, words: bytes) -> bytes:
        while words not in self._data:
            self._more()
        head, _, self._data = self._data.partition(words)
        return head

    def _more(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise EOFError
        self._data += data

    def _take(self, size: int) -> bytes:
        while len(self._data) < size:
            self._more()
        found, self._data = self._data[:size], self._data[size:]
        return found

    def send(self, channel: int, data: bytes) -> None:
        payload = bytes((channel,)) + data
        length = (
            bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        )
        self._socket.sendall(b"\x82" + length + bytes(4) + payload)  # masked, with zeros

    def read(self) -> bool:
        """One message more; False at the end."""
        try:
            first, second = self._take(2)
            size = second & 0x7F
            if size > 125:
                size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
            payload = self._take(size)
        except (EOFError, ConnectionResetError):
            return False
        if first & 0xF == 8:
            return False
        if payload:
            self.said[payload[0]] += payload[1:]
        return True

    def expect(self, words: bytes, channel: int = STDOUT) -> None:
        deadline = time.monotonic() + 20
        while words not in self.said[channel]:
            assert time.monotonic() < deadline and self.read(), f"{words!r} never came, but {self.said}"

    def exit_code(self) -> int:
        while self.read():
            pass
        status = json.loads(self.said[self.ERROR] or b'{"status": "Success"}')
        if status["status"] == "Success":
            return 0
        return int(
            next(cause["message"] for cause in status["details"]["causes"] if cause["reason"] == "ExitCode")
        )

    def close(self) -> None:
        self._socket.close()


def run_pod(path: Path, handler: str, image: str, command: list[str], logs: Path, cgroup: str) -> str:
    """What one container of one pod, of this runtime handler and on the host's network, printed; the pod is
    removed again. `path`: of containerd's socket."""
    ask = Cri(str(path))
    options: dict[str, Any] = {"security_context": {"namespace_options": {"network": NODE}}}
    pod = {
        "metadata": {"name": "hello", "uid": "uid", "namespace": "default"},
        "log_directory": str(logs),
        "linux": {"cgroup_parent": cgroup, **options},
    }
    try:
        pod_id = ask("RunPodSandbox", config=pod, runtime_handler=handler)["pod_sandbox_id"]
        try:
            config = {
                "metadata": {"name": "hello"}, "image": {"image": image}, "command": command,
                "log_path": "hello.log", "linux": options,
            }  # fmt: skip
            made = ask("CreateContainer", pod_sandbox_id=pod_id, config=config, sandbox_config=pod)
            container_id = made["container_id"]
            ask("StartContainer", container_id=container_id)

            def has_ended() -> bool:
                status = ask("ContainerStatus", container_id=container_id)["status"]
                return bool(status["state"] == EXITED)

            until(has_ended, "it has ended", 30)
            return "".join(line.split(" ", 3)[3] for line in (logs / "hello.log").open())
        finally:
            ask("StopPodSandbox", pod_sandbox_id=pod_id)
            ask("RemovePodSandbox", pod_sandbox_id=pod_id)
    finally:
        ask.close()
