"""Times as Docker words them for people, in the `Status` of a container."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY, _WEEK, _MONTH, _YEAR = 60, 3600, 86400, 604800, 2592000, 31536000


def duration(seconds: float) -> str:
    """ "5 seconds", "About an hour", "3 weeks"."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < _MINUTE:
        return f"{whole} seconds"
    if whole < 2 * _MINUTE:
        return "About a minute"
    if whole < _HOUR:
        return f"{whole // _MINUTE} minutes"
    if round(seconds / _HOUR) == 1:
        return "About an hour"
    for unit, word, until in (
        (_HOUR, "hours", 2 * _DAY),
        (_DAY, "days", 2 * _WEEK),
        (_WEEK, "weeks", 2 * _MONTH),
        (_MONTH, "months", 2 * _YEAR),
    ):
        if seconds < until:
            return f"{whole // unit} {word}"
    return f"{whole // _YEAR} years"
