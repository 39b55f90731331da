"""/dev: default nodes and links, linux.devices, and nodes that an image brings along."""

import os

import pytest
from support.fields import covers
from support.marks import deviation

_DEFAULTS = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}


def test_the_default_devices(runtime, bundle):
    script = "for d in null zero full random urandom tty; do stat -c '%n %F %t:%T %a %u:%g' /dev/$d; done"
    answers = runtime.ask(bundle, list=script)
    for line, (name, numbers) in zip(answers["list"].splitlines(), _DEFAULTS.items(), strict=True):
        assert line == f"/dev/{name} character special file {numbers} 666 0:0"


def test_the_default_devices_work(runtime, bundle):
    answers = runtime.ask(
        bundle, null="echo x > /dev/null; wc -c < /dev/null", zero="head -c 3 /dev/zero | od -An -tx1",
        full="echo x > /dev/full || true", random="head -c 8 /dev/urandom | wc -c",
    )  # fmt: skip
    assert answers["null"] == "0"
    assert answers["zero"].split() == ["00"] * 3
    assert "No space left" in answers["full"]
    assert answers["random"] == "8"


def test_the_default_links(runtime, bundle):
    script = "for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done"
    assert runtime.ask(bundle, links=script)["links"].splitlines() == [
        "/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx",
    ]  # fmt: skip


def test_terminals_can_be_opened(runtime, bundle):
    answers = runtime.ask(bundle, open="exec 7<>/dev/ptmx && ls /dev/pts")
    assert answers["open"].split() == ["0", "ptmx"]


@covers("/linux/devices/*/(type=b|type=c|type=p|type=u|path|fileMode|major|minor|uid|gid)")
def test_a_device_from_the_config(runtime, bundle):
    bundle.linux["devices"] = [
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 12, "gid": 34},
        {"path": "/dev/deep/er/block", "type": "b", "major": 7, "minor": 300},
        {"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 3, "fileMode": 0o600},
        {"path": "/dev/fifo", "type": "p", "fileMode": 0o622},
    ]
    bundle.resources["devices"].append({"allow": True, "access": "rwm"})
    script = "stat -c '%F %t:%T %a %u:%g' /dev/mine /dev/deep/er/block /dev/unbuffered /dev/fifo"
    assert runtime.ask(bundle, list=script)["list"].splitlines() == [
        "character special file 1:5 640 12:34", "block special file 7:12c 666 0:0",
        "character special file 1:3 600 0:0", "fifo 0:0 622 0:0",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "minor"), [("tty", 0), ("ptmx", 2)])
def test_a_default_device_may_be_named_again(runtime, bundle, name, minor):
    bundle.linux["devices"] = [
        {
            "path": f"/dev/{name}",
            "type": "c",
            "major": 5,
            "minor": minor,
            "fileMode": 0o666,
            "uid": 0,
            "gid": 0,
        }
    ]
    assert runtime.ask(bundle, list=f"test -c /dev/{name} && echo yes")["list"] == "yes"


@deviation("runc", reason="mknod fails with EEXIST, which is taken as done")
def test_a_path_that_is_taken_by_something_else_is_an_error(runtime, bundle):
    (bundle.rootfs / "taken").write_text("a file")
    bundle.linux["devices"] = [{"path": "/taken", "type": "c", "major": 1, "minor": 3}]
    runtime.run(bundle, "true").failed("taken")
    assert (bundle.rootfs / "taken").read_text() == "a file"


@pytest.mark.parametrize(
    "device",
    [
        {"path": "/dev/x", "type": "z", "major": 1, "minor": 3},
        pytest.param(
            {"path": "", "type": "c", "major": 1, "minor": 3},
            marks=deviation("runc", reason="finds that / exists already"),
        ),
        {"path": "/dev/x"},
    ],
    ids=["unknown type", "no path", "no type"],
)
def test_a_device_that_is_none(runtime, bundle, device):
    bundle.linux["devices"] = [device]
    runtime.run(bundle, "true").failed()


def test_a_dev_that_is_bound_from_the_host_is_left_alone(runtime, bundle, work):
    mine = work / "dev"
    mine.mkdir()
    os.mknod(mine / "null", 0o20666, os.makedev(1, 3))
    for name in ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"):
        bundle.unmount(name)
    bundle.bind(mine, "/dev")
    bundle.linux["maskedPaths"] = []
    runtime.run(bundle, "true").ok()
    assert os.listdir(mine) == ["null"]


@deviation("runc", reason="follows the image's link to the host's directory", before="1.3.6")
def test_a_dev_that_is_a_link_cannot_harm_what_it_leads_to(runtime, bundle, work):
    """CVE-2026-41579: /dev/ptmx was replaced in the directory that the link led to on the host."""
    outside = work / "outside"
    outside.mkdir()
    (outside / "ptmx").write_text("canary")
    for name in ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"):
        bundle.unmount(name)
    (bundle.rootfs / "dev").rmdir()
    (bundle.rootfs / "dev").symlink_to(outside)
    bundle.linux["maskedPaths"] = []
    runtime.run(bundle, "true")
    assert os.listdir(outside) == ["ptmx"]
    assert (outside / "ptmx").read_text() == "canary"


@pytest.mark.parametrize("access", ["r", "w", "m", "rw", "rwm"])
@covers("/linux/resources/devices/*/(allow|type|major|minor|access)")
def test_what_is_denied_is_denied_by_the_kernel(runtime, bundle, access):
    """/dev/kmsg, harmless to open: allowed for `access` alone."""
    bundle.allow("CAP_MKNOD", "CAP_SYSLOG", "CAP_SYS_ADMIN")
    bundle.resources["devices"] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": access},
    ]
    bundle.linux["devices"] = [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]
    answers = runtime.ask(
        bundle, r="(exec 5</dev/kmsg) && echo yes || true", w="(exec 5>/dev/kmsg) && echo yes || true",
    )  # fmt: skip
    assert {name: answers[name] == "yes" for name in "rw"} == {name: name in access for name in "rw"}
    for name in "rw":
        if name not in access:
            assert "Operation not permitted" in answers[name]


def test_a_node_can_be_made_but_not_opened(runtime, bundle):
    """Images unpack device nodes inside: runc's default rules allow mknod of anything."""
    bundle.allow("CAP_MKNOD", "CAP_SYSLOG")
    answers = runtime.ask(
        bundle, make="mknod /dev/made c 1 11 && echo yes", open="head -c 1 /dev/made || true"
    )
    assert answers["make"] == "yes"
    assert "Operation not permitted" in answers["open"]


def test_a_node_of_the_image_is_of_no_use(runtime, bundle):
    bundle.writable()
    os.mknod(bundle.rootfs / "mem", 0o20666, os.makedev(1, 1))
    answers = runtime.ask(bundle, read="head -c 1 /mem || true")
    assert "Operation not permitted" in answers["read"]


def test_everything_is_allowed_when_the_config_says_so(runtime, bundle):
    bundle.allow("CAP_MKNOD", "CAP_SYSLOG")
    bundle.resources["devices"] = [{"allow": True, "access": "rwm"}]
    answers = runtime.ask(bundle, make="mknod /dev/mem1 c 1 11 && (exec 5</dev/mem1) && echo yes")
    assert answers["make"] == "yes"
