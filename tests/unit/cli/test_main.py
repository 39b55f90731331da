"""cli.main: from words to an exit code, and how each kind of failure is reported."""

from __future__ import annotations

import json
import os
import posix
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pyrunc import __version__, log
from pyrunc.cli import main
from pyrunc.errors import NOT_FOUND, PyruncError
from pyrunc.kernel import const, syscall
from pyrunc.linux.criu import session
from pyrunc.options import Command, Flag, Operand

NOBODY = 65534


@pytest.fixture(autouse=True)
def _log_as_before():
    yield
    log.configure()


@pytest.fixture
def command(monkeypatch) -> SimpleNamespace:
    """A command to be run as `pyrunc fake NAME`. `main` is the test's to replace."""
    fake = SimpleNamespace(
        COMMAND=Command(
            name="fake",
            summary="Fake.",
            flags=(Flag(name="force", summary="Harder."),),
            operands=(Operand(name="container"),),
            failure="fake failed",
            failure_code=255,
        ),
        main=lambda settings, given: 0,
    )
    monkeypatch.setitem(sys.modules, "pyrunc.cli.commands.fake", fake)
    monkeypatch.setattr(main, "COMMANDS", (*main.COMMANDS, "fake"))
    return fake


def fails_with(error: BaseException) -> Callable[..., int]:
    def run(settings: object, given: object) -> int:
        raise error

    return run


def test_the_command_gets_the_settings_and_what_was_given_and_its_code_is_ours(command):
    seen = []
    command.main = lambda *arguments: seen.append(arguments) or 42

    words = [
        "--root",
        "/r/../state",
        "--systemd-cgroup",
        "-rootless=true",
        "--criu",
        "x",
        "fake",
        "--force",
        "c",
    ]

    assert main.run(words) == 42
    settings = main.Settings(
        state_root="/state", is_default_root=False, cgroup_manager="systemd", rootless="true"
    )
    assert seen == [(settings, {"force": True, "container": "c"})]


