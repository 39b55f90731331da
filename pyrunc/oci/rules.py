"""What config.json must be beyond its schema: CHECKS, one function per rule.

Its docstring names the section of runtime-spec, or of the kernel's manual, that the rule stands for. It takes
the parsed config and Facts, and raises PyruncError with the JSON pointer of what is wrong. Nothing here asks
the host. The rules of what also comes alone are elsewhere: of a process in `oci.processrules`,
of resources in `oci.validate`.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.oci.config import Config, IdMapping, Mount, Seccomp
from pyrunc.oci.node import escape
from pyrunc.oci.processrules import LAST_ID, Facts, is_list_of_numbers, wrong

# namespace type -> its file in /proc/PID/ns
NAMESPACE_FILES = {
    "pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc",
    "uts": "uts", "user": "user", "cgroup": "cgroup", "time": "time",
}  # fmt: skip
_IPC_SYSCTLS = (
    "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem",
    "kernel/shmall", "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced",
)  # fmt: skip


# --- the document ---------------------------------------------------------------------------------


def check_version(config: Config, _facts: Facts) -> None:
    """config.md, "Specification version": a SemVer 2.0.0, and of a major version that we know."""
    version = semantic_version(config.oci_version)
    if version is None:
        raise wrong("/ociVersion", f'"{config.oci_version}" is not a semantic version')
    if version[0] != 1:
        raise wrong(
            "/ociVersion", f"version {config.oci_version} of runtime-spec is not supported", UNSUPPORTED
        )


def semantic_version(text: str) -> tuple[int, int] | None:
    """(major, minor). None if it isn't one: three numbers, then maybe -PRERELEASE, then maybe +BUILD."""
    version, plus, build = text.partition("+")
    version, minus, prerelease = version.partition("-")
    numbers = version.split(".")
    tags = (prerelease.split(".") if minus else []) + (build.split(".") if plus else [])
    if len(numbers) != 3 or not all(map(is_plain_number, numbers)):
        return None
    if not all(tag.isascii() and tag.replace("-", "0").isalnum() for tag in tags):
        return None
    return int(numbers[0]), int(numbers[1])


def is_plain_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


def check_root(config: Config, _facts: Facts) -> None:
    """config.md, "Root": required on Linux, and it names a directory."""
    if config.root is None:
        raise wrong("/root", "is required")
    if not config.root.path:
        raise wrong("/root/path", "is empty")


def check_process_present(config: Config, _facts: Facts) -> None:
    """config.md, "Process": may be absent until `start`; but runc, and what calls it, want it at `create`."""
    if config.process is None:
        raise PyruncError(INVALID, "process property must not be empty")


def check_annotations(config: Config, _facts: Facts) -> None:
    """config.md, "Annotations": keys MUST NOT be an empty string."""
    if any(not key for key, _ in config.annotations):
        raise wrong("/annotations/", "has an empty name")


def check_hooks(config: Config, _facts: Facts) -> None:
    """config.md, "POSIX-platform Hooks": path MUST be absolute."""
    hooks = config.hooks
    for hook in (
        *hooks.prestart, *hooks.create_runtime, *hooks.create_container,
        *hooks.start_container, *hooks.poststart, *hooks.poststop,
    ):  # fmt: skip
        if hook.path[:1] != "/":
            raise wrong(f"{hook.origin}/path", "is not absolute")


# --- namespaces, and what needs one ---------------------------------------------------------------


def check_namespaces(config: Config, facts: Facts) -> None:
    """config-linux.md, "Namespaces": no type twice, paths absolute; and the kernel must have the type."""
    seen = set()
    for namespace in config.linux.namespaces:
        if namespace.type in seen:
            raise wrong(namespace.origin, f"is a second {namespace.type} namespace")
        seen.add(namespace.type)
        if namespace.path and namespace.path[0] != "/":
            raise wrong(f"{namespace.origin}/path", "is not absolute")
        if facts.namespaces and NAMESPACE_FILES[namespace.type] not in facts.namespaces:
            why = f"this kernel has no {namespace.type} namespaces"
            raise wrong(f"{namespace.origin}/type", why, UNSUPPORTED)


