"""The messages of containerd's task API, its events, and what is wrapped in them: names and numbers, no more.

From containerd's api/runtime/task/v2/shim.proto, api/events/task.proto, api/types, the options of its runc
runtime, and the metrics of github.com/containerd/cgroups. What is left out is what we never use. `encode` and
`decode` are those of proto3: a field that isn't set has its kind's zero.
"""

from __future__ import annotations

from pyrunc import protowire
from pyrunc.protowire import BOOL, BYTES, INT, TEXT, UINT, Field, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    Table: TypeAlias = Mapping[str, Field]

_NANOSECONDS = 1_000_000_000

ANY = table(type_url=(1, TEXT), value=(2, BYTES))
TIMESTAMP = table(seconds=(1, INT), nanos=(2, INT))
MOUNT = table(type=(1, TEXT), source=(2, TEXT), target=(3, TEXT), options=(4, TEXT, True))
EMPTY: Table = {}
_MAP = table(key=(1, TEXT), value=(2, TEXT))
_PROCESS = table(id=(1, TEXT), exec_id=(2, TEXT))
_CONTAINER = table(id=(1, TEXT))
_PID = table(pid=(1, UINT))

# --- what is asked, and answered ------------------------------------------------------------------

CREATE = table(
    id=(1, TEXT), bundle=(2, TEXT), rootfs=(3, MOUNT, True), terminal=(4, BOOL), stdin=(5, TEXT),
    stdout=(6, TEXT), stderr=(7, TEXT), checkpoint=(8, TEXT), parent_checkpoint=(9, TEXT), options=(10, ANY),
)  # fmt: skip
DELETED = table(pid=(1, UINT), exit_status=(2, UINT), exited_at=(3, TIMESTAMP))
STATE = table(
    id=(1, TEXT), bundle=(2, TEXT), pid=(3, UINT), status=(4, UINT), stdin=(5, TEXT), stdout=(6, TEXT),
    stderr=(7, TEXT), terminal=(8, BOOL), exit_status=(9, UINT), exited_at=(10, TIMESTAMP),
    exec_id=(11, TEXT),
)  # fmt: skip
PIDS = table(processes=(1, table(pid=(1, UINT), info=(2, ANY)), True))
CHECKPOINT = table(id=(1, TEXT), path=(2, TEXT), options=(3, ANY))
KILL = table(id=(1, TEXT), exec_id=(2, TEXT), signal=(3, UINT), all=(4, BOOL))
EXEC = table(
    id=(1, TEXT), exec_id=(2, TEXT), terminal=(3, BOOL), stdin=(4, TEXT), stdout=(5, TEXT), stderr=(6, TEXT),
    spec=(7, ANY),
)  # fmt: skip
RESIZE = table(id=(1, TEXT), exec_id=(2, TEXT), width=(3, UINT), height=(4, UINT))
CLOSE_IO = table(id=(1, TEXT), exec_id=(2, TEXT), stdin=(3, BOOL))
UPDATE = table(id=(1, TEXT), resources=(2, ANY), annotations=(3, _MAP, True))
WAITED = table(exit_status=(1, UINT), exited_at=(2, TIMESTAMP))
STATS = table(stats=(1, ANY))
CONNECTED = table(shim_pid=(1, UINT), task_pid=(2, UINT), version=(3, TEXT))
SHUTDOWN = table(id=(1, TEXT), now=(2, BOOL))

# method -> (request, answer)
METHODS: dict[str, tuple[Table, Table]] = {
    "Create": (CREATE, _PID), "Start": (_PROCESS, _PID), "State": (_PROCESS, STATE),
    "Delete": (_PROCESS, DELETED), "Pids": (_CONTAINER, PIDS), "Pause": (_CONTAINER, EMPTY),
    "Resume": (_CONTAINER, EMPTY), "Checkpoint": (CHECKPOINT, EMPTY), "Kill": (KILL, EMPTY),
    "Exec": (EXEC, EMPTY), "ResizePty": (RESIZE, EMPTY), "CloseIO": (CLOSE_IO, EMPTY),
    "Update": (UPDATE, EMPTY), "Wait": (_PROCESS, WAITED), "Stats": (_CONTAINER, STATS),
    "Connect": (_CONTAINER, CONNECTED), "Shutdown": (SHUTDOWN, EMPTY),
}  # fmt: skip

# containerd.v1.types.Status
CREATED, RUNNING, STOPPED, PAUSED = 1, 2, 3, 4

# --- what is wrapped in them ----------------------------------------------------------------------

