"""linux.namespaces: own, inherited, joined by path; user namespaces with mappings; host and domain name."""

import fcntl
import os

import pytest
from support.facts import fields
from support.fields import covers
from support.host import needs_namespace
from support.marks import deviation

FILES = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt"}
NS_GET_USERNS = 0xB701
MORE = {"cgroup": "cgroup", "user": "user", "time": "time"}


def _own(name):
    return os.readlink(f"/proc/self/ns/{name}")


@covers("/linux/namespaces/*/(type=mount|type=pid|type=network|type=uts|type=ipc)")
def test_own_namespaces_differ_and_the_others_are_the_hosts(runtime, bundle):
    everything = {**FILES, **MORE}
    answers = runtime.ask(
        bundle, **{name: f"readlink /proc/self/ns/{file}" for name, file in everything.items()}
    )
    for name, file in everything.items():
        assert (answers[name] != _own(file)) == (name in FILES), name


@pytest.mark.parametrize("name", ["pid", "network", "ipc", "uts"])
def test_what_is_not_named_is_inherited(runtime, bundle, name):
    bundle.share(name)
    if name == "network":
        bundle.unmount("/sys")  # a new sysfs belongs to the network namespace it is mounted from
        bundle.unmount("/sys/fs/cgroup")
    answers = runtime.ask(bundle, **{key: f"readlink /proc/self/ns/{file}" for key, file in FILES.items()})
    assert {key for key in FILES if answers[key] == _own(FILES[key])} == {name}


@pytest.fixture
def donor(runtime, new_bundle):
    """Another container, whose namespaces can be joined."""
    other = new_bundle()
    other.config["hostname"] = "donor"
    runtime.launch(other, "sleep", "1000")
    return runtime.pid(other)


@pytest.mark.parametrize("name", ["pid", "network", "ipc", "uts"])
@covers("/linux/namespaces/*/path")
def test_a_namespace_by_path(runtime, new_bundle, donor, name):
    bundle = new_bundle()
    if name == "uts":
        del bundle.config["hostname"]
    bundle.namespace(name, f"/proc/{donor}/ns/{FILES[name]}")
    answers = runtime.ask(bundle, ns=f"readlink /proc/self/ns/{FILES[name]}", host="hostname", ps="ps")
    assert answers["ns"] == os.readlink(f"/proc/{donor}/ns/{FILES[name]}")
    if name == "uts":
        assert answers["host"] == "donor"
    if name == "pid":
        assert "sleep 1000" in answers["ps"]


def test_several_namespaces_by_path(runtime, new_bundle, donor):
    bundle = new_bundle()
    del bundle.config["hostname"]
    for name in ("network", "ipc", "uts", "pid"):
        bundle.namespace(name, f"/proc/{donor}/ns/{FILES[name]}")
    answers = runtime.ask(bundle, **{key: f"readlink /proc/self/ns/{file}" for key, file in FILES.items()})
    same = {key for key in FILES if answers[key] == os.readlink(f"/proc/{donor}/ns/{FILES[key]}")}
    assert same == {"network", "ipc", "uts", "pid"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"type": "network", "path": "/proc/self/ns/uts"}, ""),
        ({"type": "ipc", "path": "/no/such"}, "no such file or directory"),
        ({"type": "uts", "path": "/etc/passwd"}, ""),
        ({"type": "nonsense"}, "namespace"),
    ],
    ids=["wrong type", "missing", "no namespace", "unknown"],
)
def test_a_namespace_that_cannot_be_joined(runtime, bundle, entry, words):
    bundle.share(entry["type"])
    bundle.linux["namespaces"].append(entry)
    runtime.run(bundle, "true").failed(words)


def test_a_namespace_twice_is_an_error(runtime, bundle):
    bundle.linux["namespaces"].append({"type": "ipc"})
    runtime.run(bundle, "true").failed("ipc")


@needs_namespace("cgroup")
@covers("/linux/namespaces/*/type=cgroup")
def test_an_own_cgroup_namespace_starts_at_the_containers_cgroup(runtime, bundle):
    bundle.namespace("cgroup")
    answers = runtime.ask(bundle, cgroup="cat /proc/self/cgroup", ns="readlink /proc/self/ns/cgroup")
    assert {line.split(":", 2)[2] for line in answers["cgroup"].splitlines()} == {"/"}
    assert answers["ns"] != _own("cgroup")


