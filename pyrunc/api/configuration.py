"""What the daemon is told: options, and daemon.json, which may not both say the same. Pure but for reading
it.

An entry has one meaning for both: a flag (`--dns`), and a key of the file (`dns`). Keys that Docker knows and
we do not are refused by name, for a setting that is read over is one that somebody relies on.
"""

from __future__ import annotations

from pyrunc import jsonio
from pyrunc.api.client import parse_address
from pyrunc.engine.hostconfig import LOG_DRIVERS, log_size
from pyrunc.engine.layout import Layout
from pyrunc.engine.settings import Settings
from pyrunc.errors import CONFLICT, INVALID, PyruncError, doing
from pyrunc.files import absolute, read_whole
from pyrunc.options import SWITCH, TEXT, TEXTS, Command, Flag
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_FILE = "/etc/pyrunc/daemon.json"
DEFAULT_HOST = "unix:///run/pyruncd.sock"

# name of the flag -> (key in the file, kind, what it is)
_ENTRIES: dict[str, tuple[str, str, str]] = {
    "host": ("hosts", TEXTS, f"Listen at unix:///path or tcp://address:port (default {DEFAULT_HOST})."),
    "data-root": ("data-root", TEXT, "Where images, containers and volumes are kept."),
    "exec-root": ("exec-root", TEXT, "Where state is that a reboot ends."),
    "pidfile": ("pidfile", TEXT, "Write our process id to this file."),
    "group": ("group", TEXT, "Who may use the unix socket (default docker, if there is one)."),
    "storage-driver": ("storage-driver", TEXT, "overlay2 or vfs (default: what the file system can)."),
    "insecure-registry": ("insecure-registries", TEXTS, "A registry to talk to without TLS, or checking it."),
    "registry-mirror": ("registry-mirrors", TEXTS, "Ask this mirror before docker.io."),
    "dns": ("dns", TEXTS, "Name server for containers."),
    "dns-search": ("dns-search", TEXTS, "Search domain for containers."),
    "dns-opt": ("dns-opts", TEXTS, "Resolver option for containers."),
    "icc": ("icc", SWITCH, "Do containers on the default network reach each other (default; --icc=false)."),
    "label": ("labels", TEXTS, "A label of this daemon, shown by `info`."),
    "log-driver": ("log-driver", TEXT, "Log driver of containers that ask for none."),
    "log-opt": ("log-opts", TEXTS, "max-size=10m, max-file=3: bounds of logs that ask for none."),
    "default-ulimit": ("default-ulimits", TEXTS, "nofile=1024:2048, for containers that ask for none."),
    "add-runtime": ("runtimes", TEXTS, "NAME=PATH of another OCI runtime."),
    "cgroup-parent": ("cgroup-parent", TEXT, "Parent of the containers' cgroups (default /pyrunc)."),
    "tls": ("tls", SWITCH, "TLS on tcp sockets; implied by --tlsverify."),
    "tlsverify": ("tlsverify", SWITCH, "TLS on tcp sockets, where clients show a certificate. The only way."),
    "tlscacert": ("tlscacert", TEXT, "Certificates that clients' are signed by."),
    "tlscert": ("tlscert", TEXT, "Our certificate."),
    "tlskey": ("tlskey", TEXT, "Its key."),
    "debug": ("debug", SWITCH, "Log in detail."),
    "network-table": ("network-table", TEXT, "Name of our nftables table, for a second daemon on one host."),
}  # fmt: skip
_SHORT = {"host": "H", "debug": "D"}
_UNTOLD = {"icc": ""}  # switches that are on unless somebody says otherwise: neither, until then

COMMAND = Command(
    name="pyruncd",
    summary="The container engine's daemon: Docker's API on a socket.",
    flags=(
        Flag(
            name="config-file",
            kind=TEXT,
            summary=f"Settings as JSON (default {DEFAULT_FILE}, if it is there).",
        ),
        Flag(name="version", short="v", summary="Show the version."),
        Flag(name="settle", summary="Clean up after containers that have ended, and end. For their shims."),
        *(
            Flag(name=name, kind=kind, summary=summary, short=_SHORT.get(name, ""), default=_UNTOLD.get(name))
            for name, (_, kind, summary) in _ENTRIES.items()
        ),
    ),
)


class Configuration(Record):
    hosts: tuple[str, ...]
    layout: Layout
    settings: Settings
    group: str = ""
    pidfile: str = ""
    tls: tuple[str, str, str] | None = None  # names of files: authority, certificate, key
    debug: bool = False
    settles: bool = False


def read_configuration(given: dict[str, Any]) -> Configuration:
    """`given`: by COMMAND.parse. Raises PyruncError INVALID, or CONFLICT, which names both."""
    path = given["config-file"] or DEFAULT_FILE
    try:
        data = read_whole(path)
    except FileNotFoundError:
        if given["config-file"]:
            with doing("read the configuration", path):
                raise
        data = b"{}"
    return make_configuration(given, jsonio.loads(data, path), path)


