"""`linux.resources` -> writes to cgroup v2 files, for the controllers that live in the unified hierarchy.

Pure. The specification speaks of v1 files: here is what becomes of each value. As in `cgroup1`, 0 counts
as "not set" where it does in runc, and `current` holds the present text of files that exist already.
"""

from __future__ import annotations

from pyrunc.plan.cgroup1 import (
    UNLIMITED,
    check_swap,
    invalid,
    page_size,
    plan_cpuset,
    plan_pids,
    plan_rdma,
    present,
    write,
)
from pyrunc.plan.makeops import WriteCgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyrunc.oci.config import Cpu, Memory, Resources
    from pyrunc.oci.rare import BlockIo, ThrottleDevice
    from pyrunc.plan.cgroup1 import Planner

_DEFAULT_PERIOD = 100_000
_LOGARITHM_BITS = 50


def weight_of_shares(shares: int) -> int:
    """cpu.shares (2 to 262144, default 1024) as a cpu.weight (1 to 10000, default 100).

    The curve of runc 1.3.2 and crun 1.23, a parabola between the logarithms, which maps both ends and the
    default onto each other. The straight line used before made 39 of the default: such a container lost
    against every process of the host that no runtime had weighted.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    logarithm = _logarithm2(shares)
    exponent = (logarithm * logarithm + 125 * logarithm - 126) / 612
    weight: float = 10.0**exponent
    return -int(-weight // 1)


def _logarithm2(number: int) -> float:
    """Bit by bit: the `math` module is a shared object to load in many builds of Python."""
    whole = number.bit_length() - 1
    mantissa, result, bit = number / (1 << whole), float(whole), 0.5
    for _ in range(_LOGARITHM_BITS):
        mantissa *= mantissa
        if mantissa >= 2:
            mantissa /= 2
            result += bit
        bit /= 2
    return result


def weight_of_blkio(weight: int) -> int:
    """blkio.weight (10 to 1000) as an io.weight (1 to 10000), on a straight line."""
    return 1 + (weight - 10) * 9999 // 990


def plan_cpu(resources: Resources, directory: str, current: Mapping[str, str]) -> list[WriteCgroup]:
    cpu = resources.cpu
    if cpu is None:
        return []
    writes = []
    if cpu.idle is not None:  # an idle group refuses a weight: it waits until that ceases to be one
        writes.append(write(directory, "cpu.idle", cpu.idle, f"{cpu.origin}/idle"))
    if cpu.shares and not cpu.idle:
        weight = weight_of_shares(cpu.shares)
        writes.append(write(directory, "cpu.weight", weight, f"{cpu.origin}/shares"))
    return writes + _plan_bandwidth(cpu, directory, current)


def _plan_bandwidth(cpu: Cpu, directory: str, current: Mapping[str, str]) -> list[WriteCgroup]:
    """One file has quota and period: the one that isn't given keeps its present value."""
    path = f"{directory}/cpu.max"
    old_text = current.get(path, "").split()
    old_quota, old_period = old_text if len(old_text) == 2 else ("max", str(_DEFAULT_PERIOD))
    writes, is_shrinking = [], False
    if cpu.quota or cpu.period:
        quota = old_quota if not cpu.quota else "max" if cpu.quota < 0 else str(cpu.quota)
        pointer = f"{cpu.origin}/quota" if cpu.quota else f"{cpu.origin}/period"
        writes.append(write(directory, "cpu.max", f"{quota} {cpu.period or old_period}", pointer))
        is_shrinking = quota != "max" and (old_quota == "max" or int(quota) < int(old_quota))
    if cpu.burst is not None:
        # The burst may never exceed the quota: before one that shrinks it is written, after others.
        burst = write(directory, "cpu.max.burst", cpu.burst, f"{cpu.origin}/burst", optional=not cpu.burst)
        writes.insert(0 if is_shrinking else len(writes), burst)
    return writes


def plan_memory(resources: Resources, directory: str, current: Mapping[str, str]) -> list[WriteCgroup]:
    """Swap first: a limit that shrinks may push pages there."""
    memory = resources.memory
    if memory is None:
        return []
    old_limit = present(current, f"{directory}/memory.max", UNLIMITED)
    limit = memory.limit or (old_limit if old_limit < UNLIMITED else 0)
    _check_usage(memory, directory, current)
    check_swap(memory, limit)
    swap = _swap_without_memory(memory.limit or 0, memory.swap or 0, limit)
    writes = []
    if swap:
        path, pointer = "memory.swap.max", f"{memory.origin}/swap"
        writes.append(write(directory, path, swap, pointer, optional=swap in ("max", "0")))
    if memory.limit:
        writes.append(write(directory, "memory.max", _limit(memory.limit), f"{memory.origin}/limit"))
    if memory.reservation:
        low = _limit(memory.reservation)
        writes.append(write(directory, "memory.low", low, f"{memory.origin}/reservation"))
    return writes


