"""Terminals: the console socket, a foreground run under a terminal, exec --tty."""

import os
import stat
import subprocess

import pytest
from support.console import ConsoleSocket, open_terminal, set_window_size, window_size
from support.facts import mount_at
from support.fields import covers
from support.host import needs_program
from support.marks import deviation

# A program gets its controlling terminal from the caller, as from a login shell.
OWN_SESSION = ("setsid", "--ctty", "--wait")


@pytest.fixture
def socket(work):
    made = ConsoleSocket(work / "console.sock")
    yield made
    made.close()


@pytest.fixture
def with_terminal(bundle):
    bundle.process["terminal"] = True
    return bundle


# -- the console socket ----------------------------------------------------------------------------------


def test_the_console_socket_receives_the_master(runtime, with_terminal, socket):
    runtime.create(with_terminal, "sh", options=("--console-socket", socket.path)).ok()
    terminal = socket.terminal()
    assert stat.S_ISCHR(os.fstat(terminal.master).st_mode)
    runtime.start(with_terminal).ok()
    terminal.type("echo $((40 + 2)); exit\n")
    assert "\n42\r\n" in terminal.rest().replace("\r\r", "\r")
    runtime.until_status(with_terminal, "stopped")


def test_the_message_names_a_terminal(runtime, with_terminal, socket):
    runtime.create(with_terminal, "true", options=("--console-socket", socket.path)).ok()
    payload, fds = socket.receive()
    for fd in fds:
        os.close(fd)
    assert len(fds) == 1
    assert payload.rstrip(b"\0").startswith(b"/dev/"), payload


def test_run_detached_with_a_console_socket(runtime, with_terminal, socket):
    options = ("--detach", "--console-socket", socket.path)
    runtime.run(with_terminal, "sh", "-c", "stty size; tty; sleep 1000", options=options).ok()
    terminal = socket.terminal()
    terminal.expect("/dev/pts/0\r\n")
    assert runtime.status(with_terminal) == "running"


def test_exec_detached_with_a_console_socket(runtime, running, socket, work):
    options = ("--tty", "--detach", "--console-socket", socket.path, "--pid-file", work / "pid")
    runtime.exec(running, "sh", "-c", "tty; read line; echo got $line", options=options).ok()
    terminal = socket.terminal()
    terminal.expect("/dev/pts/0\r\n")
    terminal.type("word\n")
    terminal.expect("got word")


@deviation("runc", reason="gives the path to connect(2) as it is")
def test_a_path_longer_than_a_socket_address(runtime, with_terminal, work):
    directory = work / ("d" * 120)
    directory.mkdir()
    socket = ConsoleSocket(directory / "console.sock")
    try:
        runtime.create(with_terminal, "true", options=("--console-socket", socket.path)).ok()
        socket.terminal()
    finally:
        socket.close()


def test_terminal_and_detach_need_a_console_socket(runtime, with_terminal):
    words = "cannot allocate tty if "
    runtime.create(with_terminal, "true").failed(words)
    runtime.run(with_terminal, "true", options=("--detach",)).failed(words)
    assert not (runtime.root / with_terminal.id).exists()


def test_a_console_socket_needs_a_terminal(runtime, bundle, socket):
    words = "cannot use console socket if "
    runtime.create(bundle, "true", options=("--console-socket", socket.path)).failed(words)
    bundle.process["terminal"] = True
    runtime.run(bundle, "true", options=("--console-socket", socket.path)).failed(words)


def test_exec_in_the_foreground_takes_no_console_socket(runtime, running, socket):
    options = ("--tty", "--console-socket", socket.path)
    runtime.exec(running, "true", options=options).failed("cannot use console socket if ", status=255)
    runtime.exec(running, "true", options=("-t", "-d")).failed("cannot allocate tty if ", status=255)


def test_a_console_socket_where_nobody_listens(runtime, with_terminal, work):
    options = ("--console-socket", work / "nobody")
    runtime.create(with_terminal, "true", options=options).failed("no such file or directory")


# -- what the program sees -------------------------------------------------------------------------------


@covers("/process/terminal", "/process/consoleSize/(height|width)")
def test_the_programs_terminal(runtime, with_terminal, socket):
    """Standard streams, controlling terminal, and /dev/console are one terminal of the own devpts."""
    with_terminal.process["user"] = {"uid": 1000, "gid": 1000}
    with_terminal.process["consoleSize"] = {"height": 33, "width": 77}
    script = (
        "stty -echo; tty; stty size; stat -c 'owner %u mode %a' /dev/pts/0; echo tty > /dev/tty; "
        "for n in 0 1 2; do readlink /proc/$$/fd/$n; done; "
        "[ $(stat -Lc %t:%T /dev/console) = $(stat -Lc %t:%T /dev/pts/0) ] && echo same; "
        "cat /proc/self/mountinfo; echo end; sleep 1000"
    )
    runtime.run(with_terminal, "sh", "-c", script, options=("--detach", "--console-socket", socket.path)).ok()
    text = socket.terminal().expect("\nend\r\n").replace("\r", "")
    assert text.startswith("/dev/pts/0\n33 77\nowner 1000 mode 620\ntty\n" + "/dev/pts/0\n" * 3 + "same\n"), (
        text
    )
    console = mount_at(text[text.index("same\n") + 5 : -4], "/dev/console")
    assert console.fstype == "devpts"


