"""The whole launch of a container, composed: config.json + facts + what was asked for -> a Launch.

The order is runc's (runtime reference 2.2) but for one thing: whatever works on the root filesystem
(masks, read-only paths, sysctls, the console) is done before pivot_root, while /proc is still the host's. All
of it goes by descriptors inside the root, which need no name of the container to be true; after the pivot
nothing is mounted any more. The createContainer hooks still find a writable root: they run before those.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.kernel import const as c
from pyrunc.later import later
from pyrunc.oci.config import Config, Linux, Process
from pyrunc.plan.cgroups import CgroupPlan
from pyrunc.plan.devices import DevicePlan, has_host_dev, plan_devices
from pyrunc.plan.facts import HostFacts
from pyrunc.plan.lsm import LABELS, has_label, open_labels
from pyrunc.plan.makeops import (
    AttachRoot,
    LoopbackUp,
    MakeDirectory,
    MaskPath,
    OpenTree,
    PivotRoot,
    ReadonlyPath,
    RemountReadonly,
    SetHostname,
    SetPropagation,
    WriteSysctl,
)
from pyrunc.plan.mounts import PROPAGATION, MountPlan, plan_mounts
from pyrunc.plan.namespaces import NamespacePlan, map_lines, plan_namespaces
from pyrunc.plan.ops import (
    Await,
    ExecStub,
    JoinCgroup,
    JoinNamespace,
    NewSession,
    Op,
    OpenCgroup,
    OpenConsole,
    ResetCpuAffinity,
    ResetSignals,
    RunHooks,
    SetDumpable,
    SetOomScoreAdj,
    Tell,
)
from pyrunc.plan.process import EVERY_CAPABILITY, ProcessPlan, compile_profile, plan_process
from pyrunc.plan.shared import Launch, by_file, keyring_steps, listener_steps, process_steps
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import init as stays
    from pyrunc.plan import rareops
else:
    stays = later("pyrunc.plan.init")
    rareops = later("pyrunc.plan.rareops")


class LaunchRequest(Record):
    """What is asked for beside config.json. `bundle`, `rootfs`: absolute. `host_mounts_to_hide`: for
    no_pivot, the mountpoints of the host's procfs and sysfs instances. `resctrl`: what is done on the child
    there."""

    container_id: str
    bundle: str
    rootfs: str
    no_pivot: bool = False
    no_new_keyring: bool = False
    init: bool = False
    preserve_fds: int = 0
    listen_fds: int = 0
    host_mounts_to_hide: tuple[str, ...] = ()
    resctrl: tuple[Op, ...] = ()


# How the clone of the root is related to the host's mount: its peer, its slave, or not at all.
_ROOT_CLONES = {"shared": 0, "rshared": 0, "slave": c.MS_SLAVE, "rslave": c.MS_SLAVE}


class Parts(Record):
    """What follows from the config and the host alone, whatever the container is called and wherever its
    bundle and its cgroups are: who makes many plans it once. `restrict`: the last touch of the root
    filesystem; `last`: what the child does in it."""

    namespaces: NamespacePlan
    process: ProcessPlan
    devices: DevicePlan
    restrict: tuple[Op, ...]
    last: tuple[Op, ...]


def plan_parts(
    config: Config, facts: HostFacts, *, init: bool = False, preserve_fds: int = 0, listen_fds: int = 0
) -> Parts:
    """Raises PyruncError with the JSON pointer of what can't be planned."""
    linux, process = config.linux, config.process
    if process is None:
        raise PyruncError(INVALID, "process property must not be empty", "/process")
    namespaces = plan_namespaces(linux, facts)
    in_user_namespace = namespaces.has("user")
    plan = plan_process(
        process,
        linux,
        facts=facts,
        grantable=EVERY_CAPABILITY if in_user_namespace else facts.capability_mask,
        seccomp=compile_profile(config, facts.machine),
        has_fifo=True,
        may_set_groups=_may_set_groups(namespaces, facts),
        preserve_fds=preserve_fds,
        listen_fds=listen_fds,
        in_user_namespace=in_user_namespace,
        stays=init,
    )
    return Parts(
        namespaces=namespaces,
        process=plan,
        devices=plan_devices(
            linux.devices,
            config.mounts,
            bind=in_user_namespace or facts.in_user_namespace,
            has_kcore=facts.has_kcore,
        ),
        restrict=(*_sysctl_steps(linux), *_path_steps(linux, linux.mount_label if facts.has_selinux else "")),
        last=(
            *_name_steps(config),
            *process_steps(process, plan),
            ExecStub(
                preserve=preserve_fds,
                labels=LABELS if has_label(process) else "",
                argv=stays.init_argv(process.args) if init else (),
            ),
        ),
    )


