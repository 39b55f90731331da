"""Docker's rules for words, which are not runc's: options as data from pyrunc.options, parsed as by pflag.

- `--name value`, `--name=value`; short ones may be bundled, and the last may have its value at once:
  `-itp8080:80`, `-e=A=1`;
- a switch takes a value by `=` alone;
- options may follow operands, but in a command that `stops_at_operand` (run, exec), whose words after its
  first operand are another program's;
- `--` ends the options.

The sentences are Docker's, which scripts have been written against.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.options import (
    DURATION,
    NUMBER,
    NUMBERS,
    SWITCH,
    TEXT,
    TEXTS,
    Command,
    Flag,
    HelpWanted,
    parse_duration,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

REAL = "real"  # a number with a fraction
PROGRAM = "pyr"
_FLAG_CODE, _OPERAND_CODE = 125, 1

_EMPTY: dict[str, Any] = {
    SWITCH: False, TEXT: "", NUMBER: 0, DURATION: 0.0, TEXTS: (), NUMBERS: (), REAL: 0.0,
}  # fmt: skip
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


class Misused(PyruncError):
    """The words do not fit. `unknown`: the one that may have been meant to be another."""

    def __init__(self, what: str, code: int = _FLAG_CODE, unknown: str = "", hint: str = "") -> None:
        super().__init__(INVALID, what, hint=hint)
        self.code, self.unknown = code, unknown


class Verb(Command):
    """`usage`: what follows the name in help; `least`, `most`: how many operands (`most` -1: any number)."""

    usage: str = ""
    least: int = 0
    most: int = 0

    def parse(self, words: list[str]) -> dict[str, Any]:
        """Every flag by its name, given or not; operands as `words`; names of flags that were given as
        `given`. Raises Misused or HelpWanted."""
        given: dict[str, Any] = {"given": set()}
        for flag in self.flags:
            given[flag.name] = _EMPTY[flag.kind] if flag.default is None else flag.default
        given["words"] = rest = self._take_flags(list(words), given)
        if len(rest) < self.least or (self.most >= 0 and len(rest) > self.most):
            raise Misused(f"'{PROGRAM} {self.name}' {self._wanted()}", code=_OPERAND_CODE)
        return given

    def _wanted(self) -> str:
        plural = "" if max(self.least, self.most) == 1 else "s"
        if self.most == 0:
            return "accepts no arguments"
        if self.least == self.most:
            return f"requires {self.least} argument{plural}"
        if self.most < 0:
            return f"requires at least {self.least} argument{'' if self.least == 1 else 's'}"
        if self.least == 0:
            return f"requires at most {self.most} argument{plural}"
        return f"requires at least {self.least} and at most {self.most} arguments"

    def _take_flags(self, words: list[str], given: dict[str, Any]) -> list[str]:
        rest: list[str] = []
        words.reverse()
        while words:
            word = words.pop()
            if word == "--":
                return rest + words[::-1]
            if len(word) < 2 or word[0] != "-":
                rest.append(word)
                if self.stops_at_operand:
                    return rest + words[::-1]
            elif word[1] == "-":
                self._take_long(word, words, given)
            else:
                self._take_short(word, words, given)
        return rest

    def _take_long(self, word: str, words: list[str], given: dict[str, Any]) -> None:
        name, equals, value = word[2:].partition("=")
        flag = next((flag for flag in self.flags if flag.name == name), None)
        if flag is None:
            if name == "help":
                raise HelpWanted
            raise Misused(f"unknown flag: --{name}", unknown=f"--{name}")
        if flag.kind == SWITCH:
            value = value if equals else "true"
        elif not equals:
            if not words:
                raise Misused(f"flag needs an argument: --{name}")
            value = words.pop()
        self._give(flag, value, given)

    def _take_short(self, word: str, words: list[str], given: dict[str, Any]) -> None:
        rest = word[1:]
        while rest:
            letter, rest = rest[0], rest[1:]
            flag = next((flag for flag in self.flags if flag.short == letter), None)
            if flag is None:
                if letter == "h":
                    raise HelpWanted
                raise Misused(f"unknown shorthand flag: '{letter}' in -{letter}{rest}", unknown=word)
            if flag.kind == SWITCH:
                value = "true"
                if rest[:1] == "=":
                    value, rest = rest[1:], ""
            elif rest:
                value, rest = rest.removeprefix("="), ""
            elif words:
                value = words.pop()
            else:
                raise Misused(f"flag needs an argument: '{letter}' in {word}")
            self._give(flag, value, given)

    def _give(self, flag: Flag, value: str, given: dict[str, Any]) -> None:
        try:
            made = _CONVERT[flag.kind](value)
        except (ValueError, KeyError):
            self.refuse_value(flag.name, value, "invalid syntax")
        given["given"].add(flag.name)
        if flag.kind in (TEXTS, NUMBERS):
            given[flag.name] += (made,)
        else:
            given[flag.name] = made

    def refuse_value(self, name: str, value: str, why: str) -> NoReturn:
        """Raises Misused, as pflag says it."""
        flag = next(flag for flag in self.flags if flag.name == name)
        short = f"-{flag.short}, " if flag.short else ""
        raise Misused(f'invalid argument "{value}" for "{short}--{name}" flag: {why}')


def _number(text: str) -> int:
    return int(text, 0)


_CONVERT: dict[str, Any] = {
    SWITCH: _BOOLEANS.__getitem__, TEXT: str, TEXTS: str, NUMBER: _number, NUMBERS: _number,
    DURATION: parse_duration, REAL: float,
}  # fmt: skip
