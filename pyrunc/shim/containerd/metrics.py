"""What a container uses, in containerd's words: from the document of `events --stats`, which every runtime
with runc's command line has, to the messages that CRI and `ctr metrics` read.

There is a message for hosts with cgroup v1 and one for v2. What the document doesn't tell is left out.
"""

from __future__ import annotations

import posix

from pyrunc.kernel import syscall
from pyrunc.shim.containerd import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Data = dict[str, Any]

_UNLIMITED = (1 << 64) - 1
_CGROUP2_MAGIC = 0x63677270
_NANOSECONDS_PER_MICROSECOND = 1000
# Where the kernel's memory.stat spells a name in another way than the message
_SPELLINGS1 = {
    "hierarchical_memsw_limit": "hierarchical_swap_limit",
    **{
        f"{total}{kernel}": f"{total}{ours}"
        for total in ("", "total_")
        for kernel, ours in (
            ("pgpgin", "pg_pg_in"),
            ("pgpgout", "pg_pg_out"),
            ("pgfault", "pg_fault"),
            ("pgmajfault", "pg_maj_fault"),
        )
    },
}
_BLKIO1 = {
    "ioServiceBytesRecursive": "io_service_bytes_recursive",
    "ioServicedRecursive": "io_serviced_recursive",
    "ioQueueRecursive": "io_queued_recursive",
    "ioServiceTimeRecursive": "io_service_time_recursive",
    "ioWaitTimeRecursive": "io_wait_time_recursive",
    "ioMergedRecursive": "io_merged_recursive",
    "ioTimeRecursive": "io_time_recursive",
    "sectorsRecursive": "sectors_recursive",
}
_IO2 = {
    ("ioServiceBytesRecursive", "read"): "rbytes",
    ("ioServiceBytesRecursive", "write"): "wbytes",
    ("ioServicedRecursive", "read"): "rios",
    ("ioServicedRecursive", "write"): "wios",
}


def is_cgroup2() -> bool:
    """Which of the two messages of metrics a host's containerd expects: v2 where there is nothing else."""
    try:
        fd = posix.open("/sys/fs/cgroup", posix.O_RDONLY | posix.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return syscall.filesystem_magic(fd) == _CGROUP2_MAGIC
    finally:
        posix.close(fd)


def make_metrics(data: Data, *, is_v2: bool) -> Data:
    """An Any with the message, of the document's `data`."""
    if is_v2:
        return messages.wrap(messages.METRICS2_TYPE, messages.encode(messages.METRICS2, _metrics2(data)))
    return messages.wrap(messages.METRICS1_TYPE, messages.encode(messages.METRICS1, _metrics1(data)))


def _part(data: Data, *names: str) -> Data:
    """An object in the document; what isn't there, or null, is empty."""
    for name in names:
        data = data.get(name) or {}
    return data


def _known(table: messages.Table, values: Data) -> Data:
    return {name: value for name, value in values.items() if name in table}


# --- cgroup v1 ------------------------------------------------------------------------------------


def _metrics1(data: Data) -> Data:
    usage, throttling = _part(data, "cpu", "usage"), _part(data, "cpu", "throttling")
    pids = _part(data, "pids")
    return {
        "hugetlb": tuple(
            {"pagesize": size, **{name: entry.get(name, 0) for name in ("usage", "max", "failcnt")}}
            for size, entry in sorted(_part(data, "hugetlb").items())
        ),
        "pids": {"current": pids.get("current", 0), "limit": pids.get("limit", 0)},
        "cpu": {
            "usage": {
                "total": usage.get("total", 0),
                "kernel": usage.get("kernel", 0),
                "user": usage.get("user", 0),
                "per_cpu": tuple(usage.get("percpu") or ()),
            },
            "throttling": {
                "periods": throttling.get("periods", 0),
                "throttled_periods": throttling.get("throttledPeriods", 0),
                "throttled_time": throttling.get("throttledTime", 0),
            },
        },
        "memory": _memory1(_part(data, "memory")),
        "blkio": {
            ours: tuple(_blkio_entry(entry) for entry in _part(data, "blkio").get(theirs) or ())
            for theirs, ours in _BLKIO1.items()
        },
    }


def _memory1(memory: Data) -> Data:
    table = messages.METRICS1["memory"].kind
    raw = {_SPELLINGS1.get(name, name): value for name, value in _part(memory, "raw").items()}
    entries = {"usage": "usage", "swap": "swap", "kernel": "kernel", "kernelTCP": "kernel_tcp"}
    found = {name: value for name, value in _known(table, raw).items() if name not in entries.values()}
    for theirs, ours in entries.items():
        entry = _part(memory, theirs)
        found[ours] = {name: entry.get(name, 0) for name in ("limit", "usage", "max", "failcnt")}
    return found


def _blkio_entry(entry: Data) -> Data:
    return {
        "op": entry.get("op", ""),
        "major": entry.get("major", 0),
        "minor": entry.get("minor", 0),
        "value": entry.get("value", 0),
    }


# --- cgroup v2 ------------------------------------------------------------------------------------


def _metrics2(data: Data) -> Data:
    usage, throttling = _part(data, "cpu", "usage"), _part(data, "cpu", "throttling")
    pids = _part(data, "pids")
    return {
        "pids": {"current": pids.get("current", 0), "limit": pids.get("limit", 0) or _UNLIMITED},
        "cpu": {
            "usage_usec": usage.get("total", 0) // _NANOSECONDS_PER_MICROSECOND,
            "user_usec": usage.get("user", 0) // _NANOSECONDS_PER_MICROSECOND,
            "system_usec": usage.get("kernel", 0) // _NANOSECONDS_PER_MICROSECOND,
            "nr_periods": throttling.get("periods", 0),
            "nr_throttled": throttling.get("throttledPeriods", 0),
            "throttled_usec": throttling.get("throttledTime", 0) // _NANOSECONDS_PER_MICROSECOND,
        },
        "memory": _memory2(_part(data, "memory")),
        "io": {"usage": _io2(_part(data, "blkio"))},
        "hugetlb": tuple(
            {"pagesize": size, "current": entry.get("usage", 0), "max": entry.get("max", 0)}
            for size, entry in sorted(_part(data, "hugetlb").items())
        ),
    }


def _memory2(memory: Data) -> Data:
    """The document has swap together with memory, as v1 counts it: they are told apart again."""
    usage, both = _part(memory, "usage"), _part(memory, "swap")
    limit, limit_of_both = usage.get("limit", 0), both.get("limit", 0)
    swap_limit = _UNLIMITED if limit_of_both == _UNLIMITED else max(0, limit_of_both - limit)
    return {
        **_known(messages.METRICS2["memory"].kind, _part(memory, "raw")),
        "usage": usage.get("usage", 0),
        "usage_limit": limit,
        "swap_usage": max(0, both.get("usage", 0) - usage.get("usage", 0)),
        "swap_limit": swap_limit,
    }


def _io2(blkio: Data) -> tuple[Data, ...]:
    """An entry for each device, of lists with an entry for each operation on one."""
    devices: dict[tuple[int, int], Data] = {}
    for key in ("ioServiceBytesRecursive", "ioServicedRecursive"):
        for entry in blkio.get(key) or ():
            name = _IO2.get((key, entry.get("op", "").lower()))
            if name is None:
                continue
            device = entry.get("major", 0), entry.get("minor", 0)
            found = devices.setdefault(device, {"major": device[0], "minor": device[1]})
            found[name] = entry.get("value", 0)
    return tuple(devices[device] for device in sorted(devices))
