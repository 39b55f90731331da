"""plan.lsm: labels for the process. No root, no kernel."""

import pytest

from pyrunc.errors import UNSUPPORTED, PyruncError
from pyrunc.oci.config import Process
from pyrunc.plan.lsm import plan_label
from pyrunc.plan.ops import OpenExecLabel, WriteExecLabel


def test_no_label_no_step():
    assert plan_label(Process()) == ((), ())


def test_a_profile_is_opened_for_first_and_asked_for_last():
    first, last = plan_label(Process(apparmor_profile="tight"))
    assert first == (OpenExecLabel(saves="label", origin="/process/apparmorProfile"),)
    assert last == (WriteExecLabel(takes="label", profile="tight", origin="/process/apparmorProfile"),)


def test_an_selinux_label_is_refused_rather_than_forgotten():
    with pytest.raises(PyruncError) as caught:
        plan_label(Process(selinux_label="system_u:system_r:container_t:s0"))
    assert (caught.value.kind, caught.value.where) == (UNSUPPORTED, "/process/selinuxLabel")
