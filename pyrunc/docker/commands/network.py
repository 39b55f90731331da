"""pyr network create, ls, rm, connect, disconnect."""

from __future__ import annotations

from pyrunc.docker.commands.verbs import for_each
from pyrunc.docker.filters import make_filters
from pyrunc.docker.output import complain, line
from pyrunc.docker.pairs import to_map
from pyrunc.docker.table import show_list
from pyrunc.docker.words import Verb
from pyrunc.errors import INVALID, NOT_FOUND, PyruncError
from pyrunc.options import NUMBER, TEXT, TEXTS, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

    Given = dict[str, Any]


def _text(name: str, summary: str, short: str = "") -> Flag:
    return Flag(name=name, kind=TEXT, summary=summary, short=short)


def _texts(name: str, summary: str, short: str = "") -> Flag:
    return Flag(name=name, kind=TEXTS, summary=summary, short=short)


CREATE = Verb(
    name="network create",
    summary="Create a network.",
    usage="[OPTIONS] NETWORK",
    least=1,
    most=1,
    flags=(
        Flag(name="attachable", summary="Of swarm alone.", hidden=True),
        _texts("aux-address", "Addresses that are somebody's: NAME=ADDRESS."),
        Flag(name="driver", short="d", kind=TEXT, default="bridge", summary="Its driver."),
        _texts("gateway", "Its address in a subnet."),
        Flag(name="internal", summary="No way out of it."),
        _texts("ip-range", "Where in a subnet addresses are given from."),
        _text("ipam-driver", "Who gives addresses."),
        _texts("ipam-opt", "Option of who does."),
        Flag(name="ipv4", default=True, summary="IPv4."),
        Flag(name="ipv6", summary="IPv6."),
        _texts("label", "A label: NAME=VALUE."),
        _texts("opt", "Option of the driver: NAME=VALUE.", "o"),
        _texts("subnet", "A subnet: 172.30.0.0/16."),
    ),
)
LS = Verb(
    name="network ls",
    summary="List networks.",
    usage="[OPTIONS]",
    flags=(
        _texts("filter", "Only some: driver=bridge, name=web …", "f"),
        _text("format", "table, json, or a template of Go's."),
        Flag(name="no-trunc", summary="Whole ids."),
        Flag(name="quiet", short="q", summary="Only ids."),
    ),
)
RM = Verb(
    name="network rm",
    summary="Remove networks.",
    usage="NETWORK [NETWORK...]",
    least=1,
    most=-1,
    flags=(Flag(name="force", short="f", summary="One that is not there is no error."),),
)
CONNECT = Verb(
    name="network connect",
    summary="Connect a container to a network.",
    usage="[OPTIONS] NETWORK CONTAINER",
    least=2,
    most=2,
    flags=(
        _texts("alias", "A further name on it."),
        _texts("driver-opt", "Option of the driver."),
        Flag(name="gw-priority", kind=NUMBER, summary="The highest is the default gateway."),
        _text("ip", "IPv4 address."),
        _text("ip6", "IPv6 address."),
        _texts("link", "A link to another container."),
        _texts("link-local-ip", "A link-local address."),
    ),
)
DISCONNECT = Verb(
    name="network disconnect",
    summary="Disconnect a container from a network.",
    usage="[OPTIONS] NETWORK CONTAINER",
    least=2,
    most=2,
    flags=(Flag(name="force", short="f", summary="Also one that is gone."),),
)


def create(session: Session, given: Given) -> int:
    answer = session.post(
        "/networks/create",
        body={
            "Name": given["words"][0],
            "CheckDuplicate": True,
            "Driver": given["driver"],
            "Internal": given["internal"],
            "Attachable": given["attachable"],
            "EnableIPv6": given["ipv6"] if "ipv6" in given["given"] else None,
            "EnableIPv4": given["ipv4"] if "ipv4" in given["given"] else None,
            "IPAM": {
                "Driver": given["ipam-driver"] or "default",
                "Options": to_map(given["ipam-opt"]) or None,
                "Config": make_pools(given),
            },
            "Options": to_map(given["opt"]),
            "Labels": to_map(given["label"]),
        },
    )
    if answer.get("Warning"):
        complain(f"WARNING: {answer['Warning']}")
    line(answer["Id"])
    return 0


