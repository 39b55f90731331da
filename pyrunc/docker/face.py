"""Help and suggestions, drawn by click from the same tables that are parsed without it.

click never parses a call that is carried out.
"""

from __future__ import annotations

import difflib

from pyrunc.docker import main
from pyrunc.docker.output import emit
from pyrunc.docker.words import PROGRAM, REAL, Verb
from pyrunc.options import DURATION, NUMBER, NUMBERS, SWITCH, TEXT, TEXTS, Flag
from pyrunc.thirdparty import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import click
else:
    click = load("click", "help")

_SETTINGS: dict[str, Any] = {"max_content_width": 100, "help_option_names": ["--help"]}
_PLACEHOLDERS = {
    TEXT: "TEXT",
    TEXTS: "TEXT",
    NUMBER: "NUMBER",
    NUMBERS: "NUMBER",
    DURATION: "TIME",
    REAL: "NUMBER",
}


def show_help(words: list[str]) -> None:
    """Of a command, of a group's commands, or of the program. Raises Misused for what there is not."""
    if not words:
        emit(_of_program())
    elif words[0] in main.GROUPS and len(words) == 1:
        emit(_of_group(words[0]))
    else:
        name, module, key, _ = main.find(words)
        verb, _ = main.load(f"pyrunc.docker.commands.{module}").COMMANDS[key]
        emit(_of_verb(verb, name))


def suggest(unknown: str, known: tuple[str, ...]) -> str:
    """A sentence about what may have been meant, or nothing."""
    near = difflib.get_close_matches(unknown.lstrip("-"), [word.lstrip("-") for word in known], n=2)
    meant = [word for name in near for word in known if word.lstrip("-") == name]
    return f"did you mean {' or '.join(meant)}?" if meant else ""


def _of_verb(verb: Verb, name: str) -> str:
    def rest(formatter: Any) -> None:
        formatter.write_paragraph()
        formatter.write_text(verb.summary)
        _write_options(formatter, verb)
        if verb.examples:
            with formatter.section("Examples"):
                formatter.write_text("\n\n".join(verb.examples))

    return _format(f"{PROGRAM} {name} {verb.usage}", rest)


def _of_program() -> str:
    def rest(formatter: Any) -> None:
        formatter.write_paragraph()
        formatter.write_text(main.OPTIONS.summary)
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(name)) for name in main.COMMANDS])
        with formatter.section("Commands of one kind"):
            formatter.write_dl([(name, ", ".join(commands)) for name, commands in main.GROUPS.items()])
        _write_options(formatter, main.OPTIONS)
        formatter.write_paragraph()
        formatter.write_text(f"`{PROGRAM} COMMAND --help` says more about a command.")

    return _format(f"{PROGRAM} {main.OPTIONS.usage}", rest)


def _of_group(group: str) -> str:
    def rest(formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(f"{group} {name}")) for name in main.GROUPS[group]])

    return _format(f"{PROGRAM} {group} COMMAND", rest)


def _summary(name: str) -> str:
    _, module, key, _ = main.find(name.split())
    verb, _ = main.load(f"pyrunc.docker.commands.{module}").COMMANDS[key]
    return str(verb.summary)


def _format(usage: str, rest: Callable[[Any], None]) -> str:
    """click's formatter, as wide as the terminal."""
    context = click.Context(click.Command(PROGRAM), info_name=PROGRAM, **_SETTINGS)
    formatter = context.make_formatter()
    program, _, arguments = usage.partition(" ")
    formatter.write_usage(program, arguments)
    rest(formatter)
    return formatter.getvalue()


def _write_options(formatter: Any, verb: Verb) -> None:
    rows = [(_shown(flag), flag.summary) for flag in verb.flags if not flag.hidden]
    if rows:
        with formatter.section("Options"):
            formatter.write_dl(rows)


def _shown(flag: Flag) -> str:
    short = f"-{flag.short}, " if flag.short else "    "
    value = "" if flag.kind == SWITCH else f" {flag.placeholder or _PLACEHOLDERS[flag.kind]}"
    return f"{short}--{flag.name}{value}"
