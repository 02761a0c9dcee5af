"""Faults of a local venue follow from the seed, stay within their limits, and end."""

from __future__ import annotations

from collections import Counter

import pytest

from onetape.runtime.local_venues.faults import (
    IN_A_ROW_MAX,
    Fault,
    FaultKind,
    FaultPlan,
    FaultRange,
    FaultSchedule,
    make_plan,
)

SUBJECTS = ("POST /v2/orders", "GET /v2/account")


def ask(schedule: FaultSchedule, subjects: tuple[str, ...], times: int) -> list[Fault | None]:
    """Every question that a server asks, of each subject in turn."""
    answers: list[Fault | None] = []
    for number in range(times):
        for each in subjects:
            answers.append(schedule.on_request(each, number, is_order="POST" in each))
            answers.append(schedule.on_answer(each, number))
            answers.append(schedule.on_message(each, number))
        answers.append(schedule.on_row(number))
        schedule.split_fill(100, number)
    return answers


def test_same_seed_gives_the_same_faults_whatever_else_is_asked() -> None:
    one, other = FaultSchedule(7, make_plan()), FaultSchedule(7, make_plan())
    assert ask(one, SUBJECTS, 500) == ask(other, SUBJECTS, 500)
    assert one.decisions == other.decisions
    assert one.describe() == other.describe()
    alone = FaultSchedule(7, {FaultKind.LOST_ACK: FaultRange(50)})
    with_others = FaultSchedule(7, {FaultKind.LOST_ACK: FaultRange(50)})
    ask(alone, SUBJECTS[:1], 500)
    ask(with_others, SUBJECTS[::-1], 500)
    own = [each for each in with_others.decisions if each.subject == SUBJECTS[0]]
    assert own == alone.decisions
    others = [each for each in with_others.decisions if each.subject == SUBJECTS[1]]
    assert [each.count for each in others] != [each.count for each in own]
    assert FaultSchedule(8, make_plan()).describe() == "faults of seed 8: 0"
    another = FaultSchedule(8, make_plan())
    ask(another, SUBJECTS, 500)
    assert another.decisions != one.decisions


def test_every_kind_comes_about_as_often_as_it_should() -> None:
    plan = make_plan()
    schedule = FaultSchedule(3, plan)
    ask(schedule, ("POST x",), 5_000)
    counts = Counter(each.fault.kind for each in schedule.decisions)
    assert set(counts) == set(FaultKind)
    for kind, chance in plan.items():
        expected = min(5 * chance.per_mille, chance.most)
        assert 0.5 * min(expected, chance.most) <= counts[kind] <= max(expected * 1.5, 3)
        for each in schedule.decisions:
            if each.fault.kind is kind and kind not in (
                FaultKind.UNAVAILABLE, FaultKind.VAGUE_ACK,
            ):  # fmt: skip
                assert chance.low <= each.fault.value <= chance.high
    statuses = {e.fault.value for e in schedule.decisions if e.fault.kind is FaultKind.UNAVAILABLE}
    assert statuses == {500.0, 502.0, 503.0, 504.0}


def test_only_new_orders_are_rejected() -> None:
    always: FaultPlan = {FaultKind.REJECT: FaultRange(900)}
    schedule = FaultSchedule(1, always)
    assert all(schedule.on_request("GET", 0) is None for _ in range(50))
    assert any(schedule.on_request("POST", 0, is_order=True) for _ in range(50))


def test_who_tries_again_gets_through() -> None:
    schedule = FaultSchedule(1, {FaultKind.UNAVAILABLE: FaultRange(1_000)})
    answers = [schedule.on_request("GET", 0) is None for _ in range(30)]
    longest = max(len(run) for run in "".join("x."[each] for each in answers).split("."))
    assert longest == IN_A_ROW_MAX
    few = FaultSchedule(1, {FaultKind.RESTART: FaultRange(1_000, most=4)})
    assert sum(few.on_row(0) is not None for _ in range(100)) == 4


def test_faults_end_at_their_time_and_when_they_are_stopped() -> None:
    plan = {FaultKind.SKEW: FaultRange(1_000, 2.5, 2.5)}
    schedule = FaultSchedule(1, plan, ts_end=10)
    assert schedule.on_row(9) == Fault(FaultKind.SKEW, 2.5)
    assert schedule.skew_s == 2.5
    assert schedule.on_row(10) is None
    assert schedule.skew_s == 0.0
    other = FaultSchedule(1, plan)
    other.on_row(9)
    other.stop()
    assert (other.on_row(9), other.skew_s) == (None, 0.0)


@pytest.mark.parametrize("lots", [1, 2, 3, 10, 1_000_003])
def test_parts_of_a_fill_are_the_fill(lots: int) -> None:
    schedule = FaultSchedule(5, {FaultKind.SPLIT: FaultRange(1_000, 2, 9)})
    for _ in range(20):
        parts = schedule.split_fill(lots, 0)
        assert sum(parts) == lots
        assert min(parts) >= 1
    assert any(each.fault.kind is FaultKind.SPLIT for each in schedule.decisions)


def test_description_names_the_seed_and_each_fault() -> None:
    schedule = FaultSchedule(99, {FaultKind.HANG: FaultRange(1_000, 0.5, 0.5)})
    schedule.on_request("POST /v2/orders", 17)
    assert schedule.describe() == (
        "faults of seed 99: 1\n  17 request POST /v2/orders #1: hang 0.5"
    )


def test_plan_scales_its_seconds_and_its_rates() -> None:
    slow, quick = make_plan(), make_plan(time_scale=0.01, often=2)
    assert quick[FaultKind.HANG].high == slow[FaultKind.HANG].high * 0.01
    assert quick[FaultKind.HANG].per_mille == slow[FaultKind.HANG].per_mille * 2
    assert quick[FaultKind.OUTAGE].high == slow[FaultKind.OUTAGE].high  # rows
    assert quick[FaultKind.SKEW].high == slow[FaultKind.SKEW].high  # what the clock shows
