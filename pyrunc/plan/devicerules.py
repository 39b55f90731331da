"""`linux.resources.devices`: what the ordered list means, and its form on cgroup v1.

Each rule decides about the devices and kinds of access that it names, a later one overrides an earlier
one, and what no rule names is denied, as in runc. `devicebpf` has the form on cgroup v2.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.oci.config import DeviceRule
from pyrunc.plan.makeops import WriteCgroup
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MKNOD, READ, WRITE = 1, 2, 4  # as in linux/bpf.h (BPF_DEVCG_ACC_*)
EVERY_ACCESS = MKNOD | READ | WRITE
_ACCESS = {"m": MKNOD, "r": READ, "w": WRITE}
_TYPES = {"a": ("b", "c"), "b": ("b",), "c": ("c",), "u": ("c",)}
_POINTER = "/linux/resources/devices"
_LARGEST_NUMBER = (1 << 31) - 1


class Rule(Record):
    """One rule as the kernel takes it: `type` is b or c, `access` a set of bits, None means every number."""

    allow: bool
    type: str
    major: int | None
    minor: int | None
    access: int
    origin: str = _POINTER

    def covers(self, other: Rule) -> bool:
        """Is every device that `other` names one that we name?"""
        return (
            self.type == other.type
            and (self.major is None or self.major == other.major)
            and (self.minor is None or self.minor == other.minor)
        )

    def overlaps(self, other: Rule) -> bool:
        return (
            self.type == other.type
            and (self.major is None or other.major is None or self.major == other.major)
            and (self.minor is None or other.minor is None or self.minor == other.minor)
        )

    def __str__(self) -> str:
        letters = "".join(letter for letter in "rwm" if self.access & _ACCESS[letter])
        major, minor = ("*" if number is None else str(number) for number in (self.major, self.minor))
        return f"{self.type} {major}:{minor} {letters}"


# What any container may use, after and in spite of the rules of its configuration, as in runc: to make a
# device node is no access to the device. null zero full tty random urandom, pseudo terminals, tun.
DEFAULT_RULES = (
    Rule(allow=True, type="c", major=None, minor=None, access=MKNOD),
    Rule(allow=True, type="b", major=None, minor=None, access=MKNOD),
    *(
        Rule(allow=True, type="c", major=major, minor=minor, access=EVERY_ACCESS)
        for major, minor in (
            (1, 3), (1, 5), (1, 7), (5, 0), (1, 8), (1, 9), (136, None), (5, 2), (10, 200),
        )
    ),
)  # fmt: skip


def effective_rules(given: Iterable[DeviceRule]) -> tuple[bool, tuple[Rule, ...]]:
    """(is everything allowed to begin with, the rules after that in order), the default ones included."""
    allows_all = False
    rules: list[Rule] = []
    for item in given:
        access = _parse_access(item)
        for number in (item.major, item.minor):
            if number is not None and not 0 <= number <= _LARGEST_NUMBER:
                raise _invalid(item.origin, f"{number} is not a device number")
        types = _TYPES.get(item.type)
        if types is None:
            raise _invalid(item.origin, f"there are no rules for devices of type {item.type!r}")
        if item.type == "a" and item.major is None and item.minor is None and access == EVERY_ACCESS:
            allows_all = item.allow
            rules.clear()
            continue
        rules += [
            Rule(
                allow=item.allow,
                type=letter,
                major=item.major,
                minor=item.minor,
                access=access,
                origin=item.origin,
            )
            for letter in types
        ]
    if allows_all and all(rule.allow for rule in rules):
        return True, ()
    return allows_all, (*rules, *DEFAULT_RULES)


def _parse_access(item: DeviceRule) -> int:
    access = 0
    for letter in item.access:
        if letter not in _ACCESS:
            raise _invalid(item.origin, f"{item.access!r} is not a set of r, w and m")
        access |= _ACCESS[letter]
    return access


def _invalid(pointer: str, why: str) -> PyruncError:
    return PyruncError(INVALID, "invalid device rule", pointer or _POINTER, why)


def plan_device_writes(allows_all: bool, rules: tuple[Rule, ...], directory: str) -> tuple[WriteCgroup, ...]:
    """The v1 form. The kernel keeps a default and a set of exceptions to it; it ignores a removal that is
    not exactly one of these. So we work out the set, and write that."""
    exceptions: dict[tuple[str, int | None, int | None], Rule] = {}
    for rule in rules:
        if rule.allow == allows_all:
            _remove(exceptions, rule)
        else:
            _add(exceptions, rule)
    everything, some = ("devices.allow", "devices.deny") if allows_all else ("devices.deny", "devices.allow")
    first = WriteCgroup(path=f"{directory}/{everything}", value="a", origin=_POINTER)
    if not exceptions:
        return (first,)
    lines = "\n".join(str(rule) for rule in exceptions.values())
    return first, WriteCgroup(path=f"{directory}/{some}", value=lines, origin=_POINTER)


def _add(exceptions: dict[tuple[str, int | None, int | None], Rule], rule: Rule) -> None:
    key = (rule.type, rule.major, rule.minor)
    if key in exceptions:
        rule = _with_access(rule, rule.access | exceptions[key].access)
    if rule.access:
        exceptions[key] = rule


def _remove(exceptions: dict[tuple[str, int | None, int | None], Rule], rule: Rule) -> None:
    for key, exception in tuple(exceptions.items()):
        if not rule.overlaps(exception) or not rule.access & exception.access:
            continue
        if not rule.covers(exception):
            why = f'"{rule}" is a part of "{exception}" before it, which cgroup v1 cannot express'
            raise _invalid(rule.origin, why)
        rest = exception.access & ~rule.access
        if rest:
            exceptions[key] = _with_access(exception, rest)
        else:
            del exceptions[key]


def _with_access(rule: Rule, access: int) -> Rule:
    return Rule(
        allow=rule.allow,
        type=rule.type,
        major=rule.major,
        minor=rule.minor,
        access=access,
        origin=rule.origin,
    )
