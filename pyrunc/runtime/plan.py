"""plan: what `run` would do with a bundle, as text, a line per operation. Nothing is touched."""

from __future__ import annotations

from pyrunc.kernel import const
from pyrunc.oci.config import CAPABILITIES
from pyrunc.plan.ops import Op
from pyrunc.plan.stub import FilterProgram, Result, Scratch, StubCall, Text, Texts
from pyrunc.runtime.create import CreateRequest, plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# field of an operation -> how the constants begin whose bits it holds
_BIT_FIELDS = {
    "MountFilesystem": {"flags": "MS_"},
    "AttachRoot": {"propagation": "MS_"},
    "SetPropagation": {"flags": "MS_"},
    "OpenTree": {"set_flags": "MOUNT_ATTR_", "clear_flags": "MOUNT_ATTR_", "propagation": "MS_"},
    "SetTreeFlags": {"set_flags": "MOUNT_ATTR_", "clear_flags": "MOUNT_ATTR_"},
    "JoinNamespace": {"flags": "CLONE_NEW"},
    "Unshare": {"flags": "CLONE_NEW"},
}
_CAPABILITY_CALLS = {
    const.PR_CAPBSET_DROP: "drop from the bounding set:",
    const.PR_CAP_AMBIENT: "raise in the ambient set, where possible:",
}
_SINGLE_CALLS = {
    const.PR_SET_KEEPCAPS: "PR_SET_KEEPCAPS",
    const.PR_SET_NO_NEW_PRIVS: "PR_SET_NO_NEW_PRIVS",
}


def describe(bundle: str) -> list[str]:
    """Raises PyruncError for a bundle that can't be planned."""
    planned = plan(CreateRequest(id="ID", bundle=bundle, state_root="/run/pyrunc"))
    launch = planned.launch
    lines = ["prepare (host, before the clone):", *_ops(launch.prepare)]
    lines.append(f"clone3: {_bits(launch.clone_flags, 'CLONE_NEW')}")
    if launch.stage:
        lines += ["stage (a process between):", *_ops(launch.stage)]
    lines += ["attach (host, beside the child):", *_ops(launch.attach)]
    lines += ["child (in the container, before exec):", *_ops(launch.child)]
    lines += ["stub (with what the container's credentials become):", *_calls(launch.calls)]
    lines.append(f"  execve {launch.program}")
    return lines


def _ops(ops: tuple[Op, ...]) -> list[str]:
    return [f"  {type(op).__name__}: {op.describe()}{_details(op)}{_origin(op.origin)}" for op in ops]


def _details(op: Op) -> str:
    """What bits and data say, by the names of the manual pages."""
    parts = []
    for field, prefix in _BIT_FIELDS.get(type(op).__name__, {}).items():
        value = getattr(op, field)
        if value:
            parts.append(f"{field} {_bits(value, prefix)}")
    data = getattr(op, "data", "") or ",".join(getattr(op, "options", ()))
    if data:
        parts.append(f"data {data}")
    return f" ({'; '.join(parts)})" if parts else ""


def _bits(value: int, prefix: str) -> str:
    names = [
        name
        for name, bit in vars(const).items()
        if name.startswith(prefix) and isinstance(bit, int) and bit & (bit - 1) == 0 and bit & value
    ]
    return "|".join(names) or str(value)


def _origin(origin: str) -> str:
    return f"  [{origin}]" if origin else ""


def _calls(calls: tuple[StubCall, ...]) -> Iterator[str]:
    """Calls that differ in a capability alone are one line."""
    names: list[str] = []
    for call, following in zip(calls, (*calls[1:], None), strict=True):
        kind = _capability_kind(call)
        if kind is None:
            yield f"  {_call(call)}{_origin(call.origin)}"
            continue
        names.append(CAPABILITIES[_last_number(call)] if _last_number(call) < len(CAPABILITIES) else "?")
        if following is None or _capability_kind(following) != kind:
            yield f"  prctl: {_CAPABILITY_CALLS[kind]} {' '.join(names)}{_origin(call.origin)}"
            names = []


def _capability_kind(call: StubCall) -> int | None:
    """PR_CAPBSET_DROP or PR_CAP_AMBIENT (raise) if that is what the call does."""
    first = call.args[0] if call.call == "prctl" else None
    if first == const.PR_CAPBSET_DROP or (first == const.PR_CAP_AMBIENT and len(call.args) == 3):
        return int(first)  # type: ignore[arg-type]  # a number, since it equals one
    return None


def _last_number(call: StubCall) -> int:
    last = call.args[-1]
    return last if isinstance(last, int) else 0


def _call(call: StubCall) -> str:
    arguments = [_argument(item) for item in call.args]
    if call.call == "prctl" and isinstance(call.args[0], int):
        arguments[0] = _SINGLE_CALLS.get(call.args[0], arguments[0])
        if call.args[0] == const.PR_CAP_AMBIENT:
            arguments = ["PR_CAP_AMBIENT", "PR_CAP_AMBIENT_CLEAR_ALL"]
    return f"{call.call}({', '.join(arguments)}){' or go on' if call.ignore else ''}"


def _argument(item: int | Text | Texts | FilterProgram | Scratch | Result) -> str:
    if isinstance(item, int):
        return str(item) if -1024 < item < 1024 else hex(item)
    if isinstance(item, FilterProgram):
        return f"<{len(item.instructions) // 8} instructions>"
    return "<result>" if isinstance(item, Result) else "<data>"
