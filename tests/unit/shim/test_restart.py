"""shim.restart: Docker's rules for starting again."""

from __future__ import annotations

import pytest

from pyrunc.shim.restart import is_due, next_delay
from pyrunc.shim.settings import RestartPolicy


def test_the_wait_doubles_up_to_a_minute():
    delays = [0.0]
    for _ in range(12):
        delays.append(next_delay(delays[-1], 1.0))
    assert delays[1:6] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6])
    assert delays[-1] == 60.0


def test_ten_seconds_of_life_begin_it_anew():
    assert next_delay(51.2, 9.9) == 60.0
    assert next_delay(51.2, 10.0) == 0.1


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [("no", 1, False), ("always", 0, True), ("always", 1, True), ("unless-stopped", 0, True),
     ("on-failure", 0, False), ("on-failure", 137, True)],
)  # fmt: skip
def test_policies(name, code, expected):
    policy = RestartPolicy(name=name)
    assert is_due(policy, exit_code=code, restarts=1000, stopped_by_hand=False) == expected
    assert not is_due(policy, exit_code=code, restarts=0, stopped_by_hand=True)


def test_a_count_is_for_failures():
    policy = RestartPolicy(name="on-failure", maximum_retries=2)
    due = [is_due(policy, exit_code=1, restarts=count, stopped_by_hand=False) for count in range(4)]
    assert due == [True, True, False, False]
