"""Namespaces, id mappings, devices, paths, sysctl, propagation and the rest of `linux`."""

import os
import stat
import subprocess

import pytest
from support.facts import mount_at
from support.host import needs_namespace

from conformance.clauses import requirement

FILES = {
    "pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc", "uts": "uts", "user": "user",
    "cgroup": "cgroup", "time": "time",
}  # fmt: skip


def of_self(name):
    return os.readlink(f"/proc/self/ns/{FILES[name]}")


def of_container(runtime, bundle, name):
    """As the kernel says outside, for a container that runs."""
    runtime.launch(bundle, "sleep", "1000")
    return os.readlink(f"/proc/{runtime.pid(bundle)}/ns/{FILES[name]}")


@requirement("NSNewNSWithoutPath")
@pytest.mark.parametrize("name", ["pid", "network", "mount", "ipc", "uts", "user", "cgroup"])
def test_a_new_namespace(runtime, bundle, name):
    if name == "user":
        bundle.map_ids()
    else:
        bundle.namespace(name)
    assert of_container(runtime, bundle, name) != of_self(name)


@requirement("NSTimeType", "NSNewNSWithoutPath")
@needs_namespace("time")
def test_a_new_time_namespace(runtime, bundle):
    bundle.namespace("time")
    assert of_container(runtime, bundle, "time") != of_self("time")


@requirement("NSInheritWithoutType")
@pytest.mark.parametrize("name", ["pid", "ipc", "uts", "user", "cgroup"])
def test_a_namespace_that_is_not_listed_is_inherited(runtime, bundle, name):
    bundle.share(name)
    if name == "ipc":
        bundle.unmount("/dev/mqueue")
    assert of_container(runtime, bundle, name) == of_self(name)


@requirement("NSInheritWithoutType")
def test_the_network_of_the_host_is_inherited(runtime, bundle):
    bundle.share("network")
    bundle.unmount("/sys")
    bundle.unmount("/sys/fs/cgroup")
    assert of_container(runtime, bundle, "network") == of_self("network")


@pytest.fixture
def holder():
    """A process in namespaces of its own."""
    command = ["unshare", "--net", "--ipc", "--uts", "sh", "-c", "echo ready; exec sleep 1000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    yield process.pid
    process.kill()
    process.wait()
    process.stdout.close()


@requirement("NSProcInPath")
@pytest.mark.parametrize("name", ["network", "ipc", "uts"])
def test_the_namespace_at_a_path(runtime, bundle, holder, name):
    path = f"/proc/{holder}/ns/{FILES[name]}"
    bundle.namespace(name, path)
    bundle.config.pop("hostname", None)
    assert of_container(runtime, bundle, name) == os.readlink(path)


@requirement("NSPathMatchTypeError")
@pytest.mark.parametrize("path", ["/proc/self/ns/uts", "/etc/hostname", "/none"])
def test_a_path_that_is_no_such_namespace(bundle, refused, path):
    bundle.namespace("network", path)
    refused()


@requirement("NSPathAbs")
def test_a_relative_path_of_a_namespace(runtime, bundle, holder):
    """In a directory where it would lead to one."""
    bundle.namespace("network", f"{holder}/ns/net")
    bundle.process["args"] = ["true"]
    bundle.write()
    done = runtime("create", "--bundle", bundle.path, runtime.remember(bundle.id), cwd="/proc")
    assert done.returncode != 0


@requirement("NSErrorOnDup")
@pytest.mark.parametrize("name", ["pid", "network", "uts"])
def test_a_namespace_that_is_listed_twice(bundle, refused, name):
    bundle.linux["namespaces"].append({"type": name})
    refused()


@requirement("NSTypeValueError", "ValidValues")
def test_a_namespace_that_is_not_known(bundle, refused):
    bundle.linux["namespaces"].append({"type": "colour"})
    refused()


@requirement("UserNSMappings")
def test_the_id_mappings(runtime, bundle):
    bundle.map_ids()
    bundle.linux["uidMappings"] = [
        {"containerID": 0, "hostID": 100_000, "size": 1000},
        {"containerID": 1000, "hostID": 300_000, "size": 5},
    ]
    answers = runtime.ask(bundle, uid="cat /proc/self/uid_map", gid="cat /proc/self/gid_map")
    assert answers["uid"].split() == ["0", "100000", "1000", "1000", "300000", "5"]
    assert answers["gid"].split() == ["0", "100000", "65536"]


@requirement("UserNSMapOwnershipRO")
def test_owners_are_not_changed_for_the_mapping(runtime, bundle):
    bundle.map_ids()
    os.chown(bundle.rootfs / "etc/passwd", 5, 6)
    runtime.run(bundle, "true").ok()
    found = os.stat(bundle.rootfs / "etc/passwd")
    assert (found.st_uid, found.st_gid) == (5, 6)


@requirement("TimeOffsets")
@needs_namespace("time")
def test_the_clock_offsets(runtime, bundle):
    bundle.namespace("time")
    bundle.linux["timeOffsets"] = {
        "monotonic": {"secs": 86_400, "nanosecs": 5},
        "boottime": {"secs": 172_800},
    }
    offsets = runtime.ask(bundle, offsets="cat /proc/self/timens_offsets")["offsets"].split()
    assert offsets == ["monotonic", "86400", "5", "boottime", "172800", "0"]


@requirement("TimeOffsets")
def test_offsets_without_a_time_namespace_are_an_error(bundle, refused):
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 1}}
    refused()


