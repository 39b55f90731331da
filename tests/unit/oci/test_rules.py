"""oci.rules: for each rule a document that breaks it, with the place, and one that doesn't."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.oci.config import parse_config
from pyrunc.oci.processrules import Facts, is_list_of_numbers
from pyrunc.oci.rules import CHECKS, semantic_version, sysctl_path

Document = Callable[[str], dict[str, Any]]
Change = dict[str, Any]

ROOTLESS = Facts(is_rootless=True)
MAP = {"containerID": 0, "hostID": 1000, "size": 10}
OWN_USERS = {"namespaces": [{"type": "user"}], "uidMappings": [MAP], "gidMappings": [MAP]}
NOTIFY = {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}


def changed(document: dict[str, Any], change: Change) -> dict[str, Any]:
    """`linux` and `process` are merged with what is there, all else replaces it. None takes away."""
    for name, value in change.items():
        if name in ("linux", "process") and value is not None:
            document[name].update(value)
        else:
            document[name] = value
    return document


def first_problem(document: dict[str, Any], facts: Facts) -> PyruncError | None:
    config = parse_config(document)
    for check in CHECKS:
        try:
            check(config, facts)
        except PyruncError as error:
            return error
    return None


def mapping(container: int, host: int, size: int) -> dict[str, int]:
    return {"containerID": container, "hostID": host, "size": size}


def mount(**fields: Any) -> dict[str, Any]:
    return {"mounts": [{"destination": "/data", "source": "/srv", **fields}]}


def seccomp(**fields: Any) -> dict[str, Any]:
    return {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", **fields}}}


def device(**fields: Any) -> dict[str, Any]:
    return {"linux": {"devices": [{"type": "c", "path": "/dev/x", "major": 1, "minor": 3, **fields}]}}


def net_devices(devices: dict[str, Any]) -> dict[str, Any]:
    return {"linux": {"netDevices": devices}}


WRONG: list[tuple[Change, str, str]] = [
    ({"ociVersion": ""}, "/ociVersion", "not a semantic version"),
    ({"ociVersion": "1.0"}, "/ociVersion", "not a semantic version"),
    ({"root": None}, "/root", "is required"),
    ({"root": {"path": ""}}, "/root/path", "is empty"),
    ({"annotations": {"": "x"}}, "/annotations/", "has an empty name"),
    ({"hooks": {"poststop": [{"path": "/x"}, {"path": "bin/x"}]}},
     "/hooks/poststop/1/path", "is not absolute"),
    ({"linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "mount"}]}},
     "/linux/namespaces/2",
     "is a second mount namespace"),
    ({"linux": {"namespaces": [{"type": "pid", "path": "ns/pid"}]}},
     "/linux/namespaces/0/path", "is not absolute"),
    ({"linux": {"namespaces": [{"type": "mount"}]}}, "/hostname", "needs a UTS namespace"),
    ({"hostname": None, "domainname": "x", "linux": {"namespaces": [{"type": "mount"}]}}, "/domainname",
     "needs a UTS namespace"),
    ({"linux": {"namespaces": [{"type": "uts"}]}}, "/linux/maskedPaths", "needs a mount namespace"),
    ({"linux": {"namespaces": [{"type": "uts"}], "maskedPaths": []}}, "/linux/readonlyPaths",
     "needs a mount namespace"),
    ({"linux": {"maskedPaths": ["/a", "b"]}}, "/linux/maskedPaths/1", "is not absolute"),
    ({"linux": {"uidMappings": [MAP]}}, "/linux/uidMappings", "needs a user namespace"),
    ({"linux": {"gidMappings": [MAP]}}, "/linux/gidMappings", "needs a user namespace"),
    ({"linux": {"timeOffsets": {"boottime": {"secs": 1}}}}, "/linux/timeOffsets", "needs a time namespace"),
    (net_devices({"eth0": {"name": "a/b"}}), "/linux/netDevices/eth0/name", "not a name of a network device"),
    (net_devices({"eth0": {"name": "sixteen-letters-"}}), "/linux/netDevices/eth0/name", "not a name"),
    (net_devices({"..": {"name": "eth0"}}), "/linux/netDevices/..", "not a name of a network device"),
    (net_devices({"a b": {}}), "/linux/netDevices/a b", "not a name of a network device"),
    (net_devices({"a": {"name": "eth0"}, "eth0": {}}), "/linux/netDevices/eth0/name", "a second device"),
    (mount(destination="/"), "/mounts/0/destination", "on top of the root"),
    (mount(destination="/a/.././"), "/mounts/0/destination", "on top of the root"),
    (mount(destination=""), "/mounts/0/destination", "on top of the root"),
    (mount(destination="/../.."), "/mounts/0/destination", "on top of the root"),
    (mount(type="tmpfs", options=["idmap"]), "/mounts/0", "only bind mounts"),
    (mount(type="tmpfs", uidMappings=[MAP], gidMappings=[MAP]), "/mounts/0", "only bind mounts"),
    (mount(type="bind", uidMappings=[MAP]), "/mounts/0/gidMappings", "beside its counterpart"),
    (mount(options=["rbind"], gidMappings=[MAP]), "/mounts/0/uidMappings", "beside its counterpart"),
    (mount(options=["bind", "ridmap"]), "/mounts/0", "has no uidMappings"),
    (mount(type="bind", uidMappings=[mapping(0, 0, 0)], gidMappings=[MAP]),
     "/mounts/0/uidMappings/0/size", "is 0"),
    (device(path="dev/x"), "/linux/devices/0/path", "is not absolute"),
    (device(minor=None), "/linux/devices/0", "major and minor are required for type c"),
    (device(major=-1), "/linux/devices/0/major", "between 0 and 4095"),
    (device(minor=1 << 20), "/linux/devices/0/minor", "between 0 and 1048575"),
    (device(uid=2**32 - 1), "/linux/devices/0/uid", "between 0 and 4294967294"),
    (seccomp(defaultAction="", syscalls=[NOTIFY]), "/linux/seccomp/defaultAction", "is empty"),
    (seccomp(listenerMetadata="x"), "/linux/seccomp/listenerMetadata", "needs listenerPath"),
    (seccomp(defaultErrnoRet=1), "/linux/seccomp/defaultErrnoRet", "SCMP_ACT_ALLOW has no errno"),
    (seccomp(defaultAction="SCMP_ACT_ERRNO", defaultErrnoRet=4096), "/linux/seccomp/defaultErrnoRet",
     "between 0 and 4095"),
    (seccomp(syscalls=[{"names": ["a"], "action": "SCMP_ACT_KILL", "errnoRet": 1}]),
     "/linux/seccomp/syscalls/0/errnoRet", "SCMP_ACT_KILL has no errno"),
    (seccomp(syscalls=[{"names": ["a"], "action": "SCMP_ACT_LOG",
                        "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]),
     "/linux/seccomp/syscalls/0/args/0/index", "between 0 and 5"),
    (seccomp(syscalls=[NOTIFY]), "/linux/seccomp/syscalls/0/action", "needs listenerPath"),
    (seccomp(listenerPath="/s", syscalls=[{**NOTIFY, "names": ["read", "write"]}]),
     "/linux/seccomp/syscalls/0/names", "cannot be used for write"),
    (seccomp(defaultAction="SCMP_ACT_NOTIFY", listenerPath="/s"), "/linux/seccomp/defaultAction",
     "cannot be the default"),
    ({"linux": {"intelRdt": {"closID": ".."}}}, "/linux/intelRdt/closID", "not the name of a directory"),
    ({"linux": {"intelRdt": {"closID": "a/b"}}}, "/linux/intelRdt/closID", "not the name of a directory"),
    ({"linux": {"intelRdt": {"l3CacheSchema": "a\nb"}}},
     "/linux/intelRdt/l3CacheSchema", "more than one line"),
    ({"linux": {"memoryPolicy": {"mode": "MPOL_LOCAL", "nodes": "0"}}},
     "/linux/memoryPolicy/nodes", "takes none"),
    ({"linux": {"memoryPolicy": {"mode": "MPOL_INTERLEAVE"}}}, "/linux/memoryPolicy/nodes",
     "is required by MPOL_INTERLEAVE"),
    ({"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "3-1"}}}, "/linux/memoryPolicy/nodes",
     "not a list of nodes"),
    ({"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0",
                                 "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}}},
     "/linux/memoryPolicy/flags", "exclude each other"),
    ({"linux": {"memoryPolicy": {"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_NUMA_BALANCING"]}}},
     "/linux/memoryPolicy/flags", "does not go with MPOL_PREFERRED"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "pointer", "why"), WRONG)
def test_a_broken_rule_names_its_place(document: Document, change: Change, pointer: str, why: str) -> None:
    error = first_problem(changed(document("runc-spec"), change), Facts())
    assert error is not None
    assert (error.kind, error.what, error.where) == (INVALID, "config.json is not valid", pointer)
    assert why in error.why


RIGHT: list[Change] = [
    {},
    {"ociVersion": "1.0.2-rc.1+build.5"},
    {"ociVersion": "1.99.0"},
    {"hostname": None, "linux": {"namespaces": [], "maskedPaths": None, "readonlyPaths": None}},
    {"domainname": "x", "linux": {"namespaces": [{"type": "mount"}, {"type": "uts", "path": "/run/uts"}]}},
    net_devices({"eth0": {}, "eth1": {"name": "fifteen-letters"}}),
    mount(destination="/a/../b"),
    mount(destination="relative"),
    mount(type="bind", uidMappings=[MAP], gidMappings=[MAP]),
    mount(options=["rbind"], uidMappings=[MAP], gidMappings=[MAP]),
    device(),
    device(type="p", major=None, minor=None),
    device(major=0, minor=0),
    seccomp(defaultAction="SCMP_ACT_ERRNO", defaultErrnoRet=38),
    seccomp(listenerPath="/s", listenerMetadata="x", syscalls=[NOTIFY]),
    seccomp(listenerPath="/s"),
    {"linux": {"intelRdt": {"closID": "/"}}},
    {"linux": {"intelRdt": {"closID": "guaranteed", "l3CacheSchema": "L3:0=f"}}},
    {"linux": {"memoryPolicy": {"mode": "MPOL_PREFERRED"}}},
    {"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0,2-3", "flags": ["MPOL_F_NUMA_BALANCING"]}}},
]


@pytest.mark.parametrize("change", RIGHT)
def test_what_keeps_the_rules_passes(document: Document, change: Change) -> None:
    assert first_problem(changed(document("runc-spec"), change), Facts()) is None


def test_the_version_must_be_one_that_we_know(document: Document) -> None:
    for version in ("0.5.0", "2.0.0-rc1"):
        error = first_problem({**document("runc-spec"), "ociVersion": version}, Facts())
        assert error is not None
        assert (error.kind, error.where) == (UNSUPPORTED, "/ociVersion")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.0.2-dev", (1, 0)),
        ("1.2.1", (1, 2)),
        ("10.20.30+a.b-c", (10, 20)),
        ("1.0.0-0a.1--", (1, 0)),
        ("01.0.0", None),
        ("1.0.0-", None),
        ("1.0.0-a..b", None),
        ("1.0.0+", None),
        ("1.0.0-ä", None),
        ("v1.0.0", None),
        ("1.0.0.0", None),
        ("1.0.٣", None),
    ],
)
def test_semantic_versions(text: str, version: tuple[int, int] | None) -> None:
    assert semantic_version(text) == version


def test_without_a_process_it_is_runcs_sentence(document: Document) -> None:
    error = first_problem({**document("runc-spec"), "process": None}, Facts())
    assert str(error) == "process property must not be empty"


# --- user namespaces ------------------------------------------------------------------------------


def users(uids: list[dict[str, int]], gids: list[dict[str, int]], path: str = "") -> Change:
    namespaces = [{"type": "uts"}, {"type": "mount"}, {"type": "user", "path": path}]
    return {"linux": {"namespaces": namespaces, "uidMappings": uids, "gidMappings": gids}}


@pytest.mark.parametrize(
    ("uids", "gids", "pointer", "why"),
    [
        ([], [], "/linux/uidMappings", "is required"),
        ([mapping(0, 1, 0)], [MAP], "/linux/uidMappings/0/size", "is 0"),
        ([MAP], [mapping(0, 2**32 - 2, 2)], "/linux/gidMappings/0/hostID", "beyond the last id"),
        ([mapping(1, 1, 2**32 - 1)], [MAP], "/linux/uidMappings/0/containerID", "beyond the last id"),
        ([mapping(0, 100, 5), mapping(4, 200, 5)], [MAP], "/linux/uidMappings/1", "container ids"),
        ([mapping(0, 100, 5), mapping(5, 104, 5)], [MAP], "/linux/uidMappings/1", "host ids"),
        ([mapping(n, n, 1) for n in range(341)], [MAP], "/linux/uidMappings", "more than the 340"),
        ([mapping(1, 1, 1)], [MAP], "/process/user/uid", "0 is not mapped"),
        ([MAP], [mapping(5, 5, 1)], "/process/user/gid", "0 is not mapped"),
    ],
)  # fmt: skip
def test_maps_that_the_kernel_would_refuse(
    document: Document, uids: list[dict[str, int]], gids: list[dict[str, int]], pointer: str, why: str
) -> None:
    error = first_problem(changed(document("runc-spec"), users(uids, gids)), Facts())
    assert error is not None
    assert error.where == pointer
    assert why in error.why


@pytest.mark.parametrize(
    ("uids", "gids", "path"),
    [
        ([mapping(0, 0, 2**32 - 1)], [mapping(0, 0, 2**32 - 1)], ""),
        ([mapping(0, 100, 5), mapping(5, 105, 5)], [MAP], ""),
        ([mapping(0, 100, 5), mapping(10, 90, 10)], [MAP], ""),
        ([MAP], [], ""),
        ([], [], "/proc/1/ns/user"),
        ([MAP], [MAP], "/proc/1/ns/user"),
    ],
)
def test_maps_that_are_fine(
    document: Document, uids: list[dict[str, int]], gids: list[dict[str, int]], path: str
) -> None:
    assert first_problem(changed(document("runc-spec"), users(uids, gids, path)), Facts()) is None


def test_all_groups_must_be_mapped(document: Document) -> None:
    process = {"user": {"uid": 9, "gid": 9, "additionalGids": [1, 10]}}
    error = first_problem(
        changed(document("runc-spec"), {**users([MAP], [MAP]), "process": process}), Facts()
    )
    assert error is not None
    assert error.where == "/process/user/additionalGids/1"


def test_an_idmap_of_the_containers_own(document: Document) -> None:
    change = {**users([MAP], [MAP]), **mount(options=["bind", "idmap"])}
    assert first_problem(changed(document("runc-spec"), change), Facts()) is None


# --- users who aren't root ------------------------------------------------------------------------


def test_users_need_a_user_namespace_and_both_maps(document: Document) -> None:
    assert first_problem(document("runc-spec-rootless"), ROOTLESS) is None
    found = [
        first_problem(changed(document("runc-spec-rootless"), change), ROOTLESS)
        for change in (
            {
                "linux": {
                    "namespaces": [{"type": "uts"}, {"type": "mount"}],
                    "uidMappings": [],
                    "gidMappings": [],
                }
            },
            {"linux": {"uidMappings": []}},
            {"linux": {"gidMappings": None}},
        )
    ]
    assert [error and error.where for error in found] == [
        "/linux/namespaces",
        "/linux/uidMappings",
        "/linux/gidMappings",
    ]


def test_what_users_may_not(document: Document) -> None:
    namespaces = [*document("runc-spec-rootless")["linux"]["namespaces"], {"type": "network"}]
    devices = {"linux": {"namespaces": namespaces, "netDevices": {"eth0": {}}}}
    idmap = mount(type="bind", uidMappings=[MAP], gidMappings=[MAP])
    for change, pointer in ((devices, "/linux/netDevices"), (idmap, "/mounts/0")):
        error = first_problem(changed(document("runc-spec-rootless"), change), ROOTLESS)
        assert error is not None
        assert (error.kind, error.where) == (UNSUPPORTED, pointer)


def test_users_can_give_mounts_only_to_mapped_ids(document: Document) -> None:
    for options, pointer in (
        (["mode=755", "gid=5"], "/mounts/0/options/1"),
        (["uid=1"], "/mounts/0/options/0"),
    ):
        error = first_problem(changed(document("runc-spec-rootless"), mount(options=options)), ROOTLESS)
        assert error is not None
        assert error.where == pointer
    fine = changed(document("runc-spec-rootless"), mount(options=["uid=0", "gid=0"]))
    assert first_problem(fine, ROOTLESS) is None
    assert first_problem(changed(document("runc-spec-rootless"), mount(options=["gid=5"])), Facts()) is None


# --- other namespaces -----------------------------------------------------------------------------


def test_a_namespace_that_the_kernel_lacks(document: Document) -> None:
    facts = Facts(namespaces=("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"))
    assert first_problem(document("runc-spec"), facts) is None
    times = {"linux": {"namespaces": [{"type": "mount"}, {"type": "time"}]}}
    error = first_problem(changed(document("runc-spec"), times), facts)
    assert error is not None
    assert (error.kind, error.where) == (UNSUPPORTED, "/linux/namespaces/1/type")
    assert error.why == "this kernel has no time namespaces"


@pytest.mark.parametrize(
    ("path", "offsets", "pointer"),
    [
        ("", {"monotonic": {"secs": -5, "nanosecs": 999_999_999}, "boottime": {}}, None),
        ("", {"realtime": {"secs": 1}}, "/linux/timeOffsets/realtime"),
        ("", {"monotonic": {"nanosecs": 1_000_000_000}}, "/linux/timeOffsets/monotonic/nanosecs"),
        ("/proc/1/ns/time", {"monotonic": {"secs": 1}}, "/linux/timeOffsets"),
        ("/proc/1/ns/time", {}, None),
    ],
)
def test_time_offsets(document: Document, path: str, offsets: Change, pointer: str | None) -> None:
    namespaces = [*document("runc-spec")["linux"]["namespaces"], {"type": "time", "path": path}]
    change = {"linux": {"namespaces": namespaces, "timeOffsets": offsets}}
    error = first_problem(changed(document("runc-spec"), change), Facts())
    assert (error and error.where) == pointer


def test_net_devices_cannot_move_to_the_hosts_network_namespace(document: Document) -> None:
    namespaces = [{"type": "mount"}, {"type": "network", "path": "/proc/1/ns/net"}]
    change = changed(document("runc-spec"), {"hostname": "", "linux": {
        "namespaces": namespaces, "netDevices": {"eth0": {}},
    }})  # fmt: skip
    assert first_problem(change, Facts()) is None
    error = first_problem(change, Facts(host_namespaces=("network",)))
    assert error is not None
    assert error.where == "/linux/netDevices"


def test_net_devices_need_a_network_namespace(document: Document) -> None:
    namespaces = {"namespaces": [{"type": "uts"}, {"type": "mount"}], "netDevices": {"eth0": {}}}
    error = first_problem(changed(document("runc-spec"), {"linux": namespaces}), Facts())
    assert error is not None
    assert error.where == "/linux/netDevices"


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("kernel.shmmax", "ipc"),
        ("kernel/msgmni", "ipc"),
        ("fs.mqueue.msg_max", "ipc"),
        ("net.ipv4.ip_forward", "network"),
        ("net/ipv4/conf/eth0.1/forwarding", "network"),
        ("kernel.domainname", "uts"),
        ("user.max_user_namespaces", "user"),
        ("kernel.core_pattern", None),
        ("fs.file-max", None),
        ("kernel.shmmax.x", None),
        ("net", None),
        ("net.//.kernel.core_pattern", None),
        ("net/../kernel/core_pattern", None),
        ("net..ipv4", None),
        ("", None),
    ],
)
def test_a_sysctl_needs_the_namespace_that_it_is_in(document: Document, name: str, needs: str | None) -> None:
    def change(types: list[str]) -> Change:
        namespaces = [{"type": type, "path": "/run/ns"} for type in types]
        base = {"namespaces": namespaces, "maskedPaths": [], "readonlyPaths": [], "sysctl": {name: "1"}}
        return {"hostname": None, "linux": base}

    all_types = ["ipc", "network", "uts", "user", "pid", "mount"]
    sentence = f'sysctl "{name}" is not in a separate kernel namespace'
    for types, host in (
        (all_types, ()),
        ([type for type in all_types if type != needs], ()),
        (all_types, (needs or "pid",)),
    ):
        error = first_problem(changed(document("runc-spec"), change(types)), Facts(host_namespaces=host))
        is_own = needs in types and needs not in host
        assert (error and error.what) == (None if is_own else sentence)


def test_the_hostname_is_not_set_by_sysctl(document: Document) -> None:
    for name in ("kernel.hostname", "kernel/hostname"):
        error = first_problem(changed(document("runc-spec"), {"linux": {"sysctl": {name: "x"}}}), Facts())
        assert error is not None
        assert "is not allowed as it conflicts with the OCI" in error.what
        assert error.where == "/linux/sysctl/" + name.replace("/", "~1")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("kernel", "kernel"),
        ("a.//.b", ""),
        ("/a/b", ""),
        ("a/./b", ""),
        ("a.", ""),
    ],
)
def test_names_of_sysctls(name: str, path: str) -> None:
    assert sysctl_path(name) == path


# --- the rest -------------------------------------------------------------------------------------


def test_the_cgroups_path_of_systemd(document: Document) -> None:
    systemd = Facts(uses_systemd=True)
    for path, is_right in (("", True), ("user.slice:pyrunc:web", True), ("/web", False), ("a:b", False)):
        error = first_problem(changed(document("runc-spec"), {"linux": {"cgroupsPath": path}}), systemd)
        assert (error is None) == is_right
        assert error is None or error.where == "/linux/cgroupsPath"
    assert first_problem(changed(document("runc-spec"), {"linux": {"cgroupsPath": "/web"}}), Facts()) is None


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("", True), ("0", True), ("0-3, 5 ,7-7", True), (" ", True), ("9", True), ("10", False), ("3-1", False),
     ("a", False), ("1-", False), ("-1", False), ("1,,2", False), ("1-2-3", False), ("٣", False)],
)  # fmt: skip
def test_lists_of_numbers(text: str, verdict: bool) -> None:
    assert is_list_of_numbers(text, 9) is verdict
