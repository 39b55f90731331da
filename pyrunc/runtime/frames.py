"""What a child says on its way, or the stub: the frames of child/channel.py, read. Nothing in them is trusted
to be whole."""

from __future__ import annotations

from pyrunc.child.channel import CALL_FAILED, CHILD_PID, HOOK_FAILED, STEP_FAILED


def decode_pid(frame: bytes) -> int | None:
    return int.from_bytes(frame[1:5], "little") if frame[:1] == CHILD_PID and len(frame) == 5 else None


def decode_failure(frame: bytes) -> tuple[bytes, int, int] | None:
    """(kind, step, errno) if the frame tells of a failure. The stub writes three words, its tag is one."""
    if frame[:1] == STEP_FAILED and len(frame) == 9:
        return STEP_FAILED, int.from_bytes(frame[1:5], "little"), int.from_bytes(frame[5:9], "little")
    if frame[:1] == CALL_FAILED and len(frame) == 12:
        return CALL_FAILED, int.from_bytes(frame[4:8], "little"), int.from_bytes(frame[8:12], "little")
    return None


def decode_hook_failure(frame: bytes) -> tuple[int, int, bool, bytes] | None:
    """(number of the hook, exit status, did it take too long, what it said)"""
    if frame[:1] != HOOK_FAILED or len(frame) < 10:
        return None
    number = int.from_bytes(frame[1:5], "little")
    return number, int.from_bytes(frame[5:9], "little", signed=True), bool(frame[9]), frame[10:]