def _namespace_path(config: Config, type: str) -> str | None:
    """Of this type: None without one, empty for one of the container's own."""
    for namespace in config.linux.namespaces:
        if namespace.type == type:
            return namespace.path
    return None


def check_names(config: Config, _facts: Facts) -> None:
    """config.md, "Hostname" and "Domainname": they are the UTS namespace's, which must not be the host's."""
    if _namespace_path(config, "uts") is None:
        if config.hostname:
            raise wrong("/hostname", "needs a UTS namespace")
        if config.domainname:
            raise wrong("/domainname", "needs a UTS namespace")


def check_paths(config: Config, _facts: Facts) -> None:
    """config-linux.md, "Masked Paths", "Readonly Paths": absolute; and not to be hidden from the host."""
    for name, paths in (
        ("maskedPaths", config.linux.masked_paths),
        ("readonlyPaths", config.linux.readonly_paths),
    ):
        if paths and _namespace_path(config, "mount") is None:
            raise wrong(f"/linux/{name}", "needs a mount namespace")
        for index, path in enumerate(paths):
            if path[:1] != "/":
                raise wrong(f"/linux/{name}/{index}", "is not absolute")


def check_id_mappings(config: Config, facts: Facts) -> None:
    """config-linux.md, "User namespace mappings"; user_namespaces(7) on what a map may be."""
    linux, path = config.linux, _namespace_path(config, "user")
    has_mappings = bool(linux.uid_mappings or linux.gid_mappings)
    if path is None:
        if has_mappings:
            name = "uidMappings" if linux.uid_mappings else "gidMappings"
            raise wrong(f"/linux/{name}", "needs a user namespace")
        if facts.is_rootless:
            raise wrong("/linux/namespaces", "has no user namespace, which containers of users need")
    elif not path:
        for name, mappings in (("uidMappings", linux.uid_mappings), ("gidMappings", linux.gid_mappings)):
            if not mappings and (facts.is_rootless or not has_mappings):
                raise wrong(f"/linux/{name}", "is required by the user namespace")
    _check_mappings("/linux/uidMappings", linux.uid_mappings)
    _check_mappings("/linux/gidMappings", linux.gid_mappings)


def _check_mappings(pointer: str, mappings: tuple[IdMapping, ...]) -> None:
    if len(mappings) > 340:
        raise wrong(pointer, "has more than the 340 entries that the kernel takes")
    for index, mapping in enumerate(mappings):
        where = f"{pointer}/{index}"
        if mapping.size == 0:
            raise wrong(f"{where}/size", "is 0")
        for name, first in (("containerID", mapping.container_id), ("hostID", mapping.host_id)):
            if first + mapping.size - 1 > LAST_ID:
                raise wrong(f"{where}/{name}", f"the range goes beyond the last id, {LAST_ID}")
        for other in mappings[:index]:
            if _overlap(mapping.container_id, other.container_id, mapping.size, other.size):
                raise wrong(where, "has container ids that an earlier entry has")
            if _overlap(mapping.host_id, other.host_id, mapping.size, other.size):
                raise wrong(where, "has host ids that an earlier entry has")


def _overlap(one: int, other: int, size: int, other_size: int) -> bool:
    return one < other + other_size and other < one + size


def _is_mapped(number: int, mappings: tuple[IdMapping, ...]) -> bool:
    return any(0 <= number - mapping.container_id < mapping.size for mapping in mappings)


def check_user_is_mapped(config: Config, _facts: Facts) -> None:
    """config.md, "User": the ids are those of the container; without a place in the map setuid(2) fails."""
    process, linux = config.process, config.linux
    if process is None or _namespace_path(config, "user") != "":
        return
    user = process.user
    groups = [(f"additionalGids/{index}", gid) for index, gid in enumerate(user.additional_gids)]
    for ids, mappings in (
        ([("uid", user.uid)], linux.uid_mappings),
        ([("gid", user.gid), *groups], linux.gid_mappings),
    ):
        for name, number in ids:
            if mappings and not _is_mapped(number, mappings):
                raise wrong(f"{user.origin}/{name}", f"{number} is not mapped in the user namespace")


