"""Command lines as data, and the parser for them.

Importing click costs 26 ms, which no lifecycle verb may pay: it draws help and completion from the same
tables (cli.face). What is parsed here follows the rules, and in errors the words, of runc's parser, for
those are what engines were written against:

- a long option has one or two dashes, and its value follows as a word or after `=`;
- a switch takes a value by `=` alone: `--tty=false`;
- short options are not bundled: `-fq` is the unknown option `fq`;
- options may follow operands, where a word that is no option of ours is one more operand (`kill ID -9`);
  a command that `stops_at_operand` takes all words after its first operand as they are (`exec ID ls -l`);
- `--` ends the options.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

SWITCH, TEXT, NUMBER, DURATION = "switch", "text", "number", "duration"
TEXTS, NUMBERS = "texts", "numbers"  # may be given many times; values add up


class UsageError(PyruncError):
    """The words do not fit the command, whose help is shown beside the error. `unknown`: the word that may
    have been meant to be another: an option, or a command."""

    def __init__(self, what: str, unknown: str = "", is_unknown_command: bool = False) -> None:
        super().__init__(INVALID, what)
        self.unknown, self.is_unknown_command = unknown, is_unknown_command


class HelpWanted(Exception):
    """`--help` was among the words."""


class Flag(Record):
    """An option. `placeholder`: what its value is called in help; `choices`: shown and completed, while
    the command itself refuses others, in its own words."""

    name: str
    summary: str
    kind: str = SWITCH
    short: str = ""
    default: Any = None
    placeholder: str = ""
    choices: tuple[str, ...] = ()
    hidden: bool = False


class Operand(Record):
    """A word by its place. One that is not required has `default`; `many`: the rest of the words;
    `completes`: what a shell may offer here: container, command, shell or file."""

    name: str
    required: bool = True
    many: bool = False
    default: str = ""
    completes: str = ""


class Command(Record):
    """`failure`: put before the sentence of each error that is not about usage, as runc does.
    `takes_anything`: no word is an option, not even --help."""

    name: str
    summary: str
    description: str = ""
    examples: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    operands: tuple[Operand, ...] = ()
    stops_at_operand: bool = False
    takes_anything: bool = False
    failure: str = ""
    failure_code: int = 1
    hidden: bool = False

    def parse(self, words: list[str]) -> dict[str, Any]:
        """Every flag and operand by its name, given or not. Raises UsageError or HelpWanted."""
        given = {
            flag.name: _EMPTY[flag.kind] if flag.default is None else flag.default for flag in self.flags
        }
        rest = list(words) if self.takes_anything else self._take_flags(words, given)
        self._take_operands(rest, given)
        return given

    def _take_flags(self, words: list[str], given: dict[str, Any]) -> list[str]:
        """Fill `given`; what is left over are the operands."""
        names = {name: flag for flag in self.flags for name in (flag.name, flag.short) if name}
        rest: list[str] = []
        position = 0
        while position < len(words):
            word = words[position]
            position += 1
            if word == "--":
                return rest + words[position:]
            if len(word) < 2 or word[0] != "-":
                rest.append(word)
                if self.stops_at_operand:
                    return rest + words[position:]
                continue
            name, equals, value = word[2 if word[1] == "-" else 1 :].partition("=")
            flag = names.get(name)
            if flag is None:
                if name in ("help", "h"):
                    raise HelpWanted
                if rest:
                    rest.append(word)
                    continue
                self._refuse(word, name)
            elif flag.kind != SWITCH and not equals:
                if position == len(words):
                    raise UsageError(f"flag needs an argument: -{name}")
                value = words[position]
                position += 1
            self._set(flag, name, value, bool(equals), given)
        return rest

    def _refuse(self, word: str, name: str) -> NoReturn:
        if not name or name[0] == "-":
            raise UsageError(f"bad flag syntax: {word}")
        raise UsageError(f"flag provided but not defined: -{name}", unknown=name)

    def _set(self, flag: Any, name: str, value: str, has_equals: bool, given: dict[str, Any]) -> None:
        try:
            if flag.kind == SWITCH:
                given[flag.name] = _BOOLEANS[value] if has_equals else True
            elif flag.kind == TEXT:
                given[flag.name] = value
            elif flag.kind == TEXTS:
                given[flag.name] += (value,)
            elif flag.kind == NUMBERS:
                given[flag.name] += (_number(value),)
            else:
                given[flag.name] = _number(value) if flag.kind == NUMBER else parse_duration(value)
        except (ValueError, KeyError):
            kind = f'boolean value "{value}" for' if flag.kind == SWITCH else f'value "{value}" for flag'
            raise UsageError(f"invalid {kind} -{name}: parse error") from None

    def _take_operands(self, rest: list[str], given: dict[str, Any]) -> None:
        needed = sum(operand.required for operand in self.operands)
        takes_many = bool(self.operands) and self.operands[-1].many
        if not takes_many and needed == len(self.operands) != len(rest):
            raise self._wrong_number(f"exactly {needed}")
        if len(rest) < needed:
            raise self._wrong_number(f"a minimum of {needed}")
        if not takes_many and len(rest) > len(self.operands):
            raise self._wrong_number(f"a maximum of {len(self.operands)}")
        for position, operand in enumerate(self.operands):
            if operand.many:
                given[operand.name] = rest[position:]
            else:
                given[operand.name] = rest[position] if position < len(rest) else operand.default

    def _wrong_number(self, wanted: str) -> UsageError:
        return UsageError(f'pyrunc: "{self.name}" requires {wanted} argument(s)')


_EMPTY: dict[str, Any] = {SWITCH: False, TEXT: "", NUMBER: 0, DURATION: 0.0, TEXTS: (), NUMBERS: ()}
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def _number(text: str) -> int:
    """As Go reads an int flag: decimal, 0x, 0o, 0b, and octal with a bare 0."""
    if not text.isascii() or text.strip() != text:
        raise ValueError(text)
    digits = text.lstrip("+-")
    return int(text, 8 if digits[:1] == "0" and digits.isdigit() else 0)


def parse_duration(text: str) -> float:
    """Go's spelling of a time span, in seconds: "5s", "1m30s", "1.5h", "-200ms". A bare 0 needs no unit.

    Raises ValueError.
    """
    rest = text.lstrip("+-")
    if len(text) - len(rest) > 1 or not rest:
        raise ValueError(text)
    if rest == "0":
        return 0.0
    total = 0.0
    while rest:
        unit_begin = len(rest) - len(rest.lstrip("0123456789."))
        after = rest[unit_begin:]
        unit = after[: len(after) - len(after.lstrip("hmsunµ"))]
        if unit not in _SECONDS:
            raise ValueError(text)
        total += float(rest[:unit_begin]) * _SECONDS[unit]
        rest = after[len(unit) :]
    return -total if text[0] == "-" else total
