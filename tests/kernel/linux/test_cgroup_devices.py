"""Device rules in force: v1's files, and the BPF program in the unified hierarchy of v2 and hybrid hosts."""

from __future__ import annotations

import os
import time

import pytest
from support.host import needs_cgroup1, needs_root

from pyrunc.errors import PyruncError
from pyrunc.kernel import bpf
from pyrunc.linux.cgroups import apply
from pyrunc.oci.config import DeviceRule, Resources
from pyrunc.plan.devicebpf import assemble
from pyrunc.plan.devicerules import effective_rules
from pyrunc.plan.makeops import AttachDeviceProgram

pytestmark = needs_root
CANDIDATES = ("/dev/kmsg", "/dev/loop-control", "/dev/fuse", "/dev/vda", "/dev/hwrng")


@pytest.fixture
def other_device() -> str:
    """A device that can be opened here, and that no container gets unasked."""
    for path in CANDIDATES:
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError:
            continue
        return path
    pytest.skip("no device to try")


def can_open(box, path: str, mode: str = "<") -> bool:
    return box.wait(box.start("sh", "-c", f"exec 9{mode}{path}")) == 0


def rule_for(path: str, *, allow: bool, access: str = "rwm") -> DeviceRule:
    status = os.stat(path)
    kind = "b" if path == "/dev/vda" else "c"
    return DeviceRule(
        allow=allow,
        type=kind,
        major=os.major(status.st_rdev),
        minor=os.minor(status.st_rdev),
        access=access,
        origin="/linux/resources/devices/1",
    )


DENY_ALL = DeviceRule(allow=False, origin="/linux/resources/devices/0")
ALLOW_ALL = DeviceRule(allow=True, origin="/linux/resources/devices/0")


def test_unasked_there_is_a_handful_of_devices(box, other_device):
    box.make()
    assert can_open(box, "/dev/null", ">")
    assert can_open(box, "/dev/urandom")
    assert not can_open(box, other_device)


def test_a_device_that_was_asked_for(box, other_device):
    box.make(Resources(devices=(DENY_ALL, rule_for(other_device, allow=True, access="r"))))
    assert can_open(box, other_device)
    assert not can_open(box, other_device, ">>")


def test_everything(box, other_device):
    box.make(Resources(devices=(DENY_ALL, ALLOW_ALL)))
    assert can_open(box, other_device)


def test_everything_but_one(box, other_device):
    box.make(Resources(devices=(ALLOW_ALL, rule_for(other_device, allow=False))))
    assert not can_open(box, other_device)
    assert can_open(box, "/dev/null", ">")


@needs_cgroup1
def test_v1_keeps_the_list(box):
    box.make()
    if not (box.directory("devices") / "devices.list").exists():
        pytest.skip("no devices hierarchy")
    kept = set(box.read("devices", "devices.list").splitlines())
    numbers = ("1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:2", "10:200", "136:*")
    assert kept == {"b *:* m", "c *:* m", *(f"c {both} rwm" for both in numbers)}


# --- the program ----------------------------------------------------------------------------------


@pytest.fixture
def unified(box) -> str:
    if not box.layout.unified_mountpoint:
        pytest.skip("no unified hierarchy")
    box.make(Resources(devices=(ALLOW_ALL,)))
    return dict(box.paths)[""]


def attach(path: str, *rules: DeviceRule) -> None:
    program = assemble(*effective_rules(rules))
    apply.attach_device_program(
        AttachDeviceProgram(path=path, program=program, origin="/linux/resources/devices")
    )


def attached(path: str) -> tuple[int, ...]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return bpf.attached_device_programs(fd)
    finally:
        os.close(fd)


def test_the_kernel_takes_the_program_and_obeys(box, unified, other_device):
    assert can_open(box, other_device)
    attach(unified, DENY_ALL, rule_for(other_device, allow=True, access="r"))
    assert len(attached(unified)) == 1
    assert can_open(box, other_device)
    assert not can_open(box, other_device, ">>")
    assert can_open(box, "/dev/null", ">")
    attach(unified, DENY_ALL)
    assert len(attached(unified)) == 1, "in place of the old one"
    assert not can_open(box, other_device)


def time_to_load(rules: tuple[DeviceRule, ...]) -> float:
    """CPU seconds, the best of three."""
    program = assemble(*effective_rules(rules))
    found = []
    for _ in range(3):
        started = time.process_time()
        os.close(bpf.load_device_program(program))
        found.append(time.process_time() - started)
    return min(found)


def test_the_verifier_takes_programs_of_all_shapes(unified):
    few = [
        (), (DENY_ALL,), (ALLOW_ALL,),
        (ALLOW_ALL, DeviceRule(allow=False, type="c", major=1, minor=1, access="w")),
        (DeviceRule(allow=True, type="b", access="r"), DeviceRule(allow=False, type="c", access="rw")),
        (DeviceRule(allow=True, type="c"), DeviceRule(allow=True, type="b")),
        (DeviceRule(allow=True, type="c"), DeviceRule(allow=False, minor=3)),
    ]  # fmt: skip
    many = tuple(
        DeviceRule(allow=bool(n % 3), type="bc"[n % 2], major=n, minor=None if n % 5 else n, access="rw")
        for n in range(700)
    )
    for rules in (*few, many):
        program = assemble(*effective_rules(rules))
        assert bpf.explain_device_program(program) == "", rules
    assert time_to_load(many) < 8 * time_to_load(many[:175]), "linear, not quadratic"
    attach(unified, *many)


def test_a_program_that_the_verifier_rejects_is_explained(unified):
    with pytest.raises(PyruncError) as caught:
        apply.attach_device_program(AttachDeviceProgram(path=unified, program=b"\x95" + bytes(7)))
    assert "R0 !read_ok" in caught.value.why
    assert attached(unified) == ()


def test_descriptors_are_closed(unified):
    before = os.listdir("/proc/self/fd")
    attach(unified, DENY_ALL)
    attach(unified, DENY_ALL)
    assert os.listdir("/proc/self/fd") == before
