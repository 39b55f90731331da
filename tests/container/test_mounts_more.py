"""Mounts that are more than a call: copies, id maps, links, user namespaces, cgroups, hosts' mounts."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from support.facts import mount_at, mounts
from support.fields import covers
from support.host import CGROUP1, PURE_CGROUP2, kernel, needs_cgroup1, needs_namespace
from support.marks import deviation

MOUNTINFO = "cat /proc/self/mountinfo"


@pytest.fixture
def source(work):
    made = work / "source"
    made.mkdir()
    (made / "file").write_text("from outside\n")
    (made / "below").mkdir()
    return made


@pytest.fixture
def tmpfs_source(source):
    """The same on a tmpfs: what of it is id-mapped does not depend on the host's disk."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "x", source], check=True)
    (source / "file").write_text("from outside\n")
    os.chown(source / "file", 1000, 2000)
    yield source
    subprocess.run(["umount", "-R", source], check=True)


# -- tmpcopyup -------------------------------------------------------------------------------------------


@pytest.fixture
def furnished(bundle):
    """A directory of the image with one of everything."""
    data = bundle.rootfs / "data"
    (data / "sub/deep").mkdir(parents=True)
    (data / "sub/file").write_text("content\n" * 1000)
    (data / "empty").touch()
    os.link(data / "sub/file", data / "again")
    (data / "dangling").symlink_to("/no/where")
    os.mkfifo(data / "fifo")
    os.mknod(data / "node", stat.S_IFCHR | 0o640, os.makedev(1, 3))
    for number, path in enumerate(("sub", "sub/file", "dangling", "fifo", "node", "empty")):
        os.chown(data / path, 100 + number, 200 + number, follow_symlinks=False)
    (data / "empty").chmod(0o4755)
    (data / "sub").chmod(0o2750)
    os.setxattr(data / "empty", "trusted.pyrunc", b"kept")
    for path in ("sub/file", "sub/deep", "dangling", "fifo"):
        os.utime(data / path, ns=(1_000_000_000, 1_234_567_890_123_456_789), follow_symlinks=False)
    bundle.allow("CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN")
    return data


plain_only = deviation("runc", reason="copies directories, files and symlinks only")

_STAT = "stat -c '%n %F %a %u:%g %Y %s %N %t:%T %h'"
_LIST = f"cd /data && {_STAT} sub sub/deep sub/file empty again dangling fifo node"


@plain_only
def test_a_copy_is_as_the_original(runtime, bundle, furnished):
    expected = runtime.ask(bundle, all=_LIST)["all"].splitlines()
    bundle.mount("/data", "tmpfs", "tmpfs", "tmpcopyup")
    found = runtime.ask(bundle, all=_LIST, same="cmp /data/sub/file /data/again && echo yes")
    assert found["same"] == "yes"

    def told(line):
        """A directory's size and number of links are its filesystem's business."""
        words = line.split()
        return words[:5] if "directory" in line else words

    assert [told(line) for line in found["all"].splitlines()] == [told(line) for line in expected]
    assert len(expected) == 8


@plain_only
def test_a_copy_keeps_extended_attributes(runtime, bundle, furnished):
    bundle.mount("/data", "tmpfs", "tmpfs", "tmpcopyup")
    runtime.launch(bundle, "sleep", "1000")
    inside = Path(f"/proc/{runtime.pid(bundle)}/root/data")
    assert os.getxattr(inside / "empty", "trusted.pyrunc") == b"kept"
    assert (inside / "sub/file").stat().st_ino == (inside / "again").stat().st_ino


@plain_only
def test_a_copy_that_is_readonly(runtime, bundle, furnished):
    bundle.mount("/data", "tmpfs", "tmpfs", "tmpcopyup", "ro", "nosuid", "noexec", "size=1m", "sync")
    answers = runtime.ask(
        bundle, write="echo x > /data/new || true", read="cat /data/empty", mounts=MOUNTINFO
    )
    assert "Read-only file system" in answers["write"]
    found = mount_at(answers["mounts"], "/data")
    assert {"ro", "nosuid", "noexec"} <= set(found.options)
    assert {"size=1024k", "sync"} <= set(found.super_options)


@plain_only
def test_a_copy_has_the_mode_of_the_directory(runtime, bundle, furnished):
    furnished.chmod(0o2711)
    bundle.mount("/data", "tmpfs", "tmpfs", "tmpcopyup")
    bundle.mount("/made", "tmpfs", "tmpfs", "tmpcopyup", "mode=700")
    modes = runtime.ask(bundle, modes="stat -c %a /data /made")["modes"]
    assert modes.splitlines() == ["2711", "700"]


