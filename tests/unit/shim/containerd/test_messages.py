"""shim.containerd.messages: the tables, judged by the descriptors that containerd's own shim carries."""

from __future__ import annotations

import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest

from pyrunc.protowire import BOOL, BYTES, INT, TEXT, UINT
from pyrunc.shim.containerd import messages

# Of FieldDescriptorProto.Type
_KINDS = {BOOL: {8}, INT: {3, 5}, UINT: {4, 13, 14}, TEXT: {9}, BYTES: {12}}
_TASK = "containerd.task.v2"
_METRICS1, _METRICS2 = "io.containerd.cgroups.v1", "io.containerd.cgroups.v2"

MESSAGES = {
    "google.protobuf.Any": messages.ANY,
    "google.protobuf.Timestamp": messages.TIMESTAMP,
    "containerd.runc.v1.Options": messages.OPTIONS,
    "containerd.runc.v1.CheckpointOptions": messages.CHECKPOINT_OPTIONS,
    "containerd.runc.v1.ProcessDetails": messages.PROCESS_DETAILS,
    messages.OLD_OPTIONS_TYPE: messages.OLD_OPTIONS,
    messages.OLD_CHECKPOINT_OPTIONS_TYPE: messages.OLD_CHECKPOINT_OPTIONS,
    "containerd.services.events.ttrpc.v1.ForwardRequest": messages.FORWARD,
    **{f"containerd.events.{name}": fields for name, (_, fields) in messages.EVENTS.items()},
    f"{_METRICS1}.Metrics": messages.METRICS1,
    f"{_METRICS2}.Metrics": messages.METRICS2,
}


@pytest.fixture(scope="module")
def descriptors() -> dict[str, Any]:
    """Full name -> what containerd's Go programs say of it: each file of theirs, deflated, is in there."""
    pytest.importorskip("google.protobuf")
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    programs = [shutil.which(name) for name in ("containerd-shim-runc-v2", "ctr")]
    if None in programs:
        pytest.skip("there is no containerd-shim-runc-v2 and ctr to ask")
    data = b"".join(Path(str(program)).read_bytes() for program in programs)
    found: dict[str, Any] = {}
    for match in re.finditer(rb"\x1f\x8b\x08\0\0\0\0\0[\0-\4]\xff", data):
        try:
            text = zlib.decompressobj(31).decompress(data[match.start() : match.start() + (1 << 18)])
            file = FileDescriptorProto.FromString(text)
        except Exception:  # not every such sequence of bytes is a file
            continue
        found |= {f"{file.package}.{message.name}": message for message in file.message_type}
        found |= {f"{file.package}.{service.name}": service for service in file.service}
    if not found:
        pytest.skip("these describe themselves in another way")
    return found


def differences(fields: Any, name: str, known: dict[str, Any]) -> list[str]:
    if name not in known:
        return []
    theirs = {field.name: field for field in known[name].field}
    found = []
    for ours, field in fields.items():
        their = theirs.get(ours)
        if their is None or their.number != field.number or (their.label == 3) != field.many:
            found.append(f"{name}.{ours}: {field.number} and {their}")
        elif isinstance(field.kind, str):
            if their.type not in _KINDS[field.kind]:
                found.append(f"{name}.{ours}: {field.kind} and {their}")
        else:
            found += differences(field.kind, their.type_name.lstrip("."), known)
    return found


@pytest.mark.parametrize("name", MESSAGES)
def test_names_and_numbers_are_containerds(descriptors, name):
    if not name.startswith("google."):
        assert name in descriptors
    assert differences(MESSAGES[name], name, descriptors) == []


def test_the_task_service_is_containerds(descriptors):
    service = descriptors[f"{_TASK}.Task"]
    assert {method.name for method in service.method} == set(messages.METHODS)
    for method in service.method:
        request, answer = messages.METHODS[method.name]
        assert differences(request, method.input_type.lstrip("."), descriptors) == []
        assert differences(answer, method.output_type.lstrip("."), descriptors) == []


def test_each_event_has_a_topic_of_its_own():
    topics = [topic for topic, _ in messages.EVENTS.values()]
    assert len(set(topics)) == len(topics)
    assert all(topic.startswith("/tasks/") for topic in topics)


def test_a_moment():
    assert messages.timestamp(1_500_000_000_000_000_007) == {"seconds": 1_500_000_000, "nanos": 7}
