"""oci.state: what callers read, in runc's order."""

from __future__ import annotations

import pytest

from pyrunc.oci import explain
from pyrunc.oci.state import CREATING, OCI_VERSION, RUNNING, STOPPED, format_time, make_hook_state, make_state


def test_the_state_that_people_see():
    state = make_state(
        id="web", pid=7, status=RUNNING, bundle="/b", rootfs="/b/rootfs", created="2026-01-02T03:04:05Z",
        annotations={"k": "v"}, owner="root",
    )  # fmt: skip
    assert list(state.items()) == [
        ("ociVersion", OCI_VERSION),
        ("id", "web"),
        ("pid", 7),
        ("status", "running"),
        ("bundle", "/b"),
        ("rootfs", "/b/rootfs"),
        ("created", "2026-01-02T03:04:05Z"),
        ("annotations", {"k": "v"}),
        ("owner", "root"),
    ]


def test_without_annotations_the_key_is_left_out():
    state = make_state(id="a", pid=0, status=STOPPED, bundle="/b", rootfs="/r", created="", annotations={})
    assert "annotations" not in state
    assert (state["pid"], state["owner"]) == (0, "")


@pytest.mark.parametrize("annotations", [{}, {"a": "b"}])
@pytest.mark.parametrize(("status", "pid"), [(CREATING, 12), (STOPPED, 0)])
def test_the_state_of_hooks_is_the_specifications(status, pid, annotations):
    state = make_hook_state(id="web", status=status, pid=pid, bundle="/b", annotations=annotations)
    assert explain.explain(state, explain.STATE) == ()
    assert ("pid" in state) == bool(pid)
    assert state.get("annotations", {}) == annotations
    assert [key for key in state if key not in ("pid", "annotations")] == [
        "ociVersion",
        "id",
        "status",
        "bundle",
    ]


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
        (1_700_000_000_100_000_000, "2023-11-14T22:13:20.1Z"),
        (1_700_000_000_000_000_010, "2023-11-14T22:13:20.00000001Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
    ],
)
def test_times_are_gos(nanoseconds, text):
    assert format_time(nanoseconds) == text
