"""What a container uses: the `data` of `events --stats`, key by key as runc prints it.

Callers decode it into runc's Go structures. A key that Go would omit when its value is zero is left out
here, too. On v2 the values are put into v1's units and meanings: nanoseconds, swap together with memory.
"""

from __future__ import annotations

import posix

from pyrunc.linux.cgroups.files import Paths, flat_keyed, place_of, read_if_there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Data = dict[str, Any]

_UNLIMITED = (1 << 64) - 1
_HUGEPAGES = "/sys/kernel/mm/hugepages"
_NANOSECONDS_PER_TICK = 1_000_000_000 // 100  # USER_HZ is 100 on every architecture that runs containers


def read_stats(paths: Paths) -> Data:
    unified = dict(paths).get("", "")
    places = {
        name: place_of(paths, name)
        for name in ("cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb")
    }
    is_unified = {name: not places[name] and bool(unified) for name in places}
    return {
        "cpu": _cpu_v2(unified)
        if is_unified["cpuacct"] and is_unified["cpu"]
        else _cpu_v1(places["cpuacct"], places["cpu"]),
        "cpuset": _cpuset(places["cpuset"]),
        "memory": _memory_v2(unified) if is_unified["memory"] else _memory_v1(places["memory"]),
        "pids": _pids(places["pids"] or unified),
        "blkio": _io_v2(unified) if is_unified["blkio"] else _blkio_v1(places["blkio"]),
        "hugetlb": _hugetlb(places["hugetlb"] or unified, is_v2=is_unified["hugetlb"]),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _text(directory: str, name: str) -> str:
    return (read_if_there(f"{directory}/{name}") or "") if directory else ""


def _number(directory: str, name: str) -> int:
    """ "max" is the largest number, as in Go's structures; a file that isn't there counts 0."""
    text = _text(directory, name).strip()
    if not text:
        return 0
    return _UNLIMITED if text == "max" else int(text)


def _without_zeros(data: Data, *keep: str) -> Data:
    """As Go's `omitempty`, but for the keys to `keep`."""
    return {key: value for key, value in data.items() if value or key in keep}


def _pressure(directory: str, name: str) -> Data:
    """{"psi": …} from a PRESSURE file (Linux 4.20), {} where the kernel doesn't measure."""
    found: Data = {}
    for line in _text(directory, name).splitlines():
        kind, *fields = line.split()
        values = dict(field.split("=", 1) for field in fields)
        found[kind] = {
            "avg10": float(values["avg10"]),
            "avg60": float(values["avg60"]),
            "avg300": float(values["avg300"]),
            "total": int(values["total"]),
        }
    return {"psi": found} if found else {}


# --- cpu ------------------------------------------------------------------------------------------


def _cpu_v1(cpuacct: str, cpu: str) -> Data:
    per_cpu = [int(word) for word in _text(cpuacct, "cpuacct.usage_percpu").split()]
    # cpuacct.usage_all: a header "cpu user system", then a line per CPU
    rows = [line.split() for line in _text(cpuacct, "cpuacct.usage_all").splitlines()[1:]]
    ticks = flat_keyed(_text(cpuacct, "cpuacct.stat"))
    usage = {
        "total": _number(cpuacct, "cpuacct.usage"),
        "percpu": per_cpu,
        "percpu_kernel": [int(row[2]) for row in rows],
        "percpu_user": [int(row[1]) for row in rows],
        "kernel": ticks.get("system", 0) * _NANOSECONDS_PER_TICK,
        "user": ticks.get("user", 0) * _NANOSECONDS_PER_TICK,
    }
    stat = flat_keyed(_text(cpu, "cpu.stat"))
    throttling = {
        "periods": stat.get("nr_periods", 0),
        "throttledPeriods": stat.get("nr_throttled", 0),
        "throttledTime": stat.get("throttled_time", 0),
    }
    return {"usage": _without_zeros(usage, "kernel", "user"), "throttling": _without_zeros(throttling)}


def _cpu_v2(directory: str) -> Data:
    stat = flat_keyed(_text(directory, "cpu.stat"))
    usage = {
        "total": stat.get("usage_usec", 0) * 1000,
        "kernel": stat.get("system_usec", 0) * 1000,
        "user": stat.get("user_usec", 0) * 1000,
    }
    throttling = {
        "periods": stat.get("nr_periods", 0),
        "throttledPeriods": stat.get("nr_throttled", 0),
        "throttledTime": stat.get("throttled_usec", 0) * 1000,
    }
    return {
        "usage": _without_zeros(usage, "kernel", "user"),
        "throttling": _without_zeros(throttling),
        **_pressure(directory, "cpu.pressure"),
    }


def _cpuset(directory: str) -> Data:
    """v1 only: runc prints zeros on v2."""
    numbers = (
        "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab",
        "memory_pressure", "sched_load_balance", "sched_relax_domain_level",
    )  # fmt: skip
    found: Data = {
        "cpus": _parse_list(_text(directory, "cpuset.cpus")),
        "cpu_exclusive": _number(directory, "cpuset.cpu_exclusive"),
        "mems": _parse_list(_text(directory, "cpuset.mems")),
        **{name: _number(directory, f"cpuset.{name}") for name in numbers},
    }
    return _without_zeros(found, "cpu_exclusive", *numbers)


def _parse_list(text: str) -> list[int]:
    """cpuset(7), list format: "0-3,8"."""
    found: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found += range(int(first), int(last or first) + 1)
    return found


# --- memory ---------------------------------------------------------------------------------------


def _entry(*, limit: int = 0, usage: int = 0, peak: int = 0, failures: int = 0) -> Data:
    data = {"limit": limit, "usage": usage, "max": peak, "failcnt": failures}
    return _without_zeros(data, "limit", "failcnt")


def _memory_v1(directory: str) -> Data:
    raw = flat_keyed(_text(directory, "memory.stat"))

    def entry(name: str) -> Data:
        return _entry(
            limit=_number(directory, f"{name}.limit_in_bytes"),
            usage=_number(directory, f"{name}.usage_in_bytes"),
            peak=_number(directory, f"{name}.max_usage_in_bytes"),
            failures=_number(directory, f"{name}.failcnt"),
        )

    found = {
        "cache": raw.get("cache", 0),
        "usage": entry("memory"),
        "swap": entry("memory.memsw"),
        "kernel": entry("memory.kmem"),
        "kernelTCP": entry("memory.kmem.tcp"),
        "raw": raw,
    }
    return _without_zeros(found)


def _memory_v2(directory: str) -> Data:
    raw = flat_keyed(_text(directory, "memory.stat"))
    usage, limit = _number(directory, "memory.current"), _number(directory, "memory.max")
    swap_usage, swap_limit = _number(directory, "memory.swap.current"), _number(directory, "memory.swap.max")
    both = min(swap_limit + limit, _UNLIMITED)
    found = {
        "cache": raw.get("file", 0),
        "usage": _entry(
            limit=limit,
            usage=usage,
            peak=_number(directory, "memory.peak"),
            failures=flat_keyed(_text(directory, "memory.events")).get("max", 0),
        ),
        "swap": _entry(limit=both, usage=swap_usage + usage),
        "kernel": _entry(),
        "kernelTCP": _entry(),
        "raw": raw,
        **_pressure(directory, "memory.pressure"),
    }
    return _without_zeros(found)


def _pids(directory: str) -> Data:
    limit = _number(directory, "pids.max")
    found = {"current": _number(directory, "pids.current"), "limit": 0 if limit == _UNLIMITED else limit}
    return _without_zeros(found)


# --- block I/O ------------------------------------------------------------------------------------

_BLKIO_KEYS = {
    "sectors": "sectorsRecursive",
    "io_service_time": "ioServiceTimeRecursive",
    "io_wait_time": "ioWaitTimeRecursive",
    "io_merged": "ioMergedRecursive",
    "io_queued": "ioQueueRecursive",
    "time": "ioTimeRecursive",
    "io_serviced": "ioServicedRecursive",
    "io_service_bytes": "ioServiceBytesRecursive",
}
_BLKIO_BASIC = ("io_serviced", "io_service_bytes")
# The first of these that has entries is taken: bfq (with CONFIG_BFQ_CGROUP_DEBUG), bfq, cfq, any scheduler.
_BLKIO_SOURCES = (
    ("blkio.bfq.{}_recursive", tuple(_BLKIO_KEYS)),
    ("blkio.bfq.{}_recursive", _BLKIO_BASIC),
    ("blkio.{}_recursive", tuple(_BLKIO_KEYS)),
    ("blkio.throttle.{}_recursive", _BLKIO_BASIC),
    ("blkio.throttle.{}", _BLKIO_BASIC),
)


def _blkio_v1(directory: str) -> Data:
    for pattern, names in _BLKIO_SOURCES:
        if not _parse_blkio(_text(directory, pattern.format(names[0]))):
            continue
        found = {_BLKIO_KEYS[name]: _parse_blkio(_text(directory, pattern.format(name))) for name in names}
        return _without_zeros(found)
    return {}


def _parse_blkio(text: str) -> list[Data]:
    """`8:0 Read 1282048`, or without the word; the line `Total …` sums up the devices."""
    found = []
    for line in text.splitlines():
        device, *rest = line.split()
        major, colon, minor = device.partition(":")
        if colon:
            operation = rest[0] if len(rest) > 1 else ""
            found.append(_blkio_entry(int(major), int(minor), operation, int(rest[-1])))
    return found


def _blkio_entry(major: int, minor: int, operation: str, value: int) -> Data:
    return _without_zeros({"major": major, "minor": minor, "op": operation, "value": value})


_IO_KEYS = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
}