CLOCKS = [["monotonic", "7", "9"], ["boottime", "1000000", "5"]]


@pytest.fixture
def clocks(bundle):
    """A bundle with clocks of its own, those of CLOCKS."""
    bundle.namespace("time")
    bundle.linux["timeOffsets"] = {
        "boottime": {"secs": 1_000_000, "nanosecs": 5},
        "monotonic": {"secs": 7, "nanosecs": 9},
    }
    return bundle


def _offsets(text):
    return [line.split() for line in text.splitlines()]


@needs_namespace("time")
@deviation("runc", reason="knows no time namespace", before="1.2")
@covers("/linux/timeOffsets/(monotonic|boottime)/(secs|nanosecs)")
def test_offsets_in_a_user_namespace_that_owns_the_clocks(runtime, clocks):
    clocks.map_ids()
    clocks.process["args"] = ["sleep", "1000"]
    runtime.launch(clocks)
    pid = runtime.pid(clocks)
    assert os.readlink(f"/proc/{pid}/ns/user") != _own("user")
    with open(f"/proc/{pid}/timens_offsets") as text:
        assert _offsets(text.read()) == CLOCKS
    with open(f"/proc/{pid}/uid_map") as text:
        assert text.read().split() == ["0", "100000", "65536"]
    with open(f"/proc/{pid}/ns/time") as time, open(f"/proc/{pid}/ns/user") as user:
        owner = fcntl.ioctl(time, NS_GET_USERNS)
        try:
            assert os.path.sameopenfile(owner, user.fileno())
        finally:
            os.close(owner)
    answers = runtime.ask_exec(clocks, uptime="cat /proc/uptime", ns="readlink /proc/self/ns/time")
    assert float(answers["uptime"].split()[0]) > 1_000_000
    assert answers["ns"] == os.readlink(f"/proc/{pid}/ns/time")


@needs_namespace("time")
@deviation("runc", reason="knows no time namespace", before="1.2")
def test_exec_has_the_clocks_of_the_container(runtime, clocks):
    runtime.launch(clocks, "sleep", "1000")
    pid = runtime.pid(clocks)
    answers = runtime.ask_exec(
        clocks,
        uptime="cat /proc/uptime",
        ns="readlink /proc/self/ns/time",
        pid="readlink /proc/self/ns/pid",
        file="cat /proc/self/timens_offsets",
    )
    assert float(answers["uptime"].split()[0]) > 1_000_000
    assert _offsets(answers["file"]) == CLOCKS
    assert answers["ns"] == os.readlink(f"/proc/{pid}/ns/time")
    assert answers["pid"] == os.readlink(f"/proc/{pid}/ns/pid")


@needs_namespace("time")
@deviation("runc", reason="knows no time namespace", before="1.2")
def test_clocks_beside_a_pid_namespace_by_path(runtime, clocks, donor):
    clocks.namespace("pid", f"/proc/{donor}/ns/pid")
    answers = runtime.ask(clocks, uptime="cat /proc/uptime", pid="readlink /proc/self/ns/pid")
    assert float(answers["uptime"].split()[0]) > 1_000_000
    assert answers["pid"] == os.readlink(f"/proc/{donor}/ns/pid")


@needs_namespace("time")
@deviation("runc", reason="knows no time namespace", before="1.2")
def test_another_containers_clocks_by_path(runtime, clocks, new_bundle):
    runtime.launch(clocks, "sleep", "1000")
    bundle = new_bundle()
    bundle.namespace("time", f"/proc/{runtime.pid(clocks)}/ns/time")
    answers = runtime.ask(bundle, uptime="cat /proc/uptime", ns="readlink /proc/self/ns/time")
    assert float(answers["uptime"].split()[0]) > 1_000_000
    assert answers["ns"] == os.readlink(f"/proc/{runtime.pid(clocks)}/ns/time")


@needs_namespace("time")
@deviation("runc", reason="knows no time namespace", before="1.2")
@pytest.mark.parametrize("seconds", [-(10**10), 2**62])
def test_clocks_that_would_run_before_the_boot_or_over(runtime, clocks, seconds):
    clocks.linux["timeOffsets"]["boottime"]["secs"] = seconds
    runtime.run(clocks, "true").failed("time offsets", "/linux/timeOffsets", "out of range")


