"""`linux.intelRdt` -> a directory of resctrl (a "class of service"), its schemata, and a monitoring group.

Pure; docs of the kernel: filesystems/resctrl.
"""

from __future__ import annotations

from pyrunc.errors import UNSUPPORTED, PyruncError
from pyrunc.oci.rare import IntelRdt
from pyrunc.plan.ops import Op
from pyrunc.plan.rareops import EnterResctrl, MakeResctrl
from pyrunc.record import Record


class IntelRdtPlan(Record):
    """`attach` is done on the child. `owned`: what delete removes, each after what is inside it."""

    attach: tuple[Op, ...] = ()
    owned: tuple[str, ...] = ()


def plan_intel_rdt(rdt: IntelRdt | None, *, container_id: str, mountpoint: str) -> IntelRdtPlan:
    """`mountpoint`: of resctrl, empty where there is none. A class that is named by closID is shared, so it
    stays; one named after the container is its own. In that order the schemas are written: schemata has the
    last word. Without any, a named class must be there already."""
    if rdt is None:
        return IntelRdtPlan()
    directory = _directory(rdt, container_id, mountpoint)
    lines = tuple(line for line in (rdt.l3_cache_schema, rdt.mem_bw_schema, *rdt.schemata) if line)
    is_own = not rdt.clos_id
    make = MakeResctrl(
        path=directory, lines=lines, must_exist=bool(rdt.clos_id) and not lines, is_shared=not is_own,
        status=f"{mountpoint}/info/last_cmd_status", origin=rdt.origin,
    )  # fmt: skip
    attach: tuple[Op, ...] = (make, EnterResctrl(path=directory, origin=rdt.origin))
    owned = (directory,) if is_own else ()
    if rdt.enable_monitoring:
        group = f"{directory}/mon_groups/{container_id}"
        origin = f"{rdt.origin}/enableMonitoring"
        attach += (MakeResctrl(path=group, origin=origin), EnterResctrl(path=group, origin=origin))
        owned = (group, *owned)
    return IntelRdtPlan(attach=attach, owned=owned)


def plan_rdt_update(
    rdt: IntelRdt | None, schemas: tuple[str, ...], *, container_id: str, mountpoint: str
) -> IntelRdtPlan:
    """Other schemas for the class that the container is in. One that was in none gets one of its own, as by
    runc; `owned` is what comes with that."""
    if rdt is None:
        new = IntelRdt(schemata=schemas, origin="")
        return plan_intel_rdt(new, container_id=container_id, mountpoint=mountpoint)
    write = MakeResctrl(
        path=_directory(rdt, container_id, mountpoint), lines=schemas,
        status=f"{mountpoint}/info/last_cmd_status", origin=rdt.origin,
    )  # fmt: skip
    return IntelRdtPlan(attach=(write,))


def _directory(rdt: IntelRdt, container_id: str, mountpoint: str) -> str:
    if not mountpoint:
        why = "resctrl isn't mounted"
        hint = "mount -t resctrl resctrl /sys/fs/resctrl, if the processor has Intel RDT or its like"
        raise PyruncError(UNSUPPORTED, "cannot set up Intel RDT", rdt.origin, why, hint)
    return mountpoint if rdt.clos_id == "/" else f"{mountpoint}/{rdt.clos_id or container_id}"
