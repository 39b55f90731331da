"""shim.settings: what shim.json may say, and where a mistake in it is."""

from __future__ import annotations

import pytest

from pyrunc.errors import INVALID, PyruncError
from pyrunc.shim.settings import HealthCheck, LogSettings, RestartPolicy, parse

LEAST = {"id": "web", "bundle": "/b", "state_root": "/run/x"}


def test_the_least_that_it_can_be():
    settings = parse(LEAST)
    assert (settings.id, settings.bundle, settings.state_root) == ("web", "/b", "/run/x")
    assert settings.log == LogSettings(driver="none", path="")
    assert settings.restart == RestartPolicy()
    assert (settings.health, settings.runtime, settings.starts, settings.init) == (None, "", True, False)
    assert (settings.stop_signal, settings.stop_timeout_seconds) == ("TERM", 10)


def test_all_of_it():
    settings = parse({
        **LEAST, "runtime": "/usr/sbin/runc", "terminal": True, "open_stdin": True, "stdin_once": True,
        "init": True, "start": False, "create_options": ["--no-pivot"], "exit_command": ["/bin/true"],
        "log": {"driver": "json-file", "path": "/log", "max_size": 1000, "max_file": 3},
        "restart": {"name": "on-failure", "maximum_retry_count": 5},
        "health": {"test": ["CMD", "a", "b"], "interval_ns": 1, "timeout_ns": 2, "start_period_ns": 3,
                   "start_interval_ns": 4, "retries": 5, "on_failure": "stop"},
        "stop_signal": "INT", "stop_timeout": 3, "cgroup_manager": "systemd", "rootless": "true",
    })  # fmt: skip
    assert settings.log == LogSettings(driver="json-file", path="/log", max_size_bytes=1000, max_files=3)
    assert settings.restart == RestartPolicy(name="on-failure", maximum_retries=5)
    assert settings.health == HealthCheck(
        args=("a", "b"), interval_ns=1, timeout_ns=2, start_period_ns=3, start_interval_ns=4, retries=5,
        on_failure="stop",
    )  # fmt: skip
    assert (settings.runtime, settings.init, settings.starts) == ("/usr/sbin/runc", True, False)


@pytest.mark.parametrize(
    ("test", "args"),
    [(["CMD-SHELL", "a | b"], ("/bin/sh", "-c", "a | b")), (["NONE"], None), ([], None)],
)
def test_forms_of_a_health_check(test, args):
    health = parse({**LEAST, "health": {"test": test}}).health
    assert (health.args if health else None) == args
    if health:
        assert (health.interval_ns, health.timeout_ns, health.retries) == (30 * 10**9, 30 * 10**9, 3)
        assert health.start_interval_ns == 5 * 10**9


def test_local_logs_are_rotated_by_themselves():
    log = parse({**LEAST, "log": {"driver": "local", "path": "/l"}}).log
    assert (log.max_size_bytes, log.max_files) == (20 << 20, 5)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"id": None}, "/id"),
        ({"bundle": 3}, "/bundle"),
        ({"log": {"driver": "syslog"}}, "/log/driver"),
        ({"log": {"driver": "json-file"}}, "/log/path"),
        ({"log": {"driver": "json-file", "path": "/l", "max_file": 0}}, "/log/max_file"),
        ({"log": {"driver": "json-file", "path": "/l", "max_size": -1}}, "/log/max_size"),
        ({"restart": {"name": "sometimes"}}, "/restart/name"),
        ({"restart": {"name": "always", "maximum_retry_count": -1}}, "/restart/maximum_retry_count"),
        ({"health": {"test": ["RUN", "x"]}}, "/health/test"),
        ({"health": {"test": ["CMD"]}}, "/health/test"),
        ({"health": {"test": ["CMD", "x"], "retries": -1}}, "/health/retries"),
        ({"health": {"test": ["CMD", "x"], "on_failure": "pray"}}, "/health/on_failure"),
        ({"terminal": "yes"}, "/terminal"),
        ({"exit_command": [1]}, "/exit_command/0"),
        ({"cgroup_manager": "none"}, "/cgroup_manager"),
    ],
)
def test_a_mistake_has_its_place(change, where):
    with pytest.raises(PyruncError) as caught:
        parse({**LEAST, **change})
    assert (caught.value.kind, caught.value.where) == (INVALID, where)
