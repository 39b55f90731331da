"""mounts, and what is in /dev and among the file descriptors without being asked for."""

import os
import subprocess

import pytest
from support.facts import mount_at, mounts
from support.host import kernel

from conformance.clauses import requirement

MOUNTINFO = "cat /proc/self/mountinfo"


@requirement("MountsInOrder")
def test_mounts_are_made_in_the_listed_order(runtime, bundle):
    for target, name in (("/a", "one"), ("/a/b", "two"), ("/a", "three")):
        bundle.mount(target, "tmpfs", name)
    found = mounts(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"])
    assert [m.source for m in found if m.target.startswith("/a")] == ["one", "two", "three"]


@requirement("MountsDestAbs", "MountsDestRelative")
def test_a_relative_destination_is_taken_from_the_root(runtime, bundle):
    """Forbidden first, then tolerated since 1.2: it must not land anywhere else."""
    bundle.mount("data", "tmpfs", "conformance")
    done = runtime.run(bundle, "cat", "/proc/self/mountinfo")
    if done.returncode == 0:
        assert mount_at(done.stdout, "/data").source == "conformance"
    else:
        assert "data" in done.said


@requirement("MountsSourceBindRelative")
def test_a_relative_source_is_below_the_bundle(runtime, bundle):
    (bundle.path / "beside").mkdir()
    (bundle.path / "beside/file").write_text("found")
    bundle.bind("beside", "/data")
    assert runtime.ask(bundle, file="cat /data/file")["file"] == "found"


@requirement("MountsTypeBindIgnored")
@pytest.mark.parametrize("fstype", ["bind", "none", "tmpfs"])
def test_bind_binds_whatever_the_type(runtime, bundle, work, fstype):
    (work / "file").write_text("found")
    bundle.mount("/etc/file", fstype, work / "file", "bind")
    assert runtime.ask(bundle, file="cat /etc/file")["file"] == "found"


@pytest.fixture
def tree(work):
    """A directory with another mount in it."""
    top = work / "tree"
    (top / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "conformance", top / "below"], check=True)
    (top / "below/file").write_text("found")
    yield top
    subprocess.run(["umount", top / "below"], check=True)


@requirement("MountsDefaultBindKeepsTree")
@pytest.mark.parametrize(("option", "seen"), [("bind", False), ("rbind", True)])
def test_bind_and_rbind(runtime, bundle, tree, option, seen):
    bundle.mount("/data", "bind", tree, option)
    assert ("found" in runtime.ask(bundle, file="cat /data/below/file")["file"]) == seen


