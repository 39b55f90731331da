"""log: lines as containerd, podman and people read them."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import stat

import pytest

from pyrunc import log
from pyrunc.errors import PyruncError

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture(autouse=True)
def _afterwards_as_before():
    yield
    log.configure()


def test_without_a_file_an_error_is_a_line_of_fields_on_stderr_and_its_hint_another(capfd):
    log.configure()
    log.error('no "x" here\nat all', "look there")

    first, second = capfd.readouterr().err.splitlines()

    assert re.fullmatch(rf'time="{TIME}" level=error msg="no \\"x\\" here\\nat all"', first)
    assert second == "hint: look there"


def test_beside_a_log_file_stderr_has_the_plain_text(tmp_path, capfd):
    log.configure(str(tmp_path / "log"))
    log.error("container does not exist", "see list")

    assert capfd.readouterr().err == "container does not exist\nhint: see list\n"
    assert re.fullmatch(
        rf'time="{TIME}" level=error msg="container does not exist"\n', (tmp_path / "log").read_text()
    )


def test_a_json_log_with_warnings_and_an_error_is_exactly_one_object(tmp_path, capfd):
    log.configure(str(tmp_path / "log.json"), "json")
    log.warning("not for podman")
    log.debug("nor this")
    log.error("container does not exist", "see list")

    entry = json.loads((tmp_path / "log.json").read_text())

    assert re.fullmatch(TIME, entry.pop("time"))
    assert entry == {"level": "error", "msg": "container does not exist", "hint": "see list"}
    assert capfd.readouterr().err == "container does not exist\n"


def test_json_on_stderr_is_exactly_one_object_too(capfd):
    log.configure(log_format="json")
    log.error("no", "hint")
    assert json.loads(capfd.readouterr().err)["msg"] == "no"


def test_debugging_adds_lines_each_of_them_json(tmp_path):
    log.configure(str(tmp_path / "log.json"), "json", debugging=True)
    log.debug("one")
    log.warning("two")
    log.error("three")

    entries = [json.loads(line) for line in (tmp_path / "log.json").read_text().splitlines()]

    assert [(entry["level"], entry["msg"]) for entry in entries] == [
        ("debug", "one"), ("warning", "two"), ("error", "three"),
    ]  # fmt: skip


def test_debug_lines_are_silent_by_default_and_warnings_are_not(capfd):
    log.configure()
    log.debug("one")
    log.warning("two")
    assert [line.split(" ", 1)[1] for line in capfd.readouterr().err.splitlines()] == [
        'level=warning msg="two"'
    ]


def test_a_log_file_is_appended_to_and_closed_on_exec(tmp_path):
    path = tmp_path / "log"
    path.write_text("before\n")
    log.configure(str(path))
    log.error("after")

    assert path.read_text().startswith("before\n")
    (descriptor,) = [fd for fd in os.listdir("/proc/self/fd") if _points_at(fd, path)]
    assert not os.get_inheritable(int(descriptor))


def _points_at(descriptor: str, path: object) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}") == str(path)
    except FileNotFoundError:
        return False


def test_a_new_log_file_is_readable_by_all_and_there_before_the_first_line(tmp_path):
    log.configure(str(tmp_path / "log"))
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o644 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_log_that_cannot_be_opened_is_an_error_at_once(tmp_path):
    with pytest.raises(PyruncError, match="open log") as raised:
        log.configure(str(tmp_path / "no" / "log"))
    assert raised.value.where == str(tmp_path / "no" / "log")
    assert raised.value.why == "no such file or directory"


def test_an_unknown_format_is_refused_in_the_words_of_runc():
    with pytest.raises(PyruncError, match=r"^invalid log-format: xml$"):
        log.configure(log_format="xml")


def test_a_name_that_is_not_utf8_is_logged_escaped_and_still_json(tmp_path):
    log.configure(str(tmp_path / "log.json"), "json")
    log.error("no file \udcff")
    assert json.loads((tmp_path / "log.json").read_bytes())["msg"] == "no file \udcff"


def test_a_person_at_a_terminal_is_spared_the_time():
    ours, theirs = pty.openpty()
    if (pid := os.fork()) == 0:
        os.dup2(theirs, 2)
        log.configure()
        log.error("no", "try yes")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(ours, 1000) == b"error: no\r\nhint: try yes\r\n"
    os.close(ours)
    os.close(theirs)


def test_a_stderr_that_nobody_reads_does_not_hide_the_failure_of_the_call():
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        os.close(reader)
        os.dup2(writer, 2)
        log.configure()
        log.error("no")
        os._exit(7)
    os.close(reader)
    os.close(writer)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    """A socket where a daemon would listen."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(tmp_path / "daemon"))
    made.settimeout(5)
    for name in ("journald", "syslog"):
        monkeypatch.setitem(log._DAEMONS, name, str(tmp_path / "daemon"))
    yield made
    made.close()


def test_lines_for_syslog(daemon, capfd):
    log.configure("syslog:web")
    log.error("it is gone", "see list")
    log.warning("odd")
    assert daemon.recv(1000).decode() == f"<27>web[{os.getpid()}]: it is gone\nhint: see list"
    assert daemon.recv(1000).decode() == f"<28>web[{os.getpid()}]: odd"
    assert capfd.readouterr().err == "it is gone\nhint: see list\n"


def test_lines_for_the_journal_cannot_forge_a_field(daemon):
    log.configure("journald:")
    log.error("one\nPRIORITY=0")
    data = b"one\nPRIORITY=0"
    head = b"PRIORITY=3\nSYSLOG_IDENTIFIER=pyrunc\nMESSAGE\n"
    assert daemon.recv(1000) == head + len(data).to_bytes(8, "little") + data + b"\n"


def test_no_such_daemon(tmp_path, monkeypatch):
    monkeypatch.setitem(log._DAEMONS, "syslog", str(tmp_path / "nobody"))
    with pytest.raises(PyruncError, match="connect to log"):
        log.configure("syslog:web")


def test_a_file_may_be_called_one(tmp_path):
    log.configure(f"file:{tmp_path}/log")
    log.error("x")
    assert "msg=" in (tmp_path / "log").read_text()


def test_the_least_that_is_said(capfd):
    log.configure(level="error")
    log.warning("odd")
    log.configure(level="debug")
    log.debug("detail")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith('level=debug msg="detail"')
    with pytest.raises(PyruncError, match="invalid log level"):
        log.configure(level="loud")
