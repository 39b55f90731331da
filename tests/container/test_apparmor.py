"""process.apparmorProfile, where the kernel has AppArmor on (`v2vm run --apparmor`)."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fields import covers
from support.waiting import until

ENABLED = Path("/sys/module/apparmor/parameters/enabled")
IS_ON = ENABLED.exists() and ENABLED.read_text().startswith("Y")
PROFILE = """
profile pyrunc-test-tight flags=(attach_disconnected,mediate_deleted) {
  file,
  signal,
  deny /etc/secret r,
}
"""
# As LXC's for containers that may have containers: a tree that is mounted nowhere has its names as if from /,
# so that what is meant for sysfs is for /proc/sys too where that is such a tree.
OUTER = """
profile pyrunc-test-outer flags=(attach_disconnected,mediate_deleted) {
  file, mount, remount, umount, pivot_root, capability, network, unix, signal, ptrace,
  deny /proc/sysrq-trigger rwklx,
  deny /sys/[^fdck]*{,/**} wklx,
  deny /sys/kernel/{,**} wklx,
}
"""


@contextlib.contextmanager
def loaded(text: str, file: Path) -> Iterator[None]:
    if not IS_ON:
        pytest.skip("AppArmor is off in this kernel")
    if shutil.which("apparmor_parser") is None:
        pytest.skip("apparmor_parser is not installed")
    file.write_text(text)
    subprocess.run(["apparmor_parser", "--replace", "--skip-cache", file], check=True)
    yield
    subprocess.run(["apparmor_parser", "--remove", file], check=True)


@pytest.fixture
def profile(tmp_path):
    with loaded(PROFILE, tmp_path / "profile"):
        yield "pyrunc-test-tight"


@pytest.fixture
def confined(tmp_path):
    """For a command's `preexec_fn`: it runs in the outer container's profile."""
    with loaded(OUTER, tmp_path / "outer"):
        yield lambda: Path("/proc/self/attr/apparmor/exec").write_text("exec pyrunc-test-outer")


@covers("/process/apparmorProfile")
def test_the_profile_holds_for_init_and_exec(runtime, bundle, profile):
    """It allows what the program does: no capability and no socket, as our own last steps need them."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [4]}
    (bundle.rootfs / "etc").mkdir(exist_ok=True)
    (bundle.rootfs / "etc/secret").write_text("x")
    bundle.process["apparmorProfile"] = profile
    script = "cat /proc/self/attr/current; cat /etc/secret 2>&1; true"
    done = runtime.run(bundle, "sh", "-c", script).ok()
    assert done.stdout.splitlines()[0] == f"{profile} (enforce)"
    assert "Permission denied" in done.stdout
    runtime.launch(bundle, "sleep", "1000")
    assert runtime.exec(bundle, "sh", "-c", script).ok().stdout.splitlines()[0] == f"{profile} (enforce)"


def test_a_profile_that_is_not_loaded(runtime, bundle, profile):
    bundle.process["apparmorProfile"] = "pyrunc-test-no-such"
    runtime.run(bundle, "true").failed("apparmor")


def test_a_caller_that_is_confined_itself(runtime, bundle, confined):
    """runc#4968: sysctls and masks by descriptors of trees that are mounted nowhere, which the profile of an
    outer container knows by other names."""
    bundle.linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "80"}
    (bundle.rootfs / "inner").mkdir()
    bundle.bind(bundle.rootfs / "etc", "/inner", "ro")
    read = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; wc -c </proc/keys; touch /inner/x 2>&1; true"
    name = runtime.prepare(bundle, "sh", "-c", f"{read}; sleep 1000")
    created = runtime("create", "--bundle", bundle.path, name, preexec_fn=confined).ok()
    runtime.start(bundle, preexec_fn=confined).ok()
    done = runtime.exec(bundle, "sh", "-c", read, preexec_fn=confined).ok()
    assert done.stdout.splitlines()[:2] == ["80", "0"]
    assert "Read-only" in done.stdout
    until(lambda: created.stdout == done.stdout, "its init sees the same")
    runtime.delete(bundle, force=True, preexec_fn=confined).ok()


def test_without_apparmor_a_profile_is_an_error(runtime, bundle):
    if IS_ON:
        pytest.skip("AppArmor is on in this kernel")
    bundle.process["apparmorProfile"] = "any"
    runtime.run(bundle, "true").failed("/process/apparmorProfile")
