"""`linux.resources` of config.json, for `create` and `update` alike."""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine.spec.facts import Facts

_PERIOD_US = 100_000

# What every container may use: (type, major, minor) of null, zero, full, random, urandom, tty, console, ptmx,
# and the slaves of its terminals. The runtime makes the files.
_DEVICES = (
    ("c", 1, 3), ("c", 1, 5), ("c", 1, 7), ("c", 1, 8), ("c", 1, 9), ("c", 5, 0), ("c", 5, 1), ("c", 5, 2),
    ("c", 136, None),
)  # fmt: skip


def make_resources(host: dict[str, Any], facts: Facts) -> dict[str, Any]:
    """Raises PyruncError INVALID for a device rule that is none."""
    made = make_limits(host, is_cgroup2=facts.is_cgroup2)
    made["devices"] = _device_rules(host, facts)
    return made


def make_limits(host: dict[str, Any], *, is_cgroup2: bool) -> dict[str, Any]:
    """Only what is limited: a key that is missing leaves things as they are."""
    made = {
        "memory": _memory(host, is_cgroup2),
        "cpu": _cpu(host),
        "blockIO": _block_io(host),
        "pids": {"limit": host["PidsLimit"] if host["PidsLimit"] > 0 else -1} if host["PidsLimit"] else {},
    }
    return {name: value for name, value in made.items() if value}


def _memory(host: dict[str, Any], is_cgroup2: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if host["Memory"]:
        made["limit"] = host["Memory"]
        # as much swap again, unless something else was said
        made["swap"] = host["MemorySwap"] or 2 * host["Memory"]
    if host["MemoryReservation"]:
        made["reservation"] = host["MemoryReservation"]
    if not is_cgroup2:  # cgroup v2 has neither
        if host["MemorySwappiness"] not in (None, -1):
            made["swappiness"] = host["MemorySwappiness"]
        if host["OomKillDisable"]:
            made["disableOOMKiller"] = True
    return made


def _cpu(host: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, name in (
        ("CpuShares", "shares"),
        ("CpuQuota", "quota"),
        ("CpuPeriod", "period"),
        ("CpuRealtimePeriod", "realtimePeriod"),
        ("CpuRealtimeRuntime", "realtimeRuntime"),
        ("CpusetCpus", "cpus"),
        ("CpusetMems", "mems"),
    ):
        if host[key]:
            made[name] = host[key]
    if host["NanoCpus"]:
        made["period"] = _PERIOD_US
        made["quota"] = host["NanoCpus"] * _PERIOD_US // 1_000_000_000
    return made


def _block_io(host: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if host["BlkioWeight"]:
        made["weight"] = host["BlkioWeight"]
    for key, name in (
        ("BlkioDeviceReadBps", "throttleReadBpsDevice"),
        ("BlkioDeviceWriteBps", "throttleWriteBpsDevice"),
        ("BlkioDeviceReadIOps", "throttleReadIOPSDevice"),
        ("BlkioDeviceWriteIOps", "throttleWriteIOPSDevice"),
    ):
        if host[key]:
            made[name] = [
                {"major": one["major"], "minor": one["minor"], "rate": one["Rate"]} for one in host[key]
            ]
    if host["BlkioWeightDevice"]:
        made["weightDevice"] = [
            {"major": one["major"], "minor": one["minor"], "weight": one["Weight"]}
            for one in host["BlkioWeightDevice"]
        ]
    return made


def _device_rules(host: dict[str, Any], facts: Facts) -> list[dict[str, Any]]:
    if host["Privileged"]:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    for kind in ("c", "b"):
        rules.append({"allow": True, "type": kind, "access": "m"})
    for kind, major, minor in _DEVICES:
        rule = {"allow": True, "type": kind, "major": major, "minor": minor, "access": "rwm"}
        rules.append({name: value for name, value in rule.items() if value is not None})
    for device in facts.devices:
        rules.append(
            {"allow": True, "type": device.type, "major": device.major, "minor": device.minor,
             "access": device.access}
        )  # fmt: skip
    return rules + [_parse_rule(text) for text in host["DeviceCgroupRules"] or ()]


def _parse_rule(text: str) -> dict[str, Any]:
    """`c 1:3 mr`, as --device-cgroup-rule has it; `*` is any number."""
    words = text.split()
    numbers = words[1].split(":") if len(words) == 3 else []
    if (
        len(numbers) != 2
        or words[0] not in ("a", "b", "c")
        or not set(words[2]) <= set("rwm")
        or not all(number == "*" or number.isdigit() for number in numbers)
    ):
        raise PyruncError(INVALID, f"invalid device cgroup rule format: '{text}'")
    rule: dict[str, Any] = {"allow": True, "type": words[0], "access": words[2]}
    for name, number in zip(("major", "minor"), numbers, strict=True):
        if number != "*":
            rule[name] = int(number)
    return rule