@plain_only
def test_a_copy_of_more_than_fits_is_an_error(runtime, bundle, furnished):
    (furnished / "large").write_bytes(bytes(1 << 20))
    bundle.mount("/data", "tmpfs", "tmpfs", "tmpcopyup", "size=64k")
    runtime.run(bundle, "true").failed("no space left on device", "/data")


def test_a_copy_of_what_was_mounted_before(runtime, bundle, source):
    bundle.bind(source, "/data", "ro")
    bundle.mount("/data", "tmpfs", "tmpfs", "tmpcopyup")
    answers = runtime.ask(bundle, read="cat /data/file", write="echo x > /data/file; cat /data/file")
    assert answers == {"read": "from outside", "write": "x"}
    assert (source / "file").read_text() == "from outside\n"


def test_a_copy_does_not_follow_links_out_of_the_image(runtime, bundle, work):
    (work / "secret").write_text("secret")
    (bundle.rootfs / "data").mkdir()
    (bundle.rootfs / "data/link").symlink_to(work / "secret")
    (bundle.rootfs / "way").symlink_to(work)
    bundle.mount("/data", "tmpfs", "tmpfs", "tmpcopyup")
    bundle.mount("/way", "tmpfs", "tmpfs", "tmpcopyup")
    answers = runtime.ask(bundle, link="cat /data/link || true", list="ls /way/")
    assert "secret" not in answers["link"].replace(str(work / "secret"), "")
    assert answers["list"] == ""


def test_a_copy_in_a_user_namespace(runtime, bundle):
    (bundle.rootfs / "data/sub").mkdir(parents=True)
    (bundle.rootfs / "data/sub/file").write_text("kept")
    bundle.map_ids()
    os.chown(bundle.rootfs / "data/sub/file", 100_007, 100_008)
    bundle.mount("/data", "tmpfs", "tmpfs", "tmpcopyup")
    answers = runtime.ask(bundle, read="cat /data/sub/file", owner="stat -c %u:%g /data/sub/file")
    assert answers == {"read": "kept", "owner": "7:8"}


# -- id maps ---------------------------------------------------------------------------------------------

no_idmap = deviation("runc", reason="has no id-mapped mounts", before="1.2")
needs_idmapped_tmpfs = pytest.mark.skipif(kernel() < (6, 3), reason="id-mapped tmpfs is of Linux 6.3")


def add_mapped(bundle, source, *options, destination="/data", uids=((1000, 0, 10),), gids=((2000, 5, 10),)):
    def ranges(given):
        return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in given]

    entry = {"destination": destination, "type": "bind", "source": str(source), "options": list(options)}
    if uids:
        entry |= {"uidMappings": ranges(uids), "gidMappings": ranges(gids)}
    bundle.config["mounts"].append(entry)


@no_idmap
@needs_idmapped_tmpfs
def test_a_mapping_without_an_option_maps(runtime, bundle, tmpfs_source):
    add_mapped(bundle, tmpfs_source, "bind")
    assert runtime.ask(bundle, owner="stat -c %u:%g /data/file") == {"owner": "0:5"}


@no_idmap
@needs_idmapped_tmpfs
def test_what_is_made_through_a_mapping_is_mapped_back(runtime, bundle, tmpfs_source):
    add_mapped(
        bundle, tmpfs_source, "bind", "idmap", uids=((0, 0, 1), (1000, 7, 1)), gids=((0, 0, 1), (9, 8, 1))
    )
    os.chown(tmpfs_source, 1000, 9)
    bundle.process["user"] = {"uid": 7, "gid": 8}
    runtime.run(bundle, "touch", "/data/made").ok()
    made = (tmpfs_source / "made").stat()
    assert (made.st_uid, made.st_gid) == (1000, 9)


@no_idmap
@needs_idmapped_tmpfs
def test_ids_that_are_not_mapped_are_nobodys(runtime, bundle, tmpfs_source):
    add_mapped(bundle, tmpfs_source, "bind", uids=((5, 5, 1),))
    assert runtime.ask(bundle, owner="stat -c %u:%g /data/file") == {"owner": "65534:5"}


