"""The library `protobuf` as the judge of our own codec: message classes built of our tables."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from pyrunc.protowire import BOOL, BYTES, INT, TEXT, UINT

_TYPES = {BOOL: 8, INT: 3, UINT: 4, TEXT: 9, BYTES: 12}
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3
_built: dict[int, Any] = {}


@cache
def _library() -> tuple[Any, Any, Any]:
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    return descriptor_pb2, descriptor_pool, message_factory


def build(name: str, fields: Any) -> Any:
    """A class of messages with these fields."""
    if id(fields) not in _built:
        descriptors, pools, factory = _library()
        file = descriptors.FileDescriptorProto(name=f"{name}.proto", package="test", syntax="proto3")
        _describe(file.message_type.add(name=name), fields, f".test.{name}")
        pool = pools.DescriptorPool()
        pool.Add(file)
        _built[id(fields)] = factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}"))
    return _built[id(fields)]


def _describe(message: Any, fields: Any, full_name: str) -> None:
    for name, field in fields.items():
        label = _REPEATED if field.many else _OPTIONAL
        entry = message.field.add(name=name, number=field.number, label=label)
        if isinstance(field.kind, str):
            entry.type = _TYPES[field.kind]
        else:
            entry.type, entry.type_name = _MESSAGE, f"{full_name}.Inner_{name}"
            _describe(message.nested_type.add(name=f"Inner_{name}"), field.kind, f"{full_name}.Inner_{name}")
