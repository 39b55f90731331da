"""The messages of criu's RPC that we need, as tables. No I/O.

The names and numbers are those of criu's rpc.proto. A message is a dict of those of its fields that are set:
to criu, a number that is 0 and one that is missing are not the same.
"""

from __future__ import annotations

from pyrunc import protowire
from pyrunc.errors import INTERNAL, PyruncError
from pyrunc.protowire import BOOL, INT, TEXT, Field
from pyrunc.protowire import encode as encode
from pyrunc.protowire import table as _table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# What is asked for, and answered (criu_req_type)
DUMP, RESTORE, PRE_DUMP, NOTIFY, FEATURE_CHECK, VERSION = 1, 2, 4, 6, 9, 10
NAMES = {
    DUMP: "DUMP",
    RESTORE: "RESTORE",
    PRE_DUMP: "PRE_DUMP",
    NOTIFY: "NOTIFY",
    FEATURE_CHECK: "FEATURE_CHECK",
    VERSION: "VERSION",
}

_PAGE_SERVER = _table(address=(1, TEXT), port=(2, INT), pid=(3, INT), fd=(4, INT))
_EXTERNAL_MOUNT = _table(key=(1, TEXT), val=(2, TEXT))
_INHERITED_FD = _table(key=(1, TEXT), fd=(2, INT))
_CGROUP_ROOT = _table(ctrl=(1, TEXT), path=(2, TEXT))
OPTIONS = _table(
    images_dir_fd=(1, INT),
    pid=(2, INT),
    leave_running=(3, BOOL),
    ext_unix_sk=(4, BOOL),
    tcp_established=(5, BOOL),
    evasive_devices=(6, BOOL),
    shell_job=(7, BOOL),
    file_locks=(8, BOOL),
    log_level=(9, INT),
    log_file=(10, TEXT),
    ps=(11, _PAGE_SERVER),
    notify_scripts=(12, BOOL),
    root=(13, TEXT),
    parent_img=(14, TEXT),
    track_mem=(15, BOOL),
    auto_dedup=(16, BOOL),
    work_dir_fd=(17, INT),
    link_remap=(18, BOOL),
    ext_mnt=(23, _EXTERNAL_MOUNT, True),
    manage_cgroups=(24, BOOL),
    cg_root=(25, _CGROUP_ROOT, True),
    rst_sibling=(26, BOOL),
    inherit_fd=(27, _INHERITED_FD, True),
    ext_masters=(30, BOOL),
    manage_cgroups_mode=(34, INT),
    external=(37, TEXT, True),
    empty_ns=(38, INT),
    freeze_cgroup=(44, TEXT),
    tcp_skip_in_flight=(46, BOOL),
    lazy_pages=(48, BOOL),
    orphan_pts_master=(50, BOOL),
    config_file=(51, TEXT),
    tcp_close=(52, BOOL),
    lsm_profile=(53, TEXT),
    lsm_mount_context=(63, TEXT),
)
FEATURES = _table(mem_track=(1, BOOL), lazy_pages=(2, BOOL))
REQUEST = _table(
    type=(1, INT),
    opts=(2, OPTIONS),
    notify_success=(3, BOOL),
    features=(5, FEATURES),
)
RESPONSE = _table(
    type=(1, INT),
    success=(2, BOOL),
    dump=(3, _table(restored=(1, BOOL))),
    restore=(4, _table(pid=(1, INT))),
    notify=(5, _table(script=(1, TEXT), pid=(2, INT))),
    cr_errno=(7, INT),
    features=(8, FEATURES),
    cr_errmsg=(9, TEXT),
    version=(10, _table(major_number=(1, INT), minor_number=(2, INT), sublevel=(4, INT))),
)


def decode(table: Mapping[str, Field], data: bytes) -> dict[str, Any]:
    """The fields that are set and that `table` knows; a newer criu's other ones are left out.

    Raises PyruncError INTERNAL for what is no message."""
    try:
        return protowire.decode(table, data)
    except protowire.Malformed:
        raise PyruncError(INTERNAL, "criu sent what is no message of its protocol") from None
