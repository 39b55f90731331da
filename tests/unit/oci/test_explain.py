"""oci.explain: all violations at once, and where the schemas are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyrunc.errors import UNSUPPORTED, PyruncError
from pyrunc.oci import explain

Document = Callable[[str], dict[str, Any]]


def test_all_violations_are_listed_in_order_of_their_pointers() -> None:
    document = {
        "ociVersion": 1,
        "mounts": [{"destination": None}, {"destination": "/x", "options": ["a", 2]}],
        "linux": {"namespaces": [{"type": "pod"}]},
        "process": {"user": {"uid": -1}, "cwd": "/", "rlimits": [{}]},
    }
    assert explain.explain(document) == (
        (
            "/linux/namespaces/0/type",
            "is not one of mount, pid, network, uts, ipc, user, cgroup, time",
        ),
        ("/mounts/0/destination", "is required"),
        ("/mounts/1/options/1", "is not a string"),
        ("/ociVersion", "is not a string"),
        ("/process/rlimits/0/hard", "is required"),
        ("/process/rlimits/0/soft", "is required"),
        ("/process/rlimits/0/type", "is required"),
        ("/process/user/uid", "is not between 0 and 4294967295"),
    )


def test_a_part_alone() -> None:
    assert explain.explain({"args": 1}, explain.PROCESS) == (
        ("/args", "is not a list"),
        ("/cwd", "is required"),
    )
    assert explain.explain({"cpu": 1}, explain.RESOURCES) == (("/cpu", "is not an object"),)
    assert explain.explain({"cwd": "/"}, explain.PROCESS) == ()


def test_a_valid_document_has_none(document: Document) -> None:
    assert explain.explain(document("runc-spec")) == ()


def test_without_jsonschema_there_is_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, wanted_for: str) -> Any:
        raise PyruncError(UNSUPPORTED, f"{wanted_for} needs a Python package", name)

    monkeypatch.setattr(explain, "load", refuse)
    assert explain.explain({}) == ()


def test_schemas_are_found_in_a_checkout_and_in_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = Path(explain.schema_directory())
    assert (checkout / "runtime" / "config-schema.json").is_file()

    installed = tmp_path / "site-packages" / "pyrunc"
    (installed / "oci").mkdir(parents=True)
    shutil.copytree(checkout, installed / "spec")
    monkeypatch.setattr(explain, "__file__", str(installed / "oci" / "explain.py"))
    assert explain.schema_directory() == str(installed / "spec")
    assert explain.explain({}) == (("/ociVersion", "is required"),)
