"""A container's cgroup where systemd makes it: a transient scope, and what it is told of the limits. Pure.

systemd owns its part of the tree, and writes the files there that it knows anew whenever it likes
(`systemctl daemon-reload`): a limit must be a property of the unit to last. So properties are made of the
very writes that the other manager would do, by one table for each cgroup version. The writes come after, for
systemd doesn't know all of them, and rounds.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.plan.annotations import property_of
from pyrunc.plan.cgroups import (
    CgroupPlan,
    clean,
    controller_directories,
    directories_at,
    make_hierarchies,
    make_unified,
    plan_devices,
    plan_limits,
    plan_ownership,
)
from pyrunc.plan.devicerules import EVERY_ACCESS, MKNOD, READ, WRITE, effective_rules
from pyrunc.plan.makeops import WriteCgroup
from pyrunc.plan.rareops import EnterCgroup, SetUnitProperties, StartUnit
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyrunc.oci.config import Config, Resources
    from pyrunc.plan.facts import CgroupLayout, SystemdFacts
    from pyrunc.plan.ops import Op
    from pyrunc.plan.rareops import Property

_NO_LIMIT = (1 << 64) - 1
_DEFAULT_PERIOD = 100_000
_QUOTA_STEP = 10_000  # systemd counts in hundredths of a second of CPU time a second
_LAST_CPU = 8191

# Since when systemd has what not all have that are in use
_PERIOD_SINCE, _CPUSET_SINCE, _IDLE_SINCE, _OOM_POLICY_SINCE = 242, 244, 252, 253

# file -> property that is the same number
_NUMBERS_V2 = {
    "memory.max": "MemoryMax",
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight",
}
_NUMBERS_V1 = {
    "memory.limit_in_bytes": "MemoryLimit",
    "pids.max": "TasksMax",
    "cpu.shares": "CPUShares",
    "blkio.bfq.weight": "BlockIOWeight",
}
# CPUWeight: 0 is systemd's word for idle; who ceases to be that weighs as a new group does
_WEIGHT_OF_IDLE = {"1": 0, "0": 100}
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Unit(Record):
    """`path`: of its cgroup, from the manager's own on."""

    name: str
    slice: str
    path: str


def parse_unit(cgroups_path: str, container_id: str, *, is_user: bool, origin: str = "/linux") -> Unit:
    """Of `slice:prefix:name`. Raises PyruncError INVALID in runc's words, which tests match. A `+`, which
    an id may have and a unit's name may not, becomes what systemd-escape(1) makes of it."""
    pointer = f"{origin}/cgroupsPath"
    parts = cgroups_path.split(":") if cgroups_path else ["", "pyrunc", container_id.replace("+", r"\x2b")]
    if len(parts) != 3:
        what = 'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups'
        hint = "" if ":" in cgroups_path else "a path is for the cgroupfs manager: leave --systemd-cgroup out"
        raise PyruncError(INVALID, f'{what}, got "{cgroups_path}" instead', pointer, hint=hint)
    slice_name, prefix, name = parts
    slice_name = slice_name or ("user.slice" if is_user else "system.slice")
    if name.endswith(".slice"):
        why = f'"{name}" is a slice, and a slice holds no processes'
        raise PyruncError(INVALID, "invalid cgroup path", pointer, why)
    scope = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    if not name or "/" in scope:
        raise PyruncError(INVALID, "invalid cgroup path", pointer, f'"{scope}" is not the name of a unit')
    return Unit(name=scope, slice=slice_name, path=f"{expand_slice(slice_name, pointer)}/{scope}")


def expand_slice(name: str, pointer: str) -> str:
    """Where a slice is: a-b.slice is inside a.slice, and the root is called -.slice."""
    stem = name.removesuffix(".slice")
    parts = stem.split("-")
    if stem == name or "/" in name or not stem or (stem != "-" and "" in parts):
        raise PyruncError(INVALID, "invalid slice name", pointer, f'"{name}"')
    if stem == "-":
        return ""
    return "".join(f"/{'-'.join(parts[: depth + 1])}.slice" for depth in range(len(parts)))


# --- the plan -------------------------------------------------------------------------------------


