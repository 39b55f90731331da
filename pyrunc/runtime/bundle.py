"""A bundle: the directory with config.json and, usually, the root filesystem."""

from __future__ import annotations

import posix
from stat import S_ISDIR, S_ISLNK

from pyrunc import jsonio, log
from pyrunc.errors import INVALID, NOT_FOUND, PyruncError, describe_errno, doing
from pyrunc.files import read_whole
from pyrunc.oci.config import Config
from pyrunc.oci.processrules import Facts as RuleFacts
from pyrunc.oci.rules import NAMESPACE_FILES
from pyrunc.oci.validate import parse_valid_config
from pyrunc.plan.facts import HostFacts
from pyrunc.record import Record
from pyrunc.runtime.rulefacts import rule_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.runtime.configcache import ConfigCache


class Bundle(Record):
    """`text`: config.json as it was read; `rootfs`: absolute, and it is there; `memo`: what was planned from
    this very config, kept as long as that is."""

    path: str
    text: bytes
    config: Config
    rootfs: str
    memo: dict[str, Any]


def read_document(path: str, file: str = "") -> tuple[bytes, Any]:
    """config.json of the bundle at `path`, or another `file`, as text and parsed. Raises PyruncError."""
    try:
        posix.stat(path)
    except OSError as error:
        raise PyruncError(NOT_FOUND, f"chdir {path}: {describe_errno(error.errno or 0)}") from None
    file = file or f"{path}/config.json"
    try:
        text = read_whole(file)
    except FileNotFoundError:
        raise PyruncError(
            NOT_FOUND,
            "JSON specification file config.json not found",
            file.removesuffix("/config.json"),
            hint="make one with: pyrunc spec --bundle DIR",
        ) from None
    except OSError as error:
        raise PyruncError.from_errno(error.errno or 0, "read config.json", file) from error
    return text, jsonio.loads(text, file)


def load(path: str, facts: HostFacts, cache: ConfigCache | None = None, config_file: str = "") -> Bundle:
    """Read, validate and parse. What will be ignored is said in the log. Raises PyruncError."""
    rules = rule_facts(facts)
    if cache is None or config_file:
        text, config, warnings, memo = _read_valid(path, rules, config_file)
    else:
        file = f"{path}/config.json"
        text, config, warnings, memo = cache.get(file, rules, lambda: _read_valid(path, rules))
        if any(item.path for item in config.linux.namespaces):
            # which namespaces those are may have changed, though the file has not
            text, config, warnings, memo = _read_valid(path, rules)
    for warning in warnings:
        log.warning(warning)
    return Bundle(path=path, text=text, config=config, rootfs=_find_rootfs(path, config), memo=memo)


def _read_valid(
    path: str, rules: RuleFacts, config_file: str = ""
) -> tuple[bytes, Config, tuple[str, ...], dict[str, Any]]:
    """As read, as parsed, what is to be said of it, and an empty memo."""
    text, document = read_document(path, config_file)
    if rules.is_rootless:
        module: Any = __import__("pyrunc.runtime.ownuser", fromlist=("",))  # not for root's containers
        changed = module.with_user_namespace(document, posix.geteuid(), posix.getegid())
        if changed is not document:
            document, text = changed, jsonio.dumps(changed).encode("utf-8", "surrogateescape")
    host_namespaces = _host_namespaces(document)
    if host_namespaces:
        rules = RuleFacts(**{**rules.__dict__, "host_namespaces": host_namespaces})
    config, warnings = parse_valid_config(document, rules)
    return text, config, tuple(warnings), {}


def _host_namespaces(document: Any) -> tuple[str, ...]:
    """Types of namespaces given by path that are our own: a sysctl there would be the host's."""
    if type(document) is not dict:
        return ()
    linux = document.get("linux")
    entries = linux.get("namespaces") if type(linux) is dict else None
    found = []
    for entry in entries if type(entries) is list else ():
        if type(entry) is dict and type(entry.get("path")) is str and entry["path"]:
            name = NAMESPACE_FILES.get(str(entry.get("type")), "")
            try:
                given, ours = posix.stat(entry["path"]), posix.stat(f"/proc/self/ns/{name}")
            except (OSError, ValueError):
                continue
            if (given.st_dev, given.st_ino) == (ours.st_dev, ours.st_ino):
                found.append(entry["type"])
    return tuple(found)


def _find_rootfs(bundle: str, config: Config) -> str:
    """A symlink as the root is resolved once, here. Raises PyruncError with the pointer."""
    if config.root is None:
        raise PyruncError(INVALID, "config.json is not valid", "/root", "is required")
    path = config.root.path if config.root.path.startswith("/") else f"{bundle}/{config.root.path}"
    with doing("invalid rootfs", f"/root/path: {path}"):
        found = posix.stat(path)
        if S_ISLNK(posix.lstat(path.rstrip("/") or "/").st_mode):
            path = _resolve(path)
    if not S_ISDIR(found.st_mode):
        raise PyruncError(INVALID, "invalid rootfs", "/root/path", f"{path} is not a directory")
    return path


def _resolve(path: str) -> str:
    """The name that the kernel has for a directory."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        return posix.readlink(f"/proc/self/fd/{fd}")
    finally:
        posix.close(fd)
