"""What to say when the stub failed after `ready`, when only `start` listens."""

from __future__ import annotations

from pyrunc.errors import INTERNAL, PyruncError
from pyrunc.plan.stub import STEP_EXECVE
from pyrunc.runtime.frames import decode_failure
from pyrunc.runtime.spawn import describe_execve


def late_failure(container_id: str, program: str, left: bytes) -> PyruncError:
    """`left`: what the fifo held in the end. That is what the stub told of a failure, of the execution of the
    program or of one of the few calls before it; or our own byte still, when it died before it read that."""
    failure = decode_failure(left.lstrip(b"\0"))
    if failure is None:
        return PyruncError(INTERNAL, "container process is already dead", container_id)
    _, step, code = failure
    if step == STEP_EXECVE:
        return describe_execve(program, code)
    return PyruncError.from_errno(code, f'unable to start "{program}": load seccomp filter', "/linux/seccomp")