@no_idmap
@needs_idmapped_tmpfs
@pytest.mark.parametrize(("option", "inner"), [("idmap", "1000:2000"), ("ridmap", "0:5")])
@covers("/mounts/*/options={option}")
def test_only_ridmap_is_for_what_is_mounted_below(runtime, bundle, tmpfs_source, option, inner):
    below = tmpfs_source / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "inner", below], check=True)
    (below / "file").touch()
    os.chown(below / "file", 1000, 2000)
    add_mapped(bundle, tmpfs_source, "rbind", option)
    answers = runtime.ask(bundle, top="stat -c %u:%g /data/file", inner="stat -c %u:%g /data/below/file")
    assert answers == {"top": "0:5", "inner": inner}


@no_idmap
@needs_idmapped_tmpfs
def test_without_a_mapping_it_is_that_of_the_container(runtime, bundle, tmpfs_source):
    """The ids on the disk are the ids in the container, wherever on the host those are."""
    bundle.map_ids()
    add_mapped(bundle, tmpfs_source, "bind", "idmap", uids=())
    assert runtime.ask(bundle, owner="stat -c %u:%g /data/file") == {"owner": "1000:2000"}


@no_idmap
@needs_idmapped_tmpfs
def test_two_mounts_with_the_same_mapping_and_one_with_another(runtime, bundle, tmpfs_source):
    add_mapped(bundle, tmpfs_source, "bind", destination="/a")
    add_mapped(bundle, tmpfs_source, "bind", destination="/b")
    add_mapped(bundle, tmpfs_source, "bind", destination="/c", uids=((1000, 3, 1),))
    answers = runtime.ask(bundle, owners="stat -c %u:%g /a/file /b/file /c/file")
    assert answers["owners"].split() == ["0:5", "0:5", "3:5"]


@no_idmap
def test_a_filesystem_that_cannot_be_mapped_is_an_error(runtime, bundle):
    add_mapped(bundle, "/proc/self", "bind", "idmap")
    runtime.run(bundle, "true").failed("/mounts/", "id-mapped")


@no_idmap
def test_a_mapping_needs_both_halves(runtime, bundle, source):
    add_mapped(bundle, source, "bind")
    del bundle.config["mounts"][-1]["gidMappings"]
    runtime.run(bundle, "true").failed("gidMappings")


@deviation("runc", reason="gives idmap to the filesystem", before="1.2")
def test_idmap_without_any_mapping_is_an_error(runtime, bundle, source):
    add_mapped(bundle, source, "bind", "idmap", uids=())
    runtime.run(bundle, "true").failed("user namespace")


# -- symlinks as ends ------------------------------------------------------------------------------------

only_crun = deviation("runc", reason="does not know these options of crun")


@only_crun
@covers("/mounts/*/options=copy-symlink")
def test_copy_symlink(runtime, bundle, source):
    (source / "link").symlink_to("../somewhere")
    bundle.bind(source / "link", "/deep/er/link", "copy-symlink")
    bundle.bind(source / "file", "/file", "copy-symlink")
    bundle.bind(source, "/directory", "copy-symlink")
    answers = runtime.ask(
        bundle, link="readlink /deep/er/link", file="cat /file", below="ls /directory", mounts=MOUNTINFO
    )
    assert answers["link"] == "../somewhere"
    assert answers["file"] == "from outside"
    assert answers["below"].split() == ["below", "file", "link"]
    assert "/deep/er/link" not in [mount.target for mount in mounts(answers["mounts"])]


@only_crun
@covers("/mounts/*/options=src-nofollow")
def test_src_nofollow(runtime, bundle, source):
    (source / "link").symlink_to("/etc/passwd")
    bundle.bind(source / "link", "/link", "src-nofollow")
    bundle.bind(source / "file", "/file", "src-nofollow")
    answers = runtime.ask(bundle, link="readlink /link", file="cat /file")
    assert answers == {"link": "/etc/passwd", "file": "from outside"}


@only_crun
@covers("/mounts/*/options=dest-nofollow")
def test_dest_nofollow(runtime, bundle, source):
    (bundle.rootfs / "target").write_text("as it was")
    (bundle.rootfs / "link").symlink_to("target")
    bundle.bind(source / "file", "/link", "dest-nofollow")
    bundle.bind(source / "file", "/new/file", "dest-nofollow")
    answers = runtime.ask(bundle, link="cat /link", target="cat /target", new="cat /new/file")
    assert answers == {"link": "from outside", "target": "as it was", "new": "from outside"}