def make_pools(given: Given) -> list[dict[str, Any]]:
    """IPAM.Config. What belongs to a subnet is found by lying in it. Raises PyruncError INVALID."""
    addresses: Any = __import__("ipaddress")
    subnets = []
    for text in given["subnet"]:
        subnets.append((_parse(addresses.ip_network, text), {"Subnet": text}))
    for name, key in (("ip-range", "IPRange"), ("gateway", "Gateway")):
        for text in given[name]:
            _pool_of(subnets, _parse(addresses.ip_interface, text).ip, text)[key] = text
    for text in given["aux-address"]:
        host, _, address = text.partition("=")
        pool = _pool_of(subnets, _parse(addresses.ip_address, address), text)
        pool.setdefault("AuxiliaryAddresses", {})[host] = address
    return [pool for _, pool in subnets]


def _parse(kind: Any, text: str) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise PyruncError(INVALID, f"invalid address: {text}", "", str(error)) from None


def _pool_of(subnets: list[tuple[Any, dict[str, Any]]], address: Any, text: str) -> dict[str, Any]:
    for subnet, pool in subnets:
        if address.version == subnet.version and address in subnet:
            return pool
    raise PyruncError(INVALID, f"no matching subnet for {text}", hint="--subnet")


def ls(session: Session, given: Given) -> int:
    found = session.get("/networks", query={"filters": make_filters(given["filter"]) or None})
    rows = [make_row(one, is_whole=given["no-trunc"]) for one in sorted(found, key=lambda one: one["Name"])]
    columns = (("ID", "NETWORK ID"), ("Name", "NAME"), ("Driver", "DRIVER"), ("Scope", "SCOPE"))
    headers: dict[str, Any] = {
        "IPv4": "IPV4", "IPv6": "IPV6", "Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
        "Label": lambda name: name,
    }  # fmt: skip
    show_list(rows, columns, given["format"], headers, quiet="ID" if given["quiet"] else "")
    return 0


def make_row(one: dict[str, Any], *, is_whole: bool) -> dict[str, Any]:
    labels = one.get("Labels") or {}
    return {
        "ID": one["Id"] if is_whole else one["Id"][:12],
        "Name": one["Name"],
        "Driver": one["Driver"],
        "Scope": one["Scope"],
        "IPv4": str(one.get("EnableIPv4", True)).lower(),
        "IPv6": str(one["EnableIPv6"]).lower(),
        "Internal": str(one["Internal"]).lower(),
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        "Label": lambda name: labels.get(name, ""),
        "CreatedAt": one["Created"],
    }


def remove(session: Session, given: Given) -> int:
    def one(name: str) -> None:
        try:
            session.delete(f"/networks/{name}")
        except PyruncError as error:
            if not (given["force"] and error.kind == NOT_FOUND):
                raise

    return for_each(given["words"], one)


def connect(session: Session, given: Given) -> int:
    network, container = given["words"]
    ipam = {
        "IPv4Address": given["ip"], "IPv6Address": given["ip6"], "LinkLocalIPs": list(given["link-local-ip"]),
    }  # fmt: skip
    settings: dict[str, Any] = {
        "Aliases": list(given["alias"]) or None,
        "Links": list(given["link"]) or None,
        "DriverOpts": to_map(given["driver-opt"]) or None,
        "IPAMConfig": {key: value for key, value in ipam.items() if value} or None,
        "GwPriority": given["gw-priority"],
    }
    body = {"Container": container, "EndpointConfig": settings}
    session.post(f"/networks/{network}/connect", body=body)
    return 0


def disconnect(session: Session, given: Given) -> int:
    network, container = given["words"]
    session.post(f"/networks/{network}/disconnect", body={"Container": container, "Force": given["force"]})
    return 0


COMMANDS = {
    "network create": (CREATE, create),
    "network ls": (LS, ls),
    "network rm": (RM, remove),
    "network connect": (CONNECT, connect),
    "network disconnect": (DISCONNECT, disconnect),
}
