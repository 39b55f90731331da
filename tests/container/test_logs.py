"""--log, --log-format, --debug: what containerd and podman read after an error."""

import json
import os
import re

import pytest
from support.marks import deviation


def test_an_error_is_one_json_object(runtime, bundle, work):
    """podman parses the whole file as one document; go-runc takes the last object with level error."""
    log = ("--log", work / "log.json", "--log-format", "json")
    done = runtime.create(bundle, "/no/such/program", before=log)
    assert done.returncode == 1
    text = (work / "log.json").read_text()
    entry = json.loads(text)
    assert set(entry) == {"level", "msg", "time"}
    assert entry["level"] == "error"
    assert "/no/such/program" in entry["msg"] and "no such file or directory" in entry["msg"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", entry["time"])
    assert text.endswith("}\n")


def test_with_a_log_the_error_is_a_plain_line_on_standard_error(runtime, work):
    done = runtime("state", "missing", before=("--log", work / "log")).failed("container does not exist")
    assert len(done.complaints) == 1
    assert "level=" not in done.stderr
    assert re.fullmatch(
        r'time="[^"]+" level=error msg="[^"]*container does not exist[^"]*"\n', (work / "log").read_text()
    )


def test_without_a_log_the_error_is_on_standard_error_alone(runtime):
    done = runtime("state", "missing").failed("container does not exist")
    assert len(done.complaints) == 1


def test_an_error_of_exec_is_one_json_object(runtime, running, work):
    log = ("--log", work / "log.json", "--log-format", "json")
    runtime.exec(running, "/no/such", before=log).failed(status=255)
    entry = json.loads((work / "log.json").read_text())
    assert entry["level"] == "error"
    assert "/no/such" in entry["msg"]


@pytest.mark.parametrize(
    "words", [("kill", "{}", "FOO"), ("start", "{}"), ("pause", "missing"), ("delete", "{}")]
)
def test_every_command_logs_its_error(runtime, running, work, words):
    words = [word.format(running.id) for word in words]
    done = runtime(*words, before=("--log", work / "log.json", "--log-format=json"))
    assert done.returncode == 1
    assert json.loads((work / "log.json").read_text())["level"] == "error"


def test_success_logs_nothing(runtime, bundle, work):
    log = ("--log", work / "log.json", "--log-format", "json")
    runtime.create(bundle, "sleep", "1000", before=log).ok()
    runtime.start(bundle, before=log).ok()
    runtime.exec(bundle, "true", before=log).ok()
    runtime.kill(bundle, "KILL", before=log).ok()
    assert (work / "log.json").read_text() == ""


def test_a_log_grows(runtime, work):
    for _ in range(2):
        runtime("state", "missing", before=("--log", work / "log"))
    assert (work / "log").read_text().count("level=error") == 2
    assert oct((work / "log").stat().st_mode & 0o777) == "0o644"


def test_debug_lines_go_to_the_log_and_are_json_each(runtime, bundle, work):
    log = ("--debug", "--log", work / "log.json", "--log-format", "json")
    done = runtime.run(bundle, "echo", "out", before=log).ok()
    assert (done.stdout, done.stderr) == ("out\n", "")
    entries = [json.loads(line) for line in (work / "log.json").read_text().splitlines()]
    assert entries
    assert {entry["level"] for entry in entries} <= {"debug", "info"}


def test_an_unknown_format(runtime):
    done = runtime("list", before=("--log-format", "xml"))
    assert done.returncode == 1
    assert "xml" in done.said


def test_a_log_that_cannot_be_written(runtime, work):
    done = runtime("list", before=("--log", work / "no/such/log"))
    assert done.returncode == 1
    assert "no such file or directory" in done.said


def test_words_of_the_user_cannot_forge_a_line(runtime, work):
    log = ("--log", work / "log.json", "--log-format", "json")
    runtime("state", 'x"\n{"level":"error","msg":"forged"}', before=log)
    assert json.loads((work / "log.json").read_text())["msg"] != "forged"


def test_standard_error_closed(runtime, bundle):
    """Hooks and errors must do without it."""
    done = runtime.run(bundle, "echo", "fine", prefix=("bash", "-c", 'exec 2>&-; exec "$@"', "bash"))
    assert done.returncode == 0
    assert done.stdout == "fine\n"
    assert runtime("state", "missing", prefix=("bash", "-c", 'exec 2>&-; exec "$@"', "bash")).returncode == 1


@deviation("runc", reason="opens /sys/fs/cgroup as 0, and the container inherits it", before="1.1.12")
def test_all_standard_streams_closed(runtime, bundle):
    """The numbers 0 to 2 are then free for what the runtime opens next: none of that is the container's."""
    closed = ("bash", "-c", 'exec 0<&- 1>&- 2>&-; exec "$@"', "bash")
    runtime.prepare(bundle, "sleep", "1000")
    assert runtime("create", "--bundle", bundle.path, bundle.id, prefix=closed).returncode == 0
    assert runtime("start", bundle.id, prefix=closed).returncode == 0
    runtime.until_status(bundle, "running")
    pid = runtime.pid(bundle)
    found = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert set(found) <= {"/dev/null", "/null"}
