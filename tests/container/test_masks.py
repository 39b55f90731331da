"""maskedPaths and readonlyPaths."""

import pytest
from support.facts import mount_at
from support.fields import covers
from support.marks import deviation


@pytest.fixture
def secrets(bundle):
    (bundle.rootfs / "secret-directory").mkdir()
    (bundle.rootfs / "secret-directory/file").write_text("seen")
    (bundle.rootfs / "secret-file").write_text("seen")
    bundle.writable()
    return bundle


@covers("/linux/maskedPaths")
def test_a_masked_directory_is_empty_and_a_masked_file_too(runtime, secrets):
    secrets.linux["maskedPaths"] += ["/secret-directory", "/secret-file", "/missing"]
    answers = runtime.ask(
        secrets, list="ls -a /secret-directory", read="cat /secret-file",
        make="echo x > /secret-directory/new || true", write="echo x > /secret-file; cat /secret-file",
    )  # fmt: skip
    assert answers["list"].split() == [".", ".."]
    assert answers["read"] == answers["write"] == ""
    assert "Read-only file system" in answers["make"]
    assert (secrets.rootfs / "secret-file").read_text() == "seen"


def test_what_the_default_masks(runtime, bundle):
    answers = runtime.ask(
        bundle, keys="cat /proc/keys", firmware="ls /sys/firmware", timers="cat /proc/timer_list"
    )
    assert answers == {"keys": "", "firmware": "", "timers": ""}


def test_the_same_path_twice(runtime, secrets):
    secrets.linux["maskedPaths"] = ["/secret-file", "/secret-file", "/secret-directory", "/secret-directory"]
    assert runtime.ask(secrets, read="cat /secret-file; ls /secret-directory") == {"read": ""}


@covers("/linux/readonlyPaths")
def test_readonly_paths(runtime, secrets):
    secrets.linux["readonlyPaths"] += ["/secret-directory", "/secret-file", "/missing"]
    answers = runtime.ask(
        secrets, read="cat /secret-directory/file /secret-file", mounts="cat /proc/self/mountinfo",
        write="for f in /secret-directory/new /secret-file /proc/sys/kernel/sem; do echo > $f; done || true",
    )  # fmt: skip
    assert answers["read"] == "seenseen"
    assert answers["write"].count("Read-only file system") == 3
    assert "ro" in mount_at(answers["mounts"], "/secret-directory").options


def test_a_readonly_path_keeps_the_other_flags_of_its_mount(runtime, bundle):
    bundle.mount("/data", "tmpfs", "tmpfs", "nosuid", "nodev", "noexec")
    bundle.linux["readonlyPaths"].append("/data")
    text = runtime.ask(bundle, mounts="cat /proc/self/mountinfo")["mounts"]
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(mount_at(text, "/data").options)


def test_sysrq_is_out_of_reach(runtime, bundle):
    answers = runtime.ask(bundle, write="echo h > /proc/sysrq-trigger || true")
    assert "Read-only file system" in answers["write"] or "nonexistent" in answers["write"]


@pytest.mark.parametrize("which", ["maskedPaths", "readonlyPaths"])
def test_a_link_in_the_image_leads_nowhere_outside(runtime, secrets, work, which):
    outside = work / "outside"
    outside.write_text("canary")
    (secrets.rootfs / "link").symlink_to(outside)
    secrets.linux[which].append("/link")
    runtime.run(secrets, "true")
    assert outside.read_text() == "canary"


def test_a_false_null_device_masks_nothing_and_is_not_exposed(runtime, secrets, work):
    """CVE-2025-31133: the masked file must not show what the image put in the place of /dev/null."""
    for name in ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"):
        secrets.unmount(name)
    (secrets.rootfs / "dev/null").symlink_to("/secret-file")
    secrets.linux["maskedPaths"] = ["/proc/keys"]
    done = runtime.run(secrets, "cat", "/proc/keys", input="")
    assert "seen" not in done.stdout


@pytest.mark.parametrize("which", ["maskedPaths", "readonlyPaths"])
def test_they_need_a_mount_namespace(runtime, bundle, which):
    bundle.share("mount")
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    bundle.linux[which] = ["/proc/keys"]
    runtime.run(bundle, "true").failed()


@pytest.mark.parametrize("which", ["maskedPaths", "readonlyPaths"])
@deviation("runc", reason="takes a relative path as if it began with /")
def test_they_are_absolute(runtime, bundle, which):
    bundle.linux[which] = ["proc/keys"]
    runtime.run(bundle, "true").failed()