@needs_namespace("time")
@deviation("runc", reason="knows no time namespace", before="1.2")
@covers("/linux/namespaces/*/type=time")
def test_a_time_namespace_with_offsets(runtime, clocks):
    answers = runtime.ask(
        clocks,
        uptime="cat /proc/uptime",
        ns="readlink /proc/self/ns/time",
        file="cat /proc/self/timens_offsets",
    )
    assert float(answers["uptime"].split()[0]) > 1_000_000
    assert answers["ns"] != _own("time")
    assert _offsets(answers["file"]) == CLOCKS


@deviation("runc", reason="ignores timeOffsets", before="1.2")
def test_time_offsets_need_a_time_namespace(runtime, bundle):
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 5}}
    runtime.run(bundle, "true").failed("time")


# -- names -----------------------------------------------------------------------------------------------


@covers("/hostname")
def test_hostname_and_domainname(runtime, bundle):
    bundle.config["hostname"] = "some-host"
    answers = runtime.ask(bundle, host="hostname", kernel="cat /proc/sys/kernel/hostname")
    assert answers == {"host": "some-host", "kernel": "some-host"}
    assert os.uname().nodename != "some-host"


@deviation("runc", reason="does not know the field", before="1.2")
@covers("/domainname")
def test_domainname(runtime, bundle):
    bundle.config["domainname"] = "example.org"
    assert runtime.ask(bundle, name="cat /proc/sys/kernel/domainname")["name"] == "example.org"


@pytest.mark.parametrize(
    "field",
    [
        "hostname",
        pytest.param("domainname", marks=deviation("runc", reason="does not know it", before="1.2")),
    ],
)
def test_a_name_needs_a_uts_namespace(runtime, bundle, field):
    bundle.share("uts")
    before = os.uname()
    bundle.config[field] = "leaked"
    runtime.run(bundle, "true").failed("UTS namespace")
    assert os.uname() == before


# -- the network -----------------------------------------------------------------------------------------


def test_the_loopback_device_of_an_own_network_is_up(runtime, bundle):
    answers = runtime.ask(bundle, link="ip link", address="ip addr show dev lo", routes="ip route")
    assert answers["link"].startswith("1: lo:")
    assert "LOOPBACK,UP" in answers["link"]
    assert "127.0.0.1/8" in answers["address"]
    assert answers["routes"] == ""


# -- processes -------------------------------------------------------------------------------------------


def test_pid_1_of_its_own_namespace(runtime, bundle):
    answers = runtime.ask(bundle, pid="echo $$", session="cut -d' ' -f6 /proc/self/stat", ps="ls /proc")
    assert answers["pid"] == "1"
    assert answers["session"] == "1"
    assert "1" in answers["ps"].split()


# -- user namespaces -------------------------------------------------------------------------------------


@pytest.fixture
def mapped(bundle):
    bundle.map_ids(100_000, 65_536)
    return bundle


@covers("/linux/namespaces/*/type=user")
@covers("/linux/uidMappings/*/(containerID|hostID|size)")
@covers("/linux/gidMappings/*/(containerID|hostID|size)")
def test_root_inside_is_nobody_special_outside(runtime, mapped):
    answers = runtime.ask(
        mapped, uid_map="cat /proc/self/uid_map", gid_map="cat /proc/self/gid_map", id="id -u; id -g",
        status="cat /proc/self/status", owner="stat -c %u:%g /bin/busybox /proc/self/ /dev/pts/ptmx",
        setgroups="cat /proc/self/setgroups",
    )  # fmt: skip
    assert answers["uid_map"].split() == answers["gid_map"].split() == ["0", "100000", "65536"]
    assert answers["id"].split() == ["0", "0"]
    assert answers["owner"].split() == ["0:0", "0:0", "0:0"]
    assert answers["setgroups"] == "allow"
    runtime.launch(mapped, "sleep", "1000")
    with open(f"/proc/{runtime.pid(mapped)}/status") as status:
        assert fields(status.read())["Uid"].split() == ["100000"] * 4


def test_several_ranges(runtime, mapped):
    mapped.linux["uidMappings"] = [
        {"containerID": 0, "hostID": 100_000, "size": 10}, {"containerID": 10, "hostID": 200_000, "size": 5},
    ]  # fmt: skip
    answers = runtime.ask(mapped, map="cat /proc/self/uid_map")
    assert answers["map"].split() == ["0", "100000", "10", "10", "200000", "5"]


