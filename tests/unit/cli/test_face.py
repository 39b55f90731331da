"""cli.face: help and completion come from the tables that are parsed without it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

import pytest

from pyrunc.cli import face, main


@pytest.mark.parametrize("name", main.COMMANDS)
def test_help_tells_every_option_and_operand_and_gives_an_example(name, capfd):
    command = main.find(name).COMMAND
    face.show_help(name)
    text = capfd.readouterr().out

    assert text.startswith(f"Usage: pyrunc {name} ")
    assert command.summary in " ".join(text.split())
    for flag in command.flags:
        assert (f"--{flag.name}" in text) is not flag.hidden
    for operand in command.operands:
        assert operand.name.upper() in text
    assert ("Examples:" in text) is bool(command.flags or command.operands)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_a_module_holds_the_command_that_it_is_called(name):
    assert main.find(name).COMMAND.name == name


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_example_can_be_typed(name):
    for example in main.find(name).COMMAND.examples:
        words = shlex.split(example.partition("|")[0].removeprefix('eval "$(').removesuffix(')"'))
        assert words[0] == "pyrunc"
        given = main.PROGRAM.parse(words[1:])
        main.find(given["command"]).COMMAND.parse(given["arguments"])


@pytest.mark.parametrize(
    ("unknown", "known", "sentence"),
    [
        ("stat", main.COMMANDS, "did you mean state or start?"),
        ("bundel", ("--bundle", "--tty"), "did you mean --bundle?"),
        ("zzz", main.COMMANDS, ""),
    ],
)
def test_a_suggestion_is_something_near(unknown, known, sentence):
    assert face.suggest(unknown, known) == sentence


def complete(*words: str, root: str = "") -> list[str]:
    """What bash would be offered for the last of `words`."""
    line = ["pyrunc", *(["--root", root] if root else []), *words]
    environment = {
        **os.environ,
        "_PYRUNC_COMPLETE": "bash_complete",
        "COMP_WORDS": shlex.join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pyrunc"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands_options_choices_and_shells_are_completed():
    assert complete("st") == ["start", "state"]
    assert complete("create", "--pid") == ["--pidfd-socket", "--pid-file"]
    assert complete("list", "--format", "") == ["table", "json"]
    assert complete("completion", "z") == ["zsh"]
    assert complete("help", "feat") == ["features"]


def test_containers_below_the_named_state_root_are_completed(tmp_path):
    for name in ("web", "worker", "db"):
        (tmp_path / name).mkdir()

    assert complete("state", "w", root=str(tmp_path)) == ["web", "worker"]
    assert complete("state", "w", root=str(tmp_path / "none")) == []


def test_an_options_value_that_is_a_path_is_left_to_the_shell():
    assert complete("create", "--bundle", "some/pa") == ["some/pa"]


@pytest.mark.parametrize("shell", face.SHELLS)
def test_a_completion_script_is_a_script_of_its_shell(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here to read it")
    script = tmp_path / "script"
    script.write_text(face.completion_script(shell))
    subprocess.run([shell, "-n", str(script)], check=True)


def test_bash_completes_with_the_script(tmp_path):
    """The whole way: the script, a pyrunc found in $PATH, and what bash then has in COMPREPLY."""
    program = tmp_path / "pyrunc"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pyrunc "$@"\n')
    program.chmod(0o755)
    asks = 'eval "$(pyrunc completion bash)"; COMP_WORDS=(pyrunc res); COMP_CWORD=1'
    done = subprocess.run(
        ["bash", "-c", f'{asks}; _pyrunc_completion pyrunc; echo "${{COMPREPLY[@]}}"'],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "resume restore\n", done.stderr
