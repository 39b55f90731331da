"""`terminal` and `consoleSize`, by a console socket such as engines open."""

import os
import stat

import pytest
from support.console import ConsoleSocket, window_size
from support.facts import mount_at

from conformance.clauses import requirement


@pytest.fixture
def console(work):
    made = ConsoleSocket(work / "console.sock")
    yield made
    made.close()


@pytest.fixture
def at_terminal(runtime, bundle, console):
    """Starts this shell script at a terminal; gives the other end."""

    def start(script):
        bundle.process["terminal"] = True
        runtime.create(bundle, "sh", "-c", script, options=("--console-socket", console.path)).ok()
        terminal = console.terminal()
        runtime.start(bundle).ok()
        return terminal

    return start


@requirement("ProcessTerminal")
def test_the_standard_streams_are_a_pseudoterminal(at_terminal):
    terminal = at_terminal(
        "for fd in 0 1 2; do test -t $fd && echo stream $fd; done; read -r word; echo got $word"
    )
    assert stat.S_ISCHR(os.fstat(terminal.master).st_mode)
    terminal.expect("stream 0\r\nstream 1\r\nstream 2\r\n")
    terminal.type("hello\n")
    terminal.expect("got hello\r\n")


@requirement("ProcessTerminal")
def test_it_is_one_of_the_containers_own(at_terminal):
    """Another devpts instance than the caller's, and the program's controlling terminal."""
    terminal = at_terminal("tty; echo through > /dev/tty; read -r _")
    assert "/dev/pts/0" in terminal.expect("through\r\n")
    terminal.type("\n")


@requirement("ProcessTerminal")
def test_there_is_no_terminal_without_asking(runtime, bundle):
    answer = runtime.ask(bundle, streams="for fd in 0 1 2; do test -t $fd && echo terminal; done; true")
    assert answer["streams"] == ""


@requirement("ProcessConsoleSize")
def test_the_size_of_the_terminal(bundle, at_terminal):
    bundle.process["consoleSize"] = {"height": 33, "width": 111}
    terminal = at_terminal("stty size; read -r _")
    terminal.expect("33 111\r\n")
    assert window_size(terminal.master) == (33, 111)
    terminal.type("\n")


@requirement("DefaultDevicesConsole")
def test_the_console_device_is_the_terminal(at_terminal):
    terminal = at_terminal("cat /proc/self/mountinfo; echo through > /dev/console; read -r _")
    found = terminal.expect("through\r\n").replace("\r", "")
    mounted = mount_at("\n".join(line for line in found.splitlines() if " - " in line), "/dev/console")
    assert mounted.fstype == "devpts"
    terminal.type("\n")
