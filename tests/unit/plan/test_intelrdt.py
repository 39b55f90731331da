"""plan.intelrdt: which directories, what is written there, and what is removed with the container."""

import pytest
from support.fields import covers

from pyrunc.errors import UNSUPPORTED, PyruncError
from pyrunc.oci.rare import IntelRdt
from pyrunc.plan.intelrdt import IntelRdtPlan, plan_intel_rdt, plan_rdt_update
from pyrunc.plan.rareops import EnterResctrl, MakeResctrl

STATUS = "/r/info/last_cmd_status"


def plan(**rdt):
    return plan_intel_rdt(IntelRdt(**rdt), container_id="box", mountpoint="/r")


def test_without_the_section_there_is_nothing_to_do():
    assert plan_intel_rdt(None, container_id="box", mountpoint="") == IntelRdtPlan()


def test_without_resctrl_it_is_an_error():
    with pytest.raises(PyruncError, match="resctrl isn't mounted") as caught:
        plan_intel_rdt(IntelRdt(), container_id="box", mountpoint="")
    assert caught.value.kind == UNSUPPORTED


@covers("/linux/intelRdt/(l3CacheSchema|memBwSchema|schemata)")
def test_a_class_of_its_own_goes_with_the_container_and_schemata_come_last():
    found = plan(schemata=("L2:0=3",), l3_cache_schema="L3:0=f", mem_bw_schema="MB:0=50")
    make, enter = found.attach
    assert make == MakeResctrl(
        path="/r/box", lines=("L3:0=f", "MB:0=50", "L2:0=3"), status=STATUS, origin="/linux/intelRdt"
    )
    assert enter == EnterResctrl(path="/r/box", origin="/linux/intelRdt")
    assert found.owned == ("/r/box",)


@pytest.mark.parametrize(("clos_id", "path"), [("gold", "/r/gold"), ("/", "/r")])
@covers("/linux/intelRdt/closID")
def test_a_named_class_stays_and_without_schemas_must_be_there(clos_id, path):
    (make, _), owned = plan(clos_id=clos_id).attach, plan(clos_id=clos_id).owned
    assert (make.path, make.must_exist, make.is_shared, owned) == (path, True, True, ())
    (make, _) = plan(clos_id=clos_id, schemata=("L3:0=f",)).attach
    assert (make.must_exist, make.lines) == (False, ("L3:0=f",))


@covers("/linux/intelRdt/enableMonitoring")
def test_a_monitoring_group_is_the_containers_in_a_shared_class_too():
    found = plan(clos_id="gold", enable_monitoring=True)
    assert [op.path for op in found.attach] == [
        "/r/gold",
        "/r/gold",
        "/r/gold/mon_groups/box",
        "/r/gold/mon_groups/box",
    ]
    assert found.owned == ("/r/gold/mon_groups/box",)
    assert plan(enable_monitoring=True).owned == ("/r/box/mon_groups/box", "/r/box")


def test_an_update_writes_to_the_class_that_is_there():
    for rdt, path in ((IntelRdt(), "/r/box"), (IntelRdt(clos_id="gold"), "/r/gold")):
        (write,) = plan_rdt_update(rdt, ("L3:0=3",), container_id="box", mountpoint="/r").attach
        assert (write.path, write.lines, write.is_shared, write.must_exist) == (
            path,
            ("L3:0=3",),
            False,
            False,
        )


def test_an_update_of_a_container_without_a_class_makes_one():
    found = plan_rdt_update(None, ("MB:0=50",), container_id="box", mountpoint="/r")
    make, enter = found.attach
    assert (make.path, make.lines) == ("/r/box", ("MB:0=50",))
    assert enter == EnterResctrl(path="/r/box")
    assert found.owned == ("/r/box",)
