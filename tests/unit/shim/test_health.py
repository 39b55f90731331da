"""shim.health: a result makes a health."""

from __future__ import annotations

from pyrunc.shim.health import HEALTHY, STARTING, UNHEALTHY, Health, Result, judge


def result(code: int) -> Result:
    return Result(start="a", end="b", exit_code=code, output=str(code))


def after(*codes: int, retries: int = 3, in_start_period: bool = False) -> Health:
    health = Health()
    for code in codes:
        health = judge(health, result(code), retries=retries, in_start_period=in_start_period)
    return health


def test_unhealthy_after_so_many_failures_in_a_row():
    assert [after(*[1] * count).status for count in (1, 2, 3, 4)] == [
        STARTING,
        STARTING,
        UNHEALTHY,
        UNHEALTHY,
    ]
    assert after(1, 1, 1).failing_streak == 3


def test_one_success_is_healthy_and_clears_the_streak():
    health = after(1, 1, 1, 0)
    assert (health.status, health.failing_streak) == (HEALTHY, 0)
    health = after(0, 1, 1)
    assert (health.status, health.failing_streak) == (HEALTHY, 2)


def test_in_the_start_period_failures_do_not_count_until_it_was_healthy_once():
    health = after(*[1] * 10, in_start_period=True)
    assert (health.status, health.failing_streak, len(health.log)) == (STARTING, 0, 5)
    assert after(0, 1, 1, 1, in_start_period=True).status == UNHEALTHY


def test_any_code_but_zero_is_a_failure():
    assert after(-1, 2, 127).status == UNHEALTHY


def test_the_last_five_are_kept():
    assert [item.exit_code for item in after(1, 2, 3, 4, 5, 6, 7).log] == [3, 4, 5, 6, 7]
    document = after(1).document()
    assert document == {
        "status": "starting",
        "failing_streak": 1,
        "log": [{"start": "a", "end": "b", "exit_code": 1, "output": "1"}],
    }
