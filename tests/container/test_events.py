"""events: statistics once or as a stream, and notice of processes killed for want of memory."""

import json
import subprocess
import time

import pytest
from support.host import needs_controller
from support.waiting import until

MEBIBYTE = 1 << 20


def test_statistics(runtime, bundle):
    bundle.resources.update(memory={"limit": 64 * MEBIBYTE}, pids={"limit": 12})
    runtime.launch(bundle, "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000")
    until(lambda: _stats(runtime, bundle)["cpu"]["usage"]["total"] > 1_000_000, "it has used CPU time")
    text = runtime("events", "--stats", bundle.id).ok().stdout
    assert text.count("\n") == 1
    event = json.loads(text)
    assert (event["type"], event["id"]) == ("stats", bundle.id)
    data = event["data"]
    assert data["pids"] == {"current": 1, "limit": 12}
    assert data["memory"]["usage"]["limit"] == 64 * MEBIBYTE
    assert 0 < data["memory"]["usage"]["usage"] < 64 * MEBIBYTE
    assert data["memory"]["raw"]
    assert "ioServiceBytesRecursive" in data["blkio"] or set(data["blkio"]) <= {"psi"}
    assert {"cpu", "memory", "pids", "blkio", "hugetlb"} <= set(data)


def _stats(runtime, bundle):
    return json.loads(runtime("events", "--stats", bundle.id).ok().stdout)["data"]


@pytest.mark.parametrize("interval", ["100ms", "0.1s"])
def test_a_stream_of_events_ends_with_the_container(runtime, running, interval):
    process = runtime.popen("events", "--interval", interval, running.id, stdout=subprocess.PIPE)
    for _ in range(3):
        assert json.loads(process.stdout.readline())["type"] == "stats"
    runtime.delete(running, force=True).ok()
    process.stdout.read()
    assert process.wait(30) in (0, 1)


@needs_controller("memory")
def test_an_event_for_a_process_without_memory(runtime, bundle):
    bundle.resources["memory"] = {"limit": 32 * MEBIBYTE, "swap": 32 * MEBIBYTE}
    runtime.launch(bundle, "sleep", "1000")
    process = runtime.popen("events", "--interval", "100ms", bundle.id, stdout=subprocess.PIPE)
    assert json.loads(process.stdout.readline())["type"] == "stats"
    runtime.exec(bundle, "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1")
    kinds = set()
    deadline = time.monotonic() + 60
    while "oom" not in kinds and time.monotonic() < deadline:
        event = json.loads(process.stdout.readline())
        kinds.add(event["type"])
        assert event["id"] == bundle.id
    assert "oom" in kinds


@pytest.mark.parametrize("interval", ["0", "-1s", "soon"])
def test_an_interval_that_is_none(runtime, running, interval):
    runtime("events", "--interval", interval, running.id).failed()
