"""plan.systemd: names of units, places of slices, and limits as properties."""

import pytest
from support.launches import HYBRID, V2

from pyrunc.errors import INVALID, PyruncError
from pyrunc.oci.config import parse_config
from pyrunc.plan import makeops, rareops
from pyrunc.plan.annotations import property_of
from pyrunc.plan.facts import SystemdFacts
from pyrunc.plan.systemd import (
    bitmask,
    expand_slice,
    limit_properties,
    parse_unit,
    plan_scope,
    plan_unit_update,
)

NO_LIMIT = (1 << 64) - 1


@pytest.mark.parametrize(
    ("given", "is_user", "path"),
    [
        ("", False, "/system.slice/pyrunc-box.scope"),
        ("", True, "/user.slice/pyrunc-box.scope"),
        ("machine.slice:libpod:abc", False, "/machine.slice/libpod-abc.scope"),
        ("a-b-c.slice:x:y", False, "/a.slice/a-b.slice/a-b-c.slice/x-y.scope"),
        (":x:y", False, "/system.slice/x-y.scope"),
        ("-.slice::y", False, "/y.scope"),
    ],
)
def test_a_unit_and_its_place(given, is_user, path):
    unit = parse_unit(given, "box", is_user=is_user)
    assert (unit.path, unit.name) == (path, path.rpartition("/")[2])


def test_an_id_with_what_no_unit_has_in_its_name():
    assert parse_unit("", "a+b", is_user=False).name == r"pyrunc-a\x2bb.scope"


@pytest.mark.parametrize(
    "given", ["/path", "a:b", "a.slice:b:c:d", "a.slice:b:c.slice", "a.slice:x/y:z", "a.slice:x:"]
)
def test_what_is_no_path_of_a_unit(given):
    with pytest.raises(PyruncError) as caught:
        parse_unit(given, "box", is_user=False)
    assert (caught.value.kind, caught.value.where) == (INVALID, "/linux/cgroupsPath")


@pytest.mark.parametrize(
    "name", ["", ".slice", "a", "a.scope", "a--b.slice", "-a.slice", "a-.slice", "a/b.slice"]
)
def test_what_is_no_slice(name):
    with pytest.raises(PyruncError, match="invalid slice name"):
        expand_slice(name, "/linux/cgroupsPath")


def properties(is_v2=True, version=255, current=(), **files):
    writes = [
        makeops.WriteCgroup(path=f"/c/{name.replace('__', '.')}", value=value)
        for name, value in files.items()
    ]
    found = limit_properties(writes, dict(current), is_v2=is_v2, systemd=SystemdFacts(version=version))
    return {name: value for name, _, value in found}


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("50000 100000", {"CPUQuotaPerSecUSec": 500_000, "CPUQuotaPeriodUSec": 100_000}),
        ("25500 50000", {"CPUQuotaPerSecUSec": 510_000, "CPUQuotaPeriodUSec": 50_000}),
        ("1234 100000", {"CPUQuotaPerSecUSec": 20_000, "CPUQuotaPeriodUSec": 100_000}),
        ("max 100000", {"CPUQuotaPerSecUSec": NO_LIMIT, "CPUQuotaPeriodUSec": 100_000}),
        ("50000", {"CPUQuotaPerSecUSec": 500_000}),
        ("nonsense", {}),
    ],
)
def test_a_quota_is_rounded_up_to_what_systemd_can_hold(quota, expected):
    assert properties(cpu__max=quota) == expected


def test_numbers():
    found = properties(
        memory__max="64M", memory__low="max", memory__swap__max="0", pids__max="7", cpu__weight="9"
    )
    assert found == {
        "MemoryMax": 64 << 20, "MemoryLow": NO_LIMIT, "MemorySwapMax": 0, "TasksMax": 7, "CPUWeight": 9,
    }  # fmt: skip


def test_what_a_version_does_not_know_it_is_not_told():
    files = {"cpu__idle": "1", "cpuset__cpus": "0-1", "memory__oom__group": "1", "cpu__max": "1000 1000"}
    assert properties(version=253, **files) == {
        "CPUWeight": 0, "AllowedCPUs": b"\x03", "OOMPolicy": "kill",
        "CPUQuotaPerSecUSec": 1_000_000, "CPUQuotaPeriodUSec": 1000,
    }  # fmt: skip
    assert properties(version=241, **files) == {"CPUQuotaPerSecUSec": 1_000_000}


