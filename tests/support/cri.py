"""The kubelet's side of the Container Runtime Interface, as much as one pod with one container takes.

The messages are k8s.io/cri-api's runtime/v1, as {field number: value}: they are too few for a compiler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc

from support.waiting import until

NODE = 2  # NamespaceMode: the host's
EXITED = 2  # ContainerState


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def encode(message: Mapping[int, object]) -> bytes:
    """A number is a varint, a list a repeated field, all else is of a length."""
    out = b""
    for number, value in message.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int):
                out += _varint(number << 3) + _varint(item)
                continue
            data = item.encode() if isinstance(item, str) else encode(item)
            out += _varint(number << 3 | 2) + _varint(len(data)) + data
    return out


def decode(data: bytes) -> dict[int, int | bytes]:
    """The last value of each field."""
    found: dict[int, int | bytes] = {}
    stream = iter(data)
    for key in stream:
        number, kind = _read_varint(key, stream) >> 3, key & 7
        value = _read_varint(next(stream), stream)
        assert kind in (0, 2), f"wire type {kind}"
        found[number] = bytes(next(stream) for _ in range(value)) if kind == 2 else value
    return found


def _read_varint(first: int, stream: Iterator[int]) -> int:
    number, shift, byte = first & 0x7F, 7, first
    while byte & 0x80:
        byte = next(stream)
        number |= (byte & 0x7F) << shift
        shift += 7
    return number


def run_pod(socket: Path, handler: str, image: str, command: list[str], logs: Path, cgroup: str) -> str:
    """What one container of one pod, of this runtime handler, printed; the pod is removed again."""
    with grpc.insecure_channel(f"unix:{socket}") as channel:

        def call(method: str, message: Mapping[int, object]) -> dict[int, int | bytes]:
            stub = channel.unary_unary(f"/runtime.v1.RuntimeService/{method}")
            return decode(stub(encode(message), timeout=60))

        pod = {
            1: {1: "hello", 2: "uid", 3: "default"},
            3: str(logs),
            8: {1: cgroup, 2: {1: {1: NODE}}},
        }
        pod_id = _text(call("RunPodSandbox", {1: pod, 2: handler})[1])
        try:
            container = {1: {1: "hello"}, 2: {1: image}, 3: command, 11: "hello.log"}
            request = {1: pod_id, 2: container, 3: pod}
            container_id = _text(call("CreateContainer", request)[1])
            call("StartContainer", {1: container_id})
            until(lambda: _state(call("ContainerStatus", {1: container_id})) == EXITED, "it has ended", 30)
            return "".join(line.split(" ", 3)[3] for line in (logs / "hello.log").open())
        finally:
            call("StopPodSandbox", {1: pod_id})
            call("RemovePodSandbox", {1: pod_id})


def _text(value: int | bytes) -> str:
    assert isinstance(value, bytes)
    return value.decode()


def _state(answer: dict[int, int | bytes]) -> int | bytes:
    status = answer[1]
    assert isinstance(status, bytes)
    return decode(status).get(3, 0)
