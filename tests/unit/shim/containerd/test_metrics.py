"""shim.containerd.metrics: the document of `events --stats` in containerd's messages."""

from pyrunc.shim.containerd import messages
from pyrunc.shim.containerd.metrics import make_metrics

UNLIMITED = (1 << 64) - 1
DATA = {
    "cpu": {
        "usage": {"total": 5_000_000, "kernel": 2_000_000, "user": 3_000_000, "percpu": [4, 5]},
        "throttling": {"periods": 1, "throttledPeriods": 2, "throttledTime": 3000},
    },
    "memory": {
        "usage": {"limit": 1000, "usage": 600, "max": 700, "failcnt": 8},
        "swap": {"limit": 1500, "usage": 650, "failcnt": 0},
        "raw": {"pgfault": 9, "total_pgmajfault": 10, "hierarchical_memsw_limit": 11, "anon": 12, "odd": 13},
    },
    "pids": {"current": 3},
    "blkio": {
        "ioServiceBytesRecursive": [
            {"major": 8, "op": "Read", "value": 100},
            {"major": 8, "op": "Write", "value": 200},
            {"major": 8, "minor": 1, "op": "Total", "value": 300},
        ],
        "ioServicedRecursive": [{"major": 8, "op": "Read", "value": 7}],
    },
    "hugetlb": {"2MB": {"usage": 4096, "failcnt": 0}},
}


def test_of_cgroup_v1():
    wrapped = make_metrics(DATA, is_v2=False)
    assert wrapped["type_url"] == "io.containerd.cgroups.v1.Metrics"
    found = messages.decode(messages.METRICS1, wrapped["value"])
    assert found["cpu"]["usage"] == {
        "total": 5_000_000,
        "kernel": 2_000_000,
        "user": 3_000_000,
        "per_cpu": (4, 5),
    }
    assert found["cpu"]["throttling"]["throttled_time"] == 3000
    memory = found["memory"]
    assert memory["usage"] == {"limit": 1000, "usage": 600, "max": 700, "failcnt": 8}
    assert (memory["pg_fault"], memory["total_pg_maj_fault"], memory["hierarchical_swap_limit"]) == (
        9,
        10,
        11,
    )
    assert found["pids"] == {"current": 3, "limit": 0}
    assert [entry["value"] for entry in found["blkio"]["io_service_bytes_recursive"]] == [100, 200, 300]
    assert found["hugetlb"] == ({"usage": 4096, "max": 0, "failcnt": 0, "pagesize": "2MB"},)


def test_of_cgroup_v2():
    wrapped = make_metrics(DATA, is_v2=True)
    assert wrapped["type_url"] == "io.containerd.cgroups.v2.Metrics"
    found = messages.decode(messages.METRICS2, wrapped["value"])
    assert (found["cpu"]["usage_usec"], found["cpu"]["user_usec"], found["cpu"]["system_usec"]) == (
        5000,
        3000,
        2000,
    )
    assert found["cpu"]["throttled_usec"] == 3
    memory = found["memory"]
    assert (memory["usage"], memory["usage_limit"], memory["anon"]) == (600, 1000, 12)
    assert (memory["swap_usage"], memory["swap_limit"]) == (50, 500)
    assert found["pids"] == {"current": 3, "limit": UNLIMITED}
    assert found["io"]["usage"] == (
        {"major": 8, "minor": 0, "rbytes": 100, "wbytes": 200, "rios": 7, "wios": 0},
    )  # fmt: skip


def test_swap_without_a_limit():
    memory = {"usage": {"limit": 1000, "usage": 1}, "swap": {"limit": UNLIMITED, "usage": 1}}
    wrapped = make_metrics({"memory": memory}, is_v2=True)
    assert messages.decode(messages.METRICS2, wrapped["value"])["memory"]["swap_limit"] == UNLIMITED


def test_of_a_document_that_says_nothing():
    for is_v2, table in ((False, messages.METRICS1), (True, messages.METRICS2)):
        messages.decode(table, make_metrics({"cpu": None}, is_v2=is_v2)["value"])