def check_time_offsets(config: Config, _facts: Facts) -> None:
    """config-linux.md, "Offset for Time Namespace"; time_namespaces(7): offsets are set before the first
    process is in it, so not in one that is joined."""
    if not config.linux.time_offsets:
        return
    path = _namespace_path(config, "time")
    if path is None:
        raise wrong("/linux/timeOffsets", "needs a time namespace")
    if path:
        raise wrong("/linux/timeOffsets", "cannot be set in a time namespace that is joined by path")
    for offset in config.linux.time_offsets:
        if offset.clock not in ("monotonic", "boottime"):
            raise wrong(offset.origin, "is not a clock that has an offset: monotonic, boottime")
        if offset.nanoseconds > 999_999_999:
            raise wrong(f"{offset.origin}/nanosecs", "is more than 999999999")


def check_net_devices(config: Config, facts: Facts) -> None:
    """config-linux.md, "Network devices": they need another network namespace to move to, and valid names."""
    devices = config.linux.net_devices
    if not devices:
        return
    if _namespace_path(config, "network") is None or "network" in facts.host_namespaces:
        raise wrong("/linux/netDevices", "needs a network namespace that is not the host's")
    if facts.is_rootless:
        raise wrong("/linux/netDevices", "network devices can be moved by root only", UNSUPPORTED)
    names = set()
    for device in devices:
        name = device.name or device.host_name
        for pointer, text in ((device.origin, device.host_name), (f"{device.origin}/name", name)):
            if not _is_interface_name(text):
                raise wrong(pointer, f'"{text}" is not a name of a network device')
        if name in names:
            raise wrong(f"{device.origin}/name", f"a second device would be {name}")
        names.add(name)


def _is_interface_name(name: str) -> bool:
    """dev_valid_name() of the kernel."""
    return (
        0 < len(name.encode()) < 16
        and name not in (".", "..")
        and not any(char in "/:" or char.isspace() for char in name)
    )


def sysctl_path(name: str) -> str:
    """The file below /proc/sys, as sysctl(8) finds it: the first separator, `.` or `/`, is the one that
    separates, the other is part of a name ("net.ipv4.conf.eth0/1.forwarding"). Empty for a name that could
    lead elsewhere."""
    dot, slash = name.find("."), name.find("/")
    if dot != -1 and (slash == -1 or dot < slash):
        name = "".join({".": "/", "/": "."}.get(char, char) for char in name)
    return "" if any(part in ("", ".", "..") for part in name.split("/")) else name


def check_sysctls(config: Config, facts: Facts) -> None:
    """config-linux.md, "Sysctl": only what belongs to a namespace of the container; else it is the host's."""
    own = {
        namespace.type for namespace in config.linux.namespaces if namespace.type not in facts.host_namespaces
    }
    for name, _ in config.linux.sysctl:
        pointer, path = f"/linux/sysctl/{escape(name)}", sysctl_path(name)
        if path == "kernel/hostname":
            what = f'sysctl "{name}" is not allowed as it conflicts with the OCI "hostname" field'
            raise PyruncError(INVALID, what, pointer)
        is_own = (
            ("ipc" in own and (path in _IPC_SYSCTLS or path.startswith("fs/mqueue/")))
            or ("network" in own and path.startswith("net/"))
            or ("uts" in own and path == "kernel/domainname")
            or ("user" in own and path.startswith("user/"))
        )
        if not is_own:
            raise PyruncError(INVALID, f'sysctl "{name}" is not in a separate kernel namespace', pointer)


# --- mounts, devices ------------------------------------------------------------------------------