def test_window_size_follows_the_master(runtime, with_terminal, socket):
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done"
    runtime.run(with_terminal, "sh", "-c", script, options=("--detach", "--console-socket", socket.path)).ok()
    terminal = socket.terminal()
    terminal.expect("ready")
    set_window_size(terminal.master, 41, 143)
    assert window_size(terminal.master) == (41, 143)
    terminal.expect("41 143")


def test_an_interrupt_key_reaches_the_foreground_process(runtime, with_terminal, socket):
    script = "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.01; done"
    runtime.run(with_terminal, "sh", "-c", script, options=("--detach", "--console-socket", socket.path)).ok()
    terminal = socket.terminal()
    terminal.expect("ready")
    terminal.type("\x03")
    terminal.expect("interrupted")


def test_no_terminal_without_asking(runtime, bundle):
    answers = runtime.ask(bundle, tty="tty", console="ls /dev/console", control="echo x > /dev/tty || true")
    assert answers["tty"] == "not a tty"
    assert "No such file" in answers["console"]
    assert "can't create /dev/tty" in answers["control"]


# -- in the foreground -----------------------------------------------------------------------------------


_LATE = deviation("runc", reason="sets the size when the program runs, or not at all", sometimes=True)


@_LATE
def test_run_under_a_terminal(runtime, with_terminal):
    """The runtime stands between two terminals: what is typed goes in, what is printed comes out, the
    size is the user's, and the user's terminal is sane again at the end."""
    with open_terminal(31, 101) as (terminal, slave):
        before = subprocess.check_output(["stty", "-a"], stdin=slave)
        id = runtime.prepare(with_terminal, "sh", "-c", "stty size; read line; echo got $line; exit 5")
        process = runtime.popen(
            "run", "--bundle", with_terminal.path, id,
            prefix=OWN_SESSION, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        terminal.expect("31 101")
        terminal.type("word\n")
        terminal.expect("got word")
        assert process.wait(30) == 5
        assert subprocess.check_output(["stty", "-a"], stdin=slave) == before


@_LATE
def test_exec_under_a_terminal(runtime, running):
    with open_terminal(29, 99) as (terminal, slave):
        process = runtime.popen(
            "exec", "-t", running.id, "sh", "-c",
            "tty; stty size; read line; echo got $line; exit 6",
            prefix=OWN_SESSION, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        terminal.expect("/dev/pts/0")
        terminal.expect("29 99")
        terminal.type("word\n")
        terminal.expect("got word")
        assert process.wait(30) == 6


@_LATE
@needs_program("strace")
def test_the_size_is_there_before_the_program_of_exec(runtime, running):
    """However late the runtime gets to the terminal of the program."""
    late = ("strace", "-qq", "-o", "/dev/null", "-e", "inject=recvmsg:delay_enter=500000")
    with open_terminal(29, 99) as (terminal, slave):
        process = runtime.popen(
            "exec", "-t", running.id, "stty", "size",
            prefix=(*OWN_SESSION, *late), stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        terminal.expect("29 99")
        assert process.wait(30) == 0


def test_a_resize_of_the_users_terminal_is_passed_on(runtime, with_terminal):
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done"
    with open_terminal() as (terminal, slave):
        id = runtime.prepare(with_terminal, "sh", "-c", script)
        process = runtime.popen(
            "run", "--bundle", with_terminal.path, id,
            prefix=OWN_SESSION, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        terminal.expect("ready")
        set_window_size(slave, 22, 66)
        terminal.expect("22 66")
        runtime.kill(id, "KILL").ok()
        assert process.wait(30) == 128 + 9


def test_keys_go_to_the_program_not_to_the_runtime(runtime, with_terminal):
    script = "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.01; done"
    with open_terminal() as (terminal, slave):
        id = runtime.prepare(with_terminal, "sh", "-c", script)
        process = runtime.popen(
            "run", "--bundle", with_terminal.path, id,
            prefix=OWN_SESSION, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        terminal.expect("ready")
        terminal.type("\x03")
        terminal.expect("interrupted")
        assert process.wait(30) == 3


def test_a_terminal_in_a_user_namespace(runtime, with_terminal, socket):
    with_terminal.map_ids()
    with_terminal.process["user"] = {"uid": 5, "gid": 5}
    script = "stat -c 'owner %u' /dev/pts/0; echo end; sleep 1000"
    options = ("--detach", "--console-socket", socket.path)
    runtime.run(with_terminal, "sh", "-c", script, options=options).ok()
    assert "owner 5\r\n" in socket.terminal().expect("end\r\n")


def test_the_terminal_of_a_writable_rootfs_leaves_no_file_in_it(runtime, with_terminal, socket):
    """/dev/console is a mount point in the tmpfs on /dev, not in the image."""
    with_terminal.writable()
    options = ("--console-socket", socket.path)
    runtime.create(with_terminal, "true", options=options).ok()
    socket.terminal()
    assert os.listdir(with_terminal.rootfs / "dev") == []


def test_a_link_of_the_image_does_not_lead_the_console_elsewhere(runtime, with_terminal, socket):
    """An image whose /dev is its own, with a console that is a link."""
    for name in ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"):
        with_terminal.unmount(name)
    with_terminal.writable()
    (with_terminal.rootfs / "canary").write_text("alive")
    (with_terminal.rootfs / "dev/console").symlink_to("/canary")
    script = "cat /canary; sleep 1000"
    runtime.run(with_terminal, "sh", "-c", script, options=("-d", "--console-socket", socket.path))
    assert (with_terminal.rootfs / "canary").read_text() == "alive"