def plan_scope(
    *,
    config: Config,
    container_id: str,
    layout: CgroupLayout,
    systemd: SystemdFacts,
    restricts_devices: bool,
    rootless: bool,
) -> CgroupPlan:
    """The scope is made around the child's process, so all is done while that waits. The directory is there
    before, for mounts of it that are opened before the clone: systemd takes it over, but may switch off
    controllers that it knows. On v1 it knows some hierarchies only: there we put the child in ourselves."""
    linux = config.linux
    unit = parse_unit(linux.cgroups_path, container_id, is_user=systemd.is_user, origin=linux.origin)
    directories = directories_at(layout, clean(f"{systemd.control_group}{unit.path}"))
    unified = directories.get("", "")
    places = controller_directories(layout, directories)
    limits, needed, warnings = plan_limits(linux.resources, places, layout, unified, {})
    properties = (
        *_unit_properties(config, unit, container_id, is_v2=layout.is_v2),
        *limit_properties(limits, {}, is_v2=layout.is_v2, systemd=systemd),
        *(device_properties(linux.resources) if restricts_devices else ()),
        *_annotated(config),
    )
    made = make_hierarchies(layout, directories)
    enter: tuple[Op, ...] = tuple(EnterCgroup(path=op.path) for op in made)
    if unified:
        enter += (make_unified(layout, unified, needed, is_guarded=False),)
        made += (make_unified(layout, unified, needed, is_guarded=layout.is_v2),)
    devices = plan_devices(linux.resources, places.get("devices", ""), unified) if restricts_devices else ()
    return CgroupPlan(
        paths=tuple(directories.items()),
        make=made,
        join=(),
        attach=(
            StartUnit(
                unit=unit.name,
                properties=properties,
                is_user=systemd.is_user,
                origin=f"{linux.origin}/cgroupsPath",
            ),
            *enter,
            *limits,
            *devices,
            *(plan_ownership(config, unified) if layout.is_v2 and not rootless else ()),
        ),
        unit=unit.name,
        is_user_unit=systemd.is_user,
        warnings=tuple(warnings),
    )


def _unit_properties(config: Config, unit: Unit, container_id: str, *, is_v2: bool) -> tuple[Property, ...]:
    """Delegate: what is below the scope is the container's, not systemd's, to manage. Without
    DefaultDependencies a shutdown of the host ends it with its engine, not before."""
    io = "IOAccounting" if is_v2 else "BlockIOAccounting"
    return (
        ("Description", "s", f"pyrunc container {container_id}"),
        ("Slice", "s", unit.slice),
        ("Delegate", "b", True),
        ("DefaultDependencies", "b", False),
        *((name, "b", True) for name in ("CPUAccounting", "MemoryAccounting", "TasksAccounting", io)),
    )


def _stays_idle(writes: list[WriteCgroup], current: Mapping[str, str]) -> bool:
    """Then the kernel refuses a weight, as it should: told of one, systemd would make it idle no more."""
    is_idle = any(path.endswith("/cpu.idle") and text.strip() == "1" for path, text in current.items())
    return is_idle and not any(op.path.endswith("/cpu.idle") for op in writes)


def _annotated(config: Config) -> tuple[Property, ...]:
    prefix = "org.systemd.property."
    return tuple(
        property_of(key.removeprefix(prefix), value, f"/annotations/{key}")
        for key, value in config.annotations
        if key.startswith(prefix)
    )


def plan_unit_update(
    writes: Iterable[Op],
    current: Mapping[str, str],
    *,
    unit: str,
    is_v2: bool,
    systemd: SystemdFacts,
) -> tuple[Op, ...]:
    """What goes before the writes of an update. Told one thing of a controller, systemd writes all of that:
    the bandwidth, which it knows no better than to a hundredth, is put back."""
    limits = [op for op in writes if isinstance(op, WriteCgroup)]
    properties = limit_properties(limits, current, is_v2=is_v2, systemd=systemd)
    if _stays_idle(limits, current):
        properties = tuple(item for item in properties if item[0] != "CPUWeight")
    if not properties:
        return ()
    bandwidth = tuple(
        WriteCgroup(path=path, value=text.strip(), origin=limits[0].origin)
        for path, text in current.items()
        if path.endswith("/cpu.max") and any(name.startswith("CPU") for name, _, _ in properties)
    )
    return (SetUnitProperties(unit=unit, properties=properties, is_user=systemd.is_user), *bandwidth)


# --- properties -----------------------------------------------------------------------------------


def limit_properties(
    writes: Iterable[WriteCgroup], current: Mapping[str, str], *, is_v2: bool, systemd: SystemdFacts
) -> tuple[Property, ...]:
    """Of files that systemd writes, too. Of several writes that make one property the last counts."""
    found: dict[str, Property] = {}
    numbers = _NUMBERS_V2 if is_v2 else _NUMBERS_V1
    bandwidth: dict[str, str] = {}
    version = systemd.version
    for op in writes if systemd.has_bfq else map(_without_bfq, writes):
        directory, _, file = op.path.rpartition("/")
        made: tuple[Property, ...] = ()
        if file in numbers:
            number = _parse_number(op.value)
            made = ((numbers[file], "t", number),) if number is not None else ()
        elif is_v2:
            made = _special(file, op.value, version)
        elif file in ("cpu.cfs_quota_us", "cpu.cfs_period_us"):
            for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"):
                bandwidth.setdefault(name, current.get(f"{directory}/{name}", "").strip())
            bandwidth[file] = op.value
        found |= {item[0]: item for item in made}
    if bandwidth:
        made = _bandwidth(bandwidth["cpu.cfs_quota_us"] or "-1", bandwidth["cpu.cfs_period_us"], version)
        found |= {item[0]: item for item in made}
    return tuple(found.values())