OPTIONS_TYPE = "containerd.runc.v1.Options"
OPTIONS = table(
    no_pivot_root=(1, BOOL), no_new_keyring=(2, BOOL), shim_cgroup=(3, TEXT), io_uid=(4, UINT),
    io_gid=(5, UINT), binary_name=(6, TEXT), root=(7, TEXT), systemd_cgroup=(9, BOOL),
    criu_image_path=(10, TEXT), criu_work_path=(11, TEXT),
)  # fmt: skip
OLD_OPTIONS_TYPE = "containerd.linux.runc.CreateOptions"  # the client's, for a runtime that isn't called runc
OLD_OPTIONS = table(
    no_pivot_root=(1, BOOL), no_new_keyring=(8, BOOL), shim_cgroup=(9, TEXT), io_uid=(10, UINT),
    io_gid=(11, UINT), criu_work_path=(12, TEXT), criu_image_path=(13, TEXT),
)  # fmt: skip
GENERIC_OPTIONS_TYPE = "runtimeoptions.v1.Options"  # of a runtime that containerd doesn't know
GENERIC_OPTIONS = table(type_url=(1, TEXT), config_path=(2, TEXT), config_body=(3, BYTES))
CHECKPOINT_OPTIONS = table(
    exit=(1, BOOL), open_tcp=(2, BOOL), external_unix_sockets=(3, BOOL), terminal=(4, BOOL),
    file_locks=(5, BOOL), empty_namespaces=(6, TEXT, True), cgroups_mode=(7, TEXT), image_path=(8, TEXT),
    work_path=(9, TEXT),
)  # fmt: skip
OLD_CHECKPOINT_OPTIONS_TYPE = "containerd.linux.runc.CheckpointOptions"
OLD_CHECKPOINT_OPTIONS = {
    **CHECKPOINT_OPTIONS, **table(work_path=(8, TEXT), image_path=(9, TEXT)),
}  # fmt: skip
PROCESS_DETAILS_TYPE = "containerd.runc.v1.ProcessDetails"
PROCESS_DETAILS = table(exec_id=(1, TEXT))
RUNTIME_INFO = table(
    name=(1, TEXT), version=(2, table(version=(1, TEXT), revision=(2, TEXT))), options=(3, ANY),
    features=(4, ANY), annotations=(5, _MAP, True),
)  # fmt: skip
FEATURES_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/features/Features"

# --- events ---------------------------------------------------------------------------------------

ENVELOPE = table(timestamp=(1, TIMESTAMP), namespace=(2, TEXT), topic=(3, TEXT), event=(4, ANY))
FORWARD = table(envelope=(1, ENVELOPE))
_IO = table(stdin=(1, TEXT), stdout=(2, TEXT), stderr=(3, TEXT), terminal=(4, BOOL))

# type, below containerd.events -> (topic, fields)
EVENTS: dict[str, tuple[str, Table]] = {
    "TaskCreate": (
        "/tasks/create",
        table(container_id=(1, TEXT), bundle=(2, TEXT), rootfs=(3, MOUNT, True), io=(4, _IO),
              checkpoint=(5, TEXT), pid=(6, UINT)),
    ),
    "TaskStart": ("/tasks/start", table(container_id=(1, TEXT), pid=(2, UINT))),
    "TaskExit": (
        "/tasks/exit",
        table(container_id=(1, TEXT), id=(2, TEXT), pid=(3, UINT), exit_status=(4, UINT),
              exited_at=(5, TIMESTAMP)),
    ),
    "TaskDelete": (
        "/tasks/delete",
        table(container_id=(1, TEXT), pid=(2, UINT), exit_status=(3, UINT), exited_at=(4, TIMESTAMP),
              id=(5, TEXT)),
    ),
    "TaskOOM": ("/tasks/oom", table(container_id=(1, TEXT))),
    "TaskExecAdded": ("/tasks/exec-added", table(container_id=(1, TEXT), exec_id=(2, TEXT))),
    "TaskExecStarted": (
        "/tasks/exec-started", table(container_id=(1, TEXT), exec_id=(2, TEXT), pid=(3, UINT)),
    ),
    "TaskPaused": ("/tasks/paused", table(container_id=(1, TEXT))),
    "TaskResumed": ("/tasks/resumed", table(container_id=(1, TEXT))),
    "TaskCheckpointed": ("/tasks/checkpointed", table(container_id=(1, TEXT), checkpoint=(2, TEXT))),
}  # fmt: skip

# --- metrics --------------------------------------------------------------------------------------

