"""The frames between parent and child, over a SOCK_SEQPACKET pair. Sans-I/O: bytes to values and back.

parent                                child (then the stub)
  | <-- C pid ------------------------- stage: the init's pid, if there is a stage
  | --- U ---------------------------> | in cgroup: systemd has made the unit, with the init in it
  | --- M ---------------------------> | mapped: the id maps are written
  | <-- P ---------------------------- | prepared: namespaces, mounts and devices are there
  | --- H state ---------------------> | hooks run, on the host side; with the state, in a memfd
  | <-- N ---------------------------- | filtered: the seccomp program is loaded and has a listener
  | --- G ---------------------------> | go: the agent has it
  | <-- R ---------------------------- | ready: the stub has its credentials and waits
  | --- G ---------------------------> | go, where no fifo is: limits are set (exec)
  | <-- E step errno, or S call errno  | failed: a step of the child, or a call of the stub
  | <-- F hook status how words ------ | failed: a createContainer hook, with what it said
  | <-- (closed)                       | executed, or gone
"""

from __future__ import annotations

POINTS = {
    "in cgroup": b"U", "mapped": b"M", "prepared": b"P", "hooks run": b"H", "filtered": b"N", "ready": b"R",
    "go": b"G",
}  # fmt: skip
STEP_FAILED, CALL_FAILED, CHILD_PID, HOOK_FAILED = b"E", b"S", b"C", b"F"


def encode_failure(step: int, code: int) -> bytes:
    return STEP_FAILED + step.to_bytes(4, "little") + code.to_bytes(4, "little")


def encode_pid(pid: int) -> bytes:
    return CHILD_PID + pid.to_bytes(4, "little")


def decode_pid(frame: bytes) -> int | None:
    return int.from_bytes(frame[1:5], "little") if frame[:1] == CHILD_PID and len(frame) == 5 else None


def decode_failure(frame: bytes) -> tuple[bytes, int, int] | None:
    """(kind, step, errno) if the frame tells of a failure. The stub writes three words, its tag is one."""
    if frame[:1] == STEP_FAILED and len(frame) == 9:
        return STEP_FAILED, int.from_bytes(frame[1:5], "little"), int.from_bytes(frame[5:9], "little")
    if frame[:1] == CALL_FAILED and len(frame) == 12:
        return CALL_FAILED, int.from_bytes(frame[4:8], "little"), int.from_bytes(frame[8:12], "little")
    return None


def encode_hook_failure(number: int, status: int, timed_out: bool, words: bytes) -> bytes:
    head = number.to_bytes(4, "little") + status.to_bytes(4, "little", signed=True)
    return HOOK_FAILED + head + bytes([timed_out]) + words


def decode_hook_failure(frame: bytes) -> tuple[int, int, bool, bytes] | None:
    """(number of the hook, exit status, did it take too long, what it said)"""
    if frame[:1] != HOOK_FAILED or len(frame) < 10:
        return None
    number = int.from_bytes(frame[1:5], "little")
    return number, int.from_bytes(frame[5:9], "little", signed=True), bool(frame[9]), frame[10:]
