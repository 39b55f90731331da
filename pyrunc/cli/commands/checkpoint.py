"""pyrunc checkpoint: save a running container to disk, by criu.

podman takes a `checkpoint --help` that succeeds for a promise: without criu even that fails.
"""

from __future__ import annotations

from pyrunc.cli.main import Settings
from pyrunc.files import absolute
from pyrunc.options import NUMBER, TEXT, TEXTS, Command, Flag, Operand
from pyrunc.runtime.checkpoint import CheckpointRequest, checkpoint
from pyrunc.runtime.images import CriuFlags, require_criu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_IMAGE_PATH = "checkpoint"
# What restore has too
FLAGS = (
    Flag(name="image-path", kind=TEXT, placeholder="DIR", default=DEFAULT_IMAGE_PATH,
         summary="Where the images are."),
    Flag(name="work-path", kind=TEXT, placeholder="DIR",
         summary="Where criu logs and works (default: with the images)."),
    Flag(name="tcp-established", summary="Also connections of TCP that are open."),
    Flag(name="link-remap", summary="Also open files whose name is gone, by making another."),
    Flag(name="ext-unix-sk", summary="Also Unix sockets that lead out of the container."),
    Flag(name="shell-job", summary="Also a session whose terminal is another's."),
    Flag(name="file-locks", summary="Also locks on files."),
    Flag(name="lazy-pages", summary="Memory is fetched when it is used (userfaultfd)."),
    Flag(name="manage-cgroups-mode", kind=TEXT, placeholder="MODE",
         choices=("soft", "full", "strict", "ignore"), summary="How far criu cares for cgroups."),
    Flag(name="empty-ns", kind=TEXTS, placeholder="network", summary="Restore this namespace empty."),
    Flag(name="auto-dedup", summary="Drop memory from images that another has too."),
)  # fmt: skip


class CriuCommand(Command):
    """Fails where there is no criu, whatever the words are."""

    def parse(self, words: list[str]) -> dict[str, Any]:
        require_criu()
        return super().parse(words)


COMMAND = CriuCommand(
    name="checkpoint",
    summary="Save a running container to disk (criu), and end it.",
    flags=(
        *FLAGS,
        Flag(name="parent-path", kind=TEXT, placeholder="DIR",
             summary="Images of an earlier --pre-dump, relative to --image-path."),
        Flag(name="leave-running", summary="Don't end it."),
        Flag(name="tcp-skip-in-flight", summary="Leave out connections that aren't established yet."),
        Flag(name="status-fd", kind=NUMBER, default=-1, placeholder="FD",
             summary="Where to write a NUL when lazy pages are ready."),
        Flag(name="page-server", kind=TEXT, placeholder="HOST:PORT", summary="Send memory to a page server."),
        Flag(name="pre-dump", summary="Save memory alone, and leave it running."),
    ),
    operands=(Operand(name="container", completes="container"),),
    examples=("pyrunc checkpoint --image-path /var/images/web web",),
    failure="pyrunc checkpoint failed",
)  # fmt: skip


def flags_of(given: dict[str, Any]) -> CriuFlags:
    """The flags of criu's that have the same name there and here, and two that haven't."""
    same = {name: given[key] for name in CriuFlags.FIELDS if (key := name.replace("_", "-")) in given}
    return CriuFlags(**same, empty_namespaces=given["empty-ns"])


def main(settings: Settings, given: dict[str, Any]) -> int:
    request = CheckpointRequest(
        id=given["container"],
        state_root=settings.state_root,
        image_path=absolute(given["image-path"]),
        work_path=absolute(given["work-path"]) if given["work-path"] else "",
        status_fd=given["status-fd"],
        flags=flags_of(given),
    )
    checkpoint(request)
    return 0
