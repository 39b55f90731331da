"""What a hostile image or config holds ready for the runtime, attack by attack, as it was reported once.

The races are in test_attacks; which report each test answers, and what it says of a runtime that is open to
it, stands in support/vulnerabilities.py.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.console import ConsoleSocket
from support.facts import mount_at
from support.marks import deviation
from support.swapper import Swapper

ROUNDS = 12


@pytest.fixture
def outside(work):
    made = work / "outside"
    made.mkdir()
    (made / "file").write_text("canary")
    return made


def own_dev(bundle):
    """The image's own /dev, in a rootfs that can be written to."""
    for name in ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"):
        bundle.unmount(name)
    bundle.writable()
    bundle.linux["maskedPaths"] = []


def seen(directory):
    """Names and contents of what is below, and mounts of the host's on it."""
    files = [(str(path), path.read_text() if path.is_file() else "") for path in sorted(directory.rglob("*"))]
    mountinfo = Path("/proc/self/mountinfo").read_text().splitlines()
    return files, [line for line in mountinfo if str(directory) in line]


def test_an_absolute_link_in_the_image_stays_inside(runtime, bundle, outside):
    """CVE-2019-18837: /etc of the image is a link by the host's name of a directory."""
    (bundle.rootfs / "etc/passwd").unlink()
    (bundle.rootfs / "etc/group").unlink()
    (bundle.rootfs / "etc").rmdir()
    (bundle.rootfs / "etc").symlink_to(outside)
    bundle.writable()
    (outside / "there").mkdir()
    for name in ("there", "made"):
        bundle.mount(f"/etc/{name}", "tmpfs", "tmpfs")
    before = seen(outside)
    answers = runtime.ask(bundle, mounts="cat /proc/self/mountinfo")
    for name in ("there", "made"):
        assert mount_at(answers["mounts"], f"{outside}/{name}").fstype == "tmpfs"
    assert seen(outside) == before


@pytest.mark.parametrize("target", ["{outside}/new", "../../../../../../../../../..{outside}/new"])
def test_a_file_that_is_made_for_a_mount_is_made_inside(runtime, bundle, outside, target):
    """CVE-2025-24965: the image has a link in the place of a file that the runtime makes."""
    bundle.writable()
    (bundle.rootfs / "config").symlink_to(target.format(outside=outside))
    bundle.bind(outside / "file", "/config")
    before = seen(outside)
    runtime.run(bundle, "true")
    assert seen(outside) == before


@pytest.mark.parametrize("fd", range(3, 65, 4))
def test_no_descriptor_of_the_runtime_is_entered_by_exec(runtime, running, fd):
    """CVE-2024-21626, by the working directory of an exec."""
    done = runtime.exec(
        running, "sh", "-c", "pwd; ls ../../../../../..", options=("--cwd", f"/proc/self/fd/{fd}")
    )
    assert done.returncode != 0, done
    assert done.stdout == ""


def test_a_process_has_no_descriptors_but_its_streams(runtime, bundle):
    """CVE-2024-21626: what is not there leaks nothing. The fourth is ls's own."""
    listing = "ls /proc/self/fd"
    assert runtime.ask(bundle, fds=listing)["fds"].split() == ["0", "1", "2", "3"]
    runtime.launch(bundle, "sleep", "1000", id=f"{bundle.id}-2")
    assert runtime.ask_exec(f"{bundle.id}-2", fds=listing)["fds"].split() == ["0", "1", "2", "3"]


def test_what_is_longer_than_a_message_is_an_error_or_arrives(runtime, bundle):
    """CVE-2021-43784: a length of 16 bits went round, and what followed was taken for more of the message."""
    value = "x" * 70_000 + "=end"
    bundle.setenv("LONG", value)
    bundle.config["annotations"] = {"long": value}
    assert runtime.ask(bundle, length="echo ${#LONG}") == {"length": str(len(value))}
    bundle.namespace("network", "/" + "n/" * 35_000)
    runtime.run(bundle, "true").failed()