def test_who_ceases_to_be_idle_has_a_weight_again():
    assert properties(version=252, cpu__idle="0") == {"CPUWeight": 100}
    assert properties(version=252, cpu__idle="0", cpu__weight="59") == {"CPUWeight": 59}
    assert properties(version=251, cpu__idle="0") == {}


@pytest.mark.parametrize(
    ("weight", "by_bfq", "without"), [(10, 10, 1), (100, 100, 910), (1000, 10000, 10000)]
)
def test_a_weight_of_the_disks_is_the_one_that_systemd_makes_the_same_of(weight, by_bfq, without):
    (scope_, *_), (other, *_) = (
        scope(V2, has_bfq=has_bfq, resources={"blockIO": {"weight": weight}}).attach
        for has_bfq in (True, False)
    )
    assert ("IOWeight", "t", by_bfq) in scope_.properties
    assert ("IOWeight", "t", without) in other.properties
    assert properties(io__weight="default 7") == properties(io__weight="7") == {"IOWeight": 7}
    assert properties(io__bfq__weight="8:0 7") == {}


def test_v1_has_names_of_its_own_and_a_quota_in_two_files():
    files = {"memory__limit_in_bytes": "-1", "cpu__shares": "512", "cpu__cfs_quota_us": "20000"}
    assert properties(is_v2=False, **files) == {
        "MemoryLimit": NO_LIMIT, "CPUShares": 512, "CPUQuotaPerSecUSec": 200_000,
    }  # fmt: skip
    current = {"/c/cpu.cfs_quota_us": "20000\n", "/c/cpu.cfs_period_us": "100000\n"}
    assert properties(is_v2=False, current=current, cpu__cfs_period_us="50000") == {
        "CPUQuotaPerSecUSec": 400_000, "CPUQuotaPeriodUSec": 50_000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "mask"),
    [("0", b"\x01"), ("0-3,8", b"\x0f\x01"), ("1, 3", b"\x0a"), ("", b""), ("x", b""), ("99999", b"")],
)
def test_a_list_of_cpus_is_a_mask(text, mask):
    assert bitmask(text) == mask


def scope(layout, has_bfq=False, **linux):
    return plan_scope(
        config=parse_config({"ociVersion": "1.0.2", "linux": linux}),
        container_id="box",
        layout=layout,
        systemd=SystemdFacts(version=252, control_group="/init.scope", has_bfq=has_bfq),
        restricts_devices=True,
        rootless=False,
    )


def test_on_v2_the_scope_comes_first_and_files_last():
    plan = scope(V2, resources={"pids": {"limit": 5}})
    assert (plan.join, plan.unit) == ((), "pyrunc-box.scope")
    (guard,) = plan.make
    start, make, limit, devices = plan.attach
    assert isinstance(guard, makeops.MakeCgroup)
    assert guard.is_guarded
    assert guard.path == plan.paths[0][1]
    assert isinstance(start, rareops.StartUnit)
    assert ("TasksMax", "t", 5) in start.properties
    assert ("DevicePolicy", "s", "strict") in start.properties
    path = "/sys/fs/cgroup/init.scope/system.slice/pyrunc-box.scope"
    assert isinstance(make, makeops.MakeCgroup)
    assert (make.path, make.required, make.is_guarded) == (path, ("pids",), False)
    assert isinstance(limit, makeops.WriteCgroup)
    assert limit.path == f"{path}/pids.max"
    assert isinstance(devices, makeops.AttachDeviceProgram)


def test_on_v1_each_hierarchy_has_the_same_place_and_the_child_is_put_there():
    plan = scope(HYBRID, resources={"memory": {"limit": 4096}})
    entered = [op.path for op in plan.attach if isinstance(op, rareops.EnterCgroup)]
    assert entered == [
        op.path for op in plan.make if isinstance(op, makeops.MakeCgroup) and not op.is_unified
    ]
    assert all(path.endswith("/init.scope/system.slice/pyrunc-box.scope") for path in entered)
    assert isinstance(plan.attach[0], rareops.StartUnit)
    assert isinstance(plan.attach[-1], makeops.WriteCgroup)


