"""The frames between parent and child, over a SOCK_SEQPACKET pair. Sans-I/O; how the parent reads them is in
runtime.frames.

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


def encode_hook_failure(number: int, status: int, timed_out: bool, words: bytes) -> bytes:
    head = number.to_bytes(4, "little") + status.to_bytes(4, "little", signed=True)
    return HOOK_FAILED + head + bytes([timed_out]) + words