def test_without_those_options_links_are_followed(runtime, bundle, source):
    (source / "link").symlink_to("file")
    (bundle.rootfs / "target").touch()
    (bundle.rootfs / "link").symlink_to("target")
    bundle.bind(source / "link", "/link")
    assert runtime.ask(bundle, target="cat /target") == {"target": "from outside"}


# -- cgroup mounts ---------------------------------------------------------------------------------------


def cgroup_mounts(text):
    return {
        mount.target: mount for mount in mounts(text)
        if mount.target.startswith("/sys/fs/cgroup") and mount.fstype.startswith("cgroup")
    }  # fmt: skip


@needs_namespace("cgroup")
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("access", ["ro", "rw"])
@covers("/mounts/*/type=cgroup")
def test_with_a_cgroup_namespace_the_mounts_begin_at_the_container(runtime, bundle, mapped, access):
    bundle.namespace("cgroup")
    bundle.unmount("/sys/fs/cgroup")
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", access)
    if mapped:
        bundle.map_ids()
    answers = runtime.ask(bundle, mounts=MOUNTINFO, own="cat /proc/self/cgroup")
    found = cgroup_mounts(answers["mounts"])
    assert len(found) >= (1 if PURE_CGROUP2 else len(CGROUP1) // 2)
    for mount in found.values():
        assert mount.root == "/", mount
        assert {access, "nosuid", "nodev", "noexec"} <= set(mount.options), mount
    assert {line.split(":", 2)[2] for line in answers["own"].splitlines()} == {"/"}


@pytest.mark.parametrize("mapped", [False, True])
def test_without_one_they_are_the_containers_own_part(runtime, bundle, mapped):
    if mapped:
        bundle.map_ids()
    answers = runtime.ask(bundle, mounts=MOUNTINFO)
    found = cgroup_mounts(answers["mounts"])
    assert found
    for mount in found.values():
        assert bundle.id in mount.root.rpartition("/")[2], mount
        assert "ro" in mount.options


@needs_namespace("cgroup")
@deviation("runc", reason="falls back on cgroup v2 alone")
def test_a_cgroup_namespace_that_root_inside_has_no_rights_in(runtime, new_bundle):
    """The namespace belongs to the host's user namespace: the kernel refuses to mount for it."""
    donor, bundle = new_bundle(), new_bundle()
    donor.namespace("cgroup")
    runtime.launch(donor, "sleep", "1000")
    bundle.namespace("cgroup", f"/proc/{runtime.pid(donor)}/ns/cgroup")
    bundle.map_ids()
    runtime.launch(bundle, "sleep", "1000")
    found = cgroup_mounts(Path(f"/proc/{runtime.pid(bundle)}/mountinfo").read_text())
    assert found
    for mount in found.values():
        assert bundle.id in mount.root.rpartition("/")[2], mount
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(mount.options), mount


@needs_cgroup1
def test_each_controller_of_v1_has_a_name(runtime, bundle):
    answers = runtime.ask(bundle, list="ls /sys/fs/cgroup")
    names = {name.removeprefix("name=") for name in CGROUP1}
    assert names <= set(answers["list"].split())


# -- user namespaces -------------------------------------------------------------------------------------


@deviation("runc", reason="gives up when group 5 is not mapped")
def test_filesystems_in_a_user_namespace(runtime, bundle):
    """The group 5, tty, may not be mapped: then terminals have the group of their owner."""
    bundle.map_ids(size=5)
    answers = runtime.ask(bundle, mounts=MOUNTINFO, pts="ls -ld /dev/pts/ptmx")
    for target, fstype in (
        ("/sys", "sysfs"), ("/dev/mqueue", "mqueue"), ("/dev/pts", "devpts"), ("/proc", "proc"),
    ):  # fmt: skip
        assert mount_at(answers["mounts"], target).fstype == fstype
    assert "gid=5" not in mount_at(answers["mounts"], "/dev/pts").super_options


def test_sources_below_a_directory_that_root_inside_may_not_search(runtime, bundle, work):
    closed = work / "closed"
    (closed / "source").mkdir(parents=True)
    (closed / "source/file").write_text("reached")
    (closed / "source/file").chmod(0o644)
    (closed / "source").chmod(0o755)
    closed.chmod(0o700)
    bundle.map_ids()
    bundle.bind(closed / "source", "/data")
    bundle.bind(closed / "source/file", "/etc/one")
    assert runtime.ask(bundle, read="cat /data/file", one="cat /etc/one") == {
        "read": "reached",
        "one": "reached",
    }


@deviation("runc", reason="lets root inside walk to the rootfs", sometimes=True)
def test_a_rootfs_below_a_directory_that_root_inside_may_not_search(runtime, bundle):
    bundle.map_ids()
    os.chown(bundle.path, 0, 0)
    bundle.path.chmod(0o700)
    assert runtime.ask(bundle, id="id -u", root="ls /")["id"] == "0"


# -- the host's mounts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["shared", "rshared"])
def test_a_shared_rootfs_takes_and_gives_mounts(runtime, bundle, work, given):
    """What is mounted on the host below a bind shows inside, where the bind is shared."""
    shared = work / "shared"
    shared.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "x", shared], check=True)
    try:
        subprocess.run(["mount", "--make-shared", shared], check=True)
        (shared / "late").mkdir()
        bundle.linux["rootfsPropagation"] = given
        bundle.mount("/data", "bind", shared, "rbind", "rshared")
        runtime.launch(bundle, "sleep", "1000")
        subprocess.run(["mount", "-t", "tmpfs", "y", shared / "late"], check=True)
        inside = Path(f"/proc/{runtime.pid(bundle)}/mountinfo").read_text()
        subprocess.run(["umount", shared / "late"], check=True)
        assert mount_at(inside, "/data/late").source == "y"
        after = Path(f"/proc/{runtime.pid(bundle)}/mountinfo").read_text()
        assert "/data/late" not in [mount.target for mount in mounts(after)]
    finally:
        subprocess.run(["umount", "-R", shared], check=True)


