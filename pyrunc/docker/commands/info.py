"""pyr info, version: what is here."""

from __future__ import annotations

import sys

from pyrunc import __version__
from pyrunc.api.client import VERSION as API_VERSION
from pyrunc.docker.output import complain, emit, line
from pyrunc.docker.table import make_template, to_json
from pyrunc.docker.units import binary_size
from pyrunc.docker.words import Verb
from pyrunc.errors import PyruncError
from pyrunc.options import TEXT, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.docker.session import Session

_FORMAT = Flag(
    name="format", short="f", kind=TEXT, summary="json, or a template of Go's: '{{.Server.Version}}'."
)
INFO = Verb(name="info", summary="Show what the engine is like.", usage="[OPTIONS]", flags=(_FORMAT,))
VERSION = Verb(name="version", summary="Show versions.", usage="[OPTIONS]", flags=(_FORMAT,))


def _show(form: str, value: dict[str, Any]) -> None:
    line(to_json(value) if form == "json" else make_template(form).apply(value))


def version(session: Session, given: dict[str, Any]) -> int:
    """What is known of ourselves is shown even where no engine answers; the exit code tells."""
    client = {
        "Version": __version__,
        "ApiVersion": API_VERSION,
        "DefaultAPIVersion": API_VERSION,
        "PythonVersion": ".".join(str(part) for part in sys.version_info[:3]),
        "Os": "linux",
        "Context": "default",
    }
    failed: PyruncError | None = None
    server: dict[str, Any] | None = None
    try:
        server = session.get("/version")
    except PyruncError as error:
        failed = error
    if given["format"]:
        _show(given["format"], {"Client": client, "Server": server})
    else:
        emit(_version_text(client, server, is_local=session.is_local))
    if failed is not None:
        complain(str(failed))
    return int(failed is not None)


def _version_text(client: dict[str, Any], server: dict[str, Any] | None, *, is_local: bool) -> str:
    lines = [
        "Client: pyr",
        f" Version:           {client['Version']}",
        f" API version:       {client['ApiVersion']}",
        f" Python version:    {client['PythonVersion']}",
    ]
    if server is not None:
        lines += ["", "Server: in this process, for no daemon runs" if is_local else "Server:"]
        for part in server.get("Components") or ():
            lines += [f" {part['Name']}:", f"  Version:          {part['Version']}"]
            details = {name: text for name, text in (part.get("Details") or {}).items() if text}
            lines += [f"  {name + ':':<17} {text}" for name, text in details.items()]
    return "\n".join(lines) + "\n"


# label -> key of /info, and how it is shown
_LINES = (
    ("Containers", "Containers"), (" Running", "ContainersRunning"), (" Paused", "ContainersPaused"),
    (" Stopped", "ContainersStopped"), ("Images", "Images"), ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"), ("Logging Driver", "LoggingDriver"), ("Cgroup Driver", "CgroupDriver"),
    ("Cgroup Version", "CgroupVersion"), ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"), ("OSType", "OSType"), ("Architecture", "Architecture"),
    ("CPUs", "NCPU"), ("Total Memory", "MemTotal"), ("Name", "Name"), ("ID", "ID"),
    ("Docker Root Dir", "DockerRootDir"), ("Debug Mode", "Debug"), ("Experimental", "ExperimentalBuild"),
    ("Live Restore Enabled", "LiveRestoreEnabled"),
)  # fmt: skip


def info(session: Session, given: dict[str, Any]) -> int:
    found = session.get("/info")
    found["ClientInfo"] = {"Version": __version__, "Context": "default", "Debug": session.given["debug"]}
    if given["format"]:
        _show(given["format"], found)
        return 0
    emit(_info_text(found, is_local=session.is_local))
    for warning in found.get("Warnings") or ():
        complain(warning)
    return 0


def _info_text(found: dict[str, Any], *, is_local: bool) -> str:
    lines = ["Client: pyr", f" Version:    {__version__}", " Context:    default", ""]
    lines.append("Server: in this process, for no daemon runs" if is_local else "Server:")
    for label, key in _LINES:
        if key in found:
            lines.append(f" {label}: {_shown(key, found[key])}")
            if key == "Driver":
                lines += [f"  {name}: {text}" for name, text in found.get("DriverStatus") or ()]
    runtimes = " ".join(sorted(found.get("Runtimes") or {}))
    lines += [f" Runtimes: {runtimes}", f" Default Runtime: {found.get('DefaultRuntime', '')}"]
    lines += [" Security Options:", *(f"  {_option(text)}" for text in found.get("SecurityOptions") or ())]
    registries = (found.get("RegistryConfig") or {}).get("InsecureRegistryCIDRs") or ()
    lines += [" Insecure Registries:", *(f"  {text}" for text in registries)]
    labels = found.get("Labels") or ()
    lines += [" Labels:", *(f"  {text}" for text in labels)] if labels else []
    return "\n".join(lines) + "\n"


def _option(text: str) -> str:
    """Of "name=seccomp,profile=builtin": the name, and the rest below it."""
    name, *rest = text.split(",")
    return "\n".join((name.removeprefix("name="), *("   " + part.replace("=", ": ", 1) for part in rest)))


def _shown(key: str, value: Any) -> str:
    if key == "MemTotal":
        return binary_size(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


COMMANDS = {"info": (INFO, info), "version": (VERSION, version)}
