"""Docker's statistics of a container from the runtime's (`events --stats`). Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NO_TIME = "0001-01-01T00:00:00Z"


def make_stats(
    before: dict[str, Any] | None, now: dict[str, Any] | None, *, cpus: int, memory: int
) -> dict[str, Any]:
    """`before` and `now`: samples (observer.Observer.sample); None: it did not run. `memory`: the host's, in
    bytes, which a container without a limit has as its limit."""
    if now is None:
        return {
            "read": _NO_TIME,
            "preread": _NO_TIME,
            "pids_stats": {},
            "blkio_stats": {},
            "num_procs": 0,
            "storage_stats": {},
            "cpu_stats": _cpu(None, cpus),
            "precpu_stats": _cpu(None, cpus),
            "memory_stats": {},
        }
    data = now["data"]
    pids = data.get("pids") or {}
    made = {
        "read": now["read"],
        "preread": before["read"] if before else _NO_TIME,
        "pids_stats": {"current": pids.get("current", 0)}
        | ({"limit": pids["limit"]} if pids.get("limit") else {}),
        "blkio_stats": _block_io(data.get("blkio") or {}),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(now, cpus),
        "precpu_stats": _cpu(before, cpus),
        "memory_stats": _memory(data.get("memory") or {}, memory),
    }
    if now["networks"]:
        made["networks"] = now["networks"]
    return made


def _cpu(sample: dict[str, Any] | None, cpus: int) -> dict[str, Any]:
    found = (sample["data"].get("cpu") or {}) if sample else {}
    usage, throttling = found.get("usage") or {}, found.get("throttling") or {}
    made: dict[str, Any] = {
        "cpu_usage": {
            "total_usage": usage.get("total", 0),
            "usage_in_kernelmode": usage.get("kernel", 0),
            "usage_in_usermode": usage.get("user", 0),
        },
        "throttling_data": {
            "periods": throttling.get("periods", 0),
            "throttled_periods": throttling.get("throttledPeriods", 0),
            "throttled_time": throttling.get("throttledTime", 0),
        },
    }
    if usage.get("percpu"):
        made["cpu_usage"]["percpu_usage"] = usage["percpu"]
    if sample:
        made["system_cpu_usage"] = sample["system_ns"]
        made["online_cpus"] = cpus
    return made


def _memory(found: dict[str, Any], host: int) -> dict[str, Any]:
    usage = found.get("usage") or {}
    limit = usage.get("limit", 0)
    made = {
        "usage": usage.get("usage", 0),
        "limit": limit if 0 < limit < host else host,
        "stats": found.get("raw") or {},
    }
    if usage.get("max"):
        made["max_usage"] = usage["max"]
    if usage.get("failcnt"):
        made["failcnt"] = usage["failcnt"]
    return made


_BLOCK_KEYS = (
    ("ioServiceBytesRecursive", "io_service_bytes_recursive"),
    ("ioServicedRecursive", "io_serviced_recursive"),
    ("ioQueueRecursive", "io_queue_recursive"),
    ("ioServiceTimeRecursive", "io_service_time_recursive"),
    ("ioWaitTimeRecursive", "io_wait_time_recursive"),
    ("ioMergedRecursive", "io_merged_recursive"),
    ("ioTimeRecursive", "io_time_recursive"),
    ("sectorsRecursive", "sectors_recursive"),
)


def _block_io(found: dict[str, Any]) -> dict[str, Any]:
    return {ours: found.get(theirs) for theirs, ours in _BLOCK_KEYS}
