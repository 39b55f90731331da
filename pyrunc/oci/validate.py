"""Is this a config.json that we can run? The schema first, then the rules that no schema can say.

Here are the ways in, and the rules of resources, RESOURCE_CHECKS, which also come alone (`update
--resources`): of the same kind as `oci.rules`. WARNINGS give sentences about what will be ignored.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.oci import schema_check
from pyrunc.oci.config import (
    CAPABILITIES,
    Config,
    Process,
    Resources,
    parse_config,
    parse_process,
    parse_resources,
)
from pyrunc.oci.node import NOT_VALID, Node, escape
from pyrunc.oci.processrules import (
    PROCESS_CHECKS,
    Facts,
    wrong,
)
from pyrunc.oci.rules import CHECKS, semantic_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyrunc.oci.rare import BlockIo, WeightDevice

PROCESS_NOT_VALID, RESOURCES_NOT_VALID = "process is not valid", "resources are not valid"
KNOWN_VERSION = (1, 3)

# What runc says, and its callers and tests look for, where our schema has the first word.
_SENTENCES = {"/process/cwd": "Cwd property must not be empty", "/cwd": "Cwd property must not be empty"}


def parse_valid_config(document: object, facts: Facts) -> tuple[Config, tuple[str, ...]]:
    """The whole of it: schema, parsing, rules. With the config come warnings, sentences for the log.

    Raises PyruncError INVALID, or UNSUPPORTED for what this host lacks.
    """
    require_schema(document)
    config = parse_config(document)  # type: ignore[arg-type]  # the schema has seen that it is an object
    for check in CHECKS:
        check(config, facts)
    if config.process is not None:
        for process_check in PROCESS_CHECKS:
            process_check(config.process, facts)
    if config.linux.resources is not None:
        for resource_check in RESOURCE_CHECKS:
            resource_check(config.linux.resources, facts)
    return config, tuple(sentence for warn in WARNINGS for sentence in warn(config, facts))


def parse_valid_process(document: object, facts: Facts) -> tuple[Process, tuple[str, ...]]:
    """The same for a process object alone (`exec --process`). Pointers start at that object."""
    require_schema(document, schema_check.check_process, "PROCESS", PROCESS_NOT_VALID)
    try:
        process = parse_process(Node(document))
        for check in PROCESS_CHECKS:
            check(process, facts)
    except PyruncError as error:
        raise _renamed(error, PROCESS_NOT_VALID) from None
    return process, tuple(_unknown_capabilities(process))


def parse_valid_resources(document: object, facts: Facts) -> Resources:
    """The same for a resources object alone (`update --resources`). Pointers start at that object."""
    require_schema(document, schema_check.check_resources, "RESOURCES", RESOURCES_NOT_VALID)
    try:
        resources = parse_resources(Node(document))
        for check in RESOURCE_CHECKS:
            check(resources, facts)
    except PyruncError as error:
        raise _renamed(error, RESOURCES_NOT_VALID) from None
    return resources


def require_schema(
    document: object,
    check: Callable[[object], tuple[str, str] | None] = schema_check.check,
    part: str = "CONFIG",
    what: str = NOT_VALID,
) -> None:
    """Raises PyruncError INVALID: the first violation, and in the hint what else is wrong."""
    violation = check(document)
    if violation is None:
        return
    others = [found for found in _explain(document, part) if found != violation]
    pointer, why = violation
    hint = "; ".join(f"{other or '/'} {reason}" for other, reason in others)
    if why == "is required" and pointer in _SENTENCES:
        raise PyruncError(INVALID, _SENTENCES[pointer], hint=hint)
    raise PyruncError(INVALID, what, pointer or "/", why, hint and f"also: {hint}")


def _explain(document: object, part: str) -> tuple[tuple[str, str], ...]:
    """What jsonschema says, fetched by name: only a document that is turned down needs it. A launcher with
    nothing but the modules of a plain call in it has no such module, and does with the first violation."""
    try:
        explain: Any = __import__("pyrunc.oci.explain", fromlist=("",))
    except ImportError:
        return ()
    found: tuple[tuple[str, str], ...] = explain.explain(document, getattr(explain, part))
    return found


def find_problems(document: object, facts: Facts) -> tuple[list[PyruncError], tuple[str, ...]]:
    """All that is wrong, one error per violation or rule, and the warnings: for `pyrunc validate`, which
    can take its time. Rules are tried only on what the schema lets pass."""
    violation = schema_check.check(document)
    if violation is not None:
        found = _explain(document, "CONFIG") or (violation,)
        return [PyruncError(INVALID, NOT_VALID, pointer or "/", why) for pointer, why in found], ()
    config = parse_config(document)  # type: ignore[arg-type]  # as above
    problems = [_problem(check, config, facts) for check in CHECKS]
    if config.process is not None:
        problems += [_problem(check, config.process, facts) for check in PROCESS_CHECKS]
    if config.linux.resources is not None:
        problems += [_problem(check, config.linux.resources, facts) for check in RESOURCE_CHECKS]
    warnings = tuple(sentence for warn in WARNINGS for sentence in warn(config, facts))
    return [problem for problem in problems if problem is not None], warnings


def _problem(check: Callable[[Any, Facts], None], subject: Any, facts: Facts) -> PyruncError | None:
    try:
        check(subject, facts)
    except PyruncError as error:
        return error
    return None


def _renamed(error: PyruncError, what: str) -> PyruncError:
    if error.what != NOT_VALID:
        return error
    return PyruncError(error.kind, what, error.where, error.why, error.hint)


# --- a process ------------------------------------------------------------------------------------


# --- resources ------------------------------------------------------------------------------------


def check_device_rules(resources: Resources, _facts: Facts) -> None:
    """config-linux.md, "Device allowlist": type a, b or c; access of r, w and m; -1 is every number."""
    for rule in resources.devices:
        if rule.type not in ("a", "b", "c"):
            raise wrong(f"{rule.origin}/type", "is not one of a, b, c")
        if rule.access.strip("rwm"):
            raise wrong(f"{rule.origin}/access", "is not made of r, w, m")
        for name, number in (("major", rule.major), ("minor", rule.minor)):
            if number is not None and not 0 <= number < 1 << 32:
                raise wrong(f"{rule.origin}/{name}", "is not a device number")


def check_memory(resources: Resources, _facts: Facts) -> None:
    """config-linux.md, "Memory": swappiness goes from 0 to 100."""
    if resources.memory and (resources.memory.swappiness or 0) > 100:
        raise wrong(f"{resources.memory.origin}/swappiness", "is not between 0 and 100")


def check_cpu(resources: Resources, _facts: Facts) -> None:
    """config-linux.md, "CPU": idle is 0 or 1."""
    if resources.cpu and resources.cpu.idle not in (None, 0, 1):
        raise wrong(f"{resources.cpu.origin}/idle", "is neither 0 nor 1")


def check_block_io(resources: Resources, _facts: Facts) -> None:
    """config-linux.md, "Block IO": weights go from 10 to 1000, and of a device's one at least is given; 0 is
    what Go writes for none."""
    block_io = resources.block_io
    if block_io is None:
        return
    for device in block_io.weight_device:
        if device.weight is None and device.leaf_weight is None:
            raise wrong(device.origin, "has neither weight nor leafWeight")
    entries: tuple[BlockIo | WeightDevice, ...] = (block_io, *block_io.weight_device)
    for entry in entries:
        for name, weight in (("weight", entry.weight), ("leafWeight", entry.leaf_weight)):
            if weight and not 10 <= weight <= 1000:
                raise wrong(f"{entry.origin}/{name}", "is not between 10 and 1000")


def check_unified(resources: Resources, facts: Facts) -> None:
    """config-linux.md, "Unified": files of a cgroup v2: CONTROLLER.NAME, nothing that leads elsewhere."""
    for name, _ in resources.unified:
        pointer = f"{resources.origin}/unified/{escape(name)}"
        if facts.has_cgroup_v1:
            raise wrong(pointer, "needs cgroup v2", UNSUPPORTED)
        if "/" in name or name.find(".") < 1:
            raise wrong(pointer, "is not the name of a file of a controller")


RESOURCE_CHECKS = (check_device_rules, check_memory, check_cpu, check_block_io, check_unified)


# --- what will be ignored -------------------------------------------------------------------------


def warn_of_version(config: Config, _facts: Facts) -> Iterator[str]:
    """config.md, "Specification version": a newer minor is compatible, what it added does nothing here."""
    version = semantic_version(config.oci_version)
    if version is not None and version > KNOWN_VERSION:
        yield f"ociVersion is {config.oci_version}: what is newer than 1.{KNOWN_VERSION[1]} will be ignored"


def warn_of_other_platforms(config: Config, _facts: Facts) -> Iterator[str]:
    """config.md, "Platform-specific configuration"."""
    for name in config.other_platforms:
        yield f"section {name} says nothing to a Linux runtime and will be ignored"


def warn_of_capabilities(config: Config, _facts: Facts) -> Iterator[str]:
    """config.md, "Linux Process": one that cannot be granted SHOULD be warned of, not an error."""
    if config.process is not None:
        yield from _unknown_capabilities(config.process)


def _unknown_capabilities(process: Process) -> Iterator[str]:
    given = process.capabilities
    if given is not None:
        sets = given.bounding, given.effective, given.permitted, given.inheritable, given.ambient
        for name in dict.fromkeys(name for names in sets for name in names):
            if name not in CAPABILITIES:
                yield f"capability {name} is unknown and will be ignored"


def warn_of_destinations(config: Config, _facts: Facts) -> Iterator[str]:
    """config.md, "Mounts": relative to the root, deprecated in 1.2."""
    for mount in config.mounts:
        if mount.destination[:1] != "/":
            yield f"{mount.origin}/destination is relative, which is deprecated, and taken from /"


def warn_of_personality(config: Config, _facts: Facts) -> Iterator[str]:
    """config-linux.md, "Personality": no flags are supported yet."""
    if config.linux.personality and config.linux.personality.flags:
        yield "/linux/personality/flags are not supported and will be ignored"


def warn_of_kernel_memory(config: Config, _facts: Facts) -> Iterator[str]:
    """config-linux.md, "Memory": kernel and kernelTCP are gone from the kernel or never worked."""
    memory = config.linux.resources and config.linux.resources.memory
    if memory and (memory.kernel is not None or memory.kernel_tcp is not None):
        yield "limits of kernel memory are obsolete and will be ignored"


def warn_of_mount_label(config: Config, facts: Facts) -> Iterator[str]:
    """config-linux.md, "Mount Label"."""
    if config.linux.mount_label and not facts.has_selinux:
        yield "/linux/mountLabel will be ignored: SELinux is not enabled on this host"


def warn_of_mounts_without_a_namespace(config: Config, _facts: Facts) -> Iterator[str]:
    """config.md, "Mounts": they would be the host's, and stay when the container is gone."""
    if config.mounts and not any(item.type == "mount" for item in config.linux.namespaces):
        yield "/mounts and devices will be ignored: there is no mount namespace"


WARNINGS = (
    warn_of_version,
    warn_of_other_platforms,
    warn_of_capabilities,
    warn_of_destinations,
    warn_of_personality,
    warn_of_kernel_memory,
    warn_of_mount_label,
    warn_of_mounts_without_a_namespace,
)
