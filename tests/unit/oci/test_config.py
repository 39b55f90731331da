"""oci.config: every field of the schemas arrives in a Record; `null` and absent are the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from pyrunc.errors import INVALID, PyruncError
from pyrunc.oci import explain
from pyrunc.oci.config import CAPABILITIES, RLIMITS, Config, Device, Mount, parse_config

Document = Callable[[str], dict[str, Any]]

# Fields of the schemas that no Record has, each with the reason.
NOT_TAKEN = {
    "/process/commandLine": "Windows",
    "/process/user/username": "Windows",
    "/linux/intelRdt/enableCMT": "obsolete since 1.3, which has enableMonitoring",
    "/linux/intelRdt/enableMBM": "obsolete since 1.3, which has enableMonitoring",
}


def members(document: Any, pointer: str = "") -> list[tuple[str, dict[str, Any], str]]:
    """(pointer, object, name) of each member of each object."""
    found = []
    if isinstance(document, dict):
        for name, value in document.items():
            here = f"{pointer}/{name}"
            found += [(here, document, name), *members(value, here)]
    elif isinstance(document, list):
        for index, item in enumerate(document):
            found += members(item, f"{pointer}/{index}")
    return found


def fields_of(schema: Any, file: str, pointer: str = "") -> list[str]:
    """Pointers of all properties that a schema names: entries of lists and maps go by `*`."""
    if "$ref" in schema:
        target, _, inner = schema["$ref"].partition("#")
        resolved = explain.read_schema(target or file)
        for token in inner.strip("/").split("/"):
            resolved = resolved[token]
        return fields_of(resolved, target or file, pointer)
    found = []
    for name, value in schema.get("properties", {}).items():
        found += [f"{pointer}/{name}", *fields_of(value, file, f"{pointer}/{name}")]
    for part in [*schema.get("allOf", []), *schema.get("anyOf", [])]:
        found += fields_of(part, file, pointer)
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            found += fields_of(schema[keyword], file, f"{pointer}/*")
    return found


def test_the_document_with_everything_has_every_field_of_the_schemas(document: Document) -> None:
    def generalised(value: Any, pointer: str, known: set[str]) -> None:
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, item in items:
            here = f"{pointer}/{key}" if f"{pointer}/{key}" in fields else f"{pointer}/*"
            known.add(here)
            generalised(item, here, known)

    fields = set(fields_of(explain.read_schema(explain.CONFIG), explain.CONFIG))
    present: set[str] = set()
    generalised(document("everything"), "", present)
    assert len(fields) > 200
    assert fields - present == set()


def test_every_field_changes_the_config(document: Document) -> None:
    """Without the field the config is another, or the document is wrong: so the field was read."""
    whole = document("everything")
    config = parse_config(copy.deepcopy(whole))
    unread = []
    for pointer, parent, name in members(whole):
        value = parent.pop(name)
        try:
            if parse_config(whole) == config:
                unread.append(pointer)
        except PyruncError as error:
            assert error.where == pointer, error
        parent[name] = value
    assert unread == list(NOT_TAKEN)


def test_null_is_absent(document: Document) -> None:
    whole = document("everything")
    for pointer, parent, name in members(whole):
        value = parent.pop(name)
        try:
            without: Config | str = parse_config(whole)
        except PyruncError as error:
            without = str(error)
        parent[name] = None
        try:
            with_null: Config | str = parse_config(whole)
        except PyruncError as error:
            with_null = str(error)
        parent[name] = value
        assert with_null == without, pointer


def test_fields_have_their_origin(document: Document) -> None:
    config = parse_config(document("everything"))
    assert config.mounts[0].origin == "/mounts/0"
    assert config.process is not None
    assert config.process.rlimits[0].origin == "/process/rlimits/0"
    assert config.linux.seccomp is not None
    assert config.linux.seccomp.syscalls[0].args[0].origin == "/linux/seccomp/syscalls/0/args/0"
    assert config.linux.net_devices[0].origin == "/linux/netDevices/eth9"


def test_what_is_absent_has_its_default() -> None:
    linux = {"devices": [{"type": "c", "path": "/dev/x", "major": 1}]}
    config = parse_config({"ociVersion": "1.0.0", "mounts": [{"destination": "/x"}], "linux": linux})
    assert config.root is None
    assert config.process is None
    assert config.has_linux
    assert config.mounts == (Mount(destination="/x", origin="/mounts/0"),)
    device = Device(type="c", path="/dev/x", major=1, has_numbers=False, origin="/linux/devices/0")
    assert config.linux.devices == (device,)


def test_a_profile_that_says_nothing_is_none() -> None:
    """What Go writes for a seccomp struct that nobody has filled."""
    for seccomp in (
        {"defaultAction": ""},
        {"defaultAction": "", "syscalls": None},
        {"defaultAction": "", "syscalls": []},
    ):
        assert parse_config({"ociVersion": "1.0.0", "linux": {"seccomp": seccomp}}).linux.seccomp is None


def test_sections_of_other_platforms_are_noted() -> None:
    config = parse_config({"ociVersion": "1.0.0", "windows": {}, "vm": {"kernel": {}}, "zos": None})
    assert config.other_platforms == ("windows", "vm")


@pytest.mark.parametrize(
    ("linux", "pointer"),
    [
        ({"namespaces": [{"type": 1}]}, "/linux/namespaces/0/type"),
        ({"maskedPaths": ["/a", 1]}, "/linux/maskedPaths/1"),
        ({"sysctl": {"a/b": 1}}, "/linux/sysctl/a~1b"),
        ({"timeOffsets": {"monotonic": 1}}, "/linux/timeOffsets/monotonic"),
        ({"uidMappings": [{"containerID": 0, "hostID": True, "size": 1}]}, "/linux/uidMappings/0/hostID"),
    ],
)
def test_a_wrong_type_names_its_place(linux: dict[str, Any], pointer: str) -> None:
    with pytest.raises(PyruncError) as caught:
        parse_config({"ociVersion": "1.0.0", "linux": linux})
    assert (caught.value.kind, caught.value.where) == (INVALID, pointer)


def test_numbers_of_capabilities_and_limits_are_the_kernels() -> None:
    """linux/capability.h, asm-generic/resource.h"""
    assert len(CAPABILITIES) == 41
    assert (CAPABILITIES[0], CAPABILITIES[21], CAPABILITIES[40]) == (
        "CAP_CHOWN",
        "CAP_SYS_ADMIN",
        "CAP_CHECKPOINT_RESTORE",
    )
    import resource

    assert [getattr(resource, name, number) for number, name in enumerate(RLIMITS)] == list(range(16))