def plan_launch(
    config: Config,
    facts: HostFacts,
    cgroup: CgroupPlan,
    request: LaunchRequest,
    parts: Parts | None = None,
) -> Launch:
    """`parts`: of this very config, if they are known. Raises PyruncError with the JSON pointer of what can't
    be planned."""
    linux, process = config.linux, config.process
    if process is None:
        raise PyruncError(INVALID, "process property must not be empty", "/process")
    if parts is None:
        parts = plan_parts(
            config,
            facts,
            init=request.init,
            preserve_fds=request.preserve_fds,
            listen_fds=request.listen_fds,
        )
    namespaces, plan, devices = parts.namespaces, parts.process, parts.devices
    label = linux.mount_label if facts.has_selinux else ""
    mounts = plan_mounts(
        config.mounts,
        bundle=request.bundle,
        rootfs_propagation=linux.rootfs_propagation,
        cgroups=facts.cgroups,
        cgroup_paths=cgroup.paths,
        has_cgroup_namespace=namespaces.has("cgroup"),
        user_maps=(map_lines(linux.uid_mappings), map_lines(linux.gid_mappings)),
        label=label,
        opens_disks=facts.is_privileged and not namespaces.has("user"),
    )
    has_root = namespaces.has("mount")
    root = OpenTree(
        source=request.rootfs,
        saves="root",
        recursive=True,
        propagation=_ROOT_CLONES.get(linux.rootfs_propagation, c.MS_PRIVATE),
        origin="/root/path",
    )
    opened = (root, *mounts.open, *devices.open) if has_root else ()
    join = _way_in(cgroup, namespaces)
    prepare = (*cgroup.make, *join, *namespaces.open)
    rootless = not facts.is_privileged
    child = (
        ResetSignals(),
        *((Await(point="in cgroup"),) if cgroup.attach else ()),
        *(JoinCgroup(takes=op.saves) for op in join if op.saves != "cgroup"),
        ResetCpuAffinity(),
        *_take_user_namespace(namespaces, facts),
        *open_labels(process),
        *namespaces.join,
        *namespaces.after_cgroup,
        NewSession(),
        *(() if request.no_new_keyring else keyring_steps(process, keyring_name(request.container_id))),
        *((LoopbackUp(),) if "network" in namespaces.own else ()),
        *(opened if rootless else ()),
        *(_root_steps(config, request, parts, mounts) if has_root else ()),
        *(
            ()
            if has_root
            else (*_hook_steps(config), *_sysctl_steps(linux), rareops.ChangeRoot(path=request.rootfs))
        ),
        *parts.last,
    )
    return Launch(
        clone_flags=namespaces.clone_flags,
        prepare=prepare if rootless else (*prepare, *opened),
        stage=namespaces.stage,
        attach=_attach_steps(config, request, cgroup, namespaces, plan),
        child=child,
        stub=plan.stub,
        calls=plan.calls,
        program=process.args[0],
        has_terminal=process.terminal,
    )


def _way_in(cgroup: CgroupPlan, namespaces: NamespacePlan) -> tuple[OpenCgroup, ...]:
    """Nobody is born from within a cgroup namespace into a cgroup beyond it, where its boundary is one of
    delegation (the mount option `nsdelegate`); but a file that was opened outside can be written inside."""
    if any(isinstance(op, JoinNamespace) and op.flags & c.CLONE_NEWCGROUP for op in namespaces.stage):
        return tuple(by_file(op) for op in cgroup.join)
    return cgroup.join


def _attach_steps(
    config: Config, request: LaunchRequest, cgroup: CgroupPlan, namespaces: NamespacePlan, plan: ProcessPlan
) -> tuple[Op, ...]:
    """The score early: unprivileged we may write it only while the child is dumpable."""
    scores = tuple(op for op in plan.outside if isinstance(op, SetOomScoreAdj))
    return (
        *cgroup.attach,
        *((Tell(point="in cgroup"),) if cgroup.attach else ()),
        *namespaces.map,
        *scores,
        *((Tell(point="mapped"),) if "user" in namespaces.own else ()),
        *_host_hook_steps(config),
        *listener_steps(config.linux),
        *request.resctrl,
        Await(point="ready"),
        *(op for op in plan.outside if op not in scores),
    )


def keyring_name(container_id: str) -> str:
    return f"_ses.{container_id}"


def _may_set_groups(namespaces: NamespacePlan, facts: HostFacts) -> bool:
    return facts.may_set_groups and not any(isinstance(op, rareops.DenySetgroups) for op in namespaces.map)


def _take_user_namespace(namespaces: NamespacePlan, facts: HostFacts) -> tuple[Op, ...]:
    """Our own maps are written by a parent which, unprivileged, needs us dumpable until then."""
    if not namespaces.has("user"):
        return (SetDumpable(value=False),)
    waiting = (Await(point="mapped"),) if "user" in namespaces.own else ()
    can_drop = _may_set_groups(namespaces, facts)
    return (*waiting, rareops.BecomeRoot(drop_groups=can_drop), SetDumpable(value=False))


