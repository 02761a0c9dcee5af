"""Corporate actions of timelines whose rows are other ones."""

from __future__ import annotations

from onetape.research.perturbation import Change, Perturbation, Perturber, cut_before
from tests.support.actions import DELISTING, DIVIDEND, SPLIT, make_action, with_actions
from tests.support.timelines import AAPL, MSFT, flat, make_timeline, opens

TIMELINE = with_actions(
    make_timeline(flat(*[100] * 10), flat(*[50] * 10)),
    [
        make_action(DIVIDEND, opens(2), 0.5),
        make_action(DELISTING, opens(3), 1, instrument=MSFT),
        make_action(SPLIT, opens(7), 2),
    ],
)


def test_changed_and_deleted_rows_leave_out_those_among_them_and_gaps_none() -> None:
    for change in Change:
        timeline = Perturber(TIMELINE).apply(Perturbation(change), 8)
        kept = 3 if change is Change.GAPS else 2
        assert timeline.actions == TIMELINE.actions[:kept]
        assert timeline.action_rows[:2] == TIMELINE.action_rows[:2] == [4, 6]


def test_rows_of_one_instrument_leave_out_its_own_actions_only() -> None:
    other = Perturber(TIMELINE).apply(Perturbation(Change.DELETED, MSFT), 8)
    assert other.actions == TIMELINE.actions
    own = Perturber(TIMELINE).apply(Perturbation(Change.DELETED, AAPL), 8)
    assert own.actions == TIMELINE.actions[:2]


def test_a_shorter_history_has_those_that_follow_and_delistings() -> None:
    later = cut_before(TIMELINE, 10)
    assert [(each.instrument, each.kind) for each in later.actions] == [
        (MSFT, DELISTING), (AAPL, SPLIT)
    ]  # fmt: skip
    assert later.action_rows == [0, 4]
    at_the_cut = cut_before(TIMELINE, 14)
    assert [each.kind for each in at_the_cut.actions] == [DELISTING]
