"""process.apparmorProfile, where the kernel has AppArmor on (`v2vm run --apparmor`)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from support.fields import covers

ENABLED = Path("/sys/module/apparmor/parameters/enabled")
IS_ON = ENABLED.exists() and ENABLED.read_text().startswith("Y")
PROFILE = """
profile pyrunc-test-tight flags=(attach_disconnected,mediate_deleted) {
  file,
  signal,
  deny /etc/secret r,
}
"""


@pytest.fixture
def profile(tmp_path):
    if not IS_ON:
        pytest.skip("AppArmor is off in this kernel")
    if shutil.which("apparmor_parser") is None:
        pytest.skip("apparmor_parser is not installed")
    file = tmp_path / "profile"
    file.write_text(PROFILE)
    subprocess.run(["apparmor_parser", "--replace", "--skip-cache", file], check=True)
    yield "pyrunc-test-tight"
    subprocess.run(["apparmor_parser", "--remove", file], check=True)


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


def test_without_apparmor_a_profile_is_an_error(runtime, bundle):
    if IS_ON:
        pytest.skip("AppArmor is on in this kernel")
    bundle.process["apparmorProfile"] = "any"
    runtime.run(bundle, "true").failed("/process/apparmorProfile")
