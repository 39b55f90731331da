"""engine.spec.seccomp: our default profile beside Docker's, which programs were written against."""

from __future__ import annotations

import json

import pytest
from support import seccomp_profiles

from pyrunc.engine.spec import seccomp
from pyrunc.engine.spec.capabilities import ALL, DEFAULT

# What Docker 20.10 allows, and later versions no longer: exploits of io_uring came one after the other
NOT_WITH_US = {"clone3", "io_uring_enter", "io_uring_register", "io_uring_setup"}
# What we allow and Docker 20.10 does not: newer than it, without any power, or old forms of what it allows
ALLOWED_BY_US = {
    "cachestat", "fchmodat2", "futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "getxattrat",
    "listxattrat", "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "landlock_add_rule",
    "landlock_create_ruleset", "landlock_restrict_self", "map_shadow_stack", "memfd_secret", "mseal",
    "process_mrelease", "removexattrat", "setxattrat", "file_getattr", "file_setattr", "open_tree_attr",
    "pkey_alloc", "pkey_free", "pkey_mprotect", "epoll_wait_old", "sched_rr_get_interval_time64", "listns",
    "rseq_slice_yield", "name_to_handle_at", "nice", "oldfstat", "oldlstat", "oldolduname", "oldstat",
    "olduname", "process_vm_readv", "process_vm_writev", "readdir", "sigaction", "signal", "sigpending",
    "sigsuspend", "ulimit",
}  # fmt: skip


def names_with(profile: dict, action: str) -> set[str]:
    return {name for rule in profile["syscalls"] if rule["action"] == action for name in rule["names"]}


def ours(capabilities=DEFAULT) -> dict:
    return seccomp.default_profile("x86_64", capabilities)


@pytest.mark.parametrize("capabilities", [DEFAULT, (*DEFAULT, "CAP_SYS_ADMIN"), ALL])
def test_whatever_docker_allows_we_do(capabilities):
    docker = names_with(seccomp_profiles.load("docker", capabilities=capabilities), "SCMP_ACT_ALLOW")
    known = set(seccomp.known_calls("x86_64"))
    assert (docker & known) - names_with(ours(capabilities), "SCMP_ACT_ALLOW") <= NOT_WITH_US


def test_what_we_allow_and_docker_does_not_is_on_purpose():
    docker = names_with(seccomp_profiles.load("docker", capabilities=DEFAULT), "SCMP_ACT_ALLOW")
    assert names_with(ours(), "SCMP_ACT_ALLOW") - docker - ALLOWED_BY_US == set()


@pytest.mark.parametrize(
    "name", ["mount", "unshare", "setns", "bpf", "reboot", "init_module", "keyctl", "io_uring_setup"]
)
def test_a_container_cannot_by_default(name):
    assert name in names_with(ours(), "SCMP_ACT_ERRNO")
    assert name not in names_with(ours(), "SCMP_ACT_ALLOW")


def test_a_capability_brings_its_calls():
    with_admin = names_with(ours((*DEFAULT, "CAP_SYS_ADMIN")), "SCMP_ACT_ALLOW")
    assert {"mount", "unshare", "setns", "clone3"} <= with_admin
    assert "reboot" not in with_admin


def test_what_is_not_known_yet_is_as_on_a_kernel_without_it():
    assert (ours()["defaultAction"], ours()["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 38)


def test_a_profile_of_dockers_own_form_is_translated_as_docker_does():

    document = json.loads((seccomp_profiles.FIXTURES / "docker.json").read_text())
    made = seccomp.from_docker_profile(document, "x86_64", DEFAULT)
    wanted = seccomp_profiles.load("docker", capabilities=DEFAULT)
    assert names_with(made, "SCMP_ACT_ALLOW") == names_with(wanted, "SCMP_ACT_ALLOW")
    assert made["architectures"] == wanted["architectures"]
