"""What to say when the stub failed after `ready`, when only `start` listens."""

from __future__ import annotations

from pyrunc.errors import PyruncError
from pyrunc.plan.stub import STEP_EXECVE
from pyrunc.runtime.spawn import describe_execve


def late_failure(program: str, step: int, code: int) -> PyruncError:
    """`step` as the stub told it: the execution of the program, or one of the few calls before it."""
    if step == STEP_EXECVE:
        return describe_execve(program, code)
    return PyruncError.from_errno(code, f'unable to start "{program}": load seccomp filter', "/linux/seccomp")