@pytest.mark.parametrize(
    ("given", "arrives"), [("rslave", True), ("slave", True), ("rprivate", False), ("private", False)]
)
def test_what_arrives_from_the_host(runtime, bundle, work, given, arrives):
    shared = work / "shared"
    shared.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "x", shared], check=True)
    try:
        subprocess.run(["mount", "--make-shared", shared], check=True)
        (shared / "late").mkdir()
        bundle.mount("/data", "bind", shared, "rbind", given)
        runtime.launch(bundle, "sleep", "1000")
        subprocess.run(["mount", "-t", "tmpfs", "y", shared / "late"], check=True)
        inside = Path(f"/proc/{runtime.pid(bundle)}/mountinfo").read_text()
        assert ("/data/late" in [mount.target for mount in mounts(inside)]) is arrives
        subprocess.run(["umount", shared / "late"], check=True)
    finally:
        subprocess.run(["umount", "-R", shared], check=True)


def test_an_unknown_propagation_is_an_error(runtime, bundle):
    bundle.linux["rootfsPropagation"] = "sideways"
    runtime.run(bundle, "true").failed("ropagation")


def test_no_pivot(runtime, bundle):
    answers = runtime.ask(
        bundle, options=["--no-pivot"], list="ls /", mounts=MOUNTINFO, own="cat /proc/1/comm",
        up="ls -d /../../bin",
    )  # fmt: skip
    assert "bin" in answers["list"].split()
    assert answers["own"] == "sh"
    assert answers["up"] == "/../../bin"


