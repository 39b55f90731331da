"""plan.namespaces: what to clone with, what to join, who writes the maps."""

from __future__ import annotations

import pytest

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.oci.config import IdMapping, Linux, Namespace
from pyrunc.oci.rare import TimeOffset
from pyrunc.plan.facts import HostFacts
from pyrunc.plan.makeops import OpenNamespace
from pyrunc.plan.namespaces import plan_namespaces
from pyrunc.plan.ops import JoinNamespace, Unshare
from pyrunc.plan.rareops import DenySetgroups, WriteIdMap, WriteTimeOffsets
from pyrunc.plan.shared import KINDS
from pyrunc.record import replaced

ROOT = HostFacts()
USER = HostFacts(uid=1000, gid=1000, capability_mask=0)
RANGE = (IdMapping(container_id=0, host_id=100_000, size=65_536),)
OWN = (IdMapping(container_id=0, host_id=1000, size=1),)


def linux(*types: str, paths: tuple[str, ...] = (), uids=(), gids=()) -> Linux:
    entries = [Namespace(type=name, origin=f"/{name}") for name in types]
    entries += [Namespace(type=name, path=f"/ns/{name}", origin=f"/{name}") for name in paths]
    return Linux(namespaces=tuple(entries), uid_mappings=uids, gid_mappings=gids)


def test_own_namespaces_are_flags_of_the_clone():
    planned = plan_namespaces(linux("pid", "network", "mount"), ROOT)
    assert planned.clone_flags == sum(KINDS[name][0] for name in ("pid", "network", "mount"))
    assert (planned.open, planned.stage, planned.join, planned.map) == ((), (), (), ())
    assert planned.has("pid")
    assert not planned.has("user")


def test_the_cgroup_namespace_is_unshared_once_we_are_in_the_cgroup():
    planned = plan_namespaces(linux("cgroup", "pid"), ROOT)
    assert planned.clone_flags == KINDS["pid"][0]
    assert planned.after_cgroup == (Unshare(flags=KINDS["cgroup"][0], origin="/cgroup"),)


def test_what_is_joined_is_opened_before_and_the_user_namespace_comes_first():
    planned = plan_namespaces(linux(paths=("mount", "network", "ipc", "user")), ROOT)
    assert planned.clone_flags == 0
    assert [op.saves for op in planned.open if isinstance(op, OpenNamespace)] == [
        "ns/user", "ns/ipc", "ns/network", "ns/mount",
    ]  # fmt: skip
    assert [op.takes for op in planned.stage if isinstance(op, JoinNamespace)] == ["ns/user"]
    assert [op.takes for op in planned.join if isinstance(op, JoinNamespace)] == [
        "ns/ipc", "ns/network", "ns/mount",
    ]  # fmt: skip


def test_namespaces_that_count_for_children_alone_are_joined_by_a_process_between():
    planned = plan_namespaces(linux("mount", paths=("pid", "time")), ROOT)
    assert [op.takes for op in planned.stage if isinstance(op, JoinNamespace)] == ["ns/pid", "ns/time"]
    assert planned.join == ()
    assert planned.clone_flags == KINDS["mount"][0]


def with_clocks(given: Linux) -> Linux:
    return replaced(given, time_offsets=(TimeOffset(clock="boottime", seconds=-5, nanoseconds=7),))


WRITE = WriteTimeOffsets(text="boottime -5 7\n", origin="/linux/timeOffsets")


def test_offsets_are_written_by_a_process_that_is_not_in_the_time_namespace():
    planned = plan_namespaces(with_clocks(linux("time", "pid", paths=("network",))), ROOT)
    assert planned.clone_flags == KINDS["pid"][0]
    assert planned.stage == (Unshare(flags=KINDS["time"][0], origin="/linux/namespaces"), WRITE)
    assert [op.takes for op in planned.join if isinstance(op, JoinNamespace)] == ["ns/network"]
    assert plan_namespaces(linux("time"), ROOT).clone_flags == KINDS["time"][0]
    assert plan_namespaces(linux("time"), ROOT).stage == ()


def test_clocks_belong_to_the_user_namespace_which_is_made_before():
    planned = plan_namespaces(with_clocks(linux("time", "user", "mount", paths=("pid",), uids=RANGE)), ROOT)
    assert planned.clone_flags == KINDS["mount"][0]
    join, user, time, write = planned.stage
    assert isinstance(join, JoinNamespace)
    assert (user, time) == tuple(
        Unshare(flags=KINDS[name][0], origin="/linux/namespaces") for name in ("user", "time")
    )
    assert write == WRITE
    assert planned.map


def test_what_is_the_hosts_is_joined_before_an_own_user_namespace_takes_the_right_to():
    planned = plan_namespaces(linux("user", paths=("network", "ipc", "uts"), uids=RANGE), ROOT)
    assert planned.clone_flags == KINDS["user"][0]
    assert [op.takes for op in planned.stage if isinstance(op, JoinNamespace)] == [
        "ns/ipc", "ns/uts", "ns/network",
    ]  # fmt: skip
    assert planned.join == ()


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (linux("moon"), INVALID, "unknown namespace"),
        (linux("pid", "pid"), INVALID, "duplicated ns"),
        (linux("pid", paths=("pid",)), INVALID, "duplicated ns"),
    ],
)
def test_what_makes_no_sense(given, kind, words):
    with pytest.raises(PyruncError, match=words) as caught:
        plan_namespaces(given, ROOT)
    assert caught.value.kind == kind


def test_a_namespace_that_this_kernel_has_not():
    with pytest.raises(PyruncError) as caught:
        plan_namespaces(linux("time"), HostFacts(namespaces=("mnt", "pid")))
    assert (caught.value.kind, caught.value.where, caught.value.why) == (UNSUPPORTED, "/time", "time")


# -- maps ----------------------------------------------------------------------------------------------


def test_root_writes_maps_itself_groups_first():
    assert plan_namespaces(linux("user", uids=RANGE, gids=RANGE), ROOT).map == (
        WriteIdMap(file="gid_map", text="0 100000 65536\n", origin="/linux/gidMappings"),
        WriteIdMap(file="uid_map", text="0 100000 65536\n", origin="/linux/uidMappings"),
    )


def test_a_user_may_map_himself_when_setgroups_is_denied():
    deny, gids, uids = plan_namespaces(linux("user", uids=OWN, gids=OWN), USER).map
    assert isinstance(deny, DenySetgroups)
    assert (gids.helper, uids.helper) == ("", "")


def test_a_user_asks_the_helpers_for_ranges():
    gids, uids = plan_namespaces(linux("user", uids=(*OWN, *RANGE), gids=(*OWN, *RANGE)), USER).map
    assert (gids.helper, uids.helper) == ("newgidmap", "newuidmap")
    assert uids.text == "0 1000 1\n0 100000 65536\n"


def test_another_users_id_needs_a_helper():
    other = (IdMapping(container_id=0, host_id=1001, size=1),)
    planned = plan_namespaces(linux("user", uids=other, gids=OWN), USER).map
    assert [op.helper for op in planned if isinstance(op, WriteIdMap)] == ["", "newuidmap"]


def test_a_joined_user_namespace_has_its_maps_already():
    assert plan_namespaces(linux(paths=("user",)), ROOT).map == ()