@requirement("DevicesAvailable", "DevicesModeOwner")
@pytest.mark.parametrize(
    ("entry", "seen"),
    [
        ({"type": "c", "major": 1, "minor": 7, "fileMode": 0o640, "uid": 3, "gid": 4},
         "character special file 1:7 640 3:4"),
        ({"type": "u", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 0, "gid": 0},
         "character special file 1:3 600 0:0"),
        ({"type": "b", "major": 7, "minor": 200, "fileMode": 0o660, "uid": 0, "gid": 6},
         "block special file 7:c8 660 0:6"),
        ({"type": "p", "fileMode": 0o622, "uid": 0, "gid": 0}, "fifo 0:0 622 0:0"),
    ],
    ids=["c", "u", "b", "p"],
)  # fmt: skip
def test_a_device(runtime, bundle, entry, seen):
    bundle.linux["devices"] = [{"path": "/dev/conformance", **entry}]
    answer = runtime.ask(bundle, stat="stat -c '%F %t:%T %a %u:%g' /dev/conformance")
    assert answer["stat"] == seen


@requirement("DevicesFileNotMatch")
def test_a_file_at_the_path_that_is_another_device(bundle, refused):
    os.mkdir(bundle.rootfs / "nodes")
    os.mknod(bundle.rootfs / "nodes/one", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    device = {"path": "/nodes/one", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}
    bundle.linux["devices"] = [device]
    refused()


@requirement("DevicesFileNotMatch")
def test_a_file_at_the_path_that_is_no_device(bundle, refused):
    (bundle.rootfs / "regular").write_text("mine")
    bundle.linux["devices"] = [{"path": "/regular", "type": "c", "major": 1, "minor": 3}]
    refused()


@requirement("DevicesMajMinRequired")
@pytest.mark.parametrize("given", [{}, {"major": 1}, {"minor": 3}])
def test_a_device_without_numbers(bundle, refused, given):
    bundle.linux["devices"] = [{"path": "/dev/conformance", "type": "c", **given}]
    refused()


@requirement("ValidValues")
def test_a_device_of_no_known_type(bundle, refused):
    bundle.linux["devices"] = [{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]
    refused()


@requirement("DefaultDevices")
@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("null", "1:3"),
        ("zero", "1:5"),
        ("full", "1:7"),
        ("random", "1:8"),
        ("urandom", "1:9"),
        ("tty", "5:0"),
    ],
)
def test_a_default_device(runtime, bundle, name, numbers):
    answer = runtime.ask(bundle, stat=f"stat -c '%F %t:%T %a' /dev/{name}; head -c 1 /dev/{name} | wc -c")
    assert answer["stat"].splitlines()[0] == f"character special file {numbers} 666"