@pytest.mark.parametrize("options", [[], ["--no-pivot"]])
def test_no_procfs_of_the_host_is_left_uncovered(runtime, bundle, options):
    """In a user namespace of its own a process may mount a procfs only where its mount namespace has one that
    nothing is hidden in: a host's /proc below the container's root would count."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    answers = runtime.ask(
        bundle, options=options, mount="unshare -Urmpf mount -t proc proc /tmp || true",
        other="unshare -Urmpf mount -t tmpfs x /tmp && echo mounted",
    )  # fmt: skip
    assert "ermission denied" in answers["mount"] or "not permitted" in answers["mount"], answers
    assert answers["other"] == "mounted"


def test_no_pivot_in_a_user_namespace(runtime, bundle):
    bundle.map_ids()
    assert runtime.ask(bundle, options=["--no-pivot"], id="id -u") == {"id": "0"}


# -- without a mount namespace ---------------------------------------------------------------------------


@pytest.fixture
def unmounted(bundle):
    bundle.share("mount")
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    bundle.config["mounts"] = []
    bundle.writable()
    yield bundle
    while os.path.ismount(bundle.rootfs):  # as runc leaves it; that we don't is tested below
        subprocess.run(["umount", "--lazy", bundle.rootfs], check=True)


needs_proc = deviation("runc", reason="needs the procfs that it would mount on the host, and leaves it there")


@needs_proc
def test_without_a_mount_namespace_names_are_confined(runtime, unmounted, work):
    answers = runtime.ask(unmounted, list="ls /", up="ls -d /../../bin", host=f"ls {work} || true")
    assert "bin" in answers["list"].split()
    assert answers["up"] == "/../../bin"
    assert "No such file" in answers["host"]


@needs_proc
def test_without_a_mount_namespace_the_hosts_mounts_stay_as_they_are(runtime, unmounted):
    before = Path("/proc/self/mountinfo").read_text()
    runtime.launch(unmounted, "sleep", "1000")
    assert os.stat(f"/proc/{runtime.pid(unmounted)}/ns/mnt").st_ino == os.stat("/proc/self/ns/mnt").st_ino
    assert os.readlink(f"/proc/{runtime.pid(unmounted)}/root") == str(unmounted.rootfs)
    runtime.stop(unmounted)
    runtime.delete(unmounted).ok()
    assert Path("/proc/self/mountinfo").read_text() == before


@needs_proc
def test_without_a_mount_namespace_hooks_run(runtime, unmounted, work):
    kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    unmounted.config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {kind} >> {work}/log"]}] for kind in kinds
    }
    unmounted.config["hooks"]["startContainer"] = [{"path": "/bin/touch", "args": ["touch", "/started"]}]
    runtime.run(unmounted, "ls", "/started").ok()
    assert (work / "log").read_text().split() == kinds


@needs_proc
def test_without_a_mount_namespace_exec_is_confined_as_well(runtime, unmounted, work):
    runtime.launch(unmounted, "sleep", "1000")
    answers = runtime.ask_exec(unmounted, list="ls /", host=f"ls {work} || true", cwd="pwd")
    assert "bin" in answers["list"].split()
    assert "No such file" in answers["host"]
    assert answers["cwd"] == "/"


@pytest.mark.parametrize("name", ["maskedPaths", "readonlyPaths"])
def test_without_a_mount_namespace_nothing_can_be_masked(runtime, unmounted, name):
    unmounted.linux[name] = ["/etc"]
    runtime.run(unmounted, "true").failed("namespace")


@deviation("runc", reason="mounts on the host, and leaves it there")
def test_without_a_mount_namespace_nothing_is_mounted_and_it_is_said(runtime, unmounted):
    before = Path("/proc/self/mountinfo").read_text()
    unmounted.mount("/tmp", "tmpfs", "tmpfs")
    done = runtime.run(unmounted, "true").ok()
    assert "no mount namespace" in done.stderr
    assert Path("/proc/self/mountinfo").read_text() == before


# -- order -----------------------------------------------------------------------------------------------


def _tmpfs(*destinations):
    return [{"destination": place, "type": "tmpfs", "source": place[1:]} for place in destinations]


@pytest.mark.parametrize("above", ["/a", "/link", "/a/b/../../a"])
def test_a_mount_over_the_directory_of_others_hides_those_before_it_alone(runtime, bundle, above):
    """The directory is held open for one after the other, and has to be let go of."""
    (bundle.rootfs / "a").mkdir()
    (bundle.rootfs / "link").symlink_to("a")
    bundle.config["mounts"] += _tmpfs("/a/b", "/a/c", above, "/a/d", "/a/b/e")

    done = runtime.run(bundle, "sh", "-c", "echo /a/*; cat /proc/self/mountinfo")

    assert done.returncode == 0, done.stderr
    seen, _, mountinfo = done.stdout.partition("\n")
    assert seen == "/a/b /a/d"
    assert mount_at(mountinfo, "/a/d") and mount_at(mountinfo, "/a/b/e")


def test_mounts_through_two_names_of_a_directory(runtime, bundle):
    (bundle.rootfs / "a").mkdir()
    (bundle.rootfs / "link").symlink_to("a")
    (bundle.rootfs / "a/inner").symlink_to("/a/b")
    bundle.config["mounts"] += _tmpfs("/a/b", "/link/c", "/a/inner", "/link/b/d", "/a/e")

    done = runtime.run(bundle, "sh", "-c", "echo /a/* /a/b/*; cat /proc/self/mountinfo")

    assert done.returncode == 0, done.stderr
    seen, _, mountinfo = done.stdout.partition("\n")
    assert seen == "/a/b /a/c /a/e /a/inner /a/b/d"
    assert [mount_at(mountinfo, place) for place in ("/a/b", "/a/c", "/a/b/d", "/a/e")]