def _swap_without_memory(new_limit: int, swap: int, limit: int) -> str:
    """memory.swap.max, which counts swap alone, of a `swap` that counts both; "" to leave it alone."""
    if not swap:
        return "max" if new_limit == -1 else ""  # all memory, but the old swap, would not be "no limit"
    if swap < 0:
        return "max"
    return str(swap if limit == -1 else swap - limit)


def _check_usage(memory: Memory, directory: str, current: Mapping[str, str]) -> None:
    """`checkBeforeUpdate`: the kernel would take the limit, and then kill until it holds."""
    text = current.get(f"{directory}/memory.current", "").strip()
    if not memory.check_before_update or not text:
        return
    for name, what, value in (
        ("swap", "memory+swap limit", memory.swap),
        ("limit", "memory limit", memory.limit),
    ):
        if value is not None and 0 < value <= int(text):
            raise invalid(f"{memory.origin}/{name}", f"rejecting {what} {value} <= usage {int(text)}")


def _limit(number: int) -> str:
    return "max" if number == -1 else str(number)


def plan_io(resources: Resources, directory: str, _: Mapping[str, str]) -> list[WriteCgroup]:
    """Weights go to the bfq scheduler, which takes them as they are, where it is in use."""
    block_io = resources.block_io
    if block_io is None:
        return []
    writes = []
    if block_io.weight:
        writes.append(_weight(directory, "", block_io.weight, f"{block_io.origin}/weight"))
    writes += [
        _weight(directory, f"{device.major}:{device.minor} ", device.weight, device.origin)
        for device in block_io.weight_device
        if device.weight
    ]
    for key, throttles in _throttles(block_io):
        writes += [
            write(directory, "io.max", f"{item.major}:{item.minor} {key}={item.rate or 'max'}", item.origin)
            for item in throttles
        ]
    return writes


def _weight(directory: str, device: str, weight: int, pointer: str) -> WriteCgroup:
    return WriteCgroup(
        path=f"{directory}/io.bfq.weight",
        value=f"{device}{weight}",
        otherwise=((f"{directory}/io.weight", f"{device}{weight_of_blkio(weight)}"),),
        origin=pointer,
    )


def _throttles(block_io: BlockIo) -> tuple[tuple[str, tuple[ThrottleDevice, ...]], ...]:
    return (
        ("rbps", block_io.throttle_read_bps),
        ("wbps", block_io.throttle_write_bps),
        ("riops", block_io.throttle_read_iops),
        ("wiops", block_io.throttle_write_iops),
    )


def plan_hugetlb(resources: Resources, directory: str, _: Mapping[str, str]) -> list[WriteCgroup]:
    """Pages in use, and pages reserved, as on v1."""
    writes = []
    for item in resources.hugepage_limits:
        prefix, pointer = f"hugetlb.{page_size(item.page_size, item.origin)}", f"{item.origin}/limit"
        writes.append(write(directory, f"{prefix}.max", item.limit, pointer))
        writes.append(write(directory, f"{prefix}.rsvd.max", item.limit, pointer, optional=True))
    return writes


def plan_unified(
    resources: Resources, directory: str, controllers: tuple[str, ...]
) -> tuple[list[WriteCgroup], tuple[str, ...]]:
    """`unified`, verbatim, and the controllers that it needs. Goes last: it has the final word."""
    writes, needed = [], []
    for key, value in resources.unified:
        pointer = f"{resources.origin}/unified/{key.replace('~', '~0').replace('/', '~1')}"
        if "/" in key:
            raise invalid(pointer, f'unified resource "{key}" must be a file name (no slashes)')
        controller, _, parameter = key.partition(".")
        if not controller or not parameter:
            raise invalid(pointer, f'unified resource "{key}" must be in the form CONTROLLER.PARAMETER')
        if controller != "cgroup" and controller not in controllers:
            why = f'unified resource "{key}" can\'t be set: controller "{controller}" not available'
            raise invalid(pointer, why)
        if controller != "cgroup":
            needed.append(controller)
        writes.append(write(directory, key, value, pointer))
    return writes, tuple(needed)


PLANNERS: dict[str, Planner] = {
    "cpuset": plan_cpuset,
    "cpu": plan_cpu,
    "memory": plan_memory,
    "pids": plan_pids,
    "io": plan_io,
    "hugetlb": plan_hugetlb,
    "rdma": plan_rdma,
}
