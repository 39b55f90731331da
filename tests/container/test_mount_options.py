"""mounts[].options, one by one: what the kernel says of a mount that was made with it."""

import subprocess

import pytest
from support.facts import mount_at
from support.fields import covers
from support.host import needs_program
from support.marks import deviation

MOUNTINFO = "cat /proc/self/mountinfo"
_DEFAULTS = deviation("runc", reason="gives it to the filesystem")


def words_of(mount):
    return {*mount.options, *mount.super_options, *(word.split(":")[0] for word in mount.propagation)}


# -- a filesystem of its own -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("ro", "ro"), ("nosuid", "nosuid"), ("nodev", "nodev"), ("noexec", "noexec"), ("noatime", "noatime"),
        ("nodiratime", "nodiratime"), ("relatime", "relatime"), ("sync", "sync"), ("dirsync", "dirsync"),
        ("mand", "mand"),
        ("nosymfollow", "nosymfollow"), ("lazytime", "lazytime"),
    ],
)  # fmt: skip
@covers("/mounts/*/options={option}")
def test_an_option_that_sets_a_flag(runtime, bundle, option, shown):
    bundle.mount("/data", "tmpfs", "tmpfs", option)
    assert shown in words_of(mount_at(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"], "/data"))


@pytest.mark.parametrize(
    ("option", "before", "shown"),
    [
        ("rw", "ro", "ro"), ("suid", "nosuid", "nosuid"), ("dev", "nodev", "nodev"),
        ("exec", "noexec", "noexec"), ("atime", "noatime", "noatime"), ("async", "sync", "sync"),
        ("diratime", "nodiratime", "nodiratime"), ("strictatime", "relatime", "relatime"),
        ("nomand", "mand", "mand"),
        ("symfollow", "nosymfollow", "nosymfollow"), ("nolazytime", "lazytime", "lazytime"),
    ],
)  # fmt: skip
@covers("/mounts/*/options={option}")
def test_an_option_that_clears_a_flag(runtime, bundle, option, before, shown):
    bundle.mount("/data", "tmpfs", "tmpfs", before, option)
    assert shown not in words_of(mount_at(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"], "/data"))


@pytest.mark.parametrize("option", ["nostrictatime", "norelatime"])
@covers("/mounts/*/options={option}")
def test_an_option_that_takes_another_back(runtime, bundle, option):
    """What is left is the kernel's default, which is relatime."""
    bundle.mount("/data", "tmpfs", "tmpfs", option.removeprefix("no"), option)
    assert "relatime" in mount_at(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"], "/data").options


@pytest.mark.parametrize(
    "option",
    [
        "acl", "iversion", "loud", "noacl", "noiversion", "silent", pytest.param("defaults", marks=_DEFAULTS),
    ],
)  # fmt: skip
@covers("/mounts/*/options={option}")
def test_an_option_that_leaves_no_trace(runtime, bundle, option):
    """It is taken, the filesystem doesn't get to see it, and nothing else changes."""
    bundle.mount("/data", "tmpfs", "tmpfs")
    bundle.mount("/other", "tmpfs", "tmpfs", option)
    text = runtime.ask(bundle, mounts=MOUNTINFO)["mounts"]
    assert words_of(mount_at(text, "/other")) == words_of(mount_at(text, "/data"))


# -- what is mounted below, too --------------------------------------------------------------------------


@pytest.fixture
def nested(work):
    """A source with a mount on itself, and one below; both without flags."""
    source = work / "source"
    (source / "below").mkdir(parents=True)
    below = ("source", source), ("below", source / "below")
    for name, place in below:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", name, place], check=True)
        (place / "below").mkdir(exist_ok=True)
    yield source
    subprocess.run(["umount", "--recursive", source], check=True)


def options_of_both(runtime, bundle, source, *options):
    bundle.mount("/data", "bind", source, "rbind", *options)
    text = runtime.ask(bundle, mounts=MOUNTINFO)["mounts"]
    return [mount_at(text, target) for target in ("/data", "/data/below")]


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec"),
        ("rnoatime", "noatime"), ("rnodiratime", "nodiratime"), ("rnosymfollow", "nosymfollow"),
        ("rrelatime", "relatime"),
    ],
)  # fmt: skip
@covers("/mounts/*/options={option}")
def test_a_recursive_option_that_sets_an_attribute(runtime, bundle, nested, option, shown):
    for mount in options_of_both(runtime, bundle, nested, option):
        assert shown in mount.options


_WRONG_ATIME = deviation("runc", reason="sets no bit that mount_setattr would take", before="1.2")


@pytest.mark.parametrize(
    ("option", "flag"),
    [
        ("rrw", "ro"), ("rsuid", "nosuid"), ("rdev", "nodev"), ("rexec", "noexec"),
        ("rdiratime", "nodiratime"), ("rsymfollow", "nosymfollow"), ("rstrictatime", "relatime"),
        pytest.param("ratime", "noatime", marks=_WRONG_ATIME),
        pytest.param("rnorelatime", "relatime", marks=_WRONG_ATIME),
        pytest.param("rnostrictatime", "strictatime", marks=_WRONG_ATIME),
    ],
)  # fmt: skip
@covers("/mounts/*/options={option}")
def test_a_recursive_option_that_clears_an_attribute(runtime, bundle, nested, option, flag):
    for place in (nested, nested / "below"):
        subprocess.run(["mount", "-o", f"remount,bind,{flag}", place], check=True)
    for mount in options_of_both(runtime, bundle, nested, option):
        assert flag not in mount.options


@pytest.mark.parametrize(
    ("option", "kinds"),
    [("private", set()), ("slave", {"master"}), ("shared", {"shared"}), ("unbindable", {"unbindable"})],
)
@pytest.mark.parametrize("recursive", ["", "r"])
@covers("/mounts/*/options={recursive}{option}")
def test_propagation(runtime, bundle, nested, recursive, option, kinds):
    """Without the r it is for the topmost mount alone: what is below is as the rootfs is."""
    for place in (nested, nested / "below"):
        subprocess.run(["mount", "--make-shared", place], check=True)
    found = options_of_both(runtime, bundle, nested, f"{recursive}{option}")
    top, below = ({word.split(":")[0] for word in mount.propagation} for mount in found)
    assert top - {"master"} == kinds - {"master"}
    assert (below - {"master"} == kinds - {"master"}) or not recursive
    if option in ("shared", "unbindable") and not recursive:
        assert option not in below


# -- types -----------------------------------------------------------------------------------------------


@covers("/mounts/*/type=(proc|sysfs|devpts)")
def test_the_filesystems_of_the_kernel(runtime, bundle):
    text = runtime.ask(bundle, mounts=MOUNTINFO)["mounts"]
    found = {target: mount_at(text, target).fstype for target in ("/proc", "/sys", "/dev/pts")}
    assert found == {"/proc": "proc", "/sys": "sysfs", "/dev/pts": "devpts"}


@pytest.fixture
def disk(work):
    """A block device with ext4."""
    with (work / "image").open("wb") as image:
        image.truncate(4 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", work / "image"], check=True)
    made = subprocess.run(["losetup", "--find", "--show", work / "image"], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    yield made.stdout.strip()
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


@needs_program("mke2fs", "losetup")
@pytest.mark.parametrize("access", ["ro", "rw"])
def test_a_block_device(runtime, bundle, disk, access):
    """Which the container itself may not open."""
    bundle.mount("/data", "ext4", disk, access, "nosuid", "errors=remount-ro")
    answers = runtime.ask(bundle, mounts=MOUNTINFO, files="ls /data", write="echo x > /data/new || true")
    found = mount_at(answers["mounts"], "/data")
    assert (found.fstype, found.source, answers["files"]) == ("ext4", disk, "lost+found")
    assert {access, "nosuid"} <= set(found.options)
    assert {access, "errors=remount-ro"} <= set(found.super_options)
    assert ("Read-only" in answers["write"]) == (access == "ro")


@covers("/mounts/*/type=overlay")
def test_an_overlay(runtime, bundle, work):
    for name in ("one", "two"):
        (work / name).mkdir()
        (work / name / name).write_text(name)
    bundle.mount("/data", "overlay", "overlay", f"lowerdir={work}/one:{work}/two")
    assert runtime.ask(bundle, files="cat /data/one /data/two") == {"files": "onetwo"}


@deviation("runc", reason="gives the kernel a mount that is not there to change")
@covers("/mounts/*/options=remount")
def test_remount_of_a_bind_is_a_bind(runtime, bundle, work):
    """As fstab has it, and old versions of Docker sent it."""
    (work / "file").write_text("there")
    bundle.mount("/data", "bind", work, "bind", "remount", "ro")
    answers = runtime.ask(bundle, mounts=MOUNTINFO, text="cat /data/file")
    assert answers["text"] == "there"
    assert "ro" in mount_at(answers["mounts"], "/data").options