def _root_steps(
    config: Config,
    request: LaunchRequest,
    parts: Parts,
    mounts: MountPlan,
) -> tuple[Op, ...]:
    """The root filesystem: attach, fill, hooks, restrict, enter."""
    linux, process = config.linux, config.process
    console: tuple[Op, ...] = ()
    if process is not None and process.terminal:
        size = process.console_size
        console = (
            OpenConsole(
                takes="console",
                uid=process.user.uid,
                rows=size.height if size else 0,
                columns=size.width if size else 0,
                bind=not has_host_dev(config.mounts),
                origin="/process/terminal",
            ),
        )
    readonly = config.root is not None and config.root.readonly
    enter: Op = rareops.MoveRoot(hide=request.host_mounts_to_hide) if request.no_pivot else PivotRoot()
    after = PROPAGATION.get(linux.rootfs_propagation, 0)
    return (
        SetPropagation(target="/", flags=c.MS_SLAVE | c.MS_REC),
        AttachRoot(
            takes="root",
            path=request.rootfs,
            propagation=_ROOT_CLONES.get(linux.rootfs_propagation) or c.MS_PRIVATE,
            origin="/root/path",
        ),
        *mounts.mount,
        *parts.devices.make,
        *_working_directory(process),
        *_hook_steps(config),
        *console,
        *parts.restrict,
        *mounts.finish,
        *((RemountReadonly(target="/", origin="/root/readonly"),) if readonly else ()),
        enter,
        *((SetPropagation(target="/", flags=after, origin="/linux/rootfsPropagation"),) if after else ()),
    )


def _working_directory(process: Process | None) -> tuple[Op, ...]:
    """Made if it is missing, as runc does; the root is there."""
    if process is None or process.cwd == "/":
        return ()
    return (MakeDirectory(path=process.cwd, origin="/process/cwd"),)


def _path_steps(linux: Linux, label: str) -> tuple[Op, ...]:
    context = f',context="{label}"' if label else ""
    return (
        *(
            ReadonlyPath(path=path, origin=f"/linux/readonlyPaths/{n}")
            for n, path in enumerate(linux.readonly_paths)
        ),
        *(
            MaskPath(path=path, context=context, origin=f"/linux/maskedPaths/{n}")
            for n, path in enumerate(linux.masked_paths)
        ),
    )


def _needs_host(config: Config) -> bool:
    """Is there anything for the host side to do once the namespaces are there, and before /proc/sys and the
    root filesystem get their last touch?"""
    hooks = config.hooks
    return bool(hooks.prestart or hooks.create_runtime or hooks.create_container or config.linux.net_devices)


def _device_moves(linux: Linux) -> tuple[Op, ...]:
    is_joined = any(item.type == "network" and item.path for item in linux.namespaces)
    return tuple(
        rareops.MoveNetDevice(
            device=device.host_name,
            name=device.name or device.host_name,
            takes="ns/network" if is_joined else "",
            origin=device.origin,
        )
        for device in linux.net_devices
    )


def _hook_steps(config: Config) -> tuple[Op, ...]:
    hooks = config.hooks
    steps: tuple[Op, ...] = ()
    if _needs_host(config):
        steps += (Tell(point="prepared"), Await(point="hooks run"))
    if hooks.create_container:
        steps += (
            RunHooks(kind="createContainer", hooks=hooks.create_container, origin="/hooks/createContainer"),
        )
    return steps


def _host_hook_steps(config: Config) -> tuple[Op, ...]:
    """The other half of the dance. Hooks find network devices where they will be."""
    hooks = config.hooks
    if not _needs_host(config):
        return ()
    steps: list[Op] = [Await(point="prepared"), *_device_moves(config.linux)]
    if hooks.prestart:
        steps.append(RunHooks(kind="prestart", hooks=hooks.prestart, origin="/hooks/prestart"))
    if hooks.create_runtime:
        steps.append(
            RunHooks(kind="createRuntime", hooks=hooks.create_runtime, origin="/hooks/createRuntime")
        )
    return (*steps, Tell(point="hooks run"))


def _sysctl_steps(linux: Linux) -> tuple[Op, ...]:
    return tuple(
        WriteSysctl(
            path=sysctl_path(key),
            value=value,
            origin=f"/linux/sysctl/{key.replace('~', '~0').replace('/', '~1')}",
        )
        for key, value in linux.sysctl
    )


def sysctl_path(key: str) -> str:
    """Below /proc/sys. As sysctl(8): the separator which comes first separates, the other stands for it."""
    dot, slash = key.find("."), key.find("/")
    if dot != -1 and (slash == -1 or dot < slash):
        key = key.translate({ord("."): "/", ord("/"): "."})
    return key


def _name_steps(config: Config) -> tuple[Op, ...]:
    steps: tuple[Op, ...] = ()
    if config.hostname:
        steps += (SetHostname(name=config.hostname, origin="/hostname"),)
    if config.domainname:
        steps += (rareops.SetDomainname(name=config.domainname, origin="/domainname"),)
    return steps