@requirement("DefaultDevices")
def test_ptmx(runtime, bundle):
    answer = runtime.ask(bundle, same="stat -L -c %t:%T /dev/ptmx; echo > /dev/ptmx && echo opened")
    assert answer["same"] == "5:2\nopened"


@pytest.fixture
def network_device():
    name = "conf-test0"
    command = ["ip", "link", "add", name, "type", "veth", "peer", "name", "conf-peer0"]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no virtual network device can be made: {made.stderr.strip()}")
    yield name
    # With one end the other goes; the kernel has done that if the namespace has ended with it inside.
    subprocess.run(["ip", "link", "del", "conf-peer0"], capture_output=True)


@requirement("NetDevicesMoved")
@pytest.mark.parametrize("new_name", [None, "inside0"])
def test_a_network_device_is_moved(runtime, bundle, network_device, new_name):
    bundle.linux["netDevices"] = {network_device: {"name": new_name} if new_name else {}}
    answer = runtime.ask(bundle, devices="cat /proc/net/dev")
    assert f"{new_name or network_device}:" in answer["devices"]


@requirement("NetDevicesExist")
def test_a_network_device_that_does_not_exist(bundle, refused):
    bundle.linux["netDevices"] = {"conf-none0": {}}
    refused()


def network_of(pid, *command):
    """What a program says in the network namespace of the process."""
    return subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", *command], capture_output=True, text=True)


@requirement("NetDevicesNameConflict")
def test_a_name_that_is_taken_in_the_container(bundle, refused, holder, network_device):
    network_of(
        holder, "ip", "link", "add", "taken0", "type", "veth", "peer", "name", "taken1"
    ).check_returncode()
    bundle.namespace("network", f"/proc/{holder}/ns/net")
    bundle.linux["netDevices"] = {network_device: {"name": "taken0"}}
    refused()
    assert os.path.exists(f"/sys/class/net/{network_device}"), "it is no longer where it was"


@requirement("NetDevicesNotReturned")
def test_a_device_stays_where_it_was_moved(runtime, bundle, holder, network_device):
    """In a namespace that outlives the container, for with its last process the kernel ends a namespace."""
    bundle.namespace("network", f"/proc/{holder}/ns/net")
    bundle.linux["netDevices"] = {network_device: {}}
    runtime.launch(bundle, "sleep", "1000")
    runtime.stop(bundle)
    runtime.delete(bundle).ok()
    assert not os.path.exists(f"/sys/class/net/{network_device}")
    assert network_of(holder, "ip", "link", "show", network_device).returncode == 0


@requirement("MaskedPathsUnreadable")
def test_a_masked_file_and_directory_cannot_be_read(runtime, bundle):
    (bundle.rootfs / "secret").write_text("secret")
    (bundle.rootfs / "secrets").mkdir()
    (bundle.rootfs / "secrets/one").write_text("secret")
    bundle.linux["maskedPaths"] += ["/secret", "/secrets", "/none"]
    answers = runtime.ask(bundle, file="cat /secret", directory="ls -A /secrets; cat /secrets/one")
    assert answers["file"] == ""
    assert "secret\n" not in answers["directory"] + "\n"
    assert "No such file" in answers["directory"]


@requirement("MaskedPathsAbs")
def test_a_relative_masked_path(bundle, refused):
    bundle.linux["maskedPaths"] = ["etc/passwd"]
    refused()


@requirement("ReadonlyPathsImplement")
def test_a_readonly_path_cannot_be_written(runtime, bundle):
    bundle.writable()
    bundle.linux["readonlyPaths"] += ["/etc", "/none"]
    answers = runtime.ask(bundle, inside="echo > /etc/passwd", outside="echo > /tmp/x")
    assert "Read-only file system" in answers["inside"]
    assert answers["outside"] == ""
    assert "root" in (bundle.rootfs / "etc/passwd").read_text()


@requirement("ReadonlyPathsAbs")
def test_a_relative_readonly_path(bundle, refused):
    bundle.linux["readonlyPaths"] = ["etc"]
    refused()


