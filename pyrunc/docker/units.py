"""Docker's ways to show sizes and times, and to read them. Pure."""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_POWERS = "bkmgtp"
_DAYS_TO_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def human_size(size: float, digits: int = 4) -> str:
    """1.98MB: powers of 1000."""
    return _scaled(size, 1000.0, _DECIMAL, digits)


def binary_size(size: float, digits: int = 4) -> str:
    """1.891MiB: powers of 1024."""
    return _scaled(size, 1024.0, _BINARY, digits)


def _scaled(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    step = 0
    while size >= base and step < len(units) - 1:
        size /= base
        step += 1
    return f"{size:.{digits}g}{units[step]}"


def parse_bytes(text: str, what: str = "size") -> int:
    """Of "512m", "1.5g", "4096", "64KiB": powers of 1024. Raises PyruncError INVALID."""
    number = text.strip().lower()
    for ending in ("ib", "b"):
        if number.endswith(ending) and number[: -len(ending)][-1:] in _POWERS[1:]:
            number = number[: -len(ending)]
            break
    else:
        number = number.removesuffix("b")
    factor = 1
    if number[-1:] and number[-1] in _POWERS[1:]:
        factor = 1 << 10 * _POWERS.index(number[-1])
        number = number[:-1].strip()
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value * factor < 1 << 63:
        raise PyruncError(INVALID, f"invalid {what}: '{text}'")
    return int(value * factor)


def duration(seconds: float) -> str:
    """As "About an hour", or "3 days", as in "Up …" and "… ago"."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    for most, size, name in ((48, 1, "hours"), (24 * 14, 24, "days"), (24 * 60, 24 * 7, "weeks"),
                             (24 * 730, 24 * 30, "months")):  # fmt: skip
        if hours < most:
            return f"{hours // size} {name}"
    return f"{int(seconds / 3600) // 24 // 365} years"


def ago(begin: float, now: float) -> str:
    return f"{duration(max(now - begin, 0))} ago"


def epoch(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time; Go's year 1 is 0. Raises PyruncError INVALID."""
    try:
        day, _, clock = text.partition("T")
        year, month, date = (int(part) for part in day.split("-"))
        clock, offset = _take_offset(clock)
        hour, minute, second = (float(part) for part in [*clock.split(":"), "0", "0"][:3])
    except ValueError:
        raise PyruncError(INVALID, f"invalid time: {text}") from None
    if year < 1970:
        return 0.0
    past = year - 1
    days = 365 * (year - 1970) + past // 4 - past // 100 + past // 400 - 477 + _DAYS_TO_MONTH[month - 1]
    days += date - 1 + (month > 2 and ((year % 4 == 0 and year % 100 != 0) or year % 400 == 0))
    return days * 86400 + hour * 3600 + minute * 60 + second - offset


def _take_offset(clock: str) -> tuple[str, float]:
    """The clock without its zone, and the zone's seconds east."""
    if clock.endswith("Z"):
        return clock[:-1], 0.0
    for sign in "+-":
        time, found, zone = clock.rpartition(sign)
        if found:
            hours, _, minutes = zone.partition(":")
            return time, (int(hours) * 3600 + int(minutes or 0) * 60) * (1 if sign == "+" else -1)
    return clock, 0.0


def ellipsis(text: str, width: int) -> str:
    if width <= 0:
        return ""
    if len(text) <= width:
        return text
    return text[: width - 1] + "…" if width > 1 else text[:1]


def short_id(id: str) -> str:
    return id.partition(":")[2][:12] if id.startswith("sha256:") else id[:12]
