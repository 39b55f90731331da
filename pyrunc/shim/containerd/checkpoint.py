"""Checkpoint and restore: containerd's options as words for a runtime's command line. Pure."""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.protowire import Malformed
from pyrunc.shim.containerd import messages
from pyrunc.shim.containerd.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CGROUPS_MODES = ("soft", "full", "strict", "ignore")


def checkpoint_words(wrapped: dict[str, Any] | None, path: str, options: Options) -> tuple[str, ...]:
    """The verb and its options. Raises PyruncError INVALID."""
    try:
        if wrapped is not None and messages.type_of(wrapped) == messages.OLD_CHECKPOINT_OPTIONS_TYPE:
            given = messages.decode(messages.OLD_CHECKPOINT_OPTIONS, wrapped["value"])
        else:
            given = messages.decode(messages.CHECKPOINT_OPTIONS, b"" if wrapped is None else wrapped["value"])
    except Malformed:
        raise PyruncError(INVALID, "malformed options of a checkpoint") from None
    image = path or given["image_path"] or options.criu_image_path
    if not image:
        raise PyruncError(INVALID, "a checkpoint needs a path")
    work = given["work_path"] or options.criu_work_path
    mode = given["cgroups_mode"]
    if mode and mode not in _CGROUPS_MODES:
        raise PyruncError(INVALID, "unknown cgroups mode", mode)
    flags = (
        ("--leave-running", not given["exit"]),
        ("--tcp-established", given["open_tcp"]),
        ("--ext-unix-sk", given["external_unix_sockets"]),
        ("--shell-job", given["terminal"]),
        ("--file-locks", given["file_locks"]),
    )
    words = ["checkpoint", "--image-path", image]
    words += ["--work-path", work] if work else []
    words += ["--manage-cgroups-mode", mode] if mode else []
    words += [flag for flag, is_wanted in flags if is_wanted]
    for namespace in given["empty_namespaces"]:
        words += ["--empty-ns", namespace]
    return tuple(words)


def restore_words(bundle: str, image: str, options: Options) -> tuple[str, ...]:
    """The options of the verb."""
    words = ["--bundle", bundle, "--image-path", image]
    words += ["--work-path", options.criu_work_path] if options.criu_work_path else []
    words += ["--no-pivot"] if options.no_pivot_root else []
    return tuple(words)