def weighs_io(writes: Iterable[Op]) -> bool:
    """Does what becomes of them depend on SystemdFacts.has_bfq?"""
    return any(isinstance(op, WriteCgroup) and op.path.endswith("/io.bfq.weight") for op in writes)


def _without_bfq(op: WriteCgroup) -> WriteCgroup:
    """The write that stands in for one of bfq's weights."""
    if not op.otherwise or not weighs_io((op,)):
        return op
    ((path, value),) = op.otherwise
    return WriteCgroup(path=path, value=value)


def _weight_of_bfq(weight: int) -> int:
    """An IOWeight of which systemd makes this weight for bfq: 1 to 100 are the same, 1000 is 10000."""
    return weight if weight <= 100 else 100 + (weight - 100) * 11


def _special(file: str, value: str, version: int) -> tuple[Property, ...]:
    """Files of v2 that aren't one number."""
    if file == "cpu.max":
        quota, _, period = value.strip().partition(" ")
        return _bandwidth(quota, period.strip(), version)
    if file == "cpu.idle" and value.strip() in _WEIGHT_OF_IDLE and version >= _IDLE_SINCE:
        return (("CPUWeight", "t", _WEIGHT_OF_IDLE[value.strip()]),)
    if file in ("cpuset.cpus", "cpuset.mems") and version >= _CPUSET_SINCE:
        mask = bitmask(value)
        return (
            ((("AllowedCPUs" if file == "cpuset.cpus" else "AllowedMemoryNodes"), "ay", mask),)
            if mask
            else ()
        )
    if file in ("io.weight", "io.bfq.weight"):
        number = _parse_number(value.strip().removeprefix("default "))  # one of a single device is none
        if number is None:
            return ()
        return (("IOWeight", "t", number if file == "io.weight" else _weight_of_bfq(number)),)
    if file == "memory.oom.group" and version >= _OOM_POLICY_SINCE:
        return (("OOMPolicy", "s", "kill" if value.strip() == "1" else "continue"),)
    return ()


def _parse_number(text: str) -> int | None:
    """As the kernel reads it; None for what it will refuse itself."""
    text = text.strip()
    if text in ("max", "-1"):
        return _NO_LIMIT
    unit = _UNITS.get(text[-1:].upper(), 1)
    digits = text if unit == 1 else text[:-1]
    return int(digits) * unit if digits.isascii() and digits.isdigit() else None


def _bandwidth(quota_text: str, period_text: str, version: int) -> tuple[Property, ...]:
    quota, period = _parse_number(quota_text), _parse_number(period_text or str(_DEFAULT_PERIOD))
    if quota is None or not period:
        return ()
    per_second = _NO_LIMIT
    if quota != _NO_LIMIT:
        per_second = -(-quota * 1_000_000 // period)
        per_second = -(-per_second // _QUOTA_STEP) * _QUOTA_STEP
    found: tuple[Property, ...] = (("CPUQuotaPerSecUSec", "t", per_second),)
    if period_text and version >= _PERIOD_SINCE:
        found += (("CPUQuotaPeriodUSec", "t", period),)
    return found


def bitmask(text: str) -> bytes:
    """A list like 0-3,8 as a set of bits, byte by byte from the lowest; empty for what isn't such a list."""
    bits = 0
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        numbers = (first, last) if dash else (first, first)
        if not all(number.isascii() and number.isdigit() and int(number) <= _LAST_CPU for number in numbers):
            return b""
        for number in range(int(numbers[0]), int(numbers[1]) + 1):
            bits |= 1 << number
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def device_properties(resources: Resources | None) -> tuple[Property, ...]:
    """systemd's list knows no order, and no denial: it gets what any rule allows, and the program (on v1 the
    files) that we write beside it takes the rest away again. Both must allow what is to be used."""
    allows_all, rules = effective_rules(resources.devices if resources else ())
    if allows_all:
        return (("DevicePolicy", "s", "auto"),)
    allowed: dict[str, int] = {}
    for rule in rules:
        if rule.allow:
            kind = "char" if rule.type == "c" else "block"
            if rule.major is None:
                path = f"{kind}-*"
            elif rule.minor is None:
                path = f"{kind}-{rule.major}"
            else:
                path = f"/dev/{kind}/{rule.major}:{rule.minor}"
            allowed[path] = allowed.get(path, 0) | rule.access
    entries = tuple((path, _letters(access)) for path, access in allowed.items())
    return (("DevicePolicy", "s", "strict"), ("DeviceAllow", "a(ss)", entries))


def _letters(access: int) -> str:
    if access == EVERY_ACCESS:
        return "rwm"
    return "".join(letter for letter, bit in (("r", READ), ("w", WRITE), ("m", MKNOD)) if access & bit)
