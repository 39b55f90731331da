"""pyrunc create: everything up to the container's own program, which waits for `start`.

Stdout here is the container's: nothing may be printed.
"""

from __future__ import annotations

from pyrunc.cli.main import Settings, load
from pyrunc.files import absolute
from pyrunc.options import NUMBER, TEXT, Command, Flag, Operand
from pyrunc.runtime.create import CreateRequest, create

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = (
    Flag(name="bundle", short="b", kind=TEXT, placeholder="DIR", summary="The bundle (default: here)."),
    Flag(name="config", short="f", kind=TEXT, placeholder="FILE", summary="Instead of its config.json."),
    Flag(name="console-socket", kind=TEXT, placeholder="PATH", summary="Where to send the terminal."),
    Flag(name="pidfd-socket", kind=TEXT, placeholder="PATH", summary="Where to send init's pidfd."),
    Flag(name="pid-file", kind=TEXT, placeholder="PATH", summary="Where to write init's process id."),
    Flag(name="no-pivot", summary="chroot instead of pivot_root, for a rootfs on a ramdisk. Weaker."),
    Flag(name="no-new-keyring", summary="Leave the container in the caller's session keyring."),
    Flag(name="preserve-fds", kind=NUMBER, placeholder="N", summary="Pass N descriptors more, from 3 on."),
)
SHIM_FLAGS = (
    Flag(name="init", summary="Run the program under a small init, which reaps and passes signals on."),
    Flag(name="shim", summary="Leave a shim behind, for `logs`, `wait` and `attach`."),
    Flag(name="interactive", short="i", summary="With --shim: keep stdin open, for `attach`."),
    Flag(name="log-driver", kind=TEXT, default="json-file", choices=("json-file", "local", "none"),
         summary="With --shim: how output is written down."),
    Flag(name="log-max-size", kind=TEXT, placeholder="BYTES", summary="With --shim: begin another log then."),
    Flag(name="log-max-file", kind=NUMBER, placeholder="N", summary="With --shim: keep so many logs."),
    Flag(name="restart", kind=TEXT, default="no", placeholder="POLICY",
         choices=("no", "always", "unless-stopped", "on-failure"),
         summary="With --shim: start it again when it has ended; on-failure:N, at most N times."),
)  # fmt: skip
COMMAND = Command(
    name="create",
    summary="Create a container; `start` then runs its program.",
    flags=(*FLAGS, *SHIM_FLAGS),
    operands=(Operand(name="container"),),
    examples=("pyrunc create --bundle /containers/web web",),
    failure="pyrunc create failed",
)


def request_of(settings: Settings, given: dict[str, Any]) -> CreateRequest:
    return CreateRequest(
        id=given["container"],
        bundle=absolute(given["bundle"]),
        state_root=settings.state_root,
        config_file=absolute(given["config"]) if given["config"] else "",
        pid_file=given["pid-file"],
        console_socket=given["console-socket"],
        pidfd_socket=given["pidfd-socket"],
        no_pivot=given["no-pivot"],
        no_new_keyring=given["no-new-keyring"],
        init=given["init"],
        preserve_fds=given["preserve-fds"],
        cgroup_manager=settings.cgroup_manager,
        rootless=settings.rootless,
        may_begin_anew=True,
    )


def main(settings: Settings, given: dict[str, Any]) -> int:
    if given["shim"]:
        load("pyrunc.cli.shims").launch(settings, given, starts=False)
    else:
        create(request_of(settings, given))
    return 0