def check_mounts(config: Config, facts: Facts) -> None:
    """config.md, "Mounts": a destination inside the root, not the root itself."""
    for mount in config.mounts:
        depth: list[str] = []
        for part in mount.destination.split("/"):
            if part == "..":
                del depth[-1:]
            elif part not in ("", "."):
                depth.append(part)
        if not depth:
            raise wrong(f"{mount.origin}/destination", "is on top of the root filesystem")
        if facts.is_rootless:
            _check_mapped_owner(mount, config)


def _check_mapped_owner(mount: Mount, config: Config) -> None:
    """user_namespaces(7): a filesystem mounted in there can be given only to ids that are mapped."""
    for index, option in enumerate(mount.options):
        name, _, number = option.partition("=")
        mappings = {"uid": config.linux.uid_mappings, "gid": config.linux.gid_mappings}.get(name)
        if mappings and is_plain_number(number) and not _is_mapped(int(number), mappings):
            raise wrong(f"{mount.origin}/options/{index}", f"{option}: is not mapped in the user namespace")


def check_idmapped_mounts(config: Config, facts: Facts) -> None:
    """config.md, "Mounts": uidMappings and gidMappings come together, and are for bind mounts."""
    for mount in config.mounts:
        has_mappings = bool(mount.uid_mappings or mount.gid_mappings)
        if not has_mappings and "idmap" not in mount.options and "ridmap" not in mount.options:
            continue
        if mount.type != "bind" and "bind" not in mount.options and "rbind" not in mount.options:
            raise wrong(mount.origin, "only bind mounts can be id-mapped")
        if facts.is_rootless:
            raise wrong(mount.origin, "mounts can be id-mapped by root only", UNSUPPORTED)
        if not has_mappings and _namespace_path(config, "user") is None:
            raise wrong(
                mount.origin, "has no uidMappings, nor has the container a user namespace to take them from"
            )
        if has_mappings and not (mount.uid_mappings and mount.gid_mappings):
            name = "gidMappings" if mount.uid_mappings else "uidMappings"
            raise wrong(f"{mount.origin}/{name}", "is required beside its counterpart")
        _check_mappings(f"{mount.origin}/uidMappings", mount.uid_mappings)
        _check_mappings(f"{mount.origin}/gidMappings", mount.gid_mappings)


def check_devices(config: Config, _facts: Facts) -> None:
    """config-linux.md, "Devices": an absolute path, and numbers for all but a fifo; makedev(3) on numbers."""
    for device in config.linux.devices:
        if device.path[:1] != "/":
            raise wrong(f"{device.origin}/path", "is not absolute")
        if device.type != "p":
            if not device.has_numbers:
                raise wrong(device.origin, f"major and minor are required for type {device.type}")
            if not 0 <= device.major < 1 << 12:
                raise wrong(f"{device.origin}/major", "is not between 0 and 4095")
            if not 0 <= device.minor < 1 << 20:
                raise wrong(f"{device.origin}/minor", "is not between 0 and 1048575")
        for name, number in (("uid", device.uid), ("gid", device.gid)):
            if number is not None and number > LAST_ID:
                raise wrong(f"{device.origin}/{name}", f"is not between 0 and {LAST_ID}")


# --- the rest of linux ----------------------------------------------------------------------------


def check_cgroups_path(config: Config, facts: Facts) -> None:
    """runc's convention for the systemd manager: slice:prefix:name."""
    path = config.linux.cgroups_path
    if facts.uses_systemd and path and path.count(":") != 2:
        raise wrong("/linux/cgroupsPath", f'"{path}" is not of the form slice:prefix:name, for systemd')


