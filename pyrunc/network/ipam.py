"""Which subnet a new network gets, and which address a new endpoint. Pure: what is taken is an argument.

The pools are docker's, for its users know them: 172.17/16 for the first network, then 172.18/16 and so on to
172.31/16, then 192.168/20 by /20.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from pyrunc.errors import CONFLICT, INVALID, PyruncError
from pyrunc.network.model import ISOLATED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyrunc.network.model import Network

DEFAULT_POOLS = (*(f"172.{second}.0.0/16" for second in range(17, 32)), "192.168.0.0/16")
_POOL_PREFIX = 20  # what a pool larger than 172.x/16 is cut into
_LARGEST_PREFIX = 30  # a subnet has a gateway, a container, its own address and the broadcast address
_ALL_PREFIX = 1  # two halves are how a VPN takes over the default route


def parse_subnet(text: str) -> IPv4Network:
    """Host bits are cleared, as docker does. Raises INVALID."""
    try:
        subnet = IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise PyruncError(INVALID, f"invalid subnet {text}", "", "it is no IPv4 subnet") from error
    if subnet.prefixlen > _LARGEST_PREFIX or "/" not in text:
        raise PyruncError(INVALID, f"invalid subnet {text}", "", "it has no room for a container")
    return subnet


def parse_address(text: str) -> IPv4Address:
    """Raises INVALID."""
    try:
        return IPv4Address(text)
    except AddressValueError as error:
        raise PyruncError(INVALID, f"invalid address {text}", "", "it is no IPv4 address") from error


def choose_subnet(taken: Iterable[str], pools: Iterable[str] = DEFAULT_POOLS) -> str:
    """The first subnet of the pools that overlaps none of `taken`: subnets of networks and routes of the
    host, where one that covers everything (a default route) takes nothing. Raises CONFLICT when none is
    left."""
    others = tuple(taken)
    for candidate in _candidates(pools):
        if is_free(str(candidate), others):
            return str(candidate)
    raise PyruncError(
        CONFLICT,
        "all predefined address pools have been fully subnetted",
        hint="remove networks that are not in use, or choose one by --subnet",
    )


def is_free(subnet: str, taken: Iterable[str]) -> bool:
    """As for choose_subnet."""
    wanted = IPv4Network(subnet)
    others = [other for other in map(IPv4Network, taken) if other.prefixlen > _ALL_PREFIX]
    return not any(wanted.overlaps(other) for other in others)


def _candidates(pools: Iterable[str]) -> Iterator[IPv4Network]:
    for text in pools:
        pool = IPv4Network(text)
        if text.startswith("192.168.") and pool.prefixlen < _POOL_PREFIX:
            yield from pool.subnets(new_prefix=_POOL_PREFIX)
        else:
            yield pool


def require_subnet_free(subnet: str, networks: Iterable[str]) -> None:
    """A subnet that a user chose may overlap a route of the host, but not another network. Raises
    CONFLICT."""
    wanted = parse_subnet(subnet)
    if any(wanted.overlaps(IPv4Network(other)) for other in networks):
        raise PyruncError(CONFLICT, "Pool overlaps with other one on this address space", subnet)


def choose_gateway(
    subnet: str, wanted: str = "", ip_range: str = "", aux_addresses: Iterable[str] = ()
) -> str:
    """`wanted`, or the first address of `ip_range`, or of `subnet`, that is no auxiliary one. Raises
    INVALID."""
    whole = parse_subnet(subnet)
    reserved = {parse_address(address) for address in aux_addresses}
    outside = [str(address) for address in reserved if address not in whole]
    if outside:
        raise PyruncError(INVALID, f"auxiliary address {outside[0]} is not in the subnet", subnet)
    if wanted:
        address = parse_address(wanted)
        if not _is_usable(address, whole):
            raise PyruncError(INVALID, f"gateway {wanted} is not in the subnet", subnet)
        if address in reserved:
            raise PyruncError(CONFLICT, f"gateway {wanted} is an auxiliary address too", subnet)
        return wanted
    part = require_range(ip_range, subnet) if ip_range else whole
    for number in range(int(part.network_address), int(part.broadcast_address) + 1):
        address = IPv4Address(number)
        if _is_usable(address, whole) and address not in reserved:
            return str(address)
    raise PyruncError(INVALID, "no address is left for the gateway", subnet)


def require_range(ip_range: str, subnet: str) -> IPv4Network:
    """The part of a subnet that addresses are chosen from. Raises INVALID if it is not inside."""
    try:
        part = IPv4Network(ip_range, strict=False)
    except ValueError as error:
        raise PyruncError(INVALID, f"invalid range {ip_range}", "", "it is no IPv4 subnet") from error
    if not part.subnet_of(IPv4Network(subnet)):
        raise PyruncError(INVALID, f"range {ip_range} is not in the subnet", subnet)
    return part


def choose_address(network: Network, taken: Iterable[str], wanted: str = "", last: str = "") -> str:
    """An address for a new endpoint of `network`, where `taken` are those of the others.

    `wanted` is a user's choice: of the whole subnet, free or refused with docker's words. Otherwise the next
    one after `last` which is free, so that one just given back is not soon another's; without `last`, the
    first. Raises INVALID, or CONFLICT.
    """
    whole = IPv4Network(network.subnet)
    used = {int(IPv4Address(address)) for address in taken}
    used.update(int(IPv4Address(address)) for _, address in network.aux_addresses)
    if network.gateway_mode != ISOLATED:
        used.add(int(IPv4Address(network.gateway)))
    if wanted:
        return _require_address(parse_address(wanted), whole, used)
    part = IPv4Network(network.ip_range) if network.ip_range else whole
    first, end = int(part.network_address), int(part.broadcast_address) + 1
    begin = int(IPv4Address(last)) + 1 if last else first
    begin = begin if first <= begin < end else first
    for number in (
        *range(begin, min(end, begin + len(used) + 3)),
        *range(first, min(end, first + len(used) + 3)),
    ):
        if number not in used and _is_usable(IPv4Address(number), whole):
            return str(IPv4Address(number))
    raise PyruncError(CONFLICT, "no available IPv4 addresses on this network's address pools", network.name)


def _require_address(address: IPv4Address, whole: IPv4Network, used: set[int]) -> str:
    if not _is_usable(address, whole):
        raise PyruncError(INVALID, f"invalid endpoint settings: {address} is not in the subnet", str(whole))
    if int(address) in used:
        raise PyruncError(CONFLICT, "Address already in use", str(address))
    return str(address)


def _is_usable(address: IPv4Address, whole: IPv4Network) -> bool:
    return address in whole and address not in (whole.network_address, whole.broadcast_address)


def mac_of(address: str) -> str:
    """02:42 and the four bytes of the address: one that no other endpoint of the network has."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)


def require_mac(text: str) -> str:
    """A user's --mac-address, in lower case. Raises INVALID; a group address (odd first byte) is none."""
    parts = text.lower().replace("-", ":").split(":")
    digits = "0123456789abcdef"
    if len(parts) != 6 or any(len(part) != 2 or not set(part) <= set(digits) for part in parts):
        raise PyruncError(INVALID, f"invalid MAC address {text}")
    if int(parts[0], 16) & 1:
        raise PyruncError(INVALID, f"invalid MAC address {text}", "", "it is the address of a group")
    return ":".join(parts)


def choose_interface(prefix: str, taken: Iterable[str]) -> str:
    """The first of eth0, eth1, … that the container has not got."""
    used, number = set(taken), 0
    while f"{prefix}{number}" in used:
        number += 1
    return f"{prefix}{number}"