_HUGETLB1 = table(usage=(1, UINT), max=(2, UINT), failcnt=(3, UINT), pagesize=(4, TEXT))
_PIDS = table(current=(1, UINT), limit=(2, UINT))
_MEMORY1_STATS = (
    "cache", "rss", "rss_huge", "mapped_file", "dirty", "writeback", "pg_pg_in", "pg_pg_out", "pg_fault",
    "pg_maj_fault", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable",
    "hierarchical_memory_limit", "hierarchical_swap_limit", "total_cache", "total_rss", "total_rss_huge",
    "total_mapped_file", "total_dirty", "total_writeback", "total_pg_pg_in", "total_pg_pg_out",
    "total_pg_fault", "total_pg_maj_fault", "total_inactive_anon", "total_active_anon",
    "total_inactive_file", "total_active_file", "total_unevictable",
)  # fmt: skip
_MEMORY1_ENTRY = table(limit=(1, UINT), usage=(2, UINT), max=(3, UINT), failcnt=(4, UINT))
_BLKIO_ENTRY = table(op=(1, TEXT), device=(2, TEXT), major=(3, UINT), minor=(4, UINT), value=(5, UINT))
_BLKIO_LISTS = (
    "io_service_bytes_recursive", "io_serviced_recursive", "io_queued_recursive", "io_service_time_recursive",
    "io_wait_time_recursive", "io_merged_recursive", "io_time_recursive", "sectors_recursive",
)  # fmt: skip
METRICS1_TYPE = "io.containerd.cgroups.v1.Metrics"
METRICS1 = table(
    hugetlb=(1, _HUGETLB1, True),
    pids=(2, _PIDS),
    cpu=(
        3,
        table(
            usage=(1, table(total=(1, UINT), kernel=(2, UINT), user=(3, UINT), per_cpu=(4, UINT, True))),
            throttling=(2, table(periods=(1, UINT), throttled_periods=(2, UINT), throttled_time=(3, UINT))),
        ),
    ),
    memory=(
        4,
        table(
            **{name: (number, UINT) for number, name in enumerate(_MEMORY1_STATS, 1)},
            usage=(33, _MEMORY1_ENTRY), swap=(34, _MEMORY1_ENTRY), kernel=(35, _MEMORY1_ENTRY),
            kernel_tcp=(36, _MEMORY1_ENTRY),
        ),
    ),
    blkio=(5, table(**{name: (number, _BLKIO_ENTRY, True) for number, name in enumerate(_BLKIO_LISTS, 1)})),
    memory_oom_control=(
        9, table(oom_kill_disable=(1, UINT), under_oom=(2, UINT), oom_kill=(3, UINT)),
    ),
)  # fmt: skip

_MEMORY2_STATS = (
    "anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty", "file_writeback",
    "anon_thp", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable",
    "slab_reclaimable", "slab_unreclaimable", "pgfault", "pgmajfault", "workingset_refault",
    "workingset_activate", "workingset_nodereclaim", "pgrefill", "pgscan", "pgsteal", "pgactivate",
    "pgdeactivate", "pglazyfree", "pglazyfreed", "thp_fault_alloc", "thp_collapse_alloc", "usage",
    "usage_limit", "swap_usage", "swap_limit",
)  # fmt: skip
METRICS2_TYPE = "io.containerd.cgroups.v2.Metrics"
METRICS2 = table(
    pids=(1, _PIDS),
    cpu=(
        2,
        table(
            usage_usec=(1, UINT), user_usec=(2, UINT), system_usec=(3, UINT), nr_periods=(4, UINT),
            nr_throttled=(5, UINT), throttled_usec=(6, UINT),
        ),
    ),
    memory=(
        4,
        table(
            **{name: (number, UINT) for number, name in enumerate(_MEMORY2_STATS, 1)},
        ),
    ),
    io=(
        6,
        table(
            usage=(
                1,
                table(major=(1, UINT), minor=(2, UINT), rbytes=(3, UINT), wbytes=(4, UINT), rios=(5, UINT),
                      wios=(6, UINT)),
                True,
            ),
        ),
    ),
    hugetlb=(7, table(current=(1, UINT), max=(2, UINT), pagesize=(3, TEXT)), True),
    memory_events=(8, table(low=(1, UINT), high=(2, UINT), max=(3, UINT), oom=(4, UINT), oom_kill=(5, UINT))),
)  # fmt: skip


def encode(fields: Table, message: Mapping[str, Any]) -> bytes:
    return protowire.encode(fields, message)


def decode(fields: Table, data: bytes) -> dict[str, Any]:
    """Raises protowire.Malformed."""
    return protowire.decode(fields, data, with_zeros=True)


def wrap(type_url: str, value: bytes) -> dict[str, Any]:
    """As google.protobuf.Any."""
    return {"type_url": type_url, "value": value}


def type_of(wrapped: Mapping[str, Any]) -> str:
    """The type that an Any names, without the host that some put before it."""
    name: str = wrapped["type_url"]
    return name.removeprefix("type.googleapis.com/")


def timestamp(nanoseconds: int) -> dict[str, int]:
    """Since the epoch."""
    return {"seconds": nanoseconds // _NANOSECONDS, "nanos": nanoseconds % _NANOSECONDS}


def process_info(pid: int, exec_id: str | None) -> dict[str, Any]:
    """An entry of the answer to Pids; `exec_id`: of one that Exec added."""
    if exec_id is None:
        return {"pid": pid}
    details = encode(PROCESS_DETAILS, {"exec_id": exec_id})
    return {"pid": pid, "info": wrap(PROCESS_DETAILS_TYPE, details)}
