"""Containers that stay: what can be done to them, and what is told of them."""

from __future__ import annotations

import json
import time

import pytest
from support.engine import IMAGE
from support.waiting import until


@pytest.fixture
def box(docker) -> str:
    script = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done"
    docker.ok("run", "-d", "--name", "box", "--network", "none", IMAGE, "sh", "-c", script)
    until(lambda: docker.ok("logs", "box"), "it is up")
    return "box"


def status(docker, name="box") -> str:
    return docker.inspect(name)["State"]["Status"]


def test_stop_start_restart_kill(docker, box):
    docker.ok("stop", box)
    assert (status(docker), docker.inspect(box)["State"]["ExitCode"]) == ("exited", 3)
    docker.ok("start", box)
    first = docker.inspect(box)["State"]["Pid"]
    docker.ok("restart", "-t", "0", box)
    assert status(docker) == "running"
    assert docker.inspect(box)["State"]["Pid"] != first
    docker.ok("kill", box)
    assert docker.ok("wait", box) == "137\n"
    assert "is not running" in docker.fails("kill", box)
    before = docker.ok("logs", box)
    docker.ok("start", box)
    docker.ok("start", box)  # 304
    until(lambda: len(docker.ok("logs", box)) > len(before), "it is up again")
    docker.ok("kill", "-s", "TERM", box)
    assert docker.ok("wait", box) == "3\n"


def test_pause(docker, box):
    docker.ok("pause", box)
    assert docker.ok("ps", "--format", "{{.Status}}").endswith("(Paused)\n")
    assert "is paused" in docker.fails("exec", box, "true")
    docker.ok("unpause", box)
    assert status(docker) == "running"


def test_removal_needs_force_while_it_runs(docker, box):
    assert "container is running" in docker.fails("rm", box)
    docker.ok("rm", "-f", box)
    assert "No such container" in docker.fails("rm", box)


def test_lists_are_filtered(docker, box):
    docker.docker("run", "--name", "done", "--label", "a=b", "--network", "none", IMAGE, "sh", "-c", "exit 2")

    def names(*words: str) -> list[str]:
        return sorted(docker.ok("ps", "--format", "{{.Names}}", *words).split())

    assert names() == ["box"]
    assert names("-a") == ["box", "done"]
    assert names("-f", "status=exited") == ["done"]
    assert names("-f", "exited=2") == ["done"]
    assert names("-a", "-f", "label=a=b") == ["done"]
    assert names("-a", "-f", "name=bo") == ["box"]
    assert names("-a", "-f", f"ancestor={IMAGE}") == ["box", "done"]
    assert names("-n", "1") == ["done"]
    assert names("-a", "-f", "since=box") == ["done"]
    assert "invalid filter" in docker.fails("ps", "-f", "nothing=x")
    assert docker.ok("ps", "-aq", "--no-trunc", "-f", "status=exited").strip() == docker.inspect("done")["Id"]


def test_exec(docker, box):
    assert docker.ok("exec", box, "echo", "in") == "in\n"
    assert docker.ok("exec", "-i", box, "cat", input="text") == "text"
    words = ("-u", "bob", "-w", "/tmp", "-e", "A=b", box, "sh", "-c", "echo $(id -u) $(pwd) $A")
    assert docker.ok("exec", *words) == "1000 /tmp b\n"
    assert docker.docker("exec", box, "sh", "-c", "exit 9").returncode == 9
    done = docker.docker("exec", box, "nothing-of-that-name")
    assert done.returncode == 127
    assert "executable file not found" in done.stdout + done.stderr
    docker.ok("exec", "-d", box, "sh", "-c", "echo x > /tmp/made")
    until(lambda: docker.docker("exec", box, "cat", "/tmp/made").stdout == "x\n", "it has run")


def test_top_and_stats(docker, box):
    assert "PID" in docker.ok("top", box)
    stats = json.loads(docker.ok("stats", "--no-stream", "--format", "{{json .}}", box))
    assert stats["Name"] == "box"
    assert int(stats["PIDs"]) >= 1
    assert not stats["MemUsage"].startswith("0B")


def test_logs(docker):
    script = "for i in 1 2 3; do echo $i; echo e$i >&2; sleep 0.2; done"
    docker.ok("run", "-d", "--name", "box", "--network", "none", IMAGE, "sh", "-c", script)
    followed = docker.docker("logs", "-f", "box")
    assert (followed.stdout, followed.stderr) == ("1\n2\n3\n", "e1\ne2\ne3\n")
    last = docker.docker("logs", "--tail", "2", "box")
    assert (last.stdout, last.stderr) == ("3\n", "e3\n")
    line = docker.docker("logs", "-t", "--tail", "1", "box").stderr
    moment, _, text = line.partition(" ")
    assert (moment[-1], text) == ("Z", "e3\n")
    assert docker.docker("logs", "--since", moment, "box").stderr == "e3\n"


