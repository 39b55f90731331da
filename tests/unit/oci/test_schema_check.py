"""The generated check: the same verdict as jsonschema on thousands of documents, and words that help."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.mutations import VALUES, Place, at, json_values, mutate, paths_of

from pyrunc.oci import explain
from pyrunc.oci.config import parse_config
from pyrunc.oci.normalise import without_nulls
from pyrunc.oci.schema_check import check, check_process, check_resources, is_text

DOCUMENTS = Path(__file__).parent / "documents"
NAMES = ("runc-spec", "runc-spec-rootless", "crun-spec", "everything")
BASES = {name: json.loads((DOCUMENTS / f"{name}.json").read_text()) for name in NAMES}
JUDGE = explain.make_validator(explain.CONFIG)


def enums_of(schema: Any) -> list[list[str]]:
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    own = [schema["enum"]] if isinstance(schema, dict) and isinstance(schema.get("enum"), list) else []
    return own + [found for value in inner for found in enums_of(value)]


ENUMS = [enum for name in ("defs.json", "defs-linux.json") for enum in enums_of(explain.read_schema(name))]


def is_plain(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return not any(isinstance(item, dict | list) for item in items)


def only(document: Any, path: Place) -> Any:
    """The way to `path`, with its siblings at the end and plain ones beside it: required members are
    plain, and without them no verdict would hang on what is at `path`."""
    if len(path) == 1:
        return copy.deepcopy(document)
    key, rest = path[0], path[1:]
    if isinstance(document, list):
        return [
            only(item, rest) if index == key else copy.deepcopy(item) for index, item in enumerate(document)
        ]
    beside = {name: value for name, value in document.items() if is_plain(value)}
    return {**beside, key: only(document[key], rest)}


def require_same_verdict(document: Any) -> None:
    """And where there is a violation, one that jsonschema knows, too. What passes can be parsed."""
    violation = check(document)
    assert (violation is None) == JUDGE.is_valid(without_nulls(document)), violation
    if violation is not None:
        assert violation in explain.explain(document)
    else:
        parse_config(document)


@pytest.mark.parametrize("name", NAMES)
def test_what_runtimes_write_is_valid(name: str) -> None:
    assert check(BASES[name]) is None
    assert JUDGE.is_valid(BASES[name])


def test_any_value_at_any_place_gets_jsonschemas_verdict() -> None:
    everything = BASES["everything"]
    rejected = 0
    for path in paths_of(everything)[1:]:
        base = only(everything, path)
        assert check(base) is None
        choices = [value for enum in ENUMS if at(everything, path) in enum for value in enum]
        for value in (*VALUES, *choices):
            at(base, path[:-1])[path[-1]] = value
            violation = check(base)
            rejected += violation is not None
            assert (violation is None) == JUDGE.is_valid(without_nulls(base)), (path, value, violation)
            if violation is None:
                parse_config(base)
    assert rejected > 5000


def test_a_missing_member_gets_jsonschemas_verdict() -> None:
    everything = BASES["everything"]
    for path in paths_of(everything)[1:]:
        if isinstance(at(everything, path[:-1]), dict):
            base = only(everything, path)
            del at(base, path[:-1])[path[-1]]
            require_same_verdict(base)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A real document with a few things in it replaced, doubled, dropped, swapped or added."""
    document = copy.deepcopy(BASES[draw(st.sampled_from(NAMES))])
    for name in draw(st.sets(st.sampled_from([*document]), max_size=len(document))):
        del document[name]  # smaller documents: jsonschema takes its time
    mutate(draw, document, 4)
    return document


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)
@given(mutated())
def test_mutated_documents_get_jsonschemas_verdict(document: Any) -> None:
    require_same_verdict(document)


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_any_json_gets_a_verdict(document: Any) -> None:
    require_same_verdict(document)


