"""`linux.resources` -> writes to cgroup v1 files, for the controllers that live in a v1 hierarchy.

Pure. A planner gets the directory of its controller and `current`, the present text of files that exist
already: of a new cgroup nothing is known and the kernel's defaults hold. 0 counts as "not set" wherever it
does in runc: shares, quota, period, memory limits, weights.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.plan.makeops import WriteCgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyrunc.oci.config import Cpu, Memory, Resources
    from pyrunc.oci.rare import BlockIo, ThrottleDevice

    Planner = Callable[[Resources, str, Mapping[str, str]], list[WriteCgroup]]
    _Half = tuple[str, int | None, int, str]  # file, new value, default of a new cgroup, pointer

UNLIMITED = 1 << 62  # what the kernel shows for "no limit" is near 2**63, rounded to pages
_MINIMUM_SHARES, _MAXIMUM_SHARES = 2, 262144
_DEFAULT_PERIOD = 100_000
UNSET_SWAPPINESS = (-1, (1 << 64) - 1)  # the second is how Go's callers write the first


def invalid(pointer: str, why: str) -> PyruncError:
    return PyruncError(INVALID, "invalid cgroup limit", pointer, why)


def present(current: Mapping[str, str], path: str, default: int) -> int:
    """The number in a file now: "max" is UNLIMITED, and so is -1 (cpu.cfs_quota_us)."""
    text = current.get(path, "").strip()
    if not text:
        return default
    return UNLIMITED if text in ("max", "-1") else int(text)


def write(
    directory: str, file: str, value: int | str, pointer: str, *, optional: bool = False
) -> WriteCgroup:
    """`value` into `file` of the cgroup, because of `pointer`."""
    return WriteCgroup(path=f"{directory}/{file}", value=str(value), optional=optional, origin=pointer)


def page_size(text: str, pointer: str) -> str:
    """A page size, like 2MB. It must be nothing else, for it becomes part of a path."""
    number, unit = text[:-2], text[-2:]
    if not (number.isascii() and number.isdigit() and unit in ("KB", "MB", "GB")):
        raise invalid(f"{pointer}/pageSize", f"{text!r} is not a page size like 2MB or 1GB")
    return text


def one_word(text: str, pointer: str) -> str:
    """A device or interface name that must not end its field, or its line, in the file."""
    if not text or text.split() != [text]:
        raise invalid(pointer, f"{text!r} is not a name")
    return text


def _check_shares(cpu: Cpu) -> None:
    """The kernel would silently clamp what is out of bounds; runc tells, and so do we."""
    if cpu.shares and cpu.shares < _MINIMUM_SHARES:
        raise invalid(f"{cpu.origin}/shares", f"the minimum allowed cpu-shares is {_MINIMUM_SHARES}")
    if cpu.shares and cpu.shares > _MAXIMUM_SHARES:
        raise invalid(f"{cpu.origin}/shares", f"the maximum allowed cpu-shares is {_MAXIMUM_SHARES}")


def plan_cpu(resources: Resources, directory: str, current: Mapping[str, str]) -> list[WriteCgroup]:
    cpu = resources.cpu
    if cpu is None:
        return []
    _check_shares(cpu)
    writes = []
    if cpu.idle is not None:  # an idle group refuses shares: they wait until it ceases to be one
        writes.append(write(directory, "cpu.idle", cpu.idle, f"{cpu.origin}/idle"))
    if cpu.shares and not cpu.idle:
        writes.append(write(directory, "cpu.shares", cpu.shares, f"{cpu.origin}/shares"))
    writes += _plan_bandwidth(cpu, directory, current)
    writes += _ordered_ratio(
        directory, current,
        ("cpu.rt_runtime_us", cpu.realtime_runtime, 0, f"{cpu.origin}/realtimeRuntime"),
        ("cpu.rt_period_us", cpu.realtime_period, 1_000_000, f"{cpu.origin}/realtimePeriod"),
    )  # fmt: skip
    return writes


def _plan_bandwidth(cpu: Cpu, directory: str, current: Mapping[str, str]) -> list[WriteCgroup]:
    """The burst may never exceed the quota: before one that shrinks it is written, after others."""
    writes = _ordered_ratio(
        directory, current,
        ("cpu.cfs_quota_us", cpu.quota, UNLIMITED, f"{cpu.origin}/quota"),
        ("cpu.cfs_period_us", cpu.period, _DEFAULT_PERIOD, f"{cpu.origin}/period"),
    )  # fmt: skip
    if cpu.burst is not None:
        burst = write(directory, "cpu.cfs_burst_us", cpu.burst, f"{cpu.origin}/burst", optional=not cpu.burst)
        old = present(current, f"{directory}/cpu.cfs_quota_us", UNLIMITED)
        new = UNLIMITED if (cpu.quota or -1) < 0 else cpu.quota or 0
        writes.insert(0 if cpu.quota and new < old else len(writes), burst)
    return writes


def _ordered_ratio(
    directory: str, current: Mapping[str, str], share: _Half, period: _Half
) -> list[WriteCgroup]:
    """A share of time and its period, each written by itself, the kernel checking after each that their
    ratio doesn't exceed the parent's. Of the two ratios in between we take the smaller one: their product
    is that of the old and the new ratio, so it is not above both of these."""
    writes = [
        write(directory, file, max(value, -1), pointer)
        for file, value, _, pointer in (period, share)
        if value
    ]
    if len(writes) == 2:
        old_share = present(current, f"{directory}/{share[0]}", share[2])
        old_period = present(current, f"{directory}/{period[0]}", period[2])
        new_share = share[1] or 0
        if old_share < UNLIMITED and (new_share < 0 or old_share * old_period > new_share * (period[1] or 0)):
            writes.reverse()
    return writes


def plan_cpuset(resources: Resources, directory: str, _: Mapping[str, str]) -> list[WriteCgroup]:
    cpu, writes = resources.cpu, []
    if cpu is not None and cpu.cpus:
        writes.append(write(directory, "cpuset.cpus", cpu.cpus, f"{cpu.origin}/cpus"))
    if cpu is not None and cpu.mems:
        writes.append(write(directory, "cpuset.mems", cpu.mems, f"{cpu.origin}/mems"))
    return writes


def check_swap(memory: Memory, limit: int | None) -> None:
    """`limit`: the one asked for, or the one that holds already. `swap` counts memory and swap together."""
    if not memory.swap or memory.swap < 0 or limit == -1:
        return
    if not limit:
        raise invalid(f"{memory.origin}/swap", "unable to set swap limit without memory limit")
    if memory.swap < limit:
        raise invalid(f"{memory.origin}/swap", "memory+swap limit should be >= memory limit")


def plan_memory(resources: Resources, directory: str, current: Mapping[str, str]) -> list[WriteCgroup]:
    memory = resources.memory
    if memory is None:
        return []
    old_limit = present(current, f"{directory}/memory.limit_in_bytes", UNLIMITED)
    check_swap(memory, memory.limit or (old_limit if old_limit < UNLIMITED else None))
    writes = []
    if memory.limit:
        writes.append(write(directory, "memory.limit_in_bytes", memory.limit, f"{memory.origin}/limit"))
    swap = memory.swap
    if memory.limit == -1 and not swap:  # "no limit" would mean nothing if memory+swap kept theirs
        swap = -1
    if swap:
        both = write(
            directory, "memory.memsw.limit_in_bytes", swap, f"{memory.origin}/swap", optional=swap < 0
        )
        # memory+swap must not be below memory at any moment: when both grow, it goes first
        is_growing = f"{directory}/memory.limit_in_bytes" in current and (swap < 0 or swap >= old_limit)
        writes.insert(0 if swap < 0 or is_growing else len(writes), both)
    if memory.reservation:
        writes.append(
            write(directory, "memory.soft_limit_in_bytes", memory.reservation, f"{memory.origin}/reservation")
        )
    if memory.use_hierarchy:
        writes.append(write(directory, "memory.use_hierarchy", 1, f"{memory.origin}/useHierarchy"))
    if memory.disable_oom_killer:
        writes.append(write(directory, "memory.oom_control", 1, f"{memory.origin}/disableOOMKiller"))
    if memory.swappiness is not None and memory.swappiness not in UNSET_SWAPPINESS:
        if not 0 <= memory.swappiness <= 100:
            why = f"invalid memory swappiness value: {memory.swappiness} (valid range is 0-100)"
            raise invalid(f"{memory.origin}/swappiness", why)
        writes.append(write(directory, "memory.swappiness", memory.swappiness, f"{memory.origin}/swappiness"))
    return writes


def plan_pids(resources: Resources, directory: str, _: Mapping[str, str]) -> list[WriteCgroup]:
    """A limit of 0 is meant as one, but a container of no process can't be: it becomes 1 (as runc 1.4)."""
    limit = resources.pids_limit
    if limit is None:
        return []
    value = "max" if limit < 0 else str(max(limit, 1))
    return [write(directory, "pids.max", value, f"{resources.origin}/pids/limit")]


