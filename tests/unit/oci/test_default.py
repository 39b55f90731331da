"""oci.default: what runc's users start from."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pyrunc.oci.default import default_document
from pyrunc.oci.processrules import Facts
from pyrunc.oci.state import OCI_VERSION
from pyrunc.oci.validate import parse_valid_config

Document = Callable[[str], dict[str, Any]]


@pytest.mark.parametrize(("rootless", "name"), [(False, "runc-spec"), (True, "runc-spec-rootless")])
def test_it_is_runcs_but_for_name_and_version(document: Document, rootless: bool, name: str) -> None:
    """Byte for byte, so in the same order, too."""
    expected = {**document(name), "ociVersion": OCI_VERSION, "hostname": "pyrunc"}
    assert json.dumps(default_document(rootless=rootless, uid=0, gid=0)) == json.dumps(expected)


def test_the_user_becomes_root_inside() -> None:
    linux = default_document(rootless=True, uid=1000, gid=100)["linux"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": 100, "size": 1}]


@pytest.mark.parametrize("rootless", [False, True])
def test_on_cgroup_v2_there_is_a_cgroup_namespace(rootless: bool) -> None:
    v1, v2 = (default_document(rootless=rootless, uid=1, gid=1, cgroup_v2=v2) for v2 in (False, True))
    v2["linux"]["namespaces"].remove({"type": "cgroup"})
    assert v1 == v2


@pytest.mark.parametrize("rootless", [False, True])
def test_it_is_valid_and_nothing_in_it_is_ignored(rootless: bool) -> None:
    document = default_document(rootless=rootless, uid=1000, gid=1000, cgroup_v2=True)
    facts = Facts(is_rootless=rootless, has_apparmor=False, has_selinux=False)
    _, warnings = parse_valid_config(document, facts)
    assert warnings == ()


def test_documents_share_nothing() -> None:
    one, other = (default_document(rootless=False, uid=0, gid=0) for _ in range(2))
    one["process"]["capabilities"]["bounding"].clear()
    one["linux"]["maskedPaths"].clear()
    assert other == default_document(rootless=False, uid=0, gid=0)