@pytest.mark.parametrize("size", [341, 6000])
def test_more_mappings_than_the_kernel_takes_are_an_error(runtime, bundle, size):
    """CVE-2021-43784, by the one list of a config that grows without bound; user_namespaces(7): 340 lines."""
    bundle.namespace("user")
    for which in ("uidMappings", "gidMappings"):
        bundle.linux[which] = [
            {"containerID": number, "hostID": 100_000 + number, "size": 1} for number in range(size)
        ]
    runtime.run(bundle, "true").failed()


def test_cgroups_are_readonly_without_a_cgroup_namespace(runtime, bundle):
    """CVE-2023-25809: root of a user namespace saw the host's tree, and could write to it."""
    bundle.map_ids()
    bundle.share("cgroup")
    script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/pyrunc-test-made; done || true"
    lines = runtime.ask(bundle, make=script)["make"].splitlines()
    assert lines and all("Read-only file system" in line or "Permission denied" in line for line in lines), (
        lines
    )


@deviation("runc", reason="makes devices by name, CVE-2026-41579", before="1.3.6", sometimes=True)
def test_a_terminal_of_a_dev_that_changes_under_the_runtime(runtime, bundle, outside, work):
    """CVE-2025-52565: what the image made of /dev/pts/N and /dev/console was opened, and bound."""
    own_dev(bundle)
    bundle.process["terminal"] = True
    (bundle.rootfs / "dev/pts").mkdir()
    bundle.mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620")
    (outside / "pts").mkdir()
    (outside / "console").write_text("canary")
    (bundle.rootfs / "other").symlink_to(outside)
    before = seen(outside)
    with Swapper(bundle.rootfs / "dev", bundle.rootfs / "other"):
        for number in range(ROUNDS):
            name = f"{bundle.id}-{number}"
            socket = ConsoleSocket(work / f"console-{number}.sock")
            runtime.run(bundle, "true", id=name, options=("--detach", "--console-socket", socket.path))
            runtime.delete(name, force=True)
            socket.close()
    assert seen(outside) == before


@deviation("runc", reason="takes what is at /proc for procfs, CVE-2025-52881", before="1.2.8", sometimes=True)
def test_a_proc_that_changes_under_the_runtime(runtime, bundle):
    """CVE-2025-52881: what is written to /proc/sys must reach the kernel, or the container must not start."""
    key, wanted = "net/ipv4/ip_default_ttl", "42"
    false = bundle.rootfs / "false/sys" / key
    false.parent.mkdir(parents=True)
    false.write_text("untouched")
    bundle.writable()
    bundle.linux["sysctl"] = {key.replace("/", "."): wanted}
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    for number in range(ROUNDS):
        name = f"{bundle.id}-{number}"
        with Swapper(bundle.rootfs / "proc", bundle.rootfs / "false"):
            done = runtime.create(bundle, "true", id=name)
        if done.returncode == 0:  # asked from outside: what is at the container's own /proc goes on changing
            inside = ["nsenter", f"--net=/proc/{runtime.pid(name)}/ns/net", "cat", f"/proc/sys/{key}"]
            assert subprocess.run(inside, check=True, capture_output=True, text=True).stdout.strip() == wanted
        runtime.delete(name, force=True)
    assert {path.read_text() for path in bundle.rootfs.glob(f"*/sys/{key}")} == {"untouched"}


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("link", ["elsewhere", "/", "/tmp/../elsewhere", "self"])
def test_proc_and_sys_of_the_image_are_no_links(runtime, bundle, name, link):
    """CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867"""
    (bundle.rootfs / name).rmdir()
    (bundle.rootfs / "elsewhere").mkdir()
    os.symlink(link, bundle.rootfs / name)
    runtime.run(bundle, "true").failed()


@deviation("runc", reason="masks with what is at /dev/null, CVE-2025-31133", before="1.2.8")
def test_a_false_null_device_in_a_dev_of_the_hosts(runtime, bundle, work):
    """CVE-2025-31133, where the runtime makes no devices, and so does not see one that is wrong."""
    (work / "dev").mkdir()
    (work / "dev/null").symlink_to("/secret")
    for name in ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"):
        bundle.unmount(name)
    bundle.bind(work / "dev", "/dev")
    (bundle.rootfs / "secret").write_text("seen")
    bundle.linux["maskedPaths"] = ["/proc/keys"]
    assert runtime.run(bundle, "cat", "/proc/keys", input="").ok().stdout == ""
