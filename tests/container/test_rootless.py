"""An ordinary user runs containers: a user namespace of one id, no cgroup of one's own, no privilege."""

import json
import os
import subprocess

import pytest

USER = 4321
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")


@pytest.fixture
def rootless(runtime, bundle, work):
    """The bundle that `spec --rootless` is for, owned by a user who is nobody special."""
    if subprocess.run([*AS_USER, runtime.command, "--version"], capture_output=True).returncode != 0:
        pytest.skip(f"another user cannot execute {runtime.command}")
    if subprocess.run([*AS_USER, "unshare", "--user", "true"], capture_output=True).returncode != 0:
        pytest.skip("users may not make user namespaces here")
    bundle.config["linux"].pop("resources")
    bundle.share("network")
    bundle.namespace("user")
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": USER, "size": 1}]
    bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": USER, "size": 1}]
    for name in ("/sys", "/sys/fs/cgroup"):
        bundle.unmount(name)
    bundle.mount("/sys", "none", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro")
    (pts,) = [entry for entry in bundle.config["mounts"] if entry["destination"] == "/dev/pts"]
    pts["options"].remove("gid=5")
    runtime.root.mkdir(mode=0o700)
    for directory, _, files in os.walk(bundle.path):
        for name in (directory, *(os.path.join(directory, file) for file in files)):
            os.lchown(name, USER, USER)
    os.chown(runtime.root, USER, USER)
    return bundle


HOW = {"prefix": AS_USER, "env": {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": "/nonexistent"}}


def test_run(runtime, rootless):
    done = runtime.run(rootless, "sh", "-c", "id -u; cat /proc/self/uid_map; hostname; echo fine", **HOW).ok()
    assert done.stdout.split() == ["0", "0", str(USER), "1", "inside", "fine"]


def test_a_life_from_create_to_delete(runtime, rootless):
    runtime.create(rootless, "sleep", "1000", **HOW).ok()
    assert runtime("state", rootless.id, **HOW).ok().stdout
    with open(f"/proc/{runtime.pid(rootless)}/status") as status:
        assert f"Uid:\t{USER}\t" in status.read()
    runtime.start(rootless, **HOW).ok()
    assert runtime.exec(rootless, "id", "-u", **HOW).ok().stdout == "0\n"
    runtime.kill(rootless, "KILL", **HOW).ok()
    runtime.until_status(rootless, "stopped")
    runtime.delete(rootless, **HOW).ok()
    assert os.listdir(runtime.root) == []


def test_the_generated_config_works(runtime, rootless):
    """What `spec --rootless` writes as this user, but for the terminal."""
    (rootless.path / "config.json").unlink(missing_ok=True)
    runtime("spec", "--rootless", "--bundle", rootless.path, **HOW).ok()
    rootless.config = json.loads((rootless.path / "config.json").read_text())
    rootless.process["terminal"] = False
    assert rootless.linux["uidMappings"] == [{"containerID": 0, "hostID": USER, "size": 1}]
    assert runtime.run(rootless, "echo", "fine", **HOW).ok().stdout == "fine\n"


def test_without_a_user_namespace_it_is_refused(runtime, rootless):
    rootless.share("user")
    del rootless.linux["uidMappings"], rootless.linux["gidMappings"]
    runtime.run(rootless, "true", **HOW).failed()


def test_ids_that_are_not_ours_are_refused(runtime, rootless):
    rootless.linux["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}]
    runtime.run(rootless, "true", **HOW).failed()


def test_additional_groups_are_refused(runtime, rootless):
    rootless.process["user"]["additionalGids"] = [5]
    runtime.run(rootless, "true", **HOW).failed()
