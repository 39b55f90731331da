"""Signal names and numbers (signal(7)), without the 4 ms of the `signal` module."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

from pyrunc.errors import INVALID, PyruncError

NUMBERS: dict[str, int] = {
    name[3:]: int(number)
    for name, number in vars(_signal).items()
    if name.startswith("SIG") and "_" not in name and isinstance(number, int) and number > 0
}
NUMBERS.setdefault("CLD", NUMBERS["CHLD"])
NUMBERS.setdefault("POLL", NUMBERS["IO"])
_HIGHEST = 64


def parse_signal(text: str) -> int:
    """A number, or a name in any case with or without SIG. RTMIN+N and RTMAX-N too.

    Raises PyruncError INVALID with the sentence of runc.
    """
    if text.isascii() and text.isdigit():
        if 0 <= int(text) <= _HIGHEST:
            return int(text)
    else:
        name = text.upper().removeprefix("SIG")
        if name in NUMBERS:
            return NUMBERS[name]
        for base, sign in (("RTMIN+", 1), ("RTMAX-", -1)):
            if name.startswith(base) and name[len(base) :].isdigit():
                number = NUMBERS[base[:-1]] + sign * int(name[len(base) :])
                if NUMBERS["RTMIN"] <= number <= NUMBERS["RTMAX"]:
                    return number
    raise PyruncError(INVALID, f'unknown signal "{text}"')


def describe_signal(number: int) -> str:
    """strsignal(3), as Go words it: "killed", "segmentation fault"."""
    return (_signal.strsignal(number) or f"signal {number}").lower()


def send(pidfd: int, number: int) -> None:
    """pidfd_send_signal(2), Linux 5.1. Raises OSError."""
    _signal.pidfd_send_signal(pidfd, number)


def block(numbers: tuple[int, ...]) -> None:
    """They wait from here on: for a descriptor that they are read from, or until they are let through."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, numbers)


def unblock_all() -> None:
    """For a child of a process that has some blocked."""
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def reset_for_exec() -> None:
    """Before something else is executed: an ignored signal stays ignored across execve. CPython ignores
    SIGPIPE and SIGXFSZ, nohup(1) SIGHUP, and a shell SIGINT for what it starts in the background. What a
    program in a container does about a signal is no affair of our caller's. Nothing is blocked either."""
    for number in range(1, _HIGHEST + 1):
        if _signal.getsignal(number) == _signal.SIG_IGN:
            _signal.signal(number, _signal.SIG_DFL)
    unblock_all()
