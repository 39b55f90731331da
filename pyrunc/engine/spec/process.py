"""`process` of config.json: what is executed, as whom, with which rights and limits."""

from __future__ import annotations

from pyrunc.engine.hostconfig import merge_environment
from pyrunc.engine.spec import capabilities
from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.engine.model import Container
    from pyrunc.engine.spec.facts import Facts, User

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip


def command_of(config: dict[str, Any]) -> list[str]:
    return [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]


def environment_of(container: Container, facts: Facts) -> list[str]:
    base = [DEFAULT_PATH, f"HOSTNAME={facts.hostname}"]
    if container.has_terminal:
        base.append("TERM=xterm")
    return merge_environment(base, container.config["Env"])


def make_process(container: Container, facts: Facts) -> dict[str, Any]:
    """Raises PyruncError INVALID."""
    config, host = container.config, container.host
    process: dict[str, Any] = {
        "terminal": container.has_terminal,
        "user": make_user(facts.user),
        "args": command_of(config),
        "env": environment_of(container, facts),
        "cwd": config["WorkingDir"] or "/",
        "capabilities": make_capabilities(host, facts.user, facts.bounding),
        "noNewPrivileges": security_option(host, "no-new-privileges", "false") != "false",
        "oomScoreAdj": host["OomScoreAdj"],
    }
    if host["ConsoleSize"] and any(host["ConsoleSize"]):
        process["consoleSize"] = {"height": host["ConsoleSize"][0], "width": host["ConsoleSize"][1]}
    limits = make_limits(host["Ulimits"] or [], facts.limits)
    if limits:
        process["rlimits"] = limits
    profile = apparmor_profile(host, facts)
    if profile:
        process["apparmorProfile"] = profile
    return process


def make_user(user: User) -> dict[str, Any]:
    made: dict[str, Any] = {"uid": user.uid, "gid": user.gid}
    if user.groups:
        made["additionalGids"] = list(user.groups)
    return made


def make_capabilities(host: dict[str, Any], user: User, bounding: frozenset[str]) -> dict[str, list[str]]:
    """A user who isn't root has them in the bounding set alone, as execve(2) would leave it."""
    chosen = list(
        capabilities.choose(
            add=host["CapAdd"] or (),
            drop=host["CapDrop"] or (),
            is_privileged=host["Privileged"],
            bounding=bounding,
        )
    )
    if user.uid:
        return {"bounding": chosen}
    return {"bounding": chosen, "effective": chosen, "permitted": chosen}


def make_limits(ulimits: list[dict[str, Any]], ours: dict[str, int]) -> list[dict[str, Any]]:
    """Not above our own hard limits where we may not raise them (`ours` holds just those)."""
    made = []
    for limit in ulimits:
        name = str(limit.get("Name", "")).lower()
        if name not in _LIMITS:
            raise PyruncError(INVALID, f"invalid ulimit type: {limit.get('Name')}")
        soft, hard = limit.get("Soft") or 0, limit.get("Hard") or 0
        if hard >= 0 and (soft > hard or soft < 0):
            raise PyruncError(
                INVALID, f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )
        kind = f"RLIMIT_{name.upper()}"
        most = ours.get(kind, -1)
        made.append({"type": kind, "soft": _clamp(soft, most), "hard": _clamp(hard, most)})
    return made


def _clamp(value: int, most: int) -> int:
    """-1 is no limit, which config.json says as the largest number."""
    if most >= 0:
        return most if value < 0 else min(value, most)
    return value if value >= 0 else (1 << 64) - 1


def security_option(host: dict[str, Any], name: str, default: str = "") -> str:
    """The last of --security-opt NAME=value, NAME:value or NAME alone, which is "true"."""
    found = default
    for option in host["SecurityOpt"] or ():
        word, equals, value = option.partition("=")
        if not equals:
            word, _, value = option.partition(":")
        if word == name:
            found = value or "true"
    return found


def require_security_options(host: dict[str, Any]) -> None:
    """Raises PyruncError INVALID for one that is not known."""
    for option in host["SecurityOpt"] or ():
        name = option.partition("=")[0].partition(":")[0]
        if name not in (
            "no-new-privileges",
            "seccomp",
            "apparmor",
            "label",
            "systempaths",
            "writable-cgroups",
        ):
            raise PyruncError(INVALID, f'invalid --security-opt 2: "{option}"')


def apparmor_profile(host: dict[str, Any], facts: Facts) -> str:
    """One that was asked for, where there is AppArmor. We bring no profile of our own."""
    wanted = security_option(host, "apparmor", "unconfined")
    return "" if wanted == "unconfined" or not facts.has_apparmor else wanted
