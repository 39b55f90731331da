"""config.json as Records: one Record per object of the specification, one parse function each.

Field names are the specification's, in our spelling; `origin` is the JSON pointer of the object. Absent
and `null` are the same. Values are taken over unconverted: what they mean is decided in `plan`.

What few containers have is in `oci.rare`, which is imported when one of those sections comes: each class
that is made costs as much as to parse the rest of an ordinary config.json.
"""

from __future__ import annotations

from pyrunc.oci.node import Node
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.oci.rare import (
        BlockIo,
        CpuAffinity,
        HugepageLimit,
        IntelRdt,
        IoPriority,
        MemoryPolicy,
        NetDevice,
        Network,
        Personality,
        Rdma,
        Scheduler,
        TimeOffset,
    )  # fmt: skip


def _names(prefix: str, rest: str) -> tuple[str, ...]:
    return tuple(prefix + name for name in rest.split())


# By number: CAP_CHOWN is 0.
CAPABILITIES = _names(
    "CAP_",
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
    "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
    "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
    "PERFMON BPF CHECKPOINT_RESTORE",
)
# By number: RLIMIT_CPU is 0.
RLIMITS = _names(
    "RLIMIT_",
    "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME",
)
OTHER_PLATFORMS = ("solaris", "windows", "vm", "zos", "freebsd")  # sections that say nothing to Linux


class Root(Record):
    path: str
    readonly: bool = False
    origin: str = "/root"


class IdMapping(Record):
    container_id: int
    host_id: int
    size: int


class Mount(Record):
    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    origin: str = ""


class ConsoleSize(Record):
    height: int
    width: int


class User(Record):
    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()
    origin: str = "/process/user"


class Capabilities(Record):
    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()
    origin: str = "/process/capabilities"


class Rlimit(Record):
    type: str
    soft: int
    hard: int
    origin: str = ""


class Process(Record):
    terminal: bool = False
    console_size: ConsoleSize | None = None
    user: User = User()
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = ""
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    selinux_label: str = ""
    oom_score_adj: int | None = None
    scheduler: Scheduler | None = None
    io_priority: IoPriority | None = None
    exec_cpu_affinity: CpuAffinity | None = None
    origin: str = "/process"


class Hook(Record):
    """`env` is None when absent: the hook then inherits (runtime reference 2.2)."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] | None = None
    timeout_seconds: int | None = None
    origin: str = ""


class Hooks(Record):
    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


class Namespace(Record):
    """`path` is empty for a namespace of the container's own."""

    type: str
    path: str = ""
    origin: str = ""


class Device(Record):
    """`has_numbers`: both major and minor were given; only a fifo can do without."""

    type: str
    path: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    has_numbers: bool = True
    origin: str = ""


class DeviceRule(Record):
    """One entry of resources.devices. None of `major`, `minor` means every one."""

    allow: bool
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"
    origin: str = ""


class Memory(Record):
    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool | None = None
    use_hierarchy: bool | None = None
    check_before_update: bool = False
    origin: str = "/linux/resources/memory"


class Cpu(Record):
    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None
    origin: str = "/linux/resources/cpu"


class Resources(Record):
    devices: tuple[DeviceRule, ...] = ()
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids_limit: int | None = None
    block_io: BlockIo | None = None
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    network: Network | None = None
    rdma: tuple[Rdma, ...] = ()
    unified: tuple[tuple[str, str], ...] = ()
    origin: str = "/linux/resources"


class SeccompArg(Record):
    index: int
    value: int
    value_two: int = 0
    op: str = "SCMP_CMP_EQ"
    origin: str = ""


class SeccompSyscall(Record):
    names: tuple[str, ...]
    action: str
    errno_ret: int | None = None
    args: tuple[SeccompArg, ...] = ()
    origin: str = ""


