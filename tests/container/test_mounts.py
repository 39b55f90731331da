"""mounts: options, sources, destinations, and that no name in the image leads outside."""

import os
import stat
import subprocess

import pytest
from support.facts import mount_at, mounts
from support.fields import covers
from support.host import kernel, needs_program
from support.marks import deviation

MOUNTINFO = "cat /proc/self/mountinfo"


@pytest.mark.parametrize("option", ["nosuid", "nodev", "noexec", "ro", "noatime", "nodiratime", "sync"])
def test_an_option_reaches_the_mount(runtime, bundle, option):
    bundle.mount("/data", "tmpfs", "tmpfs", option)
    answers = runtime.ask(bundle, mounts=MOUNTINFO)
    found = mount_at(answers["mounts"], "/data")
    assert option in (found.super_options if option == "sync" else found.options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["ro", "rw"], "rw"), (["rw", "ro"], "ro"), (["nosuid", "nodev", "suid"], "rw,nodev"),
        (["noexec", "exec"], "rw"),
        pytest.param(["defaults"], "rw", marks=deviation("runc", reason="gives it to the filesystem")),
        (["ro", "nosuid", "nodev", "noexec"], None),
        (["strictatime"], "rw"), ([], "rw"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_of_two_options_that_disagree_the_later_wins(runtime, bundle, options, expected):
    bundle.mount("/data", "tmpfs", "tmpfs", *options)
    found = mount_at(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"], "/data")
    wanted = set(options) if expected is None else set(expected.split(","))
    assert set(found.options) - {"relatime"} == wanted
    assert ("relatime" in found.options) == ("strictatime" not in options)


@covers("/mounts/*/type=tmpfs")
def test_an_option_that_is_no_flag_is_the_filesystems(runtime, bundle):
    bundle.mount("/data", "tmpfs", "scratch", "size=64k", "mode=1750", "nr_inodes=10")
    answers = runtime.ask(bundle, mounts=MOUNTINFO, mode="stat -c %a /data", size="df -k /data | tail -1")
    found = mount_at(answers["mounts"], "/data")
    assert {"size=64k", "nr_inodes=10"} <= set(found.super_options)
    assert found.source == "scratch"
    assert answers["mode"] == "1750"
    assert answers["size"].split()[1] == "64"


def test_an_option_that_nobody_knows_is_an_error(runtime, bundle):
    bundle.mount("/data", "tmpfs", "tmpfs", "no-such-option")
    runtime.run(bundle, "true").failed("invalid argument", "/data")


def test_an_unknown_filesystem_is_an_error(runtime, bundle):
    bundle.mount("/data", "nosuchfs", "none")
    runtime.run(bundle, "true").failed("no such device", "/data")


def test_mounts_are_made_in_order(runtime, bundle):
    bundle.mount("/a", "tmpfs", "one")
    bundle.mount("/a/b", "tmpfs", "two")
    bundle.mount("/a", "tmpfs", "three")
    found = mounts(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"])
    targets = [(mount.source, mount.target) for mount in found if mount.target.startswith("/a")]
    assert targets == [("one", "/a"), ("two", "/a/b"), ("three", "/a")]


@pytest.mark.parametrize(
    ("given", "expected"), [((), "1777"), (("mode=700",), "700"), (("mode=01750",), "1750")]
)
def test_the_mode_of_a_tmpfs_on_a_new_directory(runtime, bundle, given, expected):
    bundle.mount("/data", "tmpfs", "tmpfs", *given)
    assert runtime.ask(bundle, mode="stat -c %a /data")["mode"] == expected


def test_a_tmpfs_takes_the_mode_of_what_it_covers(runtime, bundle):
    (bundle.rootfs / "data").mkdir()
    (bundle.rootfs / "data").chmod(0o2710)
    bundle.mount("/data", "tmpfs", "tmpfs")
    assert runtime.ask(bundle, mode="stat -c %a /data")["mode"] == "2710"


@covers("/mounts/*/options=tmpcopyup")
def test_tmpcopyup(runtime, bundle):
    (bundle.rootfs / "data/deep").mkdir(parents=True)
    (bundle.rootfs / "data/deep/file").write_text("kept")
    (bundle.rootfs / "data/link").symlink_to("deep/file")
    os.chown(bundle.rootfs / "data/deep/file", 12, 34)
    bundle.mount("/data", "tmpfs", "tmpfs", "tmpcopyup")
    bundle.allow("CAP_DAC_OVERRIDE")
    answers = runtime.ask(
        bundle, text="cat /data/link", owner="stat -c %u:%g /data/deep/file",
        write="echo new > /data/deep/file; cat /data/deep/file",
    )  # fmt: skip
    assert answers == {"text": "kept", "owner": "12:34", "write": "new"}
    assert (bundle.rootfs / "data/deep/file").read_text() == "kept"


# -- binds -----------------------------------------------------------------------------------------------


@pytest.fixture
def source(work):
    made = work / "source"
    made.mkdir()
    (made / "file").write_text("from outside\n")
    (made / "below").mkdir()
    return made


@covers("/mounts/*/(source|destination|type=bind|options=bind)")
def test_bind_a_directory(runtime, bundle, source):
    bundle.bind(source, "/data")
    answers = runtime.ask(bundle, read="cat /data/file", write="echo inside > /data/new && echo done")
    assert answers == {"read": "from outside", "write": "done"}
    assert (source / "new").read_text() == "inside\n"


def test_bind_a_file(runtime, bundle, source):
    bundle.bind(source / "file", "/etc/deep/er/file", "ro")
    answers = runtime.ask(bundle, read="cat /etc/deep/er/file", write="echo x > /etc/deep/er/file || true")
    assert answers["read"] == "from outside"
    assert "Read-only file system" in answers["write"]
    assert stat.S_ISREG((bundle.rootfs / "etc/deep/er/file").stat().st_mode)


def test_bind_without_saying_the_type(runtime, bundle, source):
    for options in (["bind"], ["rbind", "rw"]):
        bundle.config["mounts"].append(
            {"destination": f"/{options[0]}", "source": str(source), "options": options}
        )
    assert runtime.ask(bundle, one="cat /bind/file", two="cat /rbind/file") == {
        "one": "from outside", "two": "from outside",
    }  # fmt: skip


def test_a_bind_keeps_the_flags_of_its_source_unless_told_otherwise(runtime, bundle, source):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec,size=64k", "x", source], check=True)
    try:
        bundle.bind(source, "/same")
        bundle.bind(source, "/more", "ro")
        bundle.bind(source, "/clear", "dev", "ro")
        text = runtime.ask(bundle, mounts=MOUNTINFO)["mounts"]
    finally:
        subprocess.run(["umount", source], check=True)
    assert {"rw", "nosuid", "nodev", "noexec"} <= set(mount_at(text, "/same").options)
    assert "ro" in mount_at(text, "/more").options
    assert "ro" in mount_at(text, "/clear").options
    assert "nodev" not in mount_at(text, "/clear").options


def test_a_relative_source_is_relative_to_the_bundle(runtime, bundle):
    (bundle.path / "here").mkdir()
    (bundle.path / "here/file").write_text("near")
    bundle.bind("here", "/data")
    assert runtime.ask(bundle, read="cat /data/file") == {"read": "near"}


def test_a_missing_source_is_an_error(runtime, bundle, work):
    bundle.bind(work / "missing", "/data")
    runtime.run(bundle, "true").failed("no such file or directory", str(work / "missing"))


@pytest.fixture
def nested(source):
    """A mount below the source of a bind."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "nested", source / "below"], check=True)
    (source / "below/file").write_text("deeper\n")
    yield source
    subprocess.run(["umount", source / "below"], check=True)


@covers("/mounts/*/options=rbind")
def test_only_a_recursive_bind_takes_what_is_mounted_below(runtime, bundle, nested):
    bundle.bind(nested, "/flat")
    bundle.mount("/deep", "bind", nested, "rbind")
    answers = runtime.ask(bundle, flat="ls /flat/below", deep="ls /deep/below")
    assert answers == {"flat": "", "deep": "file"}


@covers("/mounts/*/options=rro")
def test_ro_is_for_the_top_and_rro_for_all(runtime, bundle, nested):
    bundle.mount("/ro", "bind", nested, "rbind", "ro")
    if kernel() >= (5, 12):
        bundle.mount("/rro", "bind", nested, "rbind", "rro")
    text = runtime.ask(bundle, mounts=MOUNTINFO)["mounts"]
    assert "ro" in mount_at(text, "/ro").options
    assert "rw" in mount_at(text, "/ro/below").options
    if kernel() >= (5, 12):
        assert "ro" in mount_at(text, "/rro").options
        assert "ro" in mount_at(text, "/rro/below").options


@pytest.mark.skipif(kernel() < (5, 12), reason="mount_setattr is of Linux 5.12")
@pytest.mark.parametrize("option", ["rnosuid", "rnodev", "rnoexec", "rnoatime"])
def test_recursive_attributes(runtime, bundle, nested, option):
    bundle.mount("/data", "bind", nested, "rbind", option)
    text = runtime.ask(bundle, mounts=MOUNTINFO)["mounts"]
    for target in ("/data", "/data/below"):
        assert option[1:] in mount_at(text, target).options


def test_propagation_of_one_mount(runtime, bundle, nested):
    for name in ("private", "rslave", "rshared", "unbindable"):
        bundle.mount(f"/{name}", "bind", nested, "rbind", name)
    text = runtime.ask(bundle, mounts=MOUNTINFO)["mounts"]

    def kinds(target):
        return {word.split(":")[0] for word in mount_at(text, target).propagation}

    assert kinds("/private") == set()
    assert "shared" in kinds("/rshared")
    assert "shared" in kinds("/rshared/below")
    assert kinds("/unbindable") == {"unbindable"}
    assert "shared" not in kinds("/rslave")


_LOST = deviation("runc", reason="makes the parent private and then binds, so the rootfs is private too")
_REFUSED = deviation("runc", reason="makes / unbindable and then tries to bind the rootfs from it")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("private", set()), ("rprivate", set()), ("slave", set()), ("rslave", set()),
        pytest.param("shared", {"shared"}, marks=_LOST), pytest.param("rshared", {"shared"}, marks=_LOST),
        pytest.param("unbindable", {"unbindable"}, marks=_REFUSED),
        pytest.param("runbindable", {"unbindable"}, marks=_REFUSED),
    ],
)  # fmt: skip
@covers("/linux/rootfsPropagation={given}")
def test_propagation_of_the_rootfs(runtime, bundle, given, expected):
    bundle.linux["rootfsPropagation"] = given
    text = runtime.ask(bundle, mounts=MOUNTINFO)["mounts"]
    kinds = {word.split(":")[0] for word in mount_at(text, "/").propagation}
    assert kinds - {"master"} == expected


@deviation("runc", reason="makes the parent private and then binds, so the rootfs is private too")
@covers("/linux/rootfsPropagation=slave")
def test_the_rootfs_follows_its_master(runtime, bundle):
    """What the host mounts below it comes along, and nothing goes the other way."""
    subprocess.run(["mount", "--bind", bundle.rootfs, bundle.rootfs], check=True)
    try:
        subprocess.run(["mount", "--make-shared", bundle.rootfs], check=True)
        bundle.linux["rootfsPropagation"] = "slave"
        runtime.launch(bundle, "sleep", "1000")
        subprocess.run(["mount", "-t", "tmpfs", "late", bundle.rootfs / "tmp"], check=True)
        mounts = runtime.exec(bundle, "cat", "/proc/self/mountinfo").ok().stdout
        assert mount_at(mounts, "/tmp").source == "late"
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", bundle.rootfs], check=True)


def test_nothing_is_mounted_on_the_host(runtime, bundle, source):
    """Even while it runs: its mounts are in a namespace of their own."""
    bundle.bind(source, "/data", "rshared")
    with open("/proc/self/mountinfo") as own:
        before = own.read()
    runtime.launch(bundle, "sleep", "1000")
    with open("/proc/self/mountinfo") as own:
        assert own.read() == before


# -- destinations ----------------------------------------------------------------------------------------


def test_missing_destinations_are_made(runtime, bundle, source):
    bundle.mount("/made/by/us", "tmpfs", "tmpfs")
    bundle.bind(source / "file", "/also/file")
    answers = runtime.ask(bundle, modes="stat -c '%a %u' /made /made/by /also")
    assert answers["modes"].splitlines() == ["755 0"] * 3


def test_a_relative_destination_means_from_the_root(runtime, bundle):
    bundle.mount("data", "tmpfs", "relative")
    assert mount_at(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"], "/data").source == "relative"


@pytest.mark.parametrize("link", ["{outside}", "../../../../../../../../{outside}", "/../..{outside}"])
def test_a_link_in_the_image_cannot_lead_a_mount_outside(runtime, bundle, work, link):
    outside = work / "outside"
    outside.mkdir()
    (bundle.rootfs / "data").symlink_to(link.format(outside=outside))
    bundle.mount("/data", "tmpfs", "trapped")
    found = mount_at(runtime.ask(bundle, mounts=MOUNTINFO)["mounts"], str(outside))
    assert found.source == "trapped"  # that very name, but inside the container
    assert os.listdir(outside) == []


def test_a_link_in_the_middle_stays_inside(runtime, bundle, work):
    outside = work / "outside"
    outside.mkdir()
    (bundle.rootfs / "way").symlink_to(outside)
    bundle.mount("/way/made/here", "tmpfs", "trapped")
    text = runtime.ask(bundle, mounts=MOUNTINFO)["mounts"]
    assert mount_at(text, f"{outside}/made/here").source == "trapped"
    assert os.listdir(outside) == []


def test_dots_do_not_climb_out(runtime, bundle, work):
    bundle.mount("/../../../../../../../../tmp/climbed", "tmpfs", "trapped")
    text = runtime.ask(bundle, mounts=MOUNTINFO)["mounts"]
    assert mount_at(text, "/tmp/climbed").source == "trapped"
    assert not os.path.exists("/tmp/climbed")


@pytest.mark.parametrize("destination", ["/", "/.", "/tmp/.."])
def test_nothing_is_mounted_on_the_root_itself(runtime, bundle, destination):
    bundle.mount(destination, "tmpfs", "tmpfs")
    runtime.run(bundle, "true").failed()


def test_a_file_cannot_be_mounted_on_a_directory(runtime, bundle, source):
    bundle.bind(source / "file", "/etc")
    runtime.run(bundle, "true").failed("not a directory")


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_proc_and_sys_must_be_ordinary_directories(runtime, bundle, name):
    """CVE-2019-19921, CVE-2023-27561, CVE-2023-28642"""
    (bundle.rootfs / name).rmdir()
    (bundle.rootfs / "elsewhere").mkdir()
    (bundle.rootfs / name).symlink_to("elsewhere")
    runtime.run(bundle, "true").failed("must be mounted on ordinary directory")


@pytest.mark.parametrize("destination", ["/proc/self", "/proc/sys", "/proc/tty", "/proc/self/attr"])
@pytest.mark.parametrize(
    "fstype", ["bind", pytest.param("tmpfs", marks=deviation("runc", reason="checks bind mounts only"))]
)
def test_nothing_is_mounted_below_proc(runtime, bundle, source, fstype, destination):
    """CVE-2019-16884"""
    bundle.mount(destination, fstype, source, *(["bind"] if fstype == "bind" else []))
    runtime.run(bundle, "true").failed("inside /proc")


@pytest.mark.parametrize("destination", ["/proc/uptime", "/proc/meminfo", "/proc/loadavg", "/proc/stat"])
def test_what_may_be_mounted_below_proc(runtime, bundle, source, destination):
    bundle.bind(source / "file", destination)
    assert runtime.ask(bundle, read=f"cat {destination}") == {"read": "from outside"}


def test_proc_itself_must_be_a_procfs(runtime, bundle, source):
    bundle.unmount("/proc")
    bundle.bind(source, "/proc")
    runtime.run(bundle, "true").failed("/proc")


def test_the_hosts_proc_may_be_bound_over_proc(runtime, bundle):
    bundle.share("pid")
    bundle.unmount("/proc")
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    bundle.mount("/proc", "bind", "/proc", "rbind")
    answers = runtime.ask(bundle, mine="cat /proc/$$/comm", one="cat /proc/1/stat")
    assert answers["mine"] == "sh"
    with open("/proc/1/comm") as comm:
        assert f"({comm.read().strip()})" in answers["one"]


# -- the rootfs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("readonly", [pytest.param(True, marks=covers("/root/readonly")), False, None])
def test_a_readonly_rootfs(runtime, bundle, readonly):
    if readonly is None:
        del bundle.config["root"]["readonly"]
    else:
        bundle.config["root"]["readonly"] = readonly
    answers = runtime.ask(bundle, write="echo x > /new || true", mounts=MOUNTINFO, dev="echo x > /dev/new")
    assert ("Read-only file system" in answers["write"]) == bool(readonly)
    assert (bundle.rootfs / "new").exists() != bool(readonly)
    assert ("ro" in mount_at(answers["mounts"], "/").options) == bool(readonly)
    assert answers["dev"] == ""


@pytest.mark.parametrize("path", ["rootfs", "./rootfs/", "{absolute}", "../bundle/rootfs"])
@covers("/root/path")
def test_the_path_of_the_rootfs(runtime, bundle, path):
    (bundle.rootfs / "here").touch()
    bundle.config["root"]["path"] = path.format(absolute=bundle.rootfs)
    assert "here" in runtime.ask(bundle, list="ls /")["list"].split()


def test_the_bundle_may_itself_be_the_rootfs(runtime, bundle):
    bundle.config["root"]["path"] = "."
    for entry in list(bundle.rootfs.iterdir()):
        entry.rename(bundle.path / entry.name)
    assert "config.json" in runtime.ask(bundle, list="ls /")["list"].split()


def test_the_hosts_files_are_out_of_reach(runtime, bundle, work):
    answers = runtime.ask(bundle, up="ls -d /../../../../bin", host=f"ls {work} || true", mounts=MOUNTINFO)
    assert answers["up"] == "/../../../../bin"
    assert "No such file" in answers["host"]
    assert not [m for m in mounts(answers["mounts"]) if m.target.startswith(str(work))]


def test_the_cgroup_mounts_are_readonly(runtime, bundle):
    """CVE-2022-0492: no release_agent for a container as it comes."""
    bundle.allow("CAP_DAC_OVERRIDE")
    answers = runtime.ask(
        bundle,
        make="for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do [ ! -d $d ] || mkdir $d/pyrunc-x; done || true",
        agent="echo /x > /sys/fs/cgroup/memory/release_agent || true", list="ls /sys/fs/cgroup",
    )  # fmt: skip
    assert answers["list"].split()
    lines = answers["make"].splitlines()
    assert lines and all(line.endswith("Read-only file system") for line in lines), lines
    assert "can't create" in answers["agent"]


@covers("/mounts/*/type=mqueue")
def test_mqueue_and_shm(runtime, bundle):
    text = runtime.ask(bundle, mounts=MOUNTINFO, shm="echo x > /dev/shm/x; stat -c %a /dev/shm")
    assert mount_at(text["mounts"], "/dev/mqueue").fstype == "mqueue"
    assert text["shm"] == "1777"


@deviation("runc", reason="has no id-mapped mounts", before="1.2")
@needs_program("unshare")
@pytest.mark.skipif(kernel() < (6, 3), reason="id-mapped tmpfs is of Linux 6.3")
@covers("/mounts/*/options=idmap")
@covers("/mounts/*/uidMappings/*/(containerID|hostID|size)")
@covers("/mounts/*/gidMappings/*/(containerID|hostID|size)")
def test_an_id_mapped_bind(runtime, bundle, work):
    """What belongs to 1000 outside belongs to 0 inside, and back."""
    source = work / "source"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "x", source], check=True)
    try:
        (source / "file").touch()
        os.chown(source / "file", 1000, 2000)
        bundle.config["mounts"].append({
            "destination": "/data", "type": "bind", "source": str(source), "options": ["bind", "idmap"],
            "uidMappings": [{"containerID": 1000, "hostID": 0, "size": 10}],
            "gidMappings": [{"containerID": 2000, "hostID": 5, "size": 10}],
        })  # fmt: skip
        answers = runtime.ask(bundle, owner="stat -c %u:%g /data/file")
    finally:
        subprocess.run(["umount", source], check=True)
    assert answers["owner"] == "0:5"