def check_seccomp(config: Config, _facts: Facts) -> None:
    """config-linux.md, "Seccomp": errno for an action that has one; listenerPath for SCMP_ACT_NOTIFY."""
    seccomp = config.linux.seccomp
    if seccomp is None:
        return
    if not seccomp.default_action:
        raise wrong(f"{seccomp.origin}/defaultAction", "is empty")
    if seccomp.listener_metadata and not seccomp.listener_path:
        raise wrong(f"{seccomp.origin}/listenerMetadata", "needs listenerPath")
    where = f"{seccomp.origin}/defaultErrnoRet"
    _check_errno(where, seccomp.default_action, seccomp.default_errno_ret)
    for rule in seccomp.syscalls:
        _check_errno(f"{rule.origin}/errnoRet", rule.action, rule.errno_ret)
        for argument in rule.args:
            if argument.index > 5:
                raise wrong(f"{argument.origin}/index", "is not between 0 and 5")
    _check_notify(seccomp)


def _check_errno(pointer: str, action: str, number: int | None) -> None:
    most = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 65535}.get(action)
    if number is None:
        return
    if most is None:
        raise wrong(pointer, f"{action} has no errno")
    if number > most:
        raise wrong(pointer, f"is not between 0 and {most}")


def _check_notify(seccomp: Seccomp) -> None:
    """Whom would we ask about the very call that hands the listener over?"""
    if seccomp.default_action == "SCMP_ACT_NOTIFY":
        raise wrong(f"{seccomp.origin}/defaultAction", "SCMP_ACT_NOTIFY cannot be the default")
    for rule in seccomp.syscalls:
        if rule.action == "SCMP_ACT_NOTIFY":
            if not seccomp.listener_path:
                raise wrong(f"{rule.origin}/action", "SCMP_ACT_NOTIFY needs listenerPath")
            if "write" in rule.names:
                raise wrong(f"{rule.origin}/names", "SCMP_ACT_NOTIFY cannot be used for write")


def check_intel_rdt(config: Config, _facts: Facts) -> None:
    """config-linux.md, "IntelRdt": closID is a directory of resctrl, a schema a line of its schemata."""
    rdt = config.linux.intel_rdt
    if rdt is None:
        return
    if rdt.clos_id != "/" and (rdt.clos_id in (".", "..") or "/" in rdt.clos_id or "\n" in rdt.clos_id):
        raise wrong(f"{rdt.origin}/closID", f"{rdt.clos_id!r} is not the name of a directory")
    if "\n" in rdt.l3_cache_schema:
        raise wrong(f"{rdt.origin}/l3CacheSchema", "is more than one line")


def check_memory_policy(config: Config, _facts: Facts) -> None:
    """config-linux.md, "Memory policy"; set_mempolicy(2) on which modes take nodes and which flags agree."""
    policy = config.linux.memory_policy
    if policy is None:
        return
    if policy.mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        if policy.nodes:
            raise wrong(f"{policy.origin}/nodes", f"{policy.mode} takes none")
    elif not policy.nodes and policy.mode != "MPOL_PREFERRED":
        raise wrong(f"{policy.origin}/nodes", f"is required by {policy.mode}")
    if not is_list_of_numbers(policy.nodes, 1023):
        raise wrong(f"{policy.origin}/nodes", f'"{policy.nodes}" is not a list of nodes')
    if "MPOL_F_STATIC_NODES" in policy.flags and "MPOL_F_RELATIVE_NODES" in policy.flags:
        raise wrong(f"{policy.origin}/flags", "static and relative nodes exclude each other")
    is_bind = policy.mode in ("MPOL_BIND", "MPOL_PREFERRED_MANY")
    if "MPOL_F_NUMA_BALANCING" in policy.flags and not is_bind:
        raise wrong(f"{policy.origin}/flags", f"MPOL_F_NUMA_BALANCING does not go with {policy.mode}")


CHECKS = (
    check_version,
    check_process_present,
    check_root,
    check_annotations,
    check_hooks,
    check_namespaces,
    check_names,
    check_paths,
    check_id_mappings,
    check_user_is_mapped,
    check_time_offsets,
    check_net_devices,
    check_sysctls,
    check_mounts,
    check_idmapped_mounts,
    check_devices,
    check_cgroups_path,
    check_seccomp,
    check_intel_rdt,
    check_memory_policy,
)
