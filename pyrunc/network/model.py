"""What the network layer is told, as Records of strings and numbers that a caller can store as they are.

Addresses are text ("172.17.0.2"), subnets too ("172.17.0.0/16"): they come from users and go into files and
rules.
"""

from __future__ import annotations

from zlib import crc32

from pyrunc.record import Record

DEFAULT_BRIDGE = "pyrunc0"
DNS_ADDRESS = "127.0.0.11"  # what a container's resolv.conf names: the address that docker's users know
NAT, NAT_UNPROTECTED, ISOLATED = "nat", "nat-unprotected", "isolated"
_BRIDGE_PREFIX, _VETH_PREFIX = "pyr", "pyv"
_NAME_BYTES = 15  # IFNAMSIZ without its end
_SHORT = 12


class Site(Record):
    """Where one engine's networks live. Two engines in one network namespace differ in both fields."""

    run_root: str  # a directory of the engine's in a tmpfs, absolute: /run/pyrunc-engine
    table: str = "pyrunc"  # its nftables table; its links are told from others by a group made of that name

    @property
    def link_group(self) -> int:
        """IFLA_GROUP of each link on the host's side: a number that nobody chooses by hand."""
        return crc32(self.table.encode()) & 0x7FFFFFFF | 0x40000000


class Network(Record):
    """A bridge with one IPv4 subnet."""

    id: str  # 64 hexadecimal digits
    name: str
    subnet: str
    gateway: str  # the bridge's own address in it
    bridge: str  # the device
    ip_range: str = ""  # the part of `subnet` that addresses are chosen from; empty: all of it
    aux_addresses: tuple[tuple[str, str], ...] = ()  # (name, address): never chosen
    internal: bool = False  # no way out, and no published ports
    is_default: bool = False  # the one network without names: its containers get no DNS server of ours
    mtu: int = 1500
    icc: bool = True  # do its containers reach each other other than by published ports
    masquerade: bool = True  # does what leaves it bear the host's address
    host_binding: str = "0.0.0.0"  # where ports are published whose request says no address
    host_address: str = ""  # leave with this address of the host's instead of the one of the device
    interface_prefix: str = "eth"  # of the devices in the containers
    gateway_mode: str = NAT  # NAT_UNPROTECTED: all ports are reached; ISOLATED: the bridge has no address


class PortRequest(Record):
    """One port of a container that is to be published. 0, 0: any port of the host; two that differ: any of
    them."""

    protocol: str  # "tcp", "udp", "sctp"
    container_port: int
    host_address: str = ""  # empty: the network's `host_binding`
    first_host_port: int = 0
    last_host_port: int = 0


class PortBinding(Record):
    """A port of the host's that is a container's."""

    protocol: str
    container_port: int
    host_address: str  # "0.0.0.0": all of the host's
    host_port: int


class Endpoint(Record):
    """A container's place on a network."""

    id: str  # 64 hexadecimal digits
    network_id: str
    container_id: str
    address: str
    mac: str
    interface: str  # the device in the container: "eth0"
    names: tuple[str, ...] = ()  # all that it is found by, the container's own first: name, aliases, short id
    gateway_priority: int = 0  # of a container's networks the one with the highest is its way out
    ports: tuple[PortBinding, ...] = ()

    @property
    def host_interface(self) -> str:
        """The other end of its veth pair, a port of the bridge."""
        return _VETH_PREFIX + self.id[:_SHORT]


class Attachment(Record):
    """An endpoint with the network that it is on."""

    network: Network
    endpoint: Endpoint


class Sandbox(Record):
    """A container's whole place in the networks."""

    container_id: str
    attachments: tuple[Attachment, ...] = ()
    dns_servers: tuple[
        str, ...
    ] = ()  # a user's --dns: asked for what is no container, in place of the host's
    dns_names: tuple[
        tuple[str, str], ...
    ] = ()  # (name, address) that this container alone is told: host-gateway


def bridge_name(network_id: str) -> str:
    """The device of a network whose user has not named one."""
    return _BRIDGE_PREFIX + network_id[:_SHORT]


def is_device_name(name: str) -> bool:
    """dev_valid_name() of the kernel."""
    return (
        0 < len(name.encode()) <= _NAME_BYTES
        and name not in (".", "..")
        and not any(letter in "/:%\"'\\" or letter.isspace() or not letter.isprintable() for letter in name)
    )
