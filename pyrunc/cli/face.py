"""Help, suggestions and shell completion, drawn by click from the same tables that are parsed without it.

click never parses a call that is carried out: it sees words only to complete them.
"""

from __future__ import annotations

import difflib
import posix

from pyrunc.cli import main
from pyrunc.cli.main import PROGRAM, default_root, emit, find
from pyrunc.options import DURATION, NUMBER, NUMBERS, SWITCH, TEXTS, Command, Flag, Operand
from pyrunc.thirdparty import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    import click
    from click import shell_completion
else:
    click = load("click", "help")
    shell_completion = load("click.shell_completion", "completion")

SHELLS = ("bash", "zsh", "fish")
_COMPLETION_VARIABLE = "_PYRUNC_COMPLETE"
_SETTINGS: dict[str, Any] = {"max_content_width": 100, "help_option_names": ["-h", "--help"]}


def show_help(name: str = "") -> None:
    """Print the help of a command, or of the program. A shell that asks for completion calls us without
    words as well: it is answered here."""
    program = Program()
    asked = posix.environ.get(_COMPLETION_VARIABLE.encode())
    if asked is not None and not name:
        shell_completion.shell_complete(program, {}, PROGRAM.name, _COMPLETION_VARIABLE, asked.decode())
        return
    with click.Context(program, info_name=PROGRAM.name, **program.context_settings) as context:
        if not name:
            emit(program.get_help(context) + "\n")
            return
        command = build(find(name).COMMAND)
        with click.Context(command, parent=context, info_name=name, **command.context_settings) as inner:
            emit(command.get_help(inner) + "\n")


def suggest(unknown: str, known: tuple[str, ...]) -> str:
    """A sentence about what may have been meant, or nothing."""
    near = difflib.get_close_matches(unknown.lstrip("-"), [word.lstrip("-") for word in known], n=2)
    meant = [word for name in near for word in known if word.lstrip("-") == name]
    return f"did you mean {' or '.join(meant)}?" if meant else ""


def completion_script(shell: str) -> str:
    kind = shell_completion.get_completion_class(shell)
    assert kind is not None, shell
    complete = kind(Program(), {}, PROGRAM.name, _COMPLETION_VARIABLE)
    return complete.source_template % complete.source_vars() + "\n"


class Program(click.Group):
    """The program as click sees it. Modules of commands are imported as they are asked for."""

    def __init__(self) -> None:
        super().__init__(
            name=PROGRAM.name,
            params=[_option(flag) for flag in PROGRAM.flags],
            help=PROGRAM.summary,
            epilog=f"`{PROGRAM.name} COMMAND --help` says more about a command.",
            context_settings=dict(_SETTINGS),
        )

    def list_commands(self, context: click.Context) -> list[str]:
        return list(main.COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return build(find(name).COMMAND) if name in main.COMMANDS else None


def build(command: Command) -> click.Command:
    arguments = [_argument(operand) for operand in command.operands]
    epilog = ["\b\nExamples:", *(f"  {example}" for example in command.examples)]
    return click.Command(
        name=command.name,
        params=[*(_option(flag) for flag in command.flags), *arguments],
        help="\n\n".join(part for part in (command.summary, command.description) if part),
        short_help=command.summary,
        epilog="\n".join(epilog) if command.examples else None,
        hidden=command.hidden,
        context_settings={**_SETTINGS, "allow_interspersed_args": not command.stops_at_operand},
    )


def _option(flag: Flag) -> click.Option:
    kinds: dict[str, Any] = {NUMBER: click.INT, NUMBERS: click.INT}
    settings: dict[str, Any] = {}
    if flag.kind != SWITCH:
        settings = {
            "type": click.Choice(flag.choices) if flag.choices else kinds.get(flag.kind, click.STRING),
            "multiple": flag.kind in (TEXTS, NUMBERS),
            "metavar": flag.placeholder or None,
            "shell_complete": _files if flag.placeholder in ("DIR", "FILE", "PATH") else None,
        }
    if flag.default:
        settings["default"] = f"{flag.default:g}s" if flag.kind == DURATION else flag.default
        settings["show_default"] = True
    names = [f"--{flag.name}", *([f"-{flag.short}"] if flag.short else [])]
    return click.Option(names, is_flag=flag.kind == SWITCH, help=flag.summary, hidden=flag.hidden, **settings)


def _argument(operand: Operand) -> click.Argument:
    return click.Argument(
        [operand.name],
        required=operand.required,
        nargs=-1 if operand.many else 1,
        shell_complete=_COMPLETERS.get(operand.completes),
    )


def _completer(names: Callable[[click.Context], Iterable[str]]) -> Any:
    """What click calls: offer those of `names` that begin like the word at the cursor."""

    def complete(context: click.Context, parameter: click.Parameter, begin: str) -> list[Any]:
        return [shell_completion.CompletionItem(name) for name in names(context) if name.startswith(begin)]

    return complete


def _containers(context: click.Context) -> list[str]:
    """The names below the state root that the words before ask for."""
    parent = context.parent
    state_root = (parent.params.get("root") if parent is not None else None) or default_root()
    try:
        return sorted(posix.listdir(state_root))
    except OSError:
        return []  # no container was ever made there, or it isn't ours to look at: nothing to offer


def _files(context: click.Context, parameter: click.Parameter, begin: str) -> list[Any]:
    """The shell knows files better."""
    return [shell_completion.CompletionItem(begin, type="file")]


_COMPLETERS = {
    "container": _completer(_containers),
    "command": _completer(lambda _: main.COMMANDS),
    "shell": _completer(lambda _: SHELLS),
    "file": _files,
}
