"""oci.validate: the ways in, and the rules of a process and of resources."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from pyrunc.errors import INVALID, UNSUPPORTED, PyruncError
from pyrunc.oci.processrules import PROCESS_CHECKS, Facts
from pyrunc.oci.rules import CHECKS
from pyrunc.oci.validate import (
    RESOURCE_CHECKS,
    WARNINGS,
    find_problems,
    parse_valid_config,
    parse_valid_process,
    parse_valid_resources,
)

Document = Callable[[str], dict[str, Any]]
NOTHING_IN_IT = {"cwd": "/", "args": ["sh"]}


def refusal(call: Callable[[], object]) -> PyruncError:
    with pytest.raises(PyruncError) as caught:
        call()
    return caught.value


# --- the ways in ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["runc-spec", "runc-spec-rootless", "crun-spec"])
def test_what_runtimes_write_is_valid(document: Document, name: str) -> None:
    config, warnings = parse_valid_config(document(name), Facts(is_rootless="rootless" in name))
    assert config.process is not None
    assert config.process.args == ("sh",)
    assert warnings == ()


def test_a_violation_of_the_schema_comes_with_all_the_others(document: Document) -> None:
    wrong = {**document("runc-spec"), "hostname": 3, "mounts": [{}, {"destination": 1}]}
    error = refusal(lambda: parse_valid_config(wrong, Facts()))
    assert str(error) == "config.json is not valid: /hostname: is not a string"
    assert error.kind == INVALID
    assert error.hint == "also: /mounts/0/destination is required; /mounts/1/destination is not a string"


def test_it_does_without_jsonschema(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a launcher that has only the modules of a plain call."""
    monkeypatch.setitem(sys.modules, "pyrunc.oci.explain", None)
    wrong = {**document("runc-spec"), "hostname": 3, "mounts": [{}]}
    error = refusal(lambda: parse_valid_config(wrong, Facts()))
    assert (str(error), error.hint) == ("config.json is not valid: /hostname: is not a string", "")
    problems, _ = find_problems(wrong, Facts())
    assert [problem.where for problem in problems] == ["/hostname"]


def test_what_is_not_an_object_at_all() -> None:
    assert (
        str(refusal(lambda: parse_valid_config([], Facts())))
        == "config.json is not valid: /: is not an object"
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda document: document.pop("process"), "process property must not be empty"),
        (lambda document: document.update(process=None), "process property must not be empty"),
        (lambda document: document["process"].pop("cwd"), "Cwd property must not be empty"),
        (lambda document: document["process"].update(cwd=""), "Cwd property must not be empty"),
        (lambda document: document["process"].update(cwd="tmp"), "Cwd must be an absolute path"),
        (lambda document: document["process"].pop("args"), "args must not be empty"),
        (lambda document: document["process"].update(args=[]), "args must not be empty"),
    ],
)
def test_sentences_that_callers_look_for_stand_alone(
    document: Document, change: Callable[[Any], object], sentence: str
) -> None:
    wrong = document("runc-spec")
    change(wrong)
    error = refusal(lambda: parse_valid_config(wrong, Facts()))
    assert (str(error), error.kind) == (sentence, INVALID)


def test_all_problems_at_once(document: Document) -> None:
    wrong = document("runc-spec")
    wrong["hooks"] = {"prestart": [{"path": "x"}]}
    wrong["process"].update(args=[], env=["A"])
    wrong["linux"]["resources"]["cpu"] = {"idle": 2}
    problems, warnings = find_problems({**wrong, "ociVersion": "1.9.0"}, Facts())
    assert [str(problem) for problem in problems] == [
        "config.json is not valid: /hooks/prestart/0/path: is not absolute",
        "args must not be empty",
        "config.json is not valid: /process/env/0: invalid environment variable: has no =",
        "config.json is not valid: /linux/resources/cpu/idle: is neither 0 nor 1",
    ]
    assert warnings == ("ociVersion is 1.9.0: what is newer than 1.3 will be ignored",)