def test_what_is_allowed_is_known_to_systemd():
    devices = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 7, "minor": 8, "access": "r"},
        {"allow": True, "type": "b", "major": 9, "access": "rw"},
    ]
    (start, *_) = scope(V2, resources={"devices": devices}).attach
    allowed = dict(next(value for name, _, value in start.properties if name == "DeviceAllow"))
    assert (allowed["/dev/char/7:8"], allowed["block-9"]) == ("r", "rw")
    assert (allowed["char-*"], allowed["block-*"], allowed["/dev/char/1:3"]) == ("m", "m", "rwm")


def test_what_systemd_rounds_is_put_back_after_it_was_told_of_another_thing():
    writes = (makeops.WriteCgroup(path="/c/cpu.weight", value="59", origin="/cpu/shares"),)
    current = {"/c/cpu.max": "25250 50000\n", "/c/memory.max": "max\n"}
    told, *after = plan_unit_update(writes, current, unit="u", is_v2=True, systemd=SystemdFacts(version=252))
    assert isinstance(told, rareops.SetUnitProperties)
    assert after == [makeops.WriteCgroup(path="/c/cpu.max", value="25250 50000", origin="/cpu/shares")]
    writes = (makeops.WriteCgroup(path="/c/pids.max", value="5", origin="/pids/limit"),)
    (told,) = plan_unit_update(writes, current, unit="u", is_v2=True, systemd=SystemdFacts(version=252))


def test_an_idle_container_is_so_until_it_is_told_otherwise():
    weight = makeops.WriteCgroup(path="/c/cpu.weight", value="59")
    idle = makeops.WriteCgroup(path="/c/cpu.idle", value="0")
    for writes, told in (((weight,), 0), ((idle, weight), 1)):
        found = plan_unit_update(
            writes, {"/c/cpu.idle": "1\n"}, unit="u", is_v2=True, systemd=SystemdFacts(version=252)
        )
        assert len(found) == told


def test_an_update_that_systemd_need_not_know_of_is_not_told():
    writes = (makeops.WriteCgroup(path="/c/hugetlb.2MB.max", value="1"),)
    assert plan_unit_update(writes, {}, unit="u", is_v2=True, systemd=SystemdFacts(version=252)) == ()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("TimeoutStopSec", "7", ("TimeoutStopUSec", "t", 7_000_000)),
        ("TimeoutStopSec", "0.5", ("TimeoutStopUSec", "t", 500_000)),
        ("TimeoutStopUSec", "uint64 7", ("TimeoutStopUSec", "t", 7)),
        ("CollectMode", "'inactive-or-failed'", ("CollectMode", "s", "inactive-or-failed")),
        ("CollectMode", '"a \'b\' \\"c\\""', ("CollectMode", "s", "a 'b' \"c\"")),
        ("SendSIGHUP", "true", ("SendSIGHUP", "b", True)),
        ("After", "['a.service', 'b,c.service']", ("After", "as", ("a.service", "b,c.service"))),
        ("After", "@as []", ("After", "as", ())),
        ("Weight", "-5", ("Weight", "i", -5)),
        ("Weight", "uint32 0x10", ("Weight", "u", 16)),
    ],
)
def test_a_property_of_an_annotation(name, text, expected):
    assert property_of(name, text, "/annotations") == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ab", "1"), ("Exec-Start", "1"), ("Ünits", "1"), ("Weight", ""), ("Weight", "5000000000"),
        ("Weight", "byte 256"),
        ("Weight", "uint32 -1"), ("After", "['a', 5]"), ("After", "['a"), ("After", "'a' 'b'"),
        ("After", "[]"),
        ("TimeoutStopSec", "'x'"), ("TimeoutStopSec", "-1"),
    ],
)  # fmt: skip
def test_what_is_no_property(name, text):
    with pytest.raises(PyruncError, match="invalid systemd property"):
        property_of(name, text, "/annotations")
