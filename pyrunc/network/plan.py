"""What is to be done to links, addresses and routes: operations as data. Pure; `links` carries them out."""

from __future__ import annotations

from pyrunc.network.ipam import mac_of
from pyrunc.network.model import ISOLATED
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrunc.network.model import Attachment, Network, Site


class LinkOp(Record):
    name: str  # the device


class CreateBridge(LinkOp):
    mac: str  # its own: otherwise it is the lowest of its ports', and changes with them
    mtu: int
    group: int


class CreateVeth(LinkOp):
    """Both ends in one message, the other one born in the sandbox: there is no half-made pair.

    `isolated` is what icc=false comes to, whether the bridge's packets pass the filter or not. Where they do
    (bridge-nf-call-iptables), the bridge passes on a neighbour's question to a published port by itself, and
    so not at all: then only others reach it.
    """

    bridge: str
    peer: str
    mac: str  # of the peer
    mtu: int
    group: int
    isolated: bool  # the bridge passes nothing between two such ports


class AddAddress(LinkOp):
    address: str
    prefix_length: int


class SetUp(LinkOp):
    pass


class SetDefaultRoute(LinkOp):
    """In place of the one there is."""

    gateway: str


class RemoveDefaultRoute(LinkOp):
    pass


class Sysctl(Record):
    """A line for a file under /proc/sys, which the kernel may lack if `is_optional`."""

    key: str
    value: str
    is_optional: bool = False


def _prefix_length(network: Network) -> int:
    return int(network.subnet.rpartition("/")[2])


def plan_bridge(site: Site, network: Network) -> tuple[LinkOp, ...]:
    create = CreateBridge(
        name=network.bridge, mac=mac_of(network.gateway), mtu=network.mtu, group=site.link_group
    )  # fmt: skip
    address = AddAddress(
        name=network.bridge, address=network.gateway, prefix_length=_prefix_length(network)
    )  # fmt: skip
    with_address = () if network.gateway_mode == ISOLATED else (address,)
    return (create, *with_address, SetUp(name=network.bridge))


def plan_bridge_sysctls(network: Network) -> tuple[Sysctl, ...]:
    """Packets of the host's loopback may pass the bridge (rules says which), and IPv6 is not spoken on it."""
    return (
        Sysctl(key="net/ipv4/ip_forward", value="1"),
        Sysctl(key=f"net/ipv4/conf/{network.bridge}/route_localnet", value="1"),
        Sysctl(key=f"net/ipv6/conf/{network.bridge}/disable_ipv6", value="1", is_optional=True),
    )


def plan_veth(site: Site, attachment: Attachment) -> CreateVeth:
    network, endpoint = attachment.network, attachment.endpoint
    return CreateVeth(
        name=endpoint.host_interface, bridge=network.bridge, peer=endpoint.interface, mac=endpoint.mac,
        mtu=network.mtu, group=site.link_group, isolated=not network.icc,
    )  # fmt: skip


def plan_inside(attachment: Attachment) -> tuple[LinkOp, ...]:
    """What is done in the sandbox once the device is there."""
    name = attachment.endpoint.interface
    address = AddAddress(
        name=name, address=attachment.endpoint.address, prefix_length=_prefix_length(attachment.network)
    )  # fmt: skip
    return (address, SetUp(name=name))


def plan_inside_sysctls(attachment: Attachment) -> tuple[Sysctl, ...]:
    key = f"net/ipv6/conf/{attachment.endpoint.interface}/disable_ipv6"
    return (Sysctl(key=key, value="1", is_optional=True),)


def plan_host_end_sysctls(attachment: Attachment) -> tuple[Sysctl, ...]:
    key = f"net/ipv6/conf/{attachment.endpoint.host_interface}/disable_ipv6"
    return (Sysctl(key=key, value="1", is_optional=True),)


def gateway_of(attachments: Iterable[Attachment]) -> Attachment | None:
    """The way out of a container with these: of the networks that have one, that of the highest priority; of
    several such the one whose name comes first. Published ports are led to its address."""
    candidates = [
        item for item in attachments if not item.network.internal and item.network.gateway_mode != ISOLATED
    ]
    return min(
        candidates,
        key=lambda item: (-item.endpoint.gateway_priority, item.network.name),
        default=None,
    )


def plan_route(attachments: Iterable[Attachment]) -> LinkOp:
    """The default route of a container that is left with these attachments."""
    way_out = gateway_of(attachments)
    if way_out is None:
        return RemoveDefaultRoute(name="")
    return SetDefaultRoute(name=way_out.endpoint.interface, gateway=way_out.network.gateway)
