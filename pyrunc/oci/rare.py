"""Sections of config.json that few containers have, as Records, with one parse function each.

Apart from `oci.config`, which says why, and from which they are reached: by PARSERS.
"""

from __future__ import annotations

from pyrunc.oci.node import Node
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Scheduler(Record):
    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0
    origin: str = "/process/scheduler"


class IoPriority(Record):
    scheduling_class: str
    priority: int = 0
    origin: str = "/process/ioPriority"


class CpuAffinity(Record):
    initial: str = ""
    final: str = ""
    origin: str = "/process/execCPUAffinity"


class TimeOffset(Record):
    clock: str  # monotonic, boottime
    seconds: int = 0
    nanoseconds: int = 0
    origin: str = ""


class NetDevice(Record):
    host_name: str
    name: str = ""
    origin: str = ""


class WeightDevice(Record):
    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None
    origin: str = ""


class ThrottleDevice(Record):
    major: int
    minor: int
    rate: int
    origin: str = ""


class BlockIo(Record):
    weight: int | None = None
    leaf_weight: int | None = None
    weight_device: tuple[WeightDevice, ...] = ()
    throttle_read_bps: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops: tuple[ThrottleDevice, ...] = ()
    throttle_write_iops: tuple[ThrottleDevice, ...] = ()
    origin: str = "/linux/resources/blockIO"


class HugepageLimit(Record):
    page_size: str
    limit: int
    origin: str = ""


class NetworkPriority(Record):
    name: str
    priority: int


class Network(Record):
    class_id: int | None = None
    priorities: tuple[NetworkPriority, ...] = ()
    origin: str = "/linux/resources/network"


class Rdma(Record):
    device: str
    hca_handles: int | None = None
    hca_objects: int | None = None
    origin: str = ""


class IntelRdt(Record):
    clos_id: str = ""
    schemata: tuple[str, ...] = ()
    l3_cache_schema: str = ""
    mem_bw_schema: str = ""
    enable_monitoring: bool = False
    origin: str = "/linux/intelRdt"


class Personality(Record):
    domain: str
    flags: tuple[str, ...] = ()
    origin: str = "/linux/personality"


class MemoryPolicy(Record):
    mode: str
    nodes: str = ""
    flags: tuple[str, ...] = ()
    origin: str = "/linux/memoryPolicy"


def _parse_scheduler(node: Node) -> Scheduler:
    return Scheduler(
        policy=node.need_text("policy"),
        nice=node.number("nice"),
        priority=node.number("priority"),
        flags=node.texts("flags"),
        runtime=node.number("runtime"),
        deadline=node.number("deadline"),
        period=node.number("period"),
        origin=node.pointer,
    )


def _parse_io_priority(node: Node) -> IoPriority:
    return IoPriority(
        scheduling_class=node.need_text("class"), priority=node.number("priority"), origin=node.pointer
    )


def _parse_cpu_affinity(node: Node) -> CpuAffinity:
    return CpuAffinity(initial=node.text("initial"), final=node.text("final"), origin=node.pointer)


def _parse_time_offset(clock: str, node: Node) -> TimeOffset:
    return TimeOffset(
        clock=clock,
        seconds=node.number("secs"),
        nanoseconds=node.number("nanosecs"),
        origin=node.pointer,
    )


def _parse_net_device(host_name: str, node: Node) -> NetDevice:
    return NetDevice(host_name=host_name, name=node.text("name"), origin=node.pointer)


def _parse_block_io(node: Node) -> BlockIo:
    return BlockIo(
        weight=node.maybe_number("weight"),
        leaf_weight=node.maybe_number("leafWeight"),
        weight_device=tuple(
            WeightDevice(
                major=item.need_number("major"),
                minor=item.need_number("minor"),
                weight=item.maybe_number("weight"),
                leaf_weight=item.maybe_number("leafWeight"),
                origin=item.pointer,
            )
            for item in node.children("weightDevice")
        ),
        throttle_read_bps=_parse_throttles(node, "throttleReadBpsDevice"),
        throttle_write_bps=_parse_throttles(node, "throttleWriteBpsDevice"),
        throttle_read_iops=_parse_throttles(node, "throttleReadIOPSDevice"),
        throttle_write_iops=_parse_throttles(node, "throttleWriteIOPSDevice"),
        origin=node.pointer,
    )


def _parse_throttles(node: Node, name: str) -> tuple[ThrottleDevice, ...]:
    return tuple(
        ThrottleDevice(
            major=item.need_number("major"),
            minor=item.need_number("minor"),
            rate=item.need_number("rate"),
            origin=item.pointer,
        )
        for item in node.children(name)
    )


def _parse_hugepage_limit(node: Node) -> HugepageLimit:
    return HugepageLimit(
        page_size=node.need_text("pageSize"), limit=node.need_number("limit"), origin=node.pointer
    )


def _parse_network(node: Node) -> Network:
    return Network(
        class_id=node.maybe_number("classID"),
        priorities=tuple(
            NetworkPriority(name=item.need_text("name"), priority=item.need_number("priority"))
            for item in node.children("priorities")
        ),
        origin=node.pointer,
    )


def _parse_rdma(device: str, node: Node) -> Rdma:
    return Rdma(
        device=device,
        hca_handles=node.maybe_number("hcaHandles"),
        hca_objects=node.maybe_number("hcaObjects"),
        origin=node.pointer,
    )


def _parse_intel_rdt(node: Node) -> IntelRdt:
    return IntelRdt(
        clos_id=node.text("closID"),
        schemata=node.texts("schemata"),
        l3_cache_schema=node.text("l3CacheSchema"),
        mem_bw_schema=node.text("memBwSchema"),
        enable_monitoring=node.flag("enableMonitoring"),
    )


def _parse_personality(node: Node) -> Personality:
    return Personality(domain=node.need_text("domain"), flags=node.texts("flags"))


def _parse_memory_policy(node: Node) -> MemoryPolicy:
    return MemoryPolicy(mode=node.need_text("mode"), nodes=node.text("nodes"), flags=node.texts("flags"))


# Of members of an object it is given the key as well
PARSERS: dict[str, Callable[..., Record]] = {
    "blockIO": _parse_block_io,
    "execCPUAffinity": _parse_cpu_affinity,
    "hugepageLimits": _parse_hugepage_limit,
    "intelRdt": _parse_intel_rdt,
    "ioPriority": _parse_io_priority,
    "memoryPolicy": _parse_memory_policy,
    "netDevices": _parse_net_device,
    "network": _parse_network,
    "personality": _parse_personality,
    "rdma": _parse_rdma,
    "scheduler": _parse_scheduler,
    "timeOffsets": _parse_time_offset,
}
