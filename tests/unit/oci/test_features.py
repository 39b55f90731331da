"""oci.features: what is claimed is what the tables of the program hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyrunc.oci import explain
from pyrunc.oci.config import CAPABILITIES
from pyrunc.oci.features import MOUNT_OPTIONS, UNSAFE_ANNOTATIONS, features_document
from pyrunc.plan import mounts, seccomp

Document = Callable[[str], dict[str, Any]]


def enum_of(file: str, name: str) -> list[str]:
    definition = explain.read_schema(file)["definitions"][name]
    found: list[str] = definition["enum"]
    return sorted(found)


def test_it_is_what_the_specification_describes() -> None:
    assert explain.explain(features_document(), explain.FEATURES) == ()


def test_it_has_all_that_runc_has(document: Document) -> None:
    def missing(theirs: Any, ours: Any, pointer: str = "") -> list[str]:
        if isinstance(theirs, dict):
            return [
                found
                for key in theirs
                for found in missing(theirs[key], ours.get(key, {}), f"{pointer}/{key}")
            ]
        if isinstance(theirs, list):
            return [f"{pointer}: {value}" for value in theirs if value not in ours]
        return [] if theirs == ours else [pointer]

    runcs = document("runc-features")
    del runcs["annotations"], runcs["ociVersionMax"]
    assert missing(runcs, features_document()) == []


def test_values_of_the_schemas_are_all_supported() -> None:
    linux = features_document()["linux"]
    assert linux["namespaces"] == enum_of("defs-linux.json", "NamespaceType")
    assert linux["seccomp"]["actions"] == enum_of("defs-linux.json", "SeccompAction")
    assert linux["seccomp"]["operators"] == enum_of("defs-linux.json", "SeccompOperators")
    assert linux["seccomp"]["archs"] == enum_of("defs-linux.json", "SeccompArch")
    assert linux["seccomp"]["knownFlags"] == enum_of("defs-linux.json", "SeccompFlag")
    policy = explain.read_schema("defs-linux.json")["definitions"]["MemoryPolicy"]["properties"]
    assert linux["memoryPolicy"]["modes"] == sorted(policy["mode"]["enum"])
    assert linux["memoryPolicy"]["flags"] == sorted(policy["flags"]["items"]["enum"])
    hooks = explain.read_schema("config-schema.json")["properties"]["hooks"]["properties"]
    assert features_document()["hooks"] == list(hooks)


def test_what_is_claimed_the_planner_can_do() -> None:
    linux = features_document()["linux"]
    assert linux["capabilities"] == list(CAPABILITIES)
    assert set(linux["seccomp"]["archs"]) == set(seccomp.ARCHITECTURES)
    assert set(linux["seccomp"]["actions"]) == set(seccomp.ACTIONS)
    assert set(linux["seccomp"]["operators"]) == set(seccomp.OPERATORS)
    assert set(linux["seccomp"]["knownFlags"]) == set(seccomp.FLAGS)
    tables = {
        *mounts.FLAGS,
        *mounts.PROPAGATION,
        *mounts.RECURSIVE_ATTRIBUTES,
        *mounts.BINDS,
        *mounts.EXTENSIONS,
    }
    assert tables <= set(MOUNT_OPTIONS)
    # these are the filesystem's own
    assert set(MOUNT_OPTIONS) <= tables


def test_lists_are_sorted_and_name_nothing_twice() -> None:
    assert list(MOUNT_OPTIONS) == sorted(set(MOUNT_OPTIONS))
    assert "org.systemd.property." in UNSAFE_ANNOTATIONS