@requirement("RootfsPropagation")
@pytest.mark.parametrize(
    ("value", "kinds"),
    [("private", set()), ("slave", {"master"}), ("shared", {"shared"}), ("unbindable", {"unbindable"})],
)
def test_the_propagation_of_the_root(runtime, bundle, value, kinds):
    """A slave of a mount that is not shared is a private one, mount_namespaces(7)."""
    subprocess.run(["mount", "--bind", bundle.rootfs, bundle.rootfs], check=True)
    try:
        subprocess.run(["mount", "--make-shared", bundle.rootfs], check=True)
        bundle.linux["rootfsPropagation"] = value
        found = mount_at(runtime.ask(bundle, mounts="cat /proc/self/mountinfo")["mounts"], "/")
        assert {word.partition(":")[0] for word in found.propagation} - {"propagate_from"} == kinds
    finally:
        subprocess.run(["umount", "--lazy", bundle.rootfs], check=True)


@requirement("RootfsPropagationInvalid")
def test_a_propagation_that_is_not_known(bundle, refused):
    bundle.linux["rootfsPropagation"] = "sideways"
    refused()


@requirement("SysctlSet")
@pytest.mark.parametrize(
    ("name", "value"),
    [("net.ipv4.ip_forward", "1"), ("kernel.shm_rmid_forced", "1"), ("net/ipv4/ip_default_ttl", "77")],
)
def test_a_kernel_parameter(runtime, bundle, name, value):
    bundle.linux["sysctl"] = {name: value}
    file = "/proc/sys/" + name.replace(".", "/")
    assert runtime.ask(bundle, value=f"cat {file}")["value"] == value


@requirement("SysctlInvalid")
@pytest.mark.parametrize("name", ["net.ipv4.no_such_parameter", "kernel.panic", "vm.overcommit_memory"])
def test_a_kernel_parameter_that_cannot_be_set(bundle, refused, name):
    """It is not there, or is the whole host's."""
    path = f"/proc/sys/{name.replace('.', '/')}"
    value = open(path).read().strip() if os.path.exists(path) else "1"
    bundle.linux["sysctl"] = {name: value}
    refused()


@requirement("PersonalityDomain")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the names are of x86_64")
@pytest.mark.parametrize(("domain", "machine"), [("LINUX", "x86_64"), ("LINUX32", "i686")])
def test_the_execution_domain(runtime, bundle, domain, machine):
    bundle.linux["personality"] = {"domain": domain}
    assert runtime.ask(bundle, machine="uname -m")["machine"] == machine


@requirement("PersonalityInvalid")
def test_an_execution_domain_that_is_not_known(runtime, bundle):
    bundle.linux["personality"] = {"domain": "BSD"}
    assert runtime.run(bundle, "true").returncode != 0


@requirement("MemoryPolicySet")
@pytest.mark.skipif(not os.path.exists("/proc/self/numa_maps"), reason="the kernel has no NUMA")
@pytest.mark.parametrize(
    ("mode", "nodes", "seen"),
    [("MPOL_BIND", "0", "bind:0"), ("MPOL_INTERLEAVE", "0", "interleave:0"), ("MPOL_LOCAL", "", "local")],
)
def test_the_memory_policy(runtime, bundle, mode, nodes, seen):
    bundle.linux["memoryPolicy"] = {"mode": mode, "nodes": nodes}
    lines = runtime.ask(bundle, maps="cat /proc/self/numa_maps")["maps"].splitlines()
    assert lines[0].split()[1] == seen


@requirement("MemoryPolicyInvalid")
@pytest.mark.parametrize(
    "given",
    [{"mode": "MPOL_NONE"}, {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NONE"]}],
    ids=["mode", "flag"],
)
def test_a_memory_policy_that_is_not_known(runtime, bundle, given):
    bundle.linux["memoryPolicy"] = given
    assert runtime.run(bundle, "true").returncode != 0


@requirement("IntelRdtNoMountedResctrlError")
def test_rdt_without_resctrl(bundle, refused):
    with open("/proc/self/mountinfo") as file:
        if " - resctrl " in file.read():
            pytest.skip("resctrl is mounted")
    bundle.linux["intelRdt"] = {"closID": "conformance", "l3CacheSchema": "L3:0=f"}
    refused()