def test_problems_of_the_schema_come_first(document: Document) -> None:
    problems, warnings = find_problems({"ociVersion": "", "mounts": [{}], "hostname": 1}, Facts())
    assert [problem.where for problem in problems] == ["/hostname", "/mounts/0/destination"]
    assert warnings == ()
    assert find_problems(document("runc-spec"), Facts()) == ([], ())
    assert find_problems({"ociVersion": "", "mounts": [{"destination": ""}]}, Facts())[0]


def test_no_valid_document_brings_the_explainer_in() -> None:
    """It imports json, re and jsonschema: a hundred milliseconds, on every create."""
    code = f"""
import sys; sys.path.insert(0, {str(Path(pyrunc.__file__).parents[1])!r})
from pyrunc.oci.default import default_document
from pyrunc.oci.processrules import Facts
from pyrunc.oci.validate import parse_valid_config
before = set(sys.modules)
parse_valid_config(default_document(rootless=False, uid=0, gid=0), Facts())
assert set(sys.modules) == before, set(sys.modules) - before
dear = ("json", "re", "jsonschema", "typing", "pyrunc.oci.explain")
print(*(name for name in dear if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-ISE", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")


# --- a process ------------------------------------------------------------------------------------


def rlimit(type: str, soft: int, hard: int) -> dict[str, Any]:
    return {"type": type, "soft": soft, "hard": hard}


@pytest.mark.parametrize(
    ("fields", "pointer", "why"),
    [
        ({"env": ["A=b", "A"]}, "/env/1", "has no ="),
        ({"env": ["=b"]}, "/env/0", "has no name"),
        ({"user": {"uid": 2**32 - 1}}, "/user/uid", "between 0 and 4294967294"),
        ({"user": {"gid": 2**32 - 1}}, "/user/gid", "between 0 and 4294967294"),
        ({"user": {"additionalGids": [1, 2**32 - 1]}}, "/user/additionalGids/1", "between 0 and 4294967294"),
        ({"terminal": True, "consoleSize": {"height": 1, "width": 65536}},
         "/consoleSize/width", "more than 65535"),
        ({"rlimits": [rlimit("RLIMIT_FOO", 1, 1)]}, "/rlimits/0/type", "RLIMIT_FOO is not a limit"),
        ({"rlimits": [rlimit("RLIMIT_AS", 1, 1), rlimit("RLIMIT_AS", 1, 1)]}, "/rlimits/1/type", "set twice"),
        ({"rlimits": [rlimit("RLIMIT_AS", 2, 1)]}, "/rlimits/0/soft", "more than the hard limit"),
        ({"oomScoreAdj": 1001}, "/oomScoreAdj", "between -1000 and 1000"),
        ({"scheduler": {"policy": "SCHED_OTHER", "nice": 20}}, "/scheduler/nice", "between -20 and 19"),
        ({"scheduler": {"policy": "SCHED_BATCH", "priority": 1}},
         "/scheduler/priority", "SCHED_BATCH has none"),
        ({"scheduler": {"policy": "SCHED_RR", "priority": 100}}, "/scheduler/priority", "between 0 and 99"),
        ({"scheduler": {"policy": "SCHED_FIFO", "deadline": 1}},
         "/scheduler/deadline", "SCHED_FIFO has none"),
        ({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}},
         "/ioPriority/priority", "between 0 and 7"),
        ({"execCPUAffinity": {"final": "0-8192"}}, "/execCPUAffinity/final", "not a list of CPUs"),
        ({"execCPUAffinity": {"initial": "1--2"}}, "/execCPUAffinity/initial", "not a list of CPUs"),
    ],
)  # fmt: skip
def test_a_broken_rule_of_a_process(
    document: Document, fields: dict[str, Any], pointer: str, why: str
) -> None:
    """The pointer starts at what was given: the object alone, or config.json."""
    alone = refusal(lambda: parse_valid_process({**NOTHING_IN_IT, **fields}, Facts()))
    assert (alone.kind, alone.what, alone.where) == (INVALID, "process is not valid", pointer)
    assert why in alone.why
    whole = document("runc-spec")
    whole["process"].update(fields)
    inside = refusal(lambda: parse_valid_config(whole, Facts()))
    assert (inside.what, inside.where) == ("config.json is not valid", f"/process{pointer}")
    assert inside.why == alone.why


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"env": ["A=", "A=b=c", "B= "]},
        {"user": {"uid": 2**32 - 2, "gid": 2**31, "additionalGids": [0]}},
        {"consoleSize": {"height": 99999, "width": 99999}},
        {"rlimits": [rlimit("RLIMIT_AS", 2**64 - 1, 2**64 - 1), rlimit("RLIMIT_CPU", 0, 0)]},
        {"oomScoreAdj": -1000},
        {"scheduler": {"policy": "SCHED_OTHER", "nice": -20}},
        {"scheduler": {"policy": "SCHED_FIFO", "priority": 99}},
        {"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}},
        {"ioPriority": {"class": "IOPRIO_CLASS_IDLE"}},
        {"execCPUAffinity": {"initial": "0-8191", "final": ""}},
    ],
)
def test_a_process_that_keeps_the_rules(fields: dict[str, Any]) -> None:
    process, warnings = parse_valid_process({**NOTHING_IN_IT, **fields}, Facts())
    assert (process.cwd, warnings) == ("/", ())


def test_a_process_alone_has_the_same_sentences() -> None:
    for wrong, sentence in (
        ({"args": ["x"]}, "Cwd property must not be empty"),
        ({"cwd": "x", "args": ["x"]}, "Cwd must be an absolute path"),
        ({"cwd": "/"}, "args must not be empty"),
    ):
        assert str(refusal(lambda wrong=wrong: parse_valid_process(wrong, Facts()))) == sentence
    error = refusal(lambda: parse_valid_process({"args": 1, "env": 1}, Facts()))
    assert error.hint == "/args is not a list; /env is not a list"


def test_a_process_alone_is_not_called_config_json() -> None:
    error = refusal(lambda: parse_valid_process({"cwd": "/", "args": ["a", 1], "env": {}}, Facts()))
    assert str(error) == "process is not valid: /args/1: is not a string"
    assert error.hint == "also: /env is not a list"


def test_a_security_module_that_the_host_lacks() -> None:
    for fields, facts, pointer in (
        ({"apparmorProfile": "p"}, Facts(has_apparmor=False), "/apparmorProfile"),
        ({"selinuxLabel": "l"}, Facts(has_selinux=False), "/selinuxLabel"),
    ):
        process = {**NOTHING_IN_IT, **fields}
        error = refusal(lambda process=process, facts=facts: parse_valid_process(process, facts))
        assert (error.kind, error.where) == (UNSUPPORTED, pointer)
        parse_valid_process(process, Facts())
    parse_valid_process(
        {**NOTHING_IN_IT, "apparmorProfile": "", "selinuxLabel": None},
        Facts(has_apparmor=False, has_selinux=False),
    )


# --- resources ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resources", "pointer", "why"),
    [
        ({"devices": [{"allow": True, "type": "u"}]}, "/devices/0/type", "not one of a, b, c"),
        ({"devices": [{"allow": True, "access": "rx"}]}, "/devices/0/access", "not made of r, w, m"),
        ({"devices": [{"allow": True, "major": -2}]}, "/devices/0/major", "not a device number"),
        ({"devices": [{"allow": True, "minor": 2**32}]}, "/devices/0/minor", "not a device number"),
        ({"memory": {"swappiness": 101}}, "/memory/swappiness", "between 0 and 100"),
        ({"cpu": {"idle": -1}}, "/cpu/idle", "neither 0 nor 1"),
        ({"blockIO": {"weight": 9}}, "/blockIO/weight", "between 10 and 1000"),
        ({"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}},
         "/blockIO/weightDevice/0", "neither weight nor"),
        ({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 1001}]}},
         "/blockIO/weightDevice/0/leafWeight", "between 10 and 1000"),
        ({"unified": {"cgroup/procs": "1"}}, "/unified/cgroup~1procs", "not the name of a file"),
        ({"unified": {"../memory.max": "1"}}, "/unified/..~1memory.max", "not the name of a file"),
        ({"unified": {".max": "1"}}, "/unified/.max", "not the name of a file"),
        ({"unified": {"memory": "1"}}, "/unified/memory", "not the name of a file"),
    ],
)  # fmt: skip
def test_a_broken_rule_of_resources(
    document: Document, resources: dict[str, Any], pointer: str, why: str
) -> None:
    alone = refusal(lambda: parse_valid_resources(resources, Facts()))
    assert (alone.kind, alone.what, alone.where) == (INVALID, "resources are not valid", pointer)
    assert why in alone.why
    whole = document("runc-spec")
    whole["linux"]["resources"] = resources
    inside = refusal(lambda: parse_valid_config(whole, Facts()))
    assert (inside.where, inside.why) == (f"/linux/resources{pointer}", alone.why)


def test_resources_that_keep_the_rules() -> None:
    parsed = parse_valid_resources(
        {
            "devices": [
                {"allow": False},
                {"allow": True, "type": "c", "major": 1, "minor": -1, "access": "m"},
            ],
            "memory": {"swappiness": 0, "limit": -1},
            "cpu": {"idle": 1},
            "blockIO": {
                "weight": 0,
                "leafWeight": 1000,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
            },
            "unified": {"memory.high": "max", "io.bfq.weight": "1"},
        },
        Facts(),
    )
    assert parsed.devices[1].minor is None
    assert parse_valid_resources({}, Facts(has_cgroup_v1=True)).unified == ()


def test_resources_of_the_wrong_shape() -> None:
    error = refusal(lambda: parse_valid_resources({"cpu": {"shares": "1"}, "pids": {}}, Facts()))
    assert str(error) == "resources are not valid: /cpu/shares: is not an integer"
    assert error.hint == "also: /pids/limit is required"


def test_unified_needs_cgroup_v2() -> None:
    error = refusal(lambda: parse_valid_resources({"unified": {"a.b": "c"}}, Facts(has_cgroup_v1=True)))
    assert (error.kind, error.where) == (UNSUPPORTED, "/unified/a.b")


# --- warnings -------------------------------------------------------------------------------------


def test_what_will_be_ignored_is_said(document: Document) -> None:
    config = document("runc-spec")
    config.update(ociVersion="1.4.0", windows={}, mounts=[{"destination": "data", "type": "tmpfs"}])
    config["process"]["capabilities"] = {"bounding": ["CAP_X", "CAP_KILL"], "ambient": ["CAP_X", "kill"]}
    config["linux"]["personality"] = {"domain": "LINUX", "flags": ["x"]}
    config["linux"]["resources"]["memory"] = {"kernel": 1}
    _, warnings = parse_valid_config(config, Facts())
    assert warnings == (
        "ociVersion is 1.4.0: what is newer than 1.3 will be ignored",
        "section windows says nothing to a Linux runtime and will be ignored",
        "capability CAP_X is unknown and will be ignored",
        "capability kill is unknown and will be ignored",
        "/mounts/0/destination is relative, which is deprecated, and taken from /",
        "/linux/personality/flags are not supported and will be ignored",
        "limits of kernel memory are obsolete and will be ignored",
    )


def test_a_process_alone_warns_of_capabilities() -> None:
    given = {**NOTHING_IN_IT, "capabilities": {"effective": ["CAP_NOPE"]}}
    assert parse_valid_process(given, Facts())[1] == ("capability CAP_NOPE is unknown and will be ignored",)


def test_every_rule_says_what_it_stands_for_and_is_in_its_list() -> None:
    from pyrunc.oci import rules, validate

    for check in (*CHECKS, *PROCESS_CHECKS, *RESOURCE_CHECKS, *WARNINGS):
        source = (check.__doc__ or "").split(":")[0]
        assert source.startswith(("config.md, ", "config-linux.md, ", "runc's")) or "(2)" in source, (
            check.__name__
        )
    written = {
        name
        for module in (rules, validate)
        for name in vars(module)
        if name.startswith(("check_", "warn_of_"))
    }
    listed = {check.__name__ for check in (*CHECKS, *PROCESS_CHECKS, *RESOURCE_CHECKS, *WARNINGS)}
    assert written - listed == set()
