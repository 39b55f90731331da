"""engine.spec: a container's wishes and facts about the host become a config.json that the runtime takes."""

from __future__ import annotations

import pytest

from pyrunc.engine.hostconfig import complete_config, complete_host
from pyrunc.engine.model import Container, MountPoint
from pyrunc.engine.spec import capabilities
from pyrunc.engine.spec.compose import make_config
from pyrunc.engine.spec.facts import Device, Facts, User
from pyrunc.errors import PyruncError
from pyrunc.oci.validate import require_schema

EVERYTHING = frozenset(capabilities.ALL)


def container(config=None, mounts=(), **host) -> Container:
    made = complete_config({"Cmd": ["sh"], **(config or {})}, {})
    return Container(
        id="0" * 64, name="box", created_ns=0, image="i", image_id="", config=made, host=complete_host(host),
        mounts=tuple(mounts),
    )  # fmt: skip


def config_of(made: Container, **facts) -> dict:
    return make_config(
        made, Facts(**{"rootfs": "/r", "cgroup": "/c", "bounding": EVERYTHING, "hostname": "h", **facts})
    )


def test_the_runtime_takes_it():
    document = config_of(
        container(Devices=[], Tmpfs={"/run": "size=1m"}, Sysctls={"net.ipv4.ip_forward": "1"})
    )
    assert require_schema(document) is None
    assert document["process"]["args"] == ["sh"]
    assert [one["type"] for one in document["linux"]["namespaces"]] == [
        "mount", "network", "uts", "pid", "ipc", "cgroup",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("host", "gone"),
    [
        ({"NetworkMode": "host"}, "network"),
        ({"PidMode": "host"}, "pid"),
        ({"IpcMode": "host"}, "ipc"),
        ({"UTSMode": "host"}, "uts"),
        ({"CgroupnsMode": "host"}, "cgroup"),
    ],
)
def test_a_namespace_of_the_host(host, gone):
    kinds = [one["type"] for one in config_of(container(**host))["linux"]["namespaces"]]
    assert gone not in kinds
    assert len(kinds) == 5


def test_a_namespace_that_is_joined():
    document = config_of(container(), namespaces={"network": "/n"})
    assert {"type": "network", "path": "/n"} in document["linux"]["namespaces"]


def test_only_root_has_capabilities_at_once():
    sets = config_of(container(), user=User(uid=5))["process"]["capabilities"]
    assert set(sets) == {"bounding"}
    assert set(config_of(container())["process"]["capabilities"]) == {"bounding", "effective", "permitted"}


@pytest.mark.parametrize(
    ("add", "drop", "privileged", "found"),
    [
        ([], [], False, set(capabilities.DEFAULT)),
        (["NET_ADMIN"], ["chown"], False, set(capabilities.DEFAULT) - {"CAP_CHOWN"} | {"CAP_NET_ADMIN"}),
        (["CHOWN"], ["ALL"], False, {"CAP_CHOWN"}),
        (["ALL"], ["SYS_ADMIN"], False, EVERYTHING - {"CAP_SYS_ADMIN"}),
        ([], [], True, EVERYTHING),
    ],
)
def test_capabilities(add, drop, privileged, found):
    assert (
        set(capabilities.choose(add=add, drop=drop, is_privileged=privileged, bounding=EVERYTHING)) == found
    )


def test_none_is_given_that_we_have_not_got():
    bounding = EVERYTHING - {"CAP_SYS_RESOURCE"}
    given = capabilities.choose(add=["ALL"], drop=(), is_privileged=False, bounding=bounding)
    assert "CAP_SYS_RESOURCE" not in given


def test_limits_are_cut_where_ours_cannot_be_raised():
    made = container(
        Ulimits=[
            {"Name": "nofile", "Soft": 1 << 20, "Hard": 1 << 20},
            {"Name": "core", "Soft": -1, "Hard": -1},
        ]
    )
    rlimits = config_of(made, limits={"RLIMIT_NOFILE": 20000})["process"]["rlimits"]
    assert rlimits == [
        {"type": "RLIMIT_NOFILE", "soft": 20000, "hard": 20000},
        {"type": "RLIMIT_CORE", "soft": (1 << 64) - 1, "hard": (1 << 64) - 1},
    ]


@pytest.mark.parametrize(
    "limit", [{"Name": "what", "Soft": 1, "Hard": 1}, {"Name": "nofile", "Soft": 3, "Hard": 2}]
)
def test_limits_that_are_none(limit):
    with pytest.raises(PyruncError):
        config_of(container(Ulimits=[limit]))


def test_mounts_stand_in_the_order_of_their_depth_and_replace_ours():
    made = container(
        mounts=[
            MountPoint(type="bind", destination="/a/b", source="/x", writable=False),
            MountPoint(type="bind", destination="/a", source="/y", propagation="rslave"),
            MountPoint(type="tmpfs", destination="/dev/shm", options=("size=1k", "exec")),
        ]
    )
    mounts = config_of(made)["mounts"]
    own = {mount["destination"]: mount for mount in mounts[-3:]}
    assert [mount["destination"] for mount in mounts[-3:]] == ["/a", "/a/b", "/dev/shm"]
    assert own["/a/b"]["options"] == ["rbind", "rprivate", "rro"]
    assert own["/a"]["options"] == ["rbind", "rslave"]
    assert own["/dev/shm"]["options"] == ["nosuid", "nodev", "size=1k", "exec"]
    assert [mount["destination"] for mount in mounts].count("/dev/shm") == 1


def test_devices_are_made_and_allowed():
    device = Device(path="/dev/x", type="c", major=10, minor=7, access="rw")
    document = config_of(container(DeviceCgroupRules=["c 1:* m"]), devices=(device,))
    assert document["linux"]["devices"][0]["path"] == "/dev/x"
    rules = document["linux"]["resources"]["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert {"allow": True, "type": "c", "major": 10, "minor": 7, "access": "rw"} in rules
    assert rules[-1] == {"allow": True, "type": "c", "access": "m", "major": 1}


def test_resources():
    made = container(
        Memory=64 << 20, NanoCpus=1_500_000_000, PidsLimit=7, MemorySwappiness=5, BlkioWeight=100
    )
    found = config_of(made)["linux"]["resources"]
    assert found["memory"] == {"limit": 64 << 20, "swap": 128 << 20, "swappiness": 5}
    assert found["cpu"] == {"period": 100_000, "quota": 150_000}
    assert (found["pids"], found["blockIO"]) == ({"limit": 7}, {"weight": 100})
    assert "swappiness" not in config_of(made, is_cgroup2=True)["linux"]["resources"]["memory"]


def test_privileged():
    document = config_of(container(Privileged=True))
    assert "seccomp" not in document["linux"]
    assert document["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert not any("ro" in mount["options"] for mount in document["mounts"])


def test_the_environment_has_path_host_and_terminal():
    made = container({"Tty": True, "Env": ["PATH=/mine", "X=1"]})
    assert config_of(made)["process"]["env"] == ["PATH=/mine", "HOSTNAME=h", "TERM=xterm", "X=1"]