def test_the_version_begins_with_the_line_that_engines_parse(capfd):
    assert main.run(["--version"]) == main.run(["-v"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith(f"pyrunc version {__version__}\ncommit: {__version__}\nspec: 1.")
    assert err == ""


def test_an_error_is_put_in_the_words_of_its_command(command, capfd):
    command.main = fails_with(PyruncError(NOT_FOUND, "container does not exist", hint="see list"))

    assert main.run(["fake", "c"]) == 255

    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines()[0].endswith(' level=error msg="fake failed: container does not exist"')
    assert err.splitlines()[1] == "hint: see list"


def test_with_a_log_file_the_error_is_there_and_as_text_on_stderr(command, tmp_path, capfd):
    command.main = fails_with(PyruncError(NOT_FOUND, "container does not exist", hint="see list"))

    main.run(["--log", str(tmp_path / "log.json"), "--log-format", "json", "fake", "c"])

    assert capfd.readouterr().err == "fake failed: container does not exist\n"
    assert json.loads((tmp_path / "log.json").read_text())["msg"] == "fake failed: container does not exist"


@pytest.mark.parametrize("words", [["bogus"], ["fake"], ["fake", "--bogus", "c"], ["fake", "c"], ["--bogus"]])
def test_whatever_fails_a_json_log_is_one_object(words, command, tmp_path, capfd):
    command.main = fails_with(ZeroDivisionError("x"))
    path = tmp_path / "log.json"

    assert main.run(["--log", str(path), "--log-format", "json", *words]) != 0

    if words != ["--bogus"]:  # then nobody said where the log is
        assert json.loads(path.read_text())["level"] == "error"


def test_an_unknown_command_has_a_code_of_its_own_and_a_suggestion(capfd):
    assert main.run(["stat"]) == 3
    out, err = capfd.readouterr()
    assert "No help topic for 'stat'" in err
    assert err.splitlines()[1] == "hint: did you mean state or start?"
    assert out == ""


def test_an_unknown_option_is_named_and_help_goes_to_stdout(command, capfd):
    assert main.run(["--bogus", "list"]) == 1
    out, err = capfd.readouterr()
    assert "flag provided but not defined: -bogus" in err
    assert out.startswith("Usage: pyrunc [OPTIONS] COMMAND")


def test_an_option_that_is_nearly_right_is_suggested(command, capfd):
    assert main.run(["fake", "--forec", "c"]) == 1
    out, err = capfd.readouterr()
    assert err.splitlines()[1] == "hint: did you mean --force?"
    assert out.startswith("Usage: pyrunc fake [OPTIONS] CONTAINER\n")


def test_a_missing_operand_is_told_in_the_words_of_runc_with_our_name(command, capfd):
    assert main.run(["fake"]) == 1
    out, err = capfd.readouterr()
    assert r'msg="pyrunc: \"fake\" requires exactly 1 argument(s)"' in err
    assert "Usage: pyrunc fake" in out


@pytest.mark.parametrize("words", [["fake", "--help"], ["fake", "-h"], ["help", "fake"], ["h", "fake"]])
def test_help_is_no_failure(words, command, capfd):
    assert main.run(words) == 0
    out, err = capfd.readouterr()
    assert out.startswith("Usage: pyrunc fake [OPTIONS] CONTAINER\n")
    assert err == ""


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_without_a_command_the_commands_are_listed(words, capfd):
    assert main.run(words) == 0
    listed = capfd.readouterr().out
    for name in main.COMMANDS:
        assert f"\n  {name} " in listed


@pytest.mark.parametrize("name", ["checkpoint", "restore"])
def test_podman_cannot_take_help_for_support(name, capfd, monkeypatch):
    monkeypatch.setattr(session, "find_criu", lambda: "")
    assert main.run([name, "--help"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "criu was not found" in err


@pytest.mark.parametrize(
    ("name", "flag"), [("checkpoint", "leave-running"), ("restore", "lsm-mount-context")]
)
def test_podman_finds_support_where_there_is_criu(name, flag, capfd, monkeypatch):
    monkeypatch.setattr(session, "find_criu", lambda: "/criu")
    assert main.run([name, "--help"]) == 0
    assert f"--{flag} " in capfd.readouterr().out


def test_a_bug_is_one_line_with_its_type_and_place(command, capfd):
    command.main = fails_with(ZeroDivisionError("by what"))

    assert main.run(["fake", "c"]) == 255

    line, hint = capfd.readouterr().err.splitlines()
    assert re.search(r"fake failed: internal error: ZeroDivisionError: by what at \S+test_main\.py:\d+", line)
    assert hint.startswith("hint: this is a bug")


def test_a_system_call_that_nobody_expected_to_fail_is_told_with_its_file(command, capfd):
    def run(settings: object, given: object) -> int:
        return posix.open("/no/such", posix.O_RDONLY)

    command.main = run

    main.run(["fake", "c"])

    assert "FileNotFoundError: no such file or directory '/no/such' at " in capfd.readouterr().err


def test_debugging_shows_the_way_to_a_bug(command, capfd):
    command.main = fails_with(ZeroDivisionError("by what"))
    main.run(["--debug", "fake", "c"])
    debug, error, _ = capfd.readouterr().err.splitlines()
    assert "level=debug" in debug
    assert "Traceback (most recent call last)" in debug
    assert "level=error" in error


def test_an_interrupt_is_quiet(command, capfd):
    command.main = fails_with(KeyboardInterrupt())
    assert main.run(["fake", "c"]) == 130
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("word", ["yes", "", "True"])
def test_rootless_is_one_of_three_words(word, command, capfd):
    assert main.run(["--rootless", word, "fake", "c"]) == 1
    assert "for flag -rootless: parse error" in capfd.readouterr().err


def test_the_root_directory_is_no_place_for_state(command, capfd):
    assert main.run(["--root", "//", "fake", "c"]) == 255
    assert "Option --root argument should not be set to /" in capfd.readouterr().err


def test_bytes_that_are_not_utf8_are_printed_as_they_came(capfdbinary):
    main.emit(b"a\xffb\n".decode(errors="surrogateescape"))
    assert capfdbinary.readouterr().out == b"a\xffb\n"


def run_entry(*words: str, **settings: object) -> subprocess.CompletedProcess[bytes]:
    """As a process: what is done at the very end shows only there."""
    command = [sys.executable, "-m", "pyrunc", *words]
    return subprocess.run(command, stderr=subprocess.PIPE, check=False, **settings)  # type: ignore[call-overload]


def test_a_reader_that_has_left_ends_the_call_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    done = run_entry("--version", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_output_that_could_not_be_written_is_an_error():
    with open("/dev/full", "wb") as full:
        done = run_entry("--version", stdout=full)
    assert done.returncode == 1
    assert b"write standard output: no space left on device" in done.stderr


def test_a_word_that_is_not_utf8_is_shown_escaped():
    done = run_entry(b"\xff", stdout=subprocess.PIPE)  # type: ignore[arg-type]
    assert done.returncode == 3
    assert rb"No help topic for '\udcff'" in done.stderr


def in_child(prepare: Callable[[], None], runtime_dir: str | None, user: str = "someone") -> str:
    """`default_root()` in a process of its own, after `prepare`: what the kernel says we are is not faked."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            posix.environ.pop(b"XDG_RUNTIME_DIR", None)
            posix.environ[b"USER"] = user.encode()
            if runtime_dir is not None:
                posix.environ[b"XDG_RUNTIME_DIR"] = runtime_dir.encode()
            prepare()
            os.write(writer, main.default_root().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        answer = answers.read().decode()
    os.waitpid(pid, 0)
    return answer


@pytest.fixture
def runtime_dir():
    path = tempfile.mkdtemp(prefix="pyrunc-test")
    os.chmod(path, 0o777)
    yield path
    shutil.rmtree(path)


def become_a_user() -> None:
    if os.geteuid() == 0:
        os.setuid(NOBODY)


def become_root_of_a_user_namespace() -> None:
    uid = os.geteuid()
    syscall.unshare(const.CLONE_NEWUSER)
    with open("/proc/self/uid_map", "w") as map_file:
        map_file.write(f"0 {uid} 1")


as_host_root = pytest.mark.skipif(
    os.geteuid() != 0 or open("/proc/self/uid_map").read().split() != ["0", "0", "4294967295"],
    reason="needs to be the host's root",
)


@as_host_root
def test_the_state_of_the_hosts_root_is_in_run_whatever_the_environment_says(runtime_dir):
    assert in_child(lambda: None, runtime_dir) == "/run/pyrunc"


def test_the_state_of_a_user_is_in_the_users_runtime_directory_safe_from_cleaners(runtime_dir):
    assert in_child(become_a_user, runtime_dir) == f"{runtime_dir}/pyrunc"
    assert os.stat(f"{runtime_dir}/pyrunc").st_mode & 0o7777 == 0o1700
    assert in_child(become_a_user, runtime_dir) == f"{runtime_dir}/pyrunc"


@pytest.mark.parametrize("missing", [None, ""])
def test_a_user_without_a_runtime_directory_has_the_common_default(missing):
    assert in_child(become_a_user, missing) == "/run/pyrunc"


@as_host_root
def test_the_root_of_a_user_namespace_is_a_user_unless_it_is_called_root(runtime_dir):
    assert in_child(become_root_of_a_user_namespace, runtime_dir, "someone") == f"{runtime_dir}/pyrunc"
    assert in_child(become_root_of_a_user_namespace, runtime_dir, "root") == "/run/pyrunc"