@pytest.mark.parametrize(
    ("change", "pointer", "why"),
    [
        ({"root": {}}, "/root/path", "is required"),
        ({"root": {"path": None}}, "/root/path", "is required"),
        ({"root": []}, "/root", "is not an object"),
        ({"hostname": 3}, "/hostname", "is not a string"),
        ({"hostname": "a\0b"}, "/hostname", "is not a string that the kernel can take"),
        ({"hostname": "\udc80"}, "/hostname", "is not a string that the kernel can take"),
        ({"mounts": [{"destination": "/"}, {}]}, "/mounts/1/destination", "is required"),
        ({"mounts": [None]}, "/mounts/0", "is not an object"),
        ({"annotations": {"a/b~c": 1}}, "/annotations/a~1b~0c", "is not a string"),
        ({"annotations": {"a\0": "x"}}, "/annotations",
         "has a member with a name that the kernel cannot take"),
        ({"hooks": {"prestart": [{"path": "/x", "timeout": 0}]}}, "/hooks/prestart/0/timeout",
         "is less than 1"),
        ({"linux": {"resources": {"pids": {"limit": 2**63}}}}, "/linux/resources/pids/limit",
         "is not between -9223372036854775808 and 9223372036854775807"),
        ({"linux": {"resources": {"pids": {"limit": True}}}}, "/linux/resources/pids/limit",
         "is not an integer"),
        ({"linux": {"resources": {"pids": {"limit": 1.0}}}}, "/linux/resources/pids/limit",
         "is not an integer"),
        ({"linux": {"personality": {"domain": "BSD"}}}, "/linux/personality/domain",
         "is not one of LINUX, LINUX32"),
        ({"linux": {"devices": [{"type": "x", "path": "/a"}]}}, "/linux/devices/0/type",
         "is not of the form ^[cbup]$"),
        ({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_LOG", "syscalls":
            [{"names": [], "action": "SCMP_ACT_LOG"}]}}}, "/linux/seccomp/syscalls/0/names", "is empty"),
        ({"linux": {"rootfsPropagation": "up"}}, "/linux/rootfsPropagation",
         "is not one of private, shared, slave, unbindable, rprivate, rshared, rslave, runbindable"),
    ],
)  # fmt: skip
def test_a_violation_names_its_place(change: dict[str, Any], pointer: str, why: str) -> None:
    assert check({"ociVersion": "1.0.0", **change}) == (pointer, why)


@pytest.mark.parametrize(
    ("text", "verdict"), [("", True), ("é😀", True), ("\0", False), ("é\0", False), ("a\ud83d", False)]
)
def test_text_is_what_the_kernel_can_take(text: str, verdict: bool) -> None:
    assert is_text(text) is verdict


def test_null_is_absent() -> None:
    nothing = {"ociVersion": "1.0.2", "process": None, "linux": {"seccomp": None, "sysctl": {"a": None}}}
    assert check({**nothing, "mounts": None, "hooks": {"prestart": None}}) is None
    assert check({"ociVersion": None}) == ("/ociVersion", "is required")


def test_what_real_callers_send_is_let_through() -> None:
    linux = {
        "rootfsPropagation": "rshared",
        "devices": [{"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 0o20666}],
        "seccomp": {"defaultAction": ""},
    }
    assert check({"ociVersion": "1.0.2-dev", "linux": linux, "unheard-of": {"x": [1]}}) is None


def test_sections_of_other_platforms_are_not_looked_at() -> None:
    assert (
        check({"ociVersion": "1.0.0", "windows": 3, "vm": {}, "solaris": [], "zos": "", "freebsd": 1}) is None
    )


def test_a_process_or_resources_alone() -> None:
    assert check_process({"cwd": "/"}) is None
    assert check_process({}) == ("/cwd", "is required")
    assert check_process({"cwd": "/", "user": {"uid": -1}}) == (
        "/user/uid",
        "is not between 0 and 4294967295",
    )
    assert check_process([]) == ("", "is not an object")
    assert check_resources({}) is None
    assert check_resources({"cpu": {"shares": "1"}}) == ("/cpu/shares", "is not an integer")
