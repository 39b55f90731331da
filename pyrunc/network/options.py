"""`docker network create -o KEY=VALUE`: what the options mean to a Network, by one table."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.network.model import ISOLATED, NAT, NAT_UNPROTECTED, is_device_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pyrunc.network.model import Network

_NAMESPACE = "com.docker.network."
_TRUE = ("1", "t", "T", "true", "TRUE", "True")  # strconv.ParseBool of Go
_FALSE = ("0", "f", "F", "false", "FALSE", "False")
_SMALLEST_MTU, _LARGEST_MTU = 68, 65535  # RFC 791; ETH_MAX_MTU


def _boolean(value: str) -> bool:
    if value not in _TRUE and value not in _FALSE:
        raise ValueError("is neither true nor false")
    return value in _TRUE


def _mtu(value: str) -> int:
    number = int(value) if value.isascii() and value.isdigit() else -1
    if number != 0 and not _SMALLEST_MTU <= number <= _LARGEST_MTU:
        raise ValueError(f"is not 0 and not from {_SMALLEST_MTU} to {_LARGEST_MTU}")
    return number or 1500


def _address(value: str) -> str:
    try:
        return str(IPv4Address(value))
    except AddressValueError as error:
        raise ValueError("is no IPv4 address") from error


def _device(value: str) -> str:
    if not is_device_name(value):
        raise ValueError("cannot be the name of a network device")
    return value


def _prefix(value: str) -> str:
    if not is_device_name(value) or not is_device_name(value + "999"):
        raise ValueError("cannot be the beginning of a network device's name")
    return value


def _mode(value: str) -> str:
    if value not in (NAT, NAT_UNPROTECTED, ISOLATED):
        raise ValueError(f"is none of {NAT}, {NAT_UNPROTECTED}, {ISOLATED}")
    return value


# option -> (field of Network, what reads its value). The one without a field is told of docker's default
# network, which the caller knows by its name
_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "bridge.name": ("bridge", _device),
    "bridge.enable_ip_masquerade": ("masquerade", _boolean),
    "bridge.enable_icc": ("icc", _boolean),
    "bridge.host_binding_ipv4": ("host_binding", _address),
    "bridge.default_bridge": ("", _boolean),
    "bridge.gateway_mode_ipv4": ("gateway_mode", _mode),
    "driver.mtu": ("mtu", _mtu),
    "host_ipv4": ("host_address", _address),
    "container_iface_prefix": ("interface_prefix", _prefix),
}


def options_of(network: Network) -> dict[str, str]:
    """The opposite, for a network that nobody gave options: what docker says of its default one."""
    return {
        f"{_NAMESPACE}bridge.default_bridge": _word(network.is_default),
        f"{_NAMESPACE}bridge.enable_icc": _word(network.icc),
        f"{_NAMESPACE}bridge.enable_ip_masquerade": _word(network.masquerade),
        f"{_NAMESPACE}bridge.host_binding_ipv4": network.host_binding,
        f"{_NAMESPACE}bridge.name": network.bridge,
        f"{_NAMESPACE}driver.mtu": str(network.mtu),
    }


def _word(value: bool) -> str:
    return "true" if value else "false"


def parse_options(options: Mapping[str, str]) -> dict[str, Any]:
    """Fields of a Network from a driver's options. Raises INVALID for a value that cannot be, UNSUPPORTED for
    an option of docker's that is not known. Those outside com.docker.network mean nothing to us."""
    fields: dict[str, Any] = {}
    for option, value in options.items():
        if not option.startswith(_NAMESPACE):
            continue
        if option.removeprefix(_NAMESPACE) not in _OPTIONS:
            raise PyruncError(UNSUPPORTED, f"network option {option}", "", "it is not known here")
        field, read = _OPTIONS[option.removeprefix(_NAMESPACE)]
        try:
            result = read(value)
        except ValueError as error:
            raise PyruncError(INVALID, f"network option {option}={value}", "", str(error)) from error
        if field:
            fields[field] = result
    return fields