def plan_blkio(resources: Resources, directory: str, _: Mapping[str, str]) -> list[WriteCgroup]:
    """Weights are of the bfq scheduler; before Linux 5.0 they were of cfq, in files without its name."""
    block_io = resources.block_io
    if block_io is None:
        return []
    writes = []
    if block_io.weight:
        writes.append(_weight(directory, "weight", str(block_io.weight), f"{block_io.origin}/weight"))
    if block_io.leaf_weight:
        writes.append(
            write(directory, "blkio.leaf_weight", block_io.leaf_weight, f"{block_io.origin}/leafWeight")
        )
    for device in block_io.weight_device:
        number = f"{device.major}:{device.minor}"
        if device.weight:
            writes.append(_weight(directory, "weight_device", f"{number} {device.weight}", device.origin))
        if device.leaf_weight:
            value = f"{number} {device.leaf_weight}"
            writes.append(write(directory, "blkio.leaf_weight_device", value, device.origin))
    for file, throttles in _throttles(block_io):
        writes += [
            write(directory, f"blkio.throttle.{file}", f"{item.major}:{item.minor} {item.rate}", item.origin)
            for item in throttles
        ]
    return writes


def _weight(directory: str, name: str, value: str, pointer: str) -> WriteCgroup:
    return WriteCgroup(
        path=f"{directory}/blkio.bfq.{name}",
        value=value,
        otherwise=((f"{directory}/blkio.{name}", value),),
        origin=pointer,
    )


