"""The short form of `make test-v2`: a handful of tests on a machine with cgroup v2, where one can be booted.

Emulated, it is some times slower than the host, and one boot serves all.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import host
from support.runtime import CHECKOUT

V2VM = Path(os.environ.get("V2VM", CHECKOUT / "../shared/tools/v2vm/v2vm"))
TIMEOUT_SECONDS = 480
HANDFUL = (
    "test_lifecycle.py::test_a_container_from_create_to_delete",
    "test_cgroups.py::test_a_cgroup_of_its_own_in_every_hierarchy",
    "test_cgroups.py::test_memory",
    "test_cgroups.py::test_cpu_quota_and_period",
    "test_cgroups.py::test_unified_settings",
    "test_cgroups.py::test_what_the_container_sees_of_its_cgroup",
    "test_devices.py::test_what_is_denied_is_denied_by_the_kernel",
    "test_exec.py::test_it_is_in_the_containers_namespaces_and_cgroups",
    "test_pause.py",
    "test_systemd_limits.py::TestLimits::test_are_in_the_files_and_in_the_unit",
    "test_systemd_limits.py::TestLimits::test_are_updated_in_both",
    "test_systemd_limits.py::TestLimits::test_of_devices_hold",
    "test_systemd.py::TestScope::test_is_where_systemd_would_look_for_it",
    "test_systemd.py::TestScope::test_is_entered_by_exec",
)

pytestmark = [
    pytest.mark.skipif(
        not V2VM.is_file(), reason=f"there is no {V2VM.name} that boots a machine with cgroup v2"
    ),
    pytest.mark.skipif(host.PURE_CGROUP2, reason="this host has cgroup v2: the other tests do the same"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]


def test_a_handful_on_a_machine_with_cgroup_v2_and_systemd(runtime_command):
    done = subprocess.run(
        [
            V2VM, "run", "--init=systemd", f"--timeout={TIMEOUT_SECONDS}", "--mem=1024",
            "-e", f"PYRUNC_TEST_RUNTIME={runtime_command}", "-e", "PYRUNC_TEST_TIMEOUT=120", "--",
            sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider",
            *(f"tests/container/{name}" for name in HANDFUL),
        ],
        cwd=CHECKOUT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