def make_configuration(given: dict[str, Any], document: Any, path: str) -> Configuration:
    """Pure. `document`: what the file at `path` holds."""
    if type(document) is not dict:
        raise PyruncError(INVALID, "the configuration is no JSON object", path)
    merged = _merge(given, document, path)
    tls = _tls(merged)
    hosts = merged["hosts"] or (DEFAULT_HOST,)
    for host in hosts:
        if parse_address(host)[0] == "tcp" and tls is None:
            raise PyruncError(
                INVALID,
                "a tcp socket without TLS client certificates would give root to everybody",
                host,
                hint="--tlsverify with --tlscacert, --tlscert and --tlskey",
            )
    return Configuration(
        hosts=tuple(hosts),
        layout=Layout(
            data_root=absolute(merged["data-root"] or Layout().data_root),
            run_root=absolute(merged["exec-root"] or Layout().run_root),
        ),
        settings=_settings(merged),
        group=merged["group"],
        pidfile=merged["pidfile"],
        tls=tls,
        debug=bool(merged["debug"]),
        settles=given["settle"],
    )


def _merge(given: dict[str, Any], document: dict[str, Any], path: str) -> dict[str, Any]:
    """By the file's keys."""
    known = {key: (name, kind) for name, (key, kind, _) in _ENTRIES.items()}
    fixed = {"live-restore": True, "exec-opts": ["native.cgroupdriver=cgroupfs"]}
    for key, value in document.items():
        if key in fixed and value == fixed[key]:
            continue
        if key not in known:
            raise PyruncError(
                INVALID,
                f"unable to configure the daemon with file {path}: the following directives don't match any "
                f"configuration option: {key}",
            )
    merged = {}
    for key, (name, kind) in known.items():
        flag = given[name]
        if key not in document:
            merged[key] = True if name in _UNTOLD and flag == "" else flag
            continue
        value = document[key]
        if flag != "" if name in _UNTOLD else flag:
            raise PyruncError(
                CONFLICT,
                f"unable to configure the daemon with file {path}: the following directives are specified "
                f"both as a flag and in the configuration file: {key}: (from flag: {_shown(flag)}, "
                f"from file: {_shown(value)})",
            )
        merged[key] = _typed(key, kind, value, path)
    return merged


def _shown(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if type(value) in (list, tuple) else str(value)


def _typed(key: str, kind: str, value: Any, path: str) -> Any:
    """log-opts, default-ulimits and runtimes are objects in the file; as words elsewhere."""
    if kind == TEXTS and type(value) is dict:
        try:
            return tuple(_words_of(key, name, one) for name, one in value.items())
        except (KeyError, TypeError):
            raise PyruncError(INVALID, f"invalid value of {key}", path) from None
    if kind == TEXTS and type(value) is list and all(type(one) is str for one in value):
        return tuple(value)
    if (kind == TEXT and type(value) is str) or (kind == SWITCH and type(value) is bool):
        return value
    raise PyruncError(INVALID, f"invalid value of {key}", path)


def _words_of(key: str, name: str, value: Any) -> str:
    if key == "runtimes":
        return f"{name}={value['path']}"
    if key == "default-ulimits":
        return f"{name}={value['Soft']}:{value['Hard']}"
    return f"{name}={value}"


def _tls(merged: dict[str, Any]) -> tuple[str, str, str] | None:
    files = merged["tlscacert"], merged["tlscert"], merged["tlskey"]
    if merged["tls"] and not merged["tlsverify"]:
        raise PyruncError(INVALID, "--tls alone would let everybody in", hint="--tlsverify")
    if not merged["tlsverify"]:
        return None
    if not all(files):
        raise PyruncError(INVALID, "--tlsverify needs --tlscacert, --tlscert and --tlskey")
    return files


_DRIVERS = {"": "", "overlay2": "overlay", "overlay": "overlay", "vfs": "plain"}


def _settings(merged: dict[str, Any]) -> Settings:
    if merged["storage-driver"] not in _DRIVERS:
        raise PyruncError(INVALID, "unknown storage driver", merged["storage-driver"], hint="overlay2 or vfs")
    driver = merged["log-driver"] or "json-file"
    if driver not in LOG_DRIVERS:
        raise PyruncError(INVALID, "unknown log driver", driver, hint=f"one of {', '.join(LOG_DRIVERS)}")
    log = dict(_pair(word) for word in merged["log-opts"])
    unknown = set(log) - {"max-size", "max-file"}
    if unknown:
        raise PyruncError(INVALID, f"unknown log opt '{min(unknown)}' for {driver} log driver")
    defaults = Settings()
    size = log_size(log["max-size"]) if "max-size" in log else defaults.log_size_bytes
    files = int(log["max-file"]) if log.get("max-file", "").isdigit() else defaults.log_files
    return Settings(
        runtimes=dict(_pair(word) for word in merged["runtimes"]),
        storage_driver=_DRIVERS[merged["storage-driver"]],
        log_driver=driver,
        log_size_bytes=size,
        log_files=files,
        cgroup_parent=merged["cgroup-parent"] or defaults.cgroup_parent,
        network_table=merged["network-table"] or defaults.network_table,
        default_ulimits=dict(_ulimit(word) for word in merged["default-ulimits"]),
        insecure_registries=tuple(merged["insecure-registries"]),
        registry_mirrors=tuple(merged["registry-mirrors"]),
        dns=tuple(merged["dns"]),
        dns_search=tuple(merged["dns-search"]),
        dns_options=tuple(merged["dns-opts"]),
        icc=merged["icc"],
        labels=tuple(merged["labels"]),
    )


def _pair(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals or not name or not value:
        raise PyruncError(INVALID, f"invalid setting: {word}", hint="NAME=VALUE")
    return name, value


def _ulimit(word: str) -> tuple[str, tuple[int, int]]:
    name, value = _pair(word)
    soft, _, hard = value.partition(":")
    try:
        return name, (int(soft), int(hard or soft))
    except ValueError:
        raise PyruncError(INVALID, f"invalid ulimit: {word}") from None