def _throttles(block_io: BlockIo) -> tuple[tuple[str, tuple[ThrottleDevice, ...]], ...]:
    return (
        ("read_bps_device", block_io.throttle_read_bps),
        ("write_bps_device", block_io.throttle_write_bps),
        ("read_iops_device", block_io.throttle_read_iops),
        ("write_iops_device", block_io.throttle_write_iops),
    )


def plan_hugetlb(resources: Resources, directory: str, _: Mapping[str, str]) -> list[WriteCgroup]:
    """Pages in use, and pages reserved where the kernel counts them (Linux 5.7): without the second a
    process beyond its limit is killed by SIGBUS, with it mmap(2) fails."""
    writes = []
    for item in resources.hugepage_limits:
        prefix = f"hugetlb.{page_size(item.page_size, item.origin)}"
        pointer = f"{item.origin}/limit"
        writes.append(write(directory, f"{prefix}.limit_in_bytes", item.limit, pointer))
        writes.append(write(directory, f"{prefix}.rsvd.limit_in_bytes", item.limit, pointer, optional=True))
    return writes


def plan_net_cls(resources: Resources, directory: str, _: Mapping[str, str]) -> list[WriteCgroup]:
    network = resources.network
    if network is None or not network.class_id:
        return []
    return [write(directory, "net_cls.classid", network.class_id, f"{network.origin}/classID")]


def plan_net_prio(resources: Resources, directory: str, _: Mapping[str, str]) -> list[WriteCgroup]:
    network = resources.network
    if network is None:
        return []
    return [
        write(directory, "net_prio.ifpriomap", f"{one_word(item.name, pointer)} {item.priority}", pointer)
        for index, item in enumerate(network.priorities)
        for pointer in (f"{network.origin}/priorities/{index}",)
    ]


def plan_rdma(resources: Resources, directory: str, _: Mapping[str, str]) -> list[WriteCgroup]:
    """The same file on v1 and v2."""
    writes = []
    for item in resources.rdma:
        fields = [one_word(item.device, item.origin)]
        if item.hca_handles is not None:
            fields.append(f"hca_handle={item.hca_handles}")
        if item.hca_objects is not None:
            fields.append(f"hca_object={item.hca_objects}")
        if len(fields) > 1:
            writes.append(write(directory, "rdma.max", " ".join(fields), item.origin))
    return writes


PLANNERS: dict[str, Planner] = {
    "cpuset": plan_cpuset,
    "cpu": plan_cpu,
    "memory": plan_memory,
    "pids": plan_pids,
    "blkio": plan_blkio,
    "hugetlb": plan_hugetlb,
    "net_cls": plan_net_cls,
    "net_prio": plan_net_prio,
    "rdma": plan_rdma,
}
