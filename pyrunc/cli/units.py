"""Limits as words of a command line -> a resources object of the runtime specification."""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NUMBER, BYTES, WORDS = "a number", "a number of bytes", "words"
_MULTIPLES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


class Field(Record):
    """One option of `update`. `place`: object and member in the resources object."""

    flag: str
    place: tuple[str, str]
    summary: str
    kind: str = NUMBER
    hidden: bool = False

    @property
    def placeholder(self) -> str:
        return {NUMBER: "N", BYTES: "BYTES", WORDS: "LIST"}[self.kind]


FIELDS = (
    Field(flag="blkio-weight", place=("blockIO", "weight"), summary="Share of block I/O, 10 to 1000."),
    Field(flag="cpu-period", place=("cpu", "period"), summary="Length of a CPU period, in microseconds."),
    Field(flag="cpu-quota", place=("cpu", "quota"), summary="CPU time in a period, in microseconds."),
    Field(flag="cpu-burst", place=("cpu", "burst"), summary="Unused quota that may be saved up."),
    Field(flag="cpu-share", place=("cpu", "shares"), summary="Share of CPU time against other containers."),
    Field(flag="cpu-rt-period", place=("cpu", "realtimePeriod"), summary="The same for realtime processes."),
    Field(flag="cpu-rt-runtime", place=("cpu", "realtimeRuntime"), summary="Realtime CPU time in a period."),
    Field(flag="cpu-idle", place=("cpu", "idle"), summary="1: run only when no one else would."),
    Field(flag="cpuset-cpus", place=("cpu", "cpus"), kind=WORDS, summary="CPUs to use, as 0-3,7."),
    Field(flag="cpuset-mems", place=("cpu", "mems"), kind=WORDS, summary="Memory nodes to use, as 0,1."),
    Field(flag="memory", place=("memory", "limit"), kind=BYTES, summary="Memory limit."),
    Field(flag="memory-reservation", place=("memory", "reservation"), kind=BYTES, summary="Soft limit."),
    Field(flag="memory-swap", place=("memory", "swap"), kind=BYTES, summary="Limit of both, in sum."),
    Field(flag="kernel-memory", place=("memory", "kernel"), kind=BYTES, hidden=True, summary="-"),
    Field(flag="kernel-memory-tcp", place=("memory", "kernelTCP"), kind=BYTES, hidden=True, summary="-"),
    Field(flag="pids-limit", place=("pids", "limit"), summary="Number of processes and threads."),
)


def document_of(given: dict[str, Any]) -> dict[str, Any]:
    """Only what was given: what is absent stays as it is."""
    document: dict[str, Any] = {}
    for field in FIELDS:
        if given[field.flag]:
            section, member = field.place
            document.setdefault(section, {})[member] = _value(field, given[field.flag])
    return document


def _value(field: Field, text: str) -> int | str:
    if field.kind == WORDS:
        return text
    try:
        return parse_bytes(text) if field.kind == BYTES else int(text)
    except ValueError:
        why = f"{text!r} is not {field.kind}"
        raise PyruncError(INVALID, f"invalid value for {field.flag}", why=why) from None


def parse_bytes(text: str) -> int:
    """ "64m", "1.5GiB", "4096", "-1" (no limit). A multiple is of 1024 however it is spelled, as for Docker.

    Raises ValueError.
    """
    if text == "-1":
        return -1
    number = text.rstrip("bBiIkKmMgGtTpP ")
    unit = text[len(number) :].strip().lower()
    if unit not in _MULTIPLES:
        unit = unit.removesuffix("ib") if unit.endswith("ib") else unit.removesuffix("b")
    if not number or unit not in _MULTIPLES or number.strip("0123456789."):
        raise ValueError(text)
    return int(float(number) * _MULTIPLES[unit]) if "." in number else int(number) * _MULTIPLES[unit]