@requirement("MountsOptionsSupport")
@pytest.mark.parametrize(
    "option", ["ro", "rw", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "sync",
               "dirsync", "lazytime"]
)  # fmt: skip
def test_an_option_reaches_the_mount(runtime, bundle, option):
    bundle.mount("/data", "tmpfs", "tmpfs", option)
    found = mount_at(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"], "/data")
    assert option in {*found.options, *found.super_options}


@requirement("MountsOptionsSupport")
@pytest.mark.parametrize(
    "option",
    ["async", "atime", "defaults", "dev", "diratime", "exec", "iversion", "loud", "noiversion",
     "nolazytime", "norelatime", "nostrictatime", "silent", "strictatime", "suid"],
)  # fmt: skip
def test_an_option_without_a_trace_is_accepted(runtime, bundle, option):
    bundle.mount("/data", "tmpfs", "tmpfs", option)
    found = mount_at(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"], "/data")
    assert "rw" in found.options


@requirement("MountsOptionsSupport")
@pytest.mark.parametrize("option", ["ro", "nosuid", "nodev", "noexec"])
def test_an_option_reaches_a_bind_mount(runtime, bundle, work, option):
    (work / "dir").mkdir()
    bundle.bind(work / "dir", "/data", option)
    assert option in mount_at(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"], "/data").options


@requirement("MountsOptionsLastWins")
@pytest.mark.parametrize(
    ("first", "second"),
    [("ro", "rw"), ("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec"), ("noatime", "atime")],
)
def test_an_option_that_clears_a_flag(runtime, bundle, first, second):
    bundle.mount("/data", "tmpfs", "tmpfs", first, second)
    found = mount_at(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"], "/data")
    assert first not in found.options


@requirement("MountsOptionsPropagation")
@pytest.mark.parametrize(
    ("option", "expected"),
    [("shared", "shared:"), ("rshared", "shared:"), ("private", ""), ("rprivate", ""),
     ("slave", ""), ("rslave", ""), ("unbindable", "unbindable"), ("runbindable", "unbindable")],
)  # fmt: skip
def test_propagation(runtime, bundle, option, expected):
    bundle.mount("/data", "tmpfs", "tmpfs", option)
    found = mount_at(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"], "/data")
    assert " ".join(found.propagation).startswith(expected)
    assert bool(found.propagation) == bool(expected)


@requirement("MountsOptionsRecursive")
@pytest.mark.skipif(kernel() < (5, 12), reason="mount_setattr came with Linux 5.12")
@pytest.mark.parametrize("option", ["rro", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rnodiratime"])
def test_a_recursive_attribute(runtime, bundle, tree, option):
    bundle.mount("/data", "bind", tree, "rbind", option)
    text = runtime.ask(bundle, mounts=MOUNTINFO)["mounts"]
    for target in ("/data", "/data/below"):
        assert option[1:] in mount_at(text, target).options, target


@requirement("MountsOptionsSymfollow")
@pytest.mark.skipif(kernel() < (5, 10), reason="nosymfollow came with Linux 5.10")
def test_nosymfollow(runtime, bundle):
    bundle.mount("/data", "tmpfs", "tmpfs", "nosymfollow")
    assert "nosymfollow" in mount_at(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"], "/data").options


@requirement("MountsOptionsData")
def test_an_option_that_is_no_flag_is_the_filesystems(runtime, bundle):
    bundle.mount("/data", "tmpfs", "tmpfs", "size=64k", "mode=1750")
    answers = runtime.ask(bundle, mounts=MOUNTINFO, mode="stat -c %a /data")
    assert "size=64k" in mount_at(answers["mounts"], "/data").super_options
    assert answers["mode"] == "1750"


@requirement("MountsOptionsData", "ValidValues")
def test_an_option_that_nobody_knows_is_an_error(bundle, refused):
    bundle.mount("/data", "tmpfs", "tmpfs", "no-such-option")
    refused()


MAP = [{"containerID": 0, "hostID": 200_000, "size": 65_536}]


@requirement("MountsIdmapBoth")
@pytest.mark.parametrize("which", ["uidMappings", "gidMappings"])
def test_mappings_come_together(bundle, work, refused, which):
    (work / "dir").mkdir()
    bundle.bind(work / "dir", "/data")
    bundle.config["mounts"][-1][which] = MAP
    refused()


@requirement("MountsIdmapApplied")
@pytest.mark.skipif(kernel() < (5, 12), reason="id-mapped mounts came with Linux 5.12")
def test_the_owners_are_mapped(runtime, bundle, work):
    (work / "dir").mkdir()
    (work / "dir/file").write_text("")
    os.chown(work / "dir/file", 5, 7)
    bundle.bind(work / "dir", "/data", "idmap")
    bundle.config["mounts"][-1].update(uidMappings=MAP, gidMappings=MAP)
    assert runtime.ask(bundle, owner="stat -c %u:%g /data/file")["owner"] == "200005:200007"


@requirement("MountsIdmapRecursive")
@pytest.mark.skipif(kernel() < (6, 3), reason="an id-mapped tmpfs came with Linux 6.3")
@pytest.mark.parametrize(("option", "owner"), [("idmap", "0"), ("ridmap", "200000")])
def test_idmap_and_ridmap(runtime, bundle, tree, option, owner):
    bundle.mount("/data", "bind", tree, "rbind", option)
    bundle.config["mounts"][-1].update(uidMappings=MAP, gidMappings=MAP)
    assert runtime.ask(bundle, owner="stat -c %u /data/below/file")["owner"] == owner


@requirement("MountsIdmapUnsupported")
def test_mappings_that_procfs_cannot_do_are_an_error(bundle, refused):
    bundle.mount("/data", "bind", "/proc/sys", "bind", "idmap")
    bundle.config["mounts"][-1].update(uidMappings=MAP, gidMappings=MAP)
    refused()


@requirement("DefaultFilesystems")
@pytest.mark.parametrize(
    ("target", "fstype"),
    [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")],
)
def test_the_usual_filesystems(runtime, bundle, target, fstype):
    assert mount_at(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"], target).fstype == fstype


@requirement("DefaultRuntimeLinuxSymlinks")
@pytest.mark.parametrize(
    ("name", "target"),
    [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
     ("stderr", "/proc/self/fd/2")],
)  # fmt: skip
def test_links_in_dev(runtime, bundle, name, target):
    assert runtime.ask(bundle, link=f"readlink /dev/{name}")["link"] == target


@requirement("FileDescriptors")
def test_no_descriptor_of_the_runtime_is_left_open(runtime, bundle):
    """Of `ls`: the three streams, and the directory that it reads."""
    done = runtime.run(bundle, "ls", "/proc/self/fd").ok()
    assert done.stdout.split() == ["0", "1", "2", "3"]
