"""--init: what a small PID 1 does for a program, and what its absence means."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.console import ConsoleSocket
from support.leaks import state_of
from support.waiting import until

ORPHANS = 1000
# Each subshell leaves a child behind and ends: that child's parent is then whoever is PID 1.
MAKE_ORPHANS = f"""
i=0; while [ $i -lt {ORPHANS} ]; do (sleep 0.01 &) ; i=$((i+1)); done
sleep 1; echo made
"""


@pytest.fixture
def runtime(runtime):
    if not runtime("--version").stdout.startswith("pyrunc "):
        pytest.skip("the init is pyrunc's")
    return runtime


def states(pid: int) -> list[str]:
    """The state letters of `pid`'s children; X of one that is reaped meanwhile."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [state_of(int(child)) for child in text.split()]


def test_a_thousand_orphans_leave_no_zombie(runtime, bundle):
    command = ("sh", "-c", f"{MAKE_ORPHANS} sleep 1000")
    done = runtime.launch(bundle, *command, options=("--init",))
    until(lambda: done.stdout == "made\n", "they are made", 60)
    pid = runtime.pid(bundle)
    until(lambda: states(pid) == ["S"], "all but the program are gone")


def test_without_it_the_program_has_to_reap_them(runtime, bundle):
    """As the specification has it: the program is PID 1, its orphans are its own. This one doesn't look."""
    script = "i=0; while [ $i -lt 5 ]; do (sleep 0.3 &) ; i=$((i+1)); done; echo made; exec sleep 1000"
    done = runtime.launch(bundle, "sh", "-c", script)
    until(lambda: done.stdout == "made\n", "they are made")
    pid = runtime.pid(bundle)
    until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001000\0", "it is sleep")
    until(lambda: states(pid) == ["Z"] * 5, "they are zombies")


@pytest.mark.parametrize(("script", "code"), [("exit 9", 9), ("kill -TERM $$", 143), ("kill -KILL $$", 137)])
def test_the_exit_code_is_the_program_s(runtime, bundle, script, code):
    assert runtime.run(bundle, "sh", "-c", script, options=("--init",)).returncode == code


def test_a_signal_reaches_a_program_that_is_not_pid_1(runtime, bundle):
    """sleep has no handler for TERM: as PID 1 it would not hear of it."""
    runtime.launch(bundle, "sleep", "1000", options=("--init",))
    runtime.kill(bundle, "TERM").ok()
    runtime.until_status(bundle, "stopped")


def test_what_pid_1_shows_is_nothing_of_the_host(runtime, bundle):
    facts = runtime.ask(
        bundle,
        options=("--init",),
        exe="readlink /proc/1/exe",
        words="tr '\\0' ' ' </proc/1/cmdline",
        name="cat /proc/1/comm",
        descriptors="ls /proc/1/fd",
        maps="cut -d/ -f2- /proc/1/maps | grep -v '^[0-9a-f]'",
    )
    assert facts["exe"] == "/memfd:stub (deleted)"
    assert facts["words"].startswith("pyrunc-init -- sh -c ")
    assert facts["name"] == "pyrunc-init"
    assert facts["descriptors"].split() == ["0", "1", "2"]
    assert facts["maps"] == "memfd:stub (deleted)"


def test_of_another_user_it_can_not_even_be_looked_at(runtime, bundle):
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    facts = runtime.ask(bundle, options=("--init",), user="id -u", exe="readlink /proc/1/exe || echo refused")
    assert facts == {"user": "1000", "exe": "refused"}


def test_a_program_that_is_not_there_is_an_error_as_without(runtime, bundle):
    runtime.run(bundle, "/bin/nothing", options=("--init",)).failed("/bin/nothing", "no such file")
    script = bundle.rootfs / "bin/script"
    script.write_text("#!/no/interpreter\n")
    script.chmod(0o755)
    runtime.run(bundle, "/bin/script", options=("--init",)).failed("/bin/script", "interpreter")


def test_on_a_terminal_the_program_is_in_the_foreground(runtime, bundle, work):
    bundle.process["terminal"] = True
    socket = ConsoleSocket(work / "console.sock")
    try:
        options = ("--console-socket", socket.path, "--init")
        runtime.create(bundle, "sh", options=options).ok()
        terminal = socket.terminal()
        runtime.start(bundle).ok()
        terminal.expect("# ")
        terminal.type("read -r p b c d g s t f rest </proc/$$/stat; echo $p $g $f; cat\n")
        terminal.expect("\r\n2 2 2\r\n")
        terminal.type("in the foreground\n")
        terminal.expect("foreground\r\nin the foreground\r\n")
        terminal.type("\x03")
        terminal.expect("# ")
        terminal.type("exit 3\n")
        runtime.until_status(bundle, "stopped")
    finally:
        socket.close()


def test_in_a_user_namespace_and_under_a_profile(runtime, bundle):
    bundle.map_ids()
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    done = runtime.run(bundle, "sh", "-c", "mkdir /tmp/x || exit 8", options=("--init",))
    assert done.returncode == 8, done


def test_a_shim_has_it_too(runtime, bundle):
    options = ("--detach", "--shim", "--init")
    runtime.run(bundle, "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; exit 4", options=options).ok()
    assert runtime("wait", bundle.id).ok().stdout == "4\n"
    assert runtime("logs", bundle.id).ok().stdout.startswith("pyrunc-init -- sh -c ")
