"""podman as an ordinary user. Started by root, the tests become one, on a machine of their own where the user
has a name and subordinate ids; an ordinary user who starts them has to have these (as in `make test-v2`)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import image
from support.bundle import make_rootfs
from support.caller import Caller, become, ordinary_user, overlay, own_directory, own_machine

IMAGE = "busybox-test"
RUN = ("run", "--network", "none")
UID = 1000


@pytest.fixture(scope="module")
def _rootless(runtime_command: str) -> Iterator[Caller]:
    for program in ("podman", "newuidmap", "setpriv"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    with own_directory() as path:
        home = path / "home"
        (home / ".config/containers").mkdir(parents=True)
        (home / ".config/containers/storage.conf").write_text('[storage]\ndriver = "vfs"\n')
        (home / ".config/containers/containers.conf").write_text(
            '[containers]\nlog_driver = "k8s-file"\n'
            'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
            '[engine]\nevents_logger = "file"\n'
        )
        image.tar_of(make_rootfs(path / "rootfs"), path / "busybox.tar")
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
        if os.geteuid() != 0:
            runtime_directory = os.environ.get("XDG_RUNTIME_DIR", "")
            env |= {"XDG_RUNTIME_DIR": runtime_directory}
            env |= {name: os.environ[name] for name in ("DBUS_SESSION_BUS_ADDRESS",) if name in os.environ}
            yield from _with_image(Caller(["podman", "--runtime", runtime_command], env), path)
            return
        for each in [home, *home.rglob("*")]:
            os.chown(each, UID, UID)
        above = path / "above"
        above.mkdir()
        prepare = [f"mount -t tmpfs tmpfs {above}", *overlay(above, "/etc"), *ordinary_user(UID, home)]
        env["XDG_RUNTIME_DIR"] = f"/run/user/{UID}"
        with own_machine(*prepare) as machine:
            options = ("--cgroup-manager", "cgroupfs", "--runtime", runtime_command)
            words = [*machine, *become(UID), "podman", *options]
            yield from _with_image(Caller(words, env), path)


def _with_image(podman: Caller, path: Path) -> Iterator[Caller]:
    podman.ok("import", "--change", "CMD=sh", path / "busybox.tar", IMAGE, timeout=120)
    yield podman
    podman.ok("system", "reset", "--force", timeout=120)
    podman("system", "migrate")  # ends the process that held the user namespace


@pytest.fixture
def podman(_rootless: Caller) -> Iterator[Caller]:
    yield _rootless
    _rootless.ok("rm", "--all", "--force", "--time", "0")
    assert _rootless.ok("ps", "--all", "--quiet") == ""


def test_it_is_rootless(podman):
    info = json.loads(podman.ok("info", "--format", "json"))
    assert info["host"]["security"]["rootless"] is True


def test_run(podman):
    text = podman.ok(*RUN, "--rm", IMAGE, "sh", "-c", "id -u; cat /proc/self/uid_map")
    lines = text.splitlines()
    assert lines[0] == "0"
    assert lines[1].split()[0] == "0" and lines[1].split()[1] != "0"
    assert int(lines[2].split()[2]) >= 65535, "the subordinate ids are mapped"
    assert podman(*RUN, "--rm", IMAGE, "sh", "-c", "exit 3").returncode == 3
    assert podman(*RUN, "--rm", IMAGE, "no-such").returncode == 127


def test_another_user_inside(podman):
    script = "id -u; touch /tmp/x; stat -c %u /tmp/x"
    assert podman.ok(*RUN, "--rm", "--user", "1000", IMAGE, "sh", "-c", script).split() == ["1000", "1000"]


def test_the_user_keeps_the_id(podman):
    text = podman.ok(*RUN, "--rm", "--userns", "keep-id", IMAGE, "id", "-u")
    assert int(text) == (os.geteuid() or UID)


def test_a_terminal(podman):
    with podman.on_terminal(*RUN, "--rm", "-it", IMAGE, "sh") as (terminal, process):
        terminal.expect("# ")
        terminal.type("stty size; exit 7\n")
        terminal.expect("33 111")
        assert process.wait(60) == 7


def test_a_container_in_the_background(podman):
    podman.ok(*RUN, "--detach", "--name", "box", IMAGE, "sleep", "1000")
    assert podman.ok("exec", "box", "cat", "/proc/1/comm") == "sleep\n"
    assert podman("exec", "box", "sh", "-c", "exit 9").returncode == 9
    assert "sleep 1000" in podman.ok("top", "box", "args")
    podman.ok("restart", "--time", "0", "box")
    podman.ok("stop", "--time", "0", "box")
    assert podman.ok("inspect", "--format", "{{.State.ExitCode}}", "box") == "137\n"


def test_volumes_tmpfs_and_read_only(podman, work):
    work.chmod(0o777)
    script = "echo kept >/data/file; touch /scratch/x; touch /x 2>&1 || true"
    options = ("--volume", f"{work}:/data", "--tmpfs", "/scratch", "--read-only")
    text = podman.ok(*RUN, "--rm", *options, IMAGE, "sh", "-c", script)
    assert text.endswith("Read-only file system\n")
    assert (work / "file").read_text() == "kept\n"
    assert (work / "file").stat().st_uid == (os.geteuid() or UID)


def test_a_limit(podman):
    """cgroup v1 can't be given to a user; v2 can, by systemd."""
    info = json.loads(podman.ok("info", "--format", "json"))["host"]
    if info["cgroupVersion"] != "v2" or "pids" not in info["cgroupControllers"]:
        pytest.skip("no cgroup controllers for an ordinary user here")
    text = podman.ok(*RUN, "--rm", "--pids-limit", "60", "--memory", "64m", IMAGE, "sh", "-c",
                     "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/memory.max")  # fmt: skip
    assert text.split() == ["60", str(64 << 20)]


def test_a_build(podman, work):
    work.chmod(0o755)
    (work / "Containerfile").write_text(f"FROM {IMAGE}\nRUN id -u >/file\n")
    podman.ok("build", "--network", "none", "--tag", "made", work, timeout=120)
    assert podman.ok(*RUN, "--rm", "made", "cat", "/file") == "0\n"
    podman.ok("image", "rm", "--force", "made")
