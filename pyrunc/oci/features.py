"""What `pyrunc features` prints (runtime-spec, "Features Structure"): what this program can do, whatever the
host can. Engines read it to learn which parts of a config.json they may use.

Lists that another table here or the schema has, too, are held together by tests/unit/oci/test_features.py.
"""

from __future__ import annotations

from pyrunc import __version__
from pyrunc.oci.config import CAPABILITIES
from pyrunc.oci.state import OCI_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
NAMESPACES = ("cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts")

_ATTRIBUTES = (
    "atime", "dev", "diratime", "exec", "noatime", "nodev", "nodiratime", "noexec", "norelatime",
    "nostrictatime", "nosuid", "nosymfollow", "relatime", "ro", "rw", "strictatime", "suid", "symfollow",
)  # fmt: skip
_PROPAGATION = ("private", "shared", "slave", "unbindable")
_OTHER_OPTIONS = (
    "acl", "async", "bind", "copy-symlink", "defaults", "dest-nofollow", "dirsync", "idmap", "iversion",
    "lazytime", "loud", "mand", "noacl", "noiversion", "nolazytime", "nomand", "rbind", "remount", "ridmap",
    "silent", "src-nofollow", "sync", "tmpcopyup",
)  # fmt: skip
MOUNT_OPTIONS = tuple(
    sorted(
        (
            *_OTHER_OPTIONS,
            *_ATTRIBUTES,
            *(f"r{name}" for name in _ATTRIBUTES),
            *_PROPAGATION,
            *(f"r{name}" for name in _PROPAGATION),
        )
    )
)

SECCOMP_ACTIONS = (
    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
)  # fmt: skip
SECCOMP_OPERATORS = (
    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
)  # fmt: skip
SECCOMP_ARCHITECTURES = tuple(
    f"SCMP_ARCH_{name}"
    for name in (
        "AARCH64", "ARM", "LOONGARCH64", "M68K", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64",
        "MIPSEL64N32", "PARISC", "PARISC64", "PPC", "PPC64", "PPC64LE", "RISCV64", "S390", "S390X", "SH",
        "SHEB", "X32", "X86", "X86_64",
    )
)  # fmt: skip
SECCOMP_FLAGS = tuple(
    f"SECCOMP_FILTER_FLAG_{name}" for name in ("LOG", "SPEC_ALLOW", "TSYNC", "WAIT_KILLABLE_RECV")
)
MEMORY_POLICY_MODES = tuple(
    f"MPOL_{name}"
    for name in (
        "BIND", "DEFAULT", "INTERLEAVE", "LOCAL", "PREFERRED", "PREFERRED_MANY", "WEIGHTED_INTERLEAVE",
    )
)  # fmt: skip
MEMORY_POLICY_FLAGS = ("MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES")
# They change what we do: an engine must not pass those on that come from an image or a stranger.
UNSAFE_ANNOTATIONS = ("bundle", "org.criu.config", "org.systemd.property.")


def features_document() -> dict[str, Any]:
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": list(HOOKS),
        "mountOptions": list(MOUNT_OPTIONS),
        "linux": {
            "namespaces": list(NAMESPACES),
            "capabilities": list(CAPABILITIES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": list(SECCOMP_ACTIONS),
                "operators": list(SECCOMP_OPERATORS),
                "archs": list(SECCOMP_ARCHITECTURES),
                "knownFlags": list(SECCOMP_FLAGS),
                "supportedFlags": list(SECCOMP_FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "memoryPolicy": {"modes": list(MEMORY_POLICY_MODES), "flags": list(MEMORY_POLICY_FLAGS)},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {
            "org.opencontainers.runc.checkpoint.enabled": "true",
            "pyrunc.version": __version__,
        },
        "potentiallyUnsafeConfigAnnotations": list(UNSAFE_ANNOTATIONS),
    }