class Seccomp(Record):
    """`flags` is None when absent: runc's default for it then holds (runtime reference 2.8)."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] | None = None
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: tuple[SeccompSyscall, ...] = ()
    origin: str = "/linux/seccomp"


class Linux(Record):
    """`resources` is None when absent, which for rootless containers means: no cgroup was asked for."""

    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    time_offsets: tuple[TimeOffset, ...] = ()
    devices: tuple[Device, ...] = ()
    net_devices: tuple[NetDevice, ...] = ()
    cgroups_path: str = ""
    resources: Resources | None = None
    rootfs_propagation: str = ""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    seccomp: Seccomp | None = None
    sysctl: tuple[tuple[str, str], ...] = ()
    intel_rdt: IntelRdt | None = None
    personality: Personality | None = None
    memory_policy: MemoryPolicy | None = None
    origin: str = "/linux"


class Config(Record):
    """`root` and `process` are None when absent. `other_platforms`: sections that are there in vain."""

    oci_version: str
    root: Root | None = None
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    process: Process | None = None
    hooks: Hooks = Hooks()
    annotations: tuple[tuple[str, str], ...] = ()
    linux: Linux = Linux()
    has_linux: bool = False
    other_platforms: tuple[str, ...] = ()


def parse_config(document: dict[str, Any]) -> Config:
    """The whole document. Raises PyruncError INVALID with a JSON pointer."""
    node = Node(document)
    root, process, hooks, linux = (node.child(name) for name in ("root", "process", "hooks", "linux"))
    return Config(
        oci_version=node.need_text("ociVersion"),
        root=Root(path=root.need_text("path"), readonly=root.flag("readonly")) if root else None,
        hostname=node.text("hostname"),
        domainname=node.text("domainname"),
        mounts=tuple(_parse_mount(item) for item in node.children("mounts")),
        process=parse_process(process) if process else None,
        hooks=_parse_hooks(hooks) if hooks else Hooks(),
        annotations=node.pairs("annotations"),
        linux=_parse_linux(linux) if linux else Linux(),
        has_linux=linux is not None,
        other_platforms=tuple(name for name in OTHER_PLATFORMS if node.has(name)),
    )


def _parse_rare(section: str, *given: Any) -> Any:
    rare: Any = __import__("pyrunc.oci.rare", fromlist=("",))
    return rare.PARSERS[section](*given)


def _parse_mount(node: Node) -> Mount:
    return Mount(
        destination=node.need_text("destination"),
        type=node.text("type"),
        source=node.text("source"),
        options=node.texts("options"),
        uid_mappings=_parse_mappings(node, "uidMappings"),
        gid_mappings=_parse_mappings(node, "gidMappings"),
        origin=node.pointer,
    )


def _parse_mappings(node: Node, name: str) -> tuple[IdMapping, ...]:
    return tuple(
        IdMapping(
            container_id=item.need_number("containerID"),
            host_id=item.need_number("hostID"),
            size=item.need_number("size"),
        )
        for item in node.children(name)
    )


def parse_process(node: Node) -> Process:
    """A process object: of config.json, or the file that `exec --process` names."""
    size, user = node.child("consoleSize"), node.child("user")
    capabilities, scheduler = node.child("capabilities"), node.child("scheduler")
    io_priority, affinity = node.child("ioPriority"), node.child("execCPUAffinity")
    return Process(
        terminal=node.flag("terminal"),
        console_size=ConsoleSize(height=size.need_number("height"), width=size.need_number("width"))
        if size
        else None,
        user=_parse_user(user) if user else User(origin=f"{node.pointer}/user"),
        args=node.texts("args"),
        env=node.texts("env"),
        cwd=node.text("cwd"),
        capabilities=_parse_capabilities(capabilities) if capabilities else None,
        rlimits=tuple(
            Rlimit(
                type=item.need_text("type"),
                soft=item.need_number("soft"),
                hard=item.need_number("hard"),
                origin=item.pointer,
            )
            for item in node.children("rlimits")
        ),
        no_new_privileges=node.flag("noNewPrivileges"),
        apparmor_profile=node.text("apparmorProfile"),
        selinux_label=node.text("selinuxLabel"),
        oom_score_adj=node.maybe_number("oomScoreAdj"),
        scheduler=_parse_rare("scheduler", scheduler) if scheduler else None,
        io_priority=_parse_rare("ioPriority", io_priority) if io_priority else None,
        exec_cpu_affinity=_parse_rare("execCPUAffinity", affinity) if affinity else None,
        origin=node.pointer,
    )


def _parse_user(node: Node) -> User:
    return User(
        uid=node.number("uid"),
        gid=node.number("gid"),
        umask=node.maybe_number("umask"),
        additional_gids=node.numbers("additionalGids"),
        origin=node.pointer,
    )


def _parse_capabilities(node: Node) -> Capabilities:
    return Capabilities(
        bounding=node.texts("bounding"),
        effective=node.texts("effective"),
        permitted=node.texts("permitted"),
        inheritable=node.texts("inheritable"),
        ambient=node.texts("ambient"),
        origin=node.pointer,
    )


def _parse_hooks(node: Node) -> Hooks:
    return Hooks(
        prestart=_parse_hook_list(node, "prestart"),
        create_runtime=_parse_hook_list(node, "createRuntime"),
        create_container=_parse_hook_list(node, "createContainer"),
        start_container=_parse_hook_list(node, "startContainer"),
        poststart=_parse_hook_list(node, "poststart"),
        poststop=_parse_hook_list(node, "poststop"),
    )


def _parse_hook_list(node: Node, name: str) -> tuple[Hook, ...]:
    return tuple(
        Hook(
            path=item.need_text("path"),
            args=item.texts("args"),
            env=item.texts("env") if item.has("env") else None,
            timeout_seconds=item.maybe_number("timeout"),
            origin=item.pointer,
        )
        for item in node.children(name)
    )


def _parse_linux(node: Node) -> Linux:
    resources, seccomp, rdt = node.child("resources"), node.child("seccomp"), node.child("intelRdt")
    personality, memory_policy = node.child("personality"), node.child("memoryPolicy")
    return Linux(
        namespaces=tuple(
            Namespace(type=item.need_text("type"), path=item.text("path"), origin=item.pointer)
            for item in node.children("namespaces")
        ),
        uid_mappings=_parse_mappings(node, "uidMappings"),
        gid_mappings=_parse_mappings(node, "gidMappings"),
        time_offsets=tuple(_parse_rare("timeOffsets", *member) for member in node.members("timeOffsets")),
        devices=tuple(_parse_device(item) for item in node.children("devices")),
        net_devices=tuple(_parse_rare("netDevices", *member) for member in node.members("netDevices")),
        cgroups_path=node.text("cgroupsPath"),
        resources=parse_resources(resources) if resources else None,
        rootfs_propagation=node.text("rootfsPropagation"),
        masked_paths=node.texts("maskedPaths"),
        readonly_paths=node.texts("readonlyPaths"),
        mount_label=node.text("mountLabel"),
        seccomp=_parse_seccomp(seccomp) if seccomp else None,
        sysctl=node.pairs("sysctl"),
        intel_rdt=_parse_rare("intelRdt", rdt) if rdt else None,
        personality=_parse_rare("personality", personality) if personality else None,
        memory_policy=_parse_rare("memoryPolicy", memory_policy) if memory_policy else None,
    )


def _parse_device(node: Node) -> Device:
    return Device(
        type=node.need_text("type"),
        path=node.need_text("path"),
        major=node.number("major"),
        minor=node.number("minor"),
        file_mode=node.maybe_number("fileMode"),
        uid=node.maybe_number("uid"),
        gid=node.maybe_number("gid"),
        has_numbers=node.has("major") and node.has("minor"),
        origin=node.pointer,
    )


def parse_resources(node: Node) -> Resources:
    """A resources object: of config.json, or what `update --resources` brings."""
    memory, cpu, block_io = node.child("memory"), node.child("cpu"), node.child("blockIO")
    pids, network = node.child("pids"), node.child("network")
    return Resources(
        devices=tuple(
            DeviceRule(
                allow=item.flag("allow"),
                type=item.text("type", "a") or "a",
                major=_wildcard(item.maybe_number("major")),
                minor=_wildcard(item.maybe_number("minor")),
                access=item.text("access", "rwm") or "rwm",
                origin=item.pointer,
            )
            for item in node.children("devices")
        ),
        memory=_parse_memory(memory) if memory else None,
        cpu=_parse_cpu(cpu) if cpu else None,
        pids_limit=pids.maybe_number("limit") if pids else None,
        block_io=_parse_rare("blockIO", block_io) if block_io else None,
        hugepage_limits=tuple(
            _parse_rare("hugepageLimits", item) for item in node.children("hugepageLimits")
        ),
        network=_parse_rare("network", network) if network else None,
        rdma=tuple(_parse_rare("rdma", *member) for member in node.members("rdma")),
        unified=node.pairs("unified"),
        origin=node.pointer,
    )


def _wildcard(number: int | None) -> int | None:
    return None if number == -1 else number


def _parse_memory(node: Node) -> Memory:
    return Memory(
        limit=node.maybe_number("limit"),
        reservation=node.maybe_number("reservation"),
        swap=node.maybe_number("swap"),
        kernel=node.maybe_number("kernel"),
        kernel_tcp=node.maybe_number("kernelTCP"),
        swappiness=node.maybe_number("swappiness"),
        disable_oom_killer=node.maybe_flag("disableOOMKiller"),
        use_hierarchy=node.maybe_flag("useHierarchy"),
        check_before_update=node.flag("checkBeforeUpdate"),
        origin=node.pointer,
    )


def _parse_cpu(node: Node) -> Cpu:
    return Cpu(
        shares=node.maybe_number("shares"),
        quota=node.maybe_number("quota"),
        burst=node.maybe_number("burst"),
        period=node.maybe_number("period"),
        realtime_runtime=node.maybe_number("realtimeRuntime"),
        realtime_period=node.maybe_number("realtimePeriod"),
        cpus=node.text("cpus"),
        mems=node.text("mems"),
        idle=node.maybe_number("idle"),
        origin=node.pointer,
    )


def _parse_seccomp(node: Node) -> Seccomp | None:
    """None also for a Go struct without a profile, which is written with an empty default action."""
    if not node.text("defaultAction") and not node.value.get("syscalls"):
        return None
    return Seccomp(
        default_action=node.need_text("defaultAction"),
        default_errno_ret=node.maybe_number("defaultErrnoRet"),
        architectures=node.texts("architectures"),
        flags=node.texts("flags") if node.has("flags") else None,
        listener_path=node.text("listenerPath"),
        listener_metadata=node.text("listenerMetadata"),
        syscalls=tuple(
            SeccompSyscall(
                names=item.texts("names"),
                action=item.need_text("action"),
                errno_ret=item.maybe_number("errnoRet"),
                args=tuple(
                    SeccompArg(
                        index=arg.need_number("index"),
                        value=arg.need_number("value"),
                        value_two=arg.number("valueTwo"),
                        op=arg.need_text("op"),
                        origin=arg.pointer,
                    )
                    for arg in item.children("args")
                ),
                origin=item.pointer,
            )
            for item in node.children("syscalls")
        ),
    )
