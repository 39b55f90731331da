"""plan: what `run` would do with a bundle, as text, a line per operation. Nothing is touched."""

from __future__ import annotations

from pyrunc.plan.ops import Op
from pyrunc.plan.stub import FilterProgram, Scratch, StubCall, Text, Texts
from pyrunc.runtime.create import CreateRequest, plan


def describe(bundle: str) -> list[str]:
    """Raises PyruncError for a bundle that can't be planned."""
    planned = plan(CreateRequest(id="ID", bundle=bundle, state_root="/run/pyrunc"))
    launch = planned.launch
    lines = ["prepare (host, before the clone):", *_ops(launch.prepare)]
    lines.append(f"clone3: flags {launch.clone_flags:#x}")
    if launch.stage:
        lines += ["stage (a process between):", *_ops(launch.stage)]
    lines += ["attach (host, beside the child):", *_ops(launch.attach)]
    lines += ["child (in the container, before exec):", *_ops(launch.child)]
    lines += ["stub (with the container's credentials):", *(_call(call) for call in launch.calls)]
    lines.append(f"  execve {launch.program}")
    return lines


def _ops(ops: tuple[Op, ...]) -> list[str]:
    return [f"  {_name(op)}: {op.describe()}{_origin(op.origin)}" for op in ops]


def _name(op: Op) -> str:
    return type(op).__name__


def _origin(origin: str) -> str:
    return f"  [{origin}]" if origin else ""


def _call(call: StubCall) -> str:
    arguments = ", ".join(_argument(item) for item in call.args)
    return f"  {call.call}({arguments}){' or go on' if call.ignore else ''}{_origin(call.origin)}"


def _argument(item: int | Text | Texts | FilterProgram | Scratch) -> str:
    if isinstance(item, int):
        return str(item) if -1024 < item < 1024 else hex(item)
    if isinstance(item, FilterProgram):
        return f"<{len(item.instructions) // 8} instructions>"
    return "<data>"
