"""Move network devices of ours into the container's network namespace: /linux/netDevices.

By netlink, with pyroute2: it is fetched only where a config has such devices. They do not come back: with
their namespace virtual ones go, and physical ones return to the host's first one.
"""

from __future__ import annotations

import posix

from pyrunc import thirdparty
from pyrunc.errors import CONFLICT, NOT_FOUND, PyruncError
from pyrunc.kernel import const as c
from pyrunc.kernel import syscall
from pyrunc.plan import rareops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNIVERSE = 0  # RT_SCOPE_UNIVERSE: neither the link's nor the host's only
_PERMANENT = 0x80  # IFA_F_PERMANENT: not learnt, and not to expire
# IFA_F_* that are choices of whoever has set the address: nodad, homeaddress, mngtmpaddr, noprefixroute,
# mcautojoin. The others are the kernel's remarks.
_KEPT_FLAGS = 0x02 | 0x10 | 0x100 | 0x200 | 0x400


def fetch_library() -> Any:
    """Its module. First called before anything is done: importing it takes 0.3 s and may fail, and for it
    the launcher begins anew as the ordinary interpreter."""
    return thirdparty.load("pyroute2", "linux.netDevices")


def move(op: rareops.MoveNetDevice, netns: int) -> None:
    """Into the namespace that is open as `netns`. Raises PyruncError, and OSError from opening sockets."""
    pyroute2 = fetch_library()
    with pyroute2.IPRoute() as ours, _socket_in(netns, pyroute2) as theirs:
        try:
            _move(op, netns, ours, theirs)
        except pyroute2.NetlinkError as error:
            raise PyruncError.from_errno(error.code, op.describe(), op.origin) from error


def _socket_in(netns: int, pyroute2: Any) -> Any:
    """A netlink socket belongs for good to the namespace that its maker was in."""
    own = posix.open("/proc/thread-self/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        syscall.setns(netns, c.CLONE_NEWNET)
        try:
            return pyroute2.IPRoute()
        finally:
            syscall.setns(own, c.CLONE_NEWNET)
    finally:
        posix.close(own)


def _move(op: rareops.MoveNetDevice, netns: int, ours: Any, theirs: Any) -> None:
    """The name is looked at before anything is done: when the kernel finds it taken, the device has moved
    already. Addresses are lost on the way, and given again; MTU and hardware address stay."""
    index = ours.link_lookup(ifname=op.device)
    if not index:
        raise PyruncError(NOT_FOUND, op.describe(), op.origin, "there is no such network device")
    name = _free_name(op, {link.get_attr("IFLA_IFNAME") for link in theirs.get_links()})
    addresses = [
        item
        for item in ours.get_addr(index=index[0])
        if item["scope"] == _UNIVERSE and _flags(item) & _PERMANENT
    ]
    ours.link("set", index=index[0], ifname=name, net_ns_fd=netns)
    (moved,) = theirs.link_lookup(ifname=name)
    for item in addresses:
        _add_address(item, moved, theirs)
    theirs.link("set", index=moved, state="up")


def _free_name(op: rareops.MoveNetDevice, taken: set[str]) -> str:
    """`eth%d`: the first number that is free, as the kernel has it."""
    if "%d" not in op.name:
        if op.name in taken:
            raise PyruncError(CONFLICT, op.describe(), op.origin, "there is one of that name already")
        return op.name
    number = 0
    while op.name.replace("%d", str(number)) in taken:
        number += 1
    return op.name.replace("%d", str(number))


def _flags(address: Any) -> int:
    """All 32 of them, where the kernel tells them so."""
    flags = address.get_attr("IFA_FLAGS")
    return int(address["flags"] if flags is None else flags)


def _add_address(address: Any, index: int, theirs: Any) -> None:
    fields = {"prefixlen": address["prefixlen"], "family": address["family"], "scope": _UNIVERSE}
    for field, name in (("address", "IFA_ADDRESS"), ("local", "IFA_LOCAL"), ("broadcast", "IFA_BROADCAST")):
        value = address.get_attr(name)
        if value is not None:
            fields[field] = value
    flags = _flags(address) & _KEPT_FLAGS
    if flags:
        fields["IFA_FLAGS"] = flags
    theirs.addr("add", index=index, **fields)
