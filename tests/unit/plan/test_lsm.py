"""plan.lsm: labels for the process and for mounts. No root, no kernel."""

import pytest
from support.fields import covers

from pyrunc.oci.config import Mount, Process
from pyrunc.plan.facts import CgroupLayout
from pyrunc.plan.lsm import has_label, label_calls, open_labels, with_context
from pyrunc.plan.mounts import plan_mounts
from pyrunc.plan.ops import OpenLabels
from pyrunc.plan.stub import Result, Text

LABEL = "system_u:system_r:container_t:s0:c1,c2"


def test_no_label_no_step():
    assert not has_label(Process())
    assert (open_labels(Process()), label_calls(Process(), 5)) == ((), [])


@pytest.mark.parametrize(
    ("process", "field", "directory", "text"),
    [
        (Process(apparmor_profile="tight"), "apparmorProfile", "attr/apparmor", b"exec tight"),
        (Process(selinux_label=LABEL), "selinuxLabel", "attr", LABEL.encode()),
    ],
)
@covers("/process/{field}")
def test_the_child_opens_the_directory_and_the_stub_writes_the_label(process, field, directory, text):
    origin = f"/process/{field}"
    assert open_labels(process) == (OpenLabels(saves="labels", path=directory, origin=origin),)
    opened, written, closed = label_calls(process, 5)
    assert (opened.call, opened.args[:2]) == ("openat", (5, Text(data=b"exec\0")))
    assert (written.call, written.args) == ("write", (Result(), Text(data=text), len(text)))
    assert (closed.call, closed.args) == ("close", (5,))
    assert opened.origin == written.origin == origin
    assert "tight" in written.words or LABEL in written.words


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", f'context="{LABEL}"'), ("size=64k", f'size=64k,context="{LABEL}"'),
        ('context="mine"', 'context="mine"'),
    ],
)  # fmt: skip
def test_the_label_of_a_mount_is_one_of_its_options(data, expected):
    assert with_context(data, LABEL) == expected


def test_without_a_label_options_stay():
    assert with_context("size=64k", "") == "size=64k"


@pytest.mark.parametrize(
    ("fstype", "options", "data", "label"),
    [
        ("tmpfs", (), f'context="{LABEL}"', ""),
        ("devpts", ("newinstance",), f'newinstance,context="{LABEL}"', ""), ("mqueue", (), "", LABEL),
        ("proc", (), "", ""), ("sysfs", (), "", ""),
    ],
)  # fmt: skip
@covers("/linux/mountLabel")
def test_which_filesystems_take_a_label_at_their_mount(fstype, options, data, label):
    """As in runc: none for proc and sysfs; a message queue's root gets it afterwards."""
    mounts = (Mount(destination="/sys", type=fstype, options=options),)
    (mount,) = plan_mounts(
        mounts, bundle="/b", rootfs_propagation="", cgroups=CgroupLayout(), cgroup_paths=(),
        has_cgroup_namespace=True, user_maps=("", ""), label=LABEL,
    ).mount  # fmt: skip
    assert (mount.data, mount.label) == (data, label)


def test_a_copy_has_the_label_unquoted_as_the_kernel_takes_single_options():
    mounts = (Mount(destination="/data", type="tmpfs", options=("tmpcopyup", "size=64k")),)
    (copied,) = plan_mounts(
        mounts, bundle="/b", rootfs_propagation="", cgroups=CgroupLayout(), cgroup_paths=(),
        has_cgroup_namespace=True, user_maps=("", ""), label=LABEL,
    ).mount  # fmt: skip
    assert copied.options == ("size=64k", f"context={LABEL}")


def test_a_bind_mount_keeps_the_labels_of_its_source():
    plan = plan_mounts(
        (Mount(destination="/data", type="bind", source="/src"),), bundle="/b", rootfs_propagation="",
        cgroups=CgroupLayout(), cgroup_paths=(), has_cgroup_namespace=True, user_maps=("", ""), label=LABEL,
    )  # fmt: skip
    assert "context" not in str(plan)
