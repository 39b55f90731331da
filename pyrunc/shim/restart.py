"""Whether, and when, a container that has ended is started again. Pure; Docker's rules."""

from __future__ import annotations

from pyrunc.shim.settings import ALWAYS, ON_FAILURE, UNLESS_STOPPED, RestartPolicy

_FIRST_SECONDS, _LONGEST_SECONDS = 0.1, 60.0
_LONG_LIFE_SECONDS = 10.0


def next_delay(before_seconds: float, lived_seconds: float) -> float:
    """How long to wait, when the wait before this one was `before_seconds` (0: there was none): twice as long
    each time, up to a minute; from the beginning again once it lived for ten seconds."""
    if not before_seconds or lived_seconds >= _LONG_LIFE_SECONDS:
        return _FIRST_SECONDS
    return min(2 * before_seconds, _LONGEST_SECONDS)


def is_due(policy: RestartPolicy, *, exit_code: int, restarts: int, stopped_by_hand: bool) -> bool:
    """`restarts`: how many there were since somebody started it by hand."""
    if stopped_by_hand:
        return False
    if policy.name == ON_FAILURE:
        is_used_up = policy.maximum_retries and restarts >= policy.maximum_retries
        return exit_code != 0 and not is_used_up
    return policy.name in (ALWAYS, UNLESS_STOPPED)
