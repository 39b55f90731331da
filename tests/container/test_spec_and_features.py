"""spec and features: documents that others read."""

import json

import pytest
from support import fields
from support.facts import CAPABILITIES
from support.fields import covers
from support.marks import deviation

HOOKS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


def test_spec_writes_a_config_that_runs(runtime, bundle):
    assert runtime("spec", "--bundle", bundle.path).ok().stdout == ""
    config = json.loads((bundle.path / "config.json").read_text())
    assert config["ociVersion"].startswith("1.")
    assert config["process"]["args"] == ["sh"]
    assert config["process"]["terminal"] is True
    assert config["root"] == {"path": "rootfs", "readonly": True}
    config["process"].update(terminal=False, args=["echo", "hello"])
    bundle.config = config
    assert runtime.run(bundle).ok().stdout == "hello\n"


def test_spec_in_the_working_directory(runtime, work):
    runtime("spec", cwd=work).ok()
    assert json.loads((work / "config.json").read_text())["mounts"]


def test_spec_overwrites_nothing(runtime, work):
    (work / "config.json").write_text("mine")
    runtime("spec", "-b", work).failed("File config.json exists. Remove it first")
    assert (work / "config.json").read_text() == "mine"


def test_spec_for_users(runtime, work):
    runtime("spec", "--rootless", "-b", work).ok()
    linux = json.loads((work / "config.json").read_text())["linux"]
    assert "user" in [entry["type"] for entry in linux["namespaces"]]
    assert "network" not in [entry["type"] for entry in linux["namespaces"]]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 0, "size": 1}]
    assert "resources" not in linux


def test_spec_in_no_such_directory(runtime, work):
    runtime("spec", "-b", work / "missing").failed("no such file or directory")


@pytest.fixture
def features(runtime):
    document = json.loads(runtime("features").ok().stdout)
    fields.saw(fields.FEATURES, document)
    return document


@covers("features:/(ociVersionMin|ociVersionMax|hooks)")
@covers("features:/linux/(namespaces|capabilities)")
@covers("features:/linux/cgroup/(v1|v2)")
@covers("features:/linux/seccomp/(enabled|actions|operators|archs)")
def test_features(features):
    assert features["ociVersionMin"] == "1.0.0"
    assert features["ociVersionMax"].startswith("1.")
    assert set(features["hooks"]) == set(HOOKS)
    linux = features["linux"]
    assert {"pid", "network", "mount", "ipc", "uts", "user", "cgroup"} <= set(linux["namespaces"])
    assert {f"CAP_{name}" for name in CAPABILITIES} == set(linux["capabilities"])
    assert linux["cgroup"]["v1"] and linux["cgroup"]["v2"]
    assert linux["seccomp"]["enabled"]
    assert {"SCMP_ACT_ERRNO", "SCMP_ACT_NOTIFY", "SCMP_ACT_ALLOW"} <= set(linux["seccomp"]["actions"])
    assert {"SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"} <= set(linux["seccomp"]["operators"])
    assert "SCMP_ARCH_X86_64" in linux["seccomp"]["archs"]


_LATER = deviation("runc", reason="is older than this part of the specification", before="1.4")


@_LATER
@covers("features:/(annotations|potentiallyUnsafeConfigAnnotations)")
@covers("features:/linux/cgroup/(systemd|systemdUser|rdma)")
@covers("features:/linux/seccomp/(knownFlags|supportedFlags)")
@covers("features:/linux/(apparmor|selinux|netDevices|mountExtensions/idmap)/enabled")
@covers("features:/linux/intelRdt/(enabled|schemata|monitoring)")
@covers("features:/linux/memoryPolicy/(modes|flags)")
def test_features_that_came_later(features):
    linux = features["linux"]
    assert all(isinstance(text, str) for text in features["annotations"].values())
    assert "org.systemd.property." in features["potentiallyUnsafeConfigAnnotations"]
    assert all(linux["cgroup"][name] is True for name in ("systemd", "systemdUser", "rdma"))
    assert set(linux["seccomp"]["supportedFlags"]) == set(linux["seccomp"]["knownFlags"])
    assert "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" in linux["seccomp"]["knownFlags"]
    assert all(linux[name]["enabled"] is True for name in ("apparmor", "selinux", "netDevices", "intelRdt"))
    assert linux["mountExtensions"]["idmap"]["enabled"] is True
    assert linux["intelRdt"]["schemata"] is linux["intelRdt"]["monitoring"] is True
    assert "MPOL_WEIGHTED_INTERLEAVE" in linux["memoryPolicy"]["modes"]
    assert "MPOL_F_STATIC_NODES" in linux["memoryPolicy"]["flags"]


@covers("features:/mountOptions")
def test_the_mount_options_that_callers_ask_for(features):
    options = set(features["mountOptions"])
    assert {
        "rbind",
        "ro",
        "rro",
        "nosuid",
        "noexec",
        "rslave",
        "tmpcopyup",
        "relatime",
        "rprivate",
    } <= options
    assert len(options) == len(features["mountOptions"])


@deviation("runc", reason="passes ratime in a way that mount_setattr refuses")
def test_every_mount_option_of_the_features_is_taken(runtime, bundle, features, work):
    """But for those that need a special source or filesystem."""
    special = {
        "remount",
        "idmap",
        "ridmap",
        "mand",
        "acl",
        "noacl",
        "iversion",
        "tmpcopyup",
        "lazytime",
        "loud",
        "silent",
    }
    (work / "source").mkdir()
    options = [
        option for option in features["mountOptions"] if option not in special and "bind" not in option
    ]
    for number, option in enumerate(options):
        bundle.bind(work / "source", f"/m{number}", option)
    runtime.run(bundle, "true").ok()
