"""Carry out link operations over netlink. The only module with pyroute2, whose import takes 0.15 s: reachable
from what wires something alone. An IPRoute belongs to the thread that opened it, and to the network namespace
that this thread was in: it is opened for one call and never shared."""

from __future__ import annotations

import errno
import socket
from contextlib import contextmanager

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pyrunc.errors import CONFLICT, INTERNAL, PyruncError
from pyrunc.network import plan
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

_MAIN_TABLE, _IPV4, _UNICAST = 254, socket.AF_INET, 1  # RT_TABLE_MAIN, RTN_UNICAST


@contextmanager
def opened() -> Iterator[Any]:
    with IPRoute() as route:
        yield route


def _index(route: Any, name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise PyruncError(INTERNAL, f"network device {name}", "", "it is gone") from error


def _create_bridge(route: Any, op: plan.CreateBridge) -> None:
    """One of the same name that is ours is what is wanted: it is what a crash has left."""
    try:
        route.link("add", ifname=op.name, kind="bridge", address=op.mac, mtu=op.mtu, group=op.group)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        there = _link(route, op.name)
        if there is None or there.get_attr("IFLA_GROUP") != op.group:
            why = "there is a network device of that name which is not ours"
            raise PyruncError(CONFLICT, f"create bridge {op.name}", "", why) from error
        route.link("set", index=there["index"], mtu=op.mtu)


def _create_veth(route: Any, op: plan.CreateVeth, namespace_fd: int) -> None:
    peer = {"ifname": op.peer, "address": op.mac, "mtu": op.mtu, "net_ns_fd": namespace_fd}
    message = {
        "ifname": op.name, "kind": "veth", "peer": peer, "mtu": op.mtu, "group": op.group,
        "master": _index(route, op.bridge), "state": "up",
    }  # fmt: skip
    route.link("add", **message)
    if op.isolated:
        route.brport("set", index=_index(route, op.name), isolated=1)


def set_hairpin(name: str) -> None:
    """The bridge passes on to this port what came from it: with bridge-nf-call-iptables that is the way of a
    container to itself by a published port. Others are spared the echo of what they send to all."""
    with _telling(plan.LinkOp(name=name)), opened() as route:
        route.brport("set", index=_index(route, name), mode=1)


def set_isolated(name: str, isolated: bool) -> None:
    """See plan.CreateVeth: of a port that is there."""
    with _telling(plan.LinkOp(name=name)), opened() as route:
        route.brport("set", index=_index(route, name), isolated=int(isolated))


def create_veth(op: plan.CreateVeth, namespace_fd: int) -> None:
    """A pair of the same name is what a crash has left, and goes first. Raises PyruncError."""
    with _telling(op), opened() as route:
        try:
            _create_veth(route, op, namespace_fd)
        except NetlinkError as error:
            if error.code != errno.EEXIST or not _remove(route, op.name):
                raise
            _create_veth(route, op, namespace_fd)


def _add_address(route: Any, op: plan.AddAddress) -> None:
    try:
        route.addr(
            "add", index=_index(route, op.name), address=op.address, prefixlen=op.prefix_length,
            broadcast=True,
        )  # fmt: skip
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


def _set_up(route: Any, op: plan.SetUp) -> None:
    route.link("set", index=_index(route, op.name), state="up")


def _set_default_route(route: Any, op: plan.SetDefaultRoute) -> None:
    route.route("replace", dst="default", gateway=op.gateway, oif=_index(route, op.name))


def _remove_default_route(route: Any, op: plan.RemoveDefaultRoute) -> None:
    for item in list(route.get_routes(family=_IPV4, table=_MAIN_TABLE)):
        if item["dst_len"] == 0:
            route.route("del", dst="0.0.0.0/0", oif=item.get_attr("RTA_OIF"))


_DO: dict[type, Callable[[Any, Any], None]] = {
    plan.CreateBridge: _create_bridge,
    plan.AddAddress: _add_address,
    plan.SetUp: _set_up,
    plan.SetDefaultRoute: _set_default_route,
    plan.RemoveDefaultRoute: _remove_default_route,
}


def apply(ops: Iterable[plan.LinkOp]) -> None:
    """In the network namespace that the thread is in. Raises PyruncError with the operation that failed."""
    with opened() as route:
        for op in ops:
            with _telling(op):
                _DO[type(op)](route, op)


@contextmanager
def _telling(op: plan.LinkOp) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        raise PyruncError.from_errno(error.code, f"{type(op).__name__} {op.name}") from error


def _link(route: Any, name: str) -> Any:
    """One question for one link: to read all of them takes long where there are many. None if it is not
    there."""
    if not is_there(name):
        return None
    try:
        (found,) = route.link("get", ifname=name)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
        return None
    return found


def is_there(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def _remove(route: Any, name: str) -> bool:
    """Was there one? A pair goes as a whole."""
    if not is_there(name):
        return False
    try:
        route.link("del", ifname=name)
    except NetlinkError as error:
        if error.code not in (errno.ENODEV, errno.EINVAL):
            raise
        return False
    return True


def remove(names: Iterable[str], group: int) -> None:
    """Links of ours; those that are gone, or are not ours, are passed over. Raises PyruncError."""
    with opened() as route:
        for name in names:
            there = _link(route, name)
            if there is not None and there.get_attr("IFLA_GROUP") == group:
                with _telling(plan.LinkOp(name=name)):
                    _remove(route, name)


class Link(Record):
    """A link on the host's side."""

    name: str
    kind: str  # "bridge", "veth"
    master: str  # the bridge that it is a port of, or ""


def links_in_group(group: int) -> dict[str, Link]:
    """Those of ours, by name."""
    with opened() as route:
        everything = list(route.get_links())
    names = {item["index"]: str(item.get_attr("IFLA_IFNAME")) for item in everything}
    return {
        names[item["index"]]: Link(
            name=names[item["index"]],
            kind=item.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
            master=names.get(item.get_attr("IFLA_MASTER"), ""),
        )
        for item in everything
        if item.get_attr("IFLA_GROUP") == group
    }


def routed_subnets() -> tuple[str, ...]:
    """Where the host has routes to, in its main table: what a new network must not take from it."""
    with opened() as route:
        return tuple(
            f"{item.get_attr('RTA_DST')}/{item['dst_len']}"
            for item in route.get_routes(family=_IPV4, table=_MAIN_TABLE)
            if item["type"] == _UNICAST and item.get_attr("RTA_DST")
        )
