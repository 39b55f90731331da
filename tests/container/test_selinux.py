"""process.selinuxLabel and linux.mountLabel, where the kernel has SELinux on and no policy yet: the tests
load one of a dozen rules, which can't be taken back (`v2vm run --append lsm=selinux`). A machine with its own
policy is left alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.caller import UNPACKED
from support.fields import covers

SELINUX = Path("/sys/fs/selinux")
# The kernel's initial security identifiers, by their numbers from 1: what it knows before there is a policy
INITIAL = """kernel security unlabeled fs file file_labels init any_socket port netif netmsg node igmp_packet
icmp_socket tcp_socket sysctl_modprobe sysctl sysctl_fs sysctl_kernel sysctl_net sysctl_net_unix sysctl_vm
sysctl_dev kmod policy scmp_packet devnull"""
# All may do all, but for the domain boxed_t, which can't read what is secret_t. Classes and permissions that
# are not named are allowed.
POLICY = f"""
(handleunknown allow)
(mls true)
(policycap nnp_nosuid_transition)
(class process (transition dyntransition))
(class process2 (nnp_transition))
(class file (read entrypoint))
(class dir (read))
(classorder (process process2 file dir))
(sensitivity s0) (sensitivityorder (s0))
(category c1) (category c2) (categoryorder (c1 c2))
(sensitivitycategory s0 (range c1 c2))
(level low (s0)) (level high (s0 (range c1 c2)))
(levelrange all (low high))
(user test_u) (userlevel test_u low) (userrange test_u all)
(role object_r) (role test_r) (userrole test_u test_r) (userrole test_u object_r)
(type base_t) (type boxed_t) (type secret_t)
(roletype test_r base_t) (roletype test_r boxed_t) (roletype object_r base_t) (roletype object_r secret_t)
(roletype object_r boxed_t)
(typeattribute any) (typeattributeset any (base_t boxed_t secret_t))
(typeattribute open) (typeattributeset open (base_t boxed_t))
(allow base_t any (process (transition)))
(allow any any (process2 (nnp_transition)))
(allow base_t any (file (read entrypoint)))
(allow any any (file (entrypoint)))
(allow any any (dir (read)))
(allow boxed_t open (file (read)))
(context base (test_u test_r base_t (low low)))
(context object (test_u object_r base_t (low low)))
(sidorder ({INITIAL}))
{" ".join(f"(sid {name}) (sidcontext {name} base)" for name in INITIAL.split())}
(fsuse xattr ext4 object) (fsuse xattr overlay object) (fsuse trans tmpfs object) (fsuse trans devpts object)
(fsuse task pipefs object) (fsuse task sockfs object) (fsuse trans mqueue object)
(genfscon proc "/" object) (genfscon sysfs "/" object) (genfscon cgroup2 "/" object) (genfscon 9p "/" object)
(genfscon selinuxfs "/" object) (genfscon rootfs "/" object)
"""
DOMAIN = "test_u:test_r:boxed_t:s0:c1,c2"
SECRET = "test_u:object_r:secret_t:s0:c1,c2"
OPEN = "test_u:object_r:base_t:s0:c1,c2"


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """SELinux with the policy above, enforced while the tests run."""
    if not SELINUX.is_dir() or os.geteuid() != 0:
        pytest.skip("SELinux is off in this kernel, or we are not root")
    is_mounted = (SELINUX / "enforce").exists()
    if not is_mounted:
        subprocess.run(["mount", "-t", "selinuxfs", "selinuxfs", SELINUX], check=True)
    try:
        load_policy(tmp_path_factory.mktemp("policy"))
        (SELINUX / "enforce").write_text("1")
        yield
        (SELINUX / "enforce").write_text("0")
    finally:
        if not is_mounted:
            subprocess.run(["umount", SELINUX], check=True)


def load_policy(work: Path) -> None:
    own = Path("/proc/self/attr/current").read_text().rstrip("\0\n")
    if own not in ("kernel", "test_u:test_r:base_t:s0"):
        pytest.skip("SELinux has a policy here already")
    compiler = shutil.which("secilc", path=f"{UNPACKED}/usr/bin:{os.environ['PATH']}")
    if compiler is None:
        pytest.skip("secilc is not installed (tools/unpack secilc fetches it)")
    (work / "policy.cil").write_text(POLICY)
    version = (SELINUX / "policyvers").read_text().strip()
    binary = work / "policy"
    subprocess.run(
        [compiler, "-c", version, "-o", binary, "-f", work / "contexts", work / "policy.cil"], check=True
    )
    (SELINUX / "load").write_bytes(binary.read_bytes())


def label_of(text: str) -> str:
    return text.splitlines()[0].rstrip("\0")


@covers("/process/selinuxLabel")
@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_the_label_of_init_and_exec(runtime, bundle, policy, no_new_privileges):
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.process["selinuxLabel"] = DOMAIN
    script = "cat /proc/self/attr/current"
    assert label_of(runtime.run(bundle, "sh", "-c", script).ok().stdout) == DOMAIN
    runtime.launch(bundle, "sleep", "1000")
    assert label_of(Path(f"/proc/{runtime.pid(bundle)}/attr/current").read_text()) == DOMAIN
    assert label_of(runtime.exec(bundle, "sh", "-c", script).ok().stdout) == DOMAIN


def test_a_label_that_the_policy_does_not_know(runtime, bundle, policy):
    bundle.process["selinuxLabel"] = "test_u:test_r:nobody_t:s0"
    runtime.run(bundle, "true").failed("selinux label")


def labels_of_mounts(mountinfo: str) -> dict[str, str]:
    """Mount points and the context that their filesystem was given, "" for none."""
    found = {}
    for line in mountinfo.splitlines():
        options = line.rpartition(" ")[2]
        found[line.split()[4]] = options.partition("context=")[2].partition('"')[2].partition('"')[0]
    return found


@covers("/linux/mountLabel")
def test_the_label_of_mounts(runtime, bundle, policy):
    """Of all but those that the kernel labels itself, masked paths too; a mount's own is the stronger."""
    bundle.linux["mountLabel"] = OPEN
    bundle.linux["maskedPaths"] = ["/masked"]
    (bundle.rootfs / "masked").mkdir()
    bundle.mount("/secret", "tmpfs", "tmpfs", f'context="{SECRET}"')
    answers = runtime.ask(bundle, mounts="cat /proc/self/mountinfo")
    labels = labels_of_mounts(answers["mounts"])
    assert labels["/secret"] == SECRET
    assert [labels[name] for name in ("/dev", "/dev/shm", "/dev/pts", "/masked")] == [OPEN] * 4
    assert labels["/proc"] == labels["/"] == ""


@covers("/process/selinuxLabel", "/linux/mountLabel")
def test_what_the_policy_says_is_enforced(runtime, bundle, policy):
    bundle.process["selinuxLabel"] = DOMAIN
    bundle.linux["mountLabel"] = OPEN
    bundle.mount("/open", "tmpfs", "tmpfs")
    bundle.mount("/secret", "tmpfs", "tmpfs", f'context="{SECRET}"')
    script = "for at in open secret; do echo $at >/$at/file; cat /$at/file 2>&1; done; true"
    assert runtime.ask(bundle, read=script)["read"].splitlines() == [
        "open", "cat: can't open '/secret/file': Permission denied",
    ]  # fmt: skip
