"""`namespaces` and id mappings -> what to clone with, what to join, and who writes the maps."""

from __future__ import annotations

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.kernel import const as c
from pyrunc.later import later
from pyrunc.oci.config import IdMapping, Linux, Namespace
from pyrunc.plan.facts import HostFacts
from pyrunc.plan.makeops import OpenNamespace
from pyrunc.plan.ops import JoinNamespace, Op, Unshare
from pyrunc.plan.shared import KINDS
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.oci.rare import TimeOffset
    from pyrunc.plan import rareops
else:
    rareops = later("pyrunc.plan.rareops")

# A user namespace first, for the rights in it; the mount namespace last, for the paths before it.
_JOIN_ORDER = ("user", "pid", "time", "ipc", "uts", "network", "cgroup", "mount")


class NamespacePlan(Record):
    """`own`: types that the container gets for itself; `joined`: those joined by path.

    `clone_flags`: of the clone. `open`: descriptors of what is joined, taken before. `stage`: what a process
    between us and the init does first, because only its children are in those namespaces, or because it has
    rights that the init has not. `join`: the init's own steps. `after_cgroup`: once it is in its cgroup,
    whose root the cgroup namespace is to show. `map`: the host side's part.
    """

    own: tuple[str, ...]
    joined: tuple[str, ...]
    clone_flags: int
    open: tuple[Op, ...]
    stage: tuple[Op, ...]
    join: tuple[Op, ...]
    after_cgroup: tuple[Op, ...]
    map: tuple[Op, ...]

    def has(self, kind: str) -> bool:
        """Is it another one than ours?"""
        return kind in self.own or kind in self.joined


def plan_namespaces(linux: Linux, facts: HostFacts) -> NamespacePlan:
    """Raises PyruncError for what this kernel doesn't have, with the pointer of the entry."""
    by_type: dict[str, Namespace] = {}
    for namespace in linux.namespaces:
        if namespace.type not in KINDS:
            raise PyruncError(INVALID, "unknown namespace", f"{namespace.origin}/type", namespace.type)
        if namespace.type in by_type:
            raise PyruncError(INVALID, "malformed spec file: duplicated ns", namespace.origin, namespace.type)
        if KINDS[namespace.type][1] not in facts.namespaces:
            raise PyruncError(
                UNSUPPORTED, "namespace is not supported by this kernel", namespace.origin, namespace.type
            )
        by_type[namespace.type] = namespace
    own = tuple(kind for kind in _JOIN_ORDER if kind in by_type and not by_type[kind].path)
    joined = tuple(kind for kind in _JOIN_ORDER if kind in by_type and by_type[kind].path)
    opened = tuple(
        OpenNamespace(
            path=by_type[kind].path, flag=KINDS[kind][0], saves=f"ns/{kind}", origin=by_type[kind].origin
        )
        for kind in joined
    )
    joins = {
        kind: JoinNamespace(takes=f"ns/{kind}", flags=KINDS[kind][0], origin=by_type[kind].origin)
        for kind in joined
    }
    # In a user namespace of its own the init has no right to namespaces that are not owned by that one.
    early = _JOIN_ORDER[:-1] if "user" in own else ("user", "pid", "time")
    flags = 0
    for kind in own:
        if kind != "cgroup":
            flags |= KINDS[kind][0]
    in_stage = flags & (c.CLONE_NEWUSER | c.CLONE_NEWTIME) if linux.time_offsets else 0
    return NamespacePlan(
        own=own,
        joined=joined,
        clone_flags=flags & ~in_stage,
        open=opened,
        stage=(
            *(joins[kind] for kind in joined if kind in early),
            *_plan_clocks(linux.time_offsets, in_stage),
        ),
        join=tuple(joins[kind] for kind in joined if kind not in early),
        after_cgroup=(Unshare(flags=c.CLONE_NEWCGROUP, origin=by_type["cgroup"].origin),)
        if "cgroup" in own
        else (),
        map=_plan_maps(linux, facts) if "user" in own else (),
    )


def _plan_clocks(offsets: tuple[TimeOffset, ...], flags: int) -> tuple[Op, ...]:
    """A time namespace has offsets before it has a process: whoever makes it is not in it, but its children
    are. It belongs to the container's user namespace, which therefore is made first, in the same process."""
    if not offsets:
        return ()
    user = flags & c.CLONE_NEWUSER
    text = "".join(f"{item.clock} {item.seconds} {item.nanoseconds}\n" for item in offsets)
    return (
        *((Unshare(flags=user, origin="/linux/namespaces"),) if user else ()),
        Unshare(flags=c.CLONE_NEWTIME, origin="/linux/namespaces"),
        rareops.WriteTimeOffsets(text=text, origin="/linux/timeOffsets"),
    )


def _plan_maps(linux: Linux, facts: HostFacts) -> tuple[Op, ...]:
    """Who may not write a map of more than himself asks newuidmap(1), which reads /etc/subuid."""
    may_write = facts.is_privileged
    uid_map = rareops.WriteIdMap(
        file="uid_map",
        text=map_lines(linux.uid_mappings),
        helper="" if may_write or _is_own(linux.uid_mappings, facts.uid) else "newuidmap",
        origin="/linux/uidMappings",
    )
    gid_map = rareops.WriteIdMap(
        file="gid_map",
        text=map_lines(linux.gid_mappings),
        helper="" if may_write or _is_own(linux.gid_mappings, facts.gid) else "newgidmap",
        origin="/linux/gidMappings",
    )
    if may_write or gid_map.helper:
        return (gid_map, uid_map)
    return (rareops.DenySetgroups(origin="/linux/gidMappings"), gid_map, uid_map)


def _is_own(mappings: tuple[IdMapping, ...], number: int) -> bool:
    return len(mappings) == 1 and mappings[0].size == 1 and mappings[0].host_id == number


def map_lines(mappings: tuple[IdMapping, ...]) -> str:
    """As uid_map and gid_map take them (user_namespaces(7))."""
    return "".join(f"{item.container_id} {item.host_id} {item.size}\n" for item in mappings)