def _io_v2(directory: str) -> Data:
    """io.stat: `8:0 rbytes=90112 wbytes=0 rios=3 wios=0 dbytes=0 dios=0`"""
    found: Data = {}
    for line in _text(directory, "io.stat").splitlines():
        device, *fields = line.split()
        major, _, minor = device.partition(":")
        for field in fields:
            name, _, value = field.partition("=")
            if name in _IO_KEYS:
                key, operation = _IO_KEYS[name]
                entry = _blkio_entry(int(major), int(minor), operation, int(value))
                found.setdefault(key, []).append(entry)
    return {**found, **_pressure(directory, "io.pressure")}


# --- huge pages -----------------------------------------------------------------------------------


def _hugetlb(directory: str, *, is_v2: bool) -> Data:
    found = {}
    for size in _page_sizes():
        prefix = f"hugetlb.{size}.rsvd"
        usage = "current" if is_v2 else "usage_in_bytes"
        if not _text(directory, f"{prefix}.{usage}"):  # before Linux 5.7 no reservations are counted
            prefix = f"hugetlb.{size}"
        if not _text(directory, f"{prefix}.{usage}"):
            continue
        if is_v2:
            events = flat_keyed(_text(directory, f"hugetlb.{size}.events"))
            peak, failures = 0, events.get("max", 0)
        else:
            peak = _number(directory, f"{prefix}.max_usage_in_bytes")
            failures = _number(directory, f"{prefix}.failcnt")
        data = {"usage": _number(directory, f"{prefix}.{usage}"), "max": peak, "failcnt": failures}
        found[size] = _without_zeros(data, "failcnt")
    return found


def _page_sizes() -> list[str]:
    """As the controller spells them: hugepages-2048kB is 2MB."""
    try:
        names = posix.listdir(_HUGEPAGES)
    except FileNotFoundError:
        return []
    sizes = []
    for name in names:
        kilobytes = int(name.removeprefix("hugepages-").removesuffix("kB"))
        shift, unit = (
            (20, "GB") if kilobytes >= 1 << 20 else (10, "MB") if kilobytes >= 1 << 10 else (0, "KB")
        )
        sizes.append(f"{kilobytes >> shift}{unit}")
    return sorted(sizes)
