"""pyrunc exec: run one more process in a running container."""

from __future__ import annotations

from pyrunc.cli.main import Settings
from pyrunc.options import NUMBER, NUMBERS, TEXT, TEXTS, Command, Flag, Operand
from pyrunc.runtime.exec import ExecRequest, exec_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    name="exec",
    summary="Run a process in a running container.",
    description="The exit code is the process's, 128 and the signal's number if one ended it; 255 says that "
    "it could not be run.",
    flags=(
        Flag(name="process", short="p", kind=TEXT, placeholder="FILE", summary="A process object, as JSON."),
        Flag(name="cwd", kind=TEXT, placeholder="DIR", summary="Where it starts."),
        Flag(name="env", short="e", kind=TEXTS, placeholder="NAME=VALUE", summary="Set in its environment."),
        Flag(name="tty", short="t", summary="Give it a terminal."),
        Flag(name="user", short="u", kind=TEXT, placeholder="UID[:GID]", summary="Who it runs as."),
        Flag(name="additional-gids", short="g", kind=NUMBERS, placeholder="GID", summary="A further group."),
        Flag(name="cap", short="c", kind=TEXTS, placeholder="NAME", summary="A further capability."),
        Flag(name="detach", short="d", summary="Don't wait for it."),
        Flag(name="pid-file", kind=TEXT, placeholder="PATH", summary="Where to write its process id."),
        Flag(name="console-socket", kind=TEXT, placeholder="PATH", summary="Where to send its terminal."),
        Flag(name="pidfd-socket", kind=TEXT, placeholder="PATH", summary="Where to send its pidfd."),
        Flag(name="process-label", kind=TEXT, placeholder="LABEL", summary="Its SELinux label."),
        Flag(name="apparmor", kind=TEXT, placeholder="PROFILE", summary="Its AppArmor profile."),
        Flag(name="no-new-privs", summary="It can't gain privileges by executing a set-user-id program."),
        Flag(name="preserve-fds", kind=NUMBER, placeholder="N", summary="Pass N more descriptors, from 3."),
        Flag(name="cgroup", kind=TEXT, placeholder="[NAME,…:]PATH", summary="One below the container's."),
        Flag(name="ignore-paused", summary="Also in a paused container, where it waits for resume."),
    ),
    operands=(
        Operand(name="container", completes="container"),
        Operand(name="command", required=False, many=True),
    ),
    examples=("pyrunc exec -t web sh", "pyrunc exec --env LANG=C --user 1000:1000 web ls -l /"),
    stops_at_operand=True,
    failure="exec failed",
    failure_code=255,
)


def main(settings: Settings, given: dict[str, Any]) -> int:
    request = ExecRequest(
        id=given["container"],
        state_root=settings.state_root,
        args=tuple(given["command"]),
        process_file=given["process"],
        env=given["env"],
        cwd=given["cwd"],
        user=given["user"],
        additional_gids=given["additional-gids"],
        caps=given["cap"],
        tty=given["tty"],
        detach=given["detach"],
        pid_file=given["pid-file"],
        console_socket=given["console-socket"],
        pidfd_socket=given["pidfd-socket"],
        process_label=given["process-label"],
        apparmor=given["apparmor"],
        no_new_privs=given["no-new-privs"] or None,
        preserve_fds=given["preserve-fds"],
        cgroup=given["cgroup"],
        ignore_paused=given["ignore-paused"],
        may_begin_anew=True,
    )
    return exec_process(request)