def test_another_user_inside(runtime, mapped):
    mapped.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5, 6]}
    answers = runtime.ask(mapped, id="id -u; id -g; id -G", stdio="echo > /dev/null && echo fine")
    assert answers["id"].splitlines() == ["1000", "1000", "1000 5 6"]
    assert answers["stdio"] == "fine"


def test_a_user_that_is_not_mapped(runtime, mapped):
    mapped.process["user"] = {"uid": 70_000, "gid": 0}
    runtime.run(mapped, "true").failed()


def test_devices_and_masks_in_a_user_namespace(runtime, mapped):
    answers = runtime.ask(
        mapped, null="echo x > /dev/null; cat /dev/null",
        nodes="stat -c %t:%T /dev/null /dev/zero /dev/urandom",
        masked="cat /proc/keys; ls /sys/firmware", readonly="echo x > /proc/sys/kernel/ostype || true",
    )  # fmt: skip
    assert answers["null"] == answers["masked"] == ""
    assert answers["nodes"].split() == ["1:3", "1:5", "1:9"]
    assert answers["readonly"]


def test_exec_in_a_user_namespace(runtime, mapped):
    runtime.launch(mapped, "sleep", "1000")
    answers = runtime.ask_exec(
        mapped, id="id -u", map="cat /proc/self/uid_map", user="readlink /proc/self/ns/user"
    )
    assert answers["id"] == "0"
    assert answers["map"].split() == ["0", "100000", "65536"]
    assert answers["user"] == os.readlink(f"/proc/{runtime.pid(mapped)}/ns/user")
    done = runtime.exec(mapped, "id", "-u", options=("--user", "1000:1000")).ok()
    assert done.stdout == "1000\n"


def test_a_bind_from_where_the_mapped_user_may_not_look(runtime, mapped, work):
    closed = work / "closed"
    (closed / "data").mkdir(parents=True)
    (closed / "data/file").write_text("visible")
    closed.chmod(0o700)
    mapped.bind(closed / "data", "/data", "ro")
    assert runtime.ask(mapped, read="cat /data/file") == {"read": "visible"}


def test_a_user_namespace_by_path(runtime, new_bundle):
    first, second = new_bundle(), new_bundle()
    first.map_ids()
    runtime.launch(first, "sleep", "1000")
    pid = runtime.pid(first)
    second.map_ids()
    second.namespace("user", f"/proc/{pid}/ns/user")
    del second.linux["uidMappings"], second.linux["gidMappings"]
    second.linux["uidMappings"] = second.linux["gidMappings"] = first.linux["uidMappings"]
    answers = runtime.ask(second, ns="readlink /proc/self/ns/user", map="cat /proc/self/uid_map")
    assert answers["ns"] == os.readlink(f"/proc/{pid}/ns/user")
    assert answers["map"].split() == ["0", "100000", "65536"]


def test_a_namespace_of_the_hosts_in_a_user_namespace_of_its_own(runtime, mapped, donor):
    for name in ("network", "ipc"):
        mapped.namespace(name, f"/proc/{donor}/ns/{FILES[name]}")
    mapped.unmount("/sys")  # a new one is for the owner of the network namespace
    mapped.unmount("/sys/fs/cgroup")
    mapped.unmount("/dev/mqueue")
    answers = runtime.ask(
        mapped, net="readlink /proc/self/ns/net", ipc="readlink /proc/self/ns/ipc", id="id -u"
    )
    assert answers["net"] == os.readlink(f"/proc/{donor}/ns/net")
    assert answers["ipc"] == os.readlink(f"/proc/{donor}/ns/ipc")
    assert answers["id"] == "0"


@pytest.mark.parametrize(
    "change",
    [
        lambda linux: linux["namespaces"].append({"type": "user"}),
        pytest.param(
            lambda linux: linux.update(uidMappings=[{"containerID": 0, "hostID": 5, "size": 1}]),
            marks=deviation("runc", reason="ignores mappings without a user namespace"),
        ),
        lambda linux: linux.update(
            namespaces=[*linux["namespaces"], {"type": "user"}],
            uidMappings=[{"containerID": 0, "hostID": 5, "size": 0}],
            gidMappings=[{"containerID": 0, "hostID": 5, "size": 1}],
        ),
    ],
    ids=["no mappings", "no namespace", "an empty range"],
)
def test_mappings_that_make_no_sense(runtime, bundle, change):
    change(bundle.linux)
    runtime.run(bundle, "true").failed()