def test_a_restart_policy_counts(docker):
    flags = ("-d", "--name", "box", "--network", "none", "--restart", "on-failure:2")
    docker.ok("run", *flags, IMAGE, "sh", "-c", "echo a; exit 1")
    until(lambda: status(docker) == "exited", "it has given up")
    assert docker.inspect("box")["RestartCount"] == 2
    assert docker.ok("logs", "box") == "a\na\na\n"


def test_health_is_seen(docker):
    docker.ok(
        "run", "-d", "--name", "box", "--network", "none", "--health-cmd", "test ! -e /tmp/ill",
        "--health-interval", "200ms", "--health-retries", "1", IMAGE, "sleep", "1000",
    )  # fmt: skip
    until(lambda: "(healthy)" in docker.ok("ps"), "it is healthy")
    docker.ok("exec", "box", "touch", "/tmp/ill")
    until(lambda: "(unhealthy)" in docker.ok("ps"), "it is not")
    assert docker.inspect("box")["State"]["Health"]["Log"][-1]["ExitCode"] == 1


def test_events_are_told_and_kept(docker):
    since = str(int(time.time()))
    docker.docker("run", "--rm", "--name", "told", "--network", "none", IMAGE, "sh", "-c", "exit 4")
    until_now = ("--since", since, "--until", str(int(time.time()) + 1), "--filter", "container=told")
    told = docker.ok("events", *until_now, "--format", "{{.Action}} {{.Actor.Attributes.exitCode}}")
    actions = [line.strip() for line in told.splitlines()]
    assert [action.split()[0] for action in actions] == ["create", "attach", "start", "die", "destroy"]
    assert "die 4" in actions


def test_events_come_in_dockers_order(docker):
    since = str(time.time())
    docker.ok("run", "--rm", "--name", "told", IMAGE, "true")
    words = ("--since", since, "--until", str(int(time.time()) + 1))
    told = docker.ok("events", *words, "--format", "{{.Type}} {{.Action}}").splitlines()
    assert told == [
        "container create", "container attach", "network connect", "container start", "container die",
        "network disconnect", "container destroy",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "signals", "actions"),
    [
        (("stop", "-t", "1"), {"15", "9"}, ["kill", "kill", "die", "stop"]),
        (("stop",), {"10"}, ["kill", "die", "stop"]),
        (("restart", "-t", "0"), {"15", "9"}, ["kill", "kill", "die", "stop", "start", "restart"]),
        (("kill", "-s", "USR1"), {"10"}, ["kill", "die"]),
    ],
)
def test_an_end_by_hand_is_told_step_by_step(docker, words, signals, actions):
    options = ("--stop-signal", "USR1") if signals == {"10"} else ()
    docker.ok("run", "-d", "--name", "told", "--network", "none", *options, IMAGE, "sh", "-c", PATIENT)
    until(lambda: docker.ok("logs", "told") == "ready\n", "it ignores TERM")
    since = str(time.time())
    docker.ok(*words, "told")
    until(lambda: actions[-1] in told_since(docker, since, "{{.Action}}"), "the last is told")
    assert told_since(docker, since, "{{.Action}}") == actions
    assert {*told_since(docker, since, "{{.Actor.Attributes.signal}}")} - {"<no value>", ""} == signals


PATIENT = "trap : TERM; trap 'exit 3' USR1; echo ready; while :; do sleep 0.1; done"


def told_since(docker, since, format):
    words = ("--since", since, "--until", str(int(time.time()) + 1), "--filter", "container=told")
    return docker.ok("events", *words, "--format", format).splitlines()


def test_removal_by_force_is_told_as_an_end(docker):
    docker.ok("run", "-d", "--name", "told", "--network", "none", IMAGE, "sleep", "1000")
    since = str(time.time())
    ended = docker.ok("rm", "-f", "told")
    words = ("--since", since, "--until", str(int(time.time()) + 1), "--filter", "container=told")
    told = docker.ok("events", *words, "--format", "{{.Action}} {{.Actor.Attributes.exitCode}}")
    assert [line.split()[0] for line in told.splitlines()] == ["kill", "die", "destroy"]
    assert "die 137" in told and ended == "told\n"


def test_prune(docker):
    docker.ok("create", "--name", "box", IMAGE)
    docker.ok("volume", "create", "vol")
    docker.ok("network", "create", "net")
    told = docker.ok("system", "prune", "-f")
    assert "Deleted Containers:" in told
    assert "Deleted Networks:\nnet" in told
    assert docker.call("POST", "/volumes/prune") == {"VolumesDeleted": None, "SpaceReclaimed": 0}
    assert docker.call("POST", "/volumes/prune", filters={"all": ["true"]})["VolumesDeleted"] == ["vol"]
    assert docker.ok("ps", "-aq") == ""
