"""ps and list: tables for people, JSON for callers."""

import json

import pytest
from support import cgroups
from support.marks import deviation
from support.waiting import until


def test_ps(runtime, bundle):
    created = runtime.launch(bundle, "sh", "-c", "sleep 1000 & echo ready; wait")
    until(lambda: created.stdout, "the child is there")
    pids = sorted(
        int(pid)
        for pid in (cgroups.directory(runtime.pid(bundle), "pids") / "cgroup.procs").read_text().split()
    )
    text = runtime("ps", "--format", "json", bundle.id).ok().stdout
    assert sorted(json.loads(text)) == pids
    assert text.count("\n") == 1
    table = runtime("ps", bundle.id).ok().stdout.splitlines()
    assert table[0].split()[:2] == ["UID", "PID"]
    assert sorted(int(line.split()[1]) for line in table[1:]) == pids
    chosen = runtime("ps", bundle.id, "-o", "pid,comm").ok().stdout.splitlines()
    assert chosen[0].split() == ["PID", "COMMAND"]
    assert sorted(int(line.split()[0]) for line in chosen[1:]) == pids


def test_ps_of_a_stopped_container_has_no_rows(runtime, running):
    runtime.stop(running)
    assert len(runtime("ps", running.id).ok().stdout.splitlines()) == 1


@pytest.mark.parametrize("format", ["xml", "", "JSON"])
def test_ps_in_no_such_format(runtime, running, format):
    runtime("ps", "--format", format, running.id).failed("format")


def test_list(runtime, new_bundle):
    first, second = new_bundle(), new_bundle()
    second.config["annotations"] = {"key": "value"}
    runtime.launch(first, "sleep", "1000")
    runtime.create(second).ok()
    assert sorted(runtime("list", "-q").ok().stdout.split()) == sorted([first.id, second.id])
    found = {entry["id"]: entry for entry in json.loads(runtime("list", "--format", "json").ok().stdout)}
    assert found[first.id] == {**runtime.state(first), "owner": "root"}
    assert found[second.id]["annotations"] == {"key": "value"}
    header, *rows = runtime("list").ok().stdout.splitlines()
    assert header.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert {tuple(row.split()[:4]) for row in rows} == {
        (bundle.id, str(runtime.pid(bundle)), runtime.status(bundle), str(bundle.path))
        for bundle in (first, second)
    }


def test_an_empty_list(runtime):
    runtime.root.mkdir()
    assert runtime("list", "--format", "json").ok().stdout.strip() == "null"
    assert runtime("list", "-q").ok().stdout == ""
    assert runtime("list").ok().stdout.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    runtime("list", "--format", "xml").failed("format")


@deviation("runc", reason="takes it for an empty one")
def test_a_list_of_a_root_that_does_not_exist(runtime):
    runtime("list").failed("no such file or directory")
