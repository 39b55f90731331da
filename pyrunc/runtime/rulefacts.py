"""What the rules of `oci` have to know of the host."""

from __future__ import annotations

from pyrunc.oci.processrules import Facts as RuleFacts
from pyrunc.plan.facts import HostFacts


def rule_facts(facts: HostFacts, *, uses_systemd: bool = False) -> RuleFacts:
    """What the semantic rules have to know of the host."""
    return RuleFacts(
        is_rootless=facts.uid != 0,
        uses_systemd=uses_systemd,
        has_cgroup_v1=bool(facts.cgroups.hierarchies),
        has_apparmor=facts.has_apparmor,
        has_selinux=facts.has_selinux,
        namespaces=facts.namespaces,
    )
