"""pyrunc restore: bring a container back from what checkpoint saved, by criu."""

from __future__ import annotations

from pyrunc.cli.commands import checkpoint, create
from pyrunc.cli.main import Settings
from pyrunc.files import absolute
from pyrunc.options import TEXT, Flag, Operand
from pyrunc.runtime.restore import RestoreRequest, restore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NOT_OURS = ("preserve-fds", "no-new-keyring")  # a process has been given both long ago
COMMAND = checkpoint.CriuCommand(
    name="restore",
    summary="Bring back a container from a checkpoint (criu).",
    description="Unless detached it waits for the container, as `run` does.",
    flags=(
        *(flag for flag in create.FLAGS if flag.name not in _NOT_OURS),
        *checkpoint.FLAGS,
        Flag(name="detach", short="d", summary="Don't wait: leave it running."),
        Flag(name="no-subreaper", summary="Don't adopt processes that the container leaves behind."),
        Flag(name="tcp-close", summary="Close connections of TCP that were open."),
        Flag(name="lsm-profile", kind=TEXT, placeholder="TYPE:LABEL",
             summary="Another profile of AppArmor, or label of SELinux."),
        Flag(name="lsm-mount-context", kind=TEXT, placeholder="LABEL",
             summary="Another SELinux context for mounts."),
    ),
    operands=(Operand(name="container"),),
    examples=("pyrunc restore --detach --image-path /var/images/web --bundle bundle/ web",),
    failure="pyrunc restore failed",
)  # fmt: skip


def main(settings: Settings, given: dict[str, Any]) -> int:
    given = {**given, "preserve-fds": 0, "no-new-keyring": True, "init": False}
    request = RestoreRequest(
        container=create.request_of(settings, given),
        image_path=absolute(given["image-path"]),
        work_path=absolute(given["work-path"]) if given["work-path"] else "",
        flags=checkpoint.flags_of(given),
    )
    return restore(request, detach=given["detach"], subreaper=not given["no-subreaper"])
