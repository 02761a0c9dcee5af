"""The agenda of corporate actions: each comes once, at its time, before the rows behind it."""

from __future__ import annotations

from typing import Any

import msgspec

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import CorporateAction
from onetape.domain.venue import BarClosed
from onetape.marketdata.announced_actions import AnnouncedAction
from onetape.runtime.realtime.action_agenda import ActionAgenda
from tests.support.actions import DIVIDEND, PAYMENT, SPLIT, make_action

AAPL, MSFT = InstrumentId("AAPL.X"), InstrumentId("MSFT.X")
DAY, OPEN, GRACE = 1_000, 1_500, 10
"""When a day begins, when its session opens, and how long an action waits for bars."""


def announced(kind: Any = SPLIT, name: InstrumentId = AAPL, **more: Any) -> AnnouncedAction:
    ts = more.pop("ts", OPEN)
    return AnnouncedAction(make_action(kind, ts, 2.0, instrument=name, **more), ts - 500, "here")


def bar(ts_open: int, name: InstrumentId = AAPL) -> BarClosed:
    return BarClosed(name, ts_open, ts_open + 60, ts_open + 60, 9_000, 1.0, 1.0, 1.0, 1.0, 1.0)


def make_agenda(*actions: AnnouncedAction, closes: int = 900, ts_start: int = 800) -> ActionAgenda:
    agenda = ActionAgenda(GRACE)
    agenda.announce(actions, [], {AAPL: closes, MSFT: closes}, ts_start)
    return agenda


def times(found: list[CorporateAction]) -> list[tuple[str, int]]:
    return [(each.instrument, each.ts_event) for each in found]


def test_action_is_due_by_time_when_bars_from_before_it_have_had_their_time() -> None:
    agenda = make_agenda(announced())
    assert agenda.next_due == OPEN + GRACE
    assert agenda.take_due(OPEN + GRACE - 1) == []
    assert agenda.take_due(OPEN - 1, [bar(DAY - 60)]) == []
    assert agenda.take_due(OPEN - 1, [bar(OPEN, MSFT)]) == []
    assert times(agenda.take_due(OPEN + GRACE)) == [(AAPL, OPEN)]
    assert (agenda.take_due(OPEN + GRACE), agenda.next_due) == ([], None)


def test_row_of_its_day_brings_it_forward() -> None:
    """Extended hours: its time is when that row opened, as in a backtest."""
    assert times(make_agenda(announced()).take_due(0, [bar(DAY + 60)])) == [(AAPL, DAY + 60)]
    assert times(make_agenda(announced()).take_due(0, [bar(OPEN + 60)])) == [(AAPL, OPEN)]


def test_actions_come_in_the_order_in_which_they_were_announced() -> None:
    found = make_agenda(announced(name=MSFT), announced()).take_due(OPEN + GRACE)
    assert times(found) == [(MSFT, OPEN), (AAPL, OPEN)]


def test_what_was_met_does_not_come_again_and_what_is_new_does() -> None:
    agenda = make_agenda(announced())
    met = agenda.take_due(0, [bar(DAY + 60)])
    later = announced(ts=OPEN + 5_000)
    agenda.announce([announced(), later], met, {AAPL: DAY + 120}, 800)
    assert [each.action for each in agenda.ahead] == [later.action]
    assert agenda.missed == []


def test_action_that_is_taken_back_does_not_come() -> None:
    agenda = make_agenda(announced())
    agenda.announce([], [], {AAPL: 900}, 800)
    assert agenda.take_due(9_999) == []


def test_action_behind_whose_day_rows_were_taken_is_told_as_missed() -> None:
    agenda = make_agenda(announced(), closes=DAY + 60)
    assert (agenda.ahead, len(agenda.missed)) == ([], 1)
    assert agenda.missed[0].startswith("AAPL.X split at 1970")


def test_action_from_before_the_session_with_rows_behind_it_is_of_no_concern() -> None:
    agenda = make_agenda(announced(), closes=DAY + 60, ts_start=OPEN + 1)
    assert (agenda.ahead, agenda.missed) == ([], [])
    agenda = make_agenda(announced(), closes=900, ts_start=OPEN + 1)  # marks are to be adjusted
    assert times(agenda.take_due(OPEN + 1_000)) == [(AAPL, OPEN)]


def test_payment_comes_of_the_dividend_that_was_met() -> None:
    dividend = announced(DIVIDEND, ts_pay=OPEN + 3_000)
    agenda = make_agenda(dividend)
    (met,) = agenda.take_due(OPEN + GRACE)
    assert agenda.next_due == OPEN + 3_000 + GRACE
    moved = msgspec.structs.replace(dividend.action, ts_pay=OPEN + 4_000)
    agenda.announce([AnnouncedAction(moved, DAY, "here")], [met], {AAPL: 2_000}, 800)
    (payment,) = agenda.take_due(OPEN + 3_000 + GRACE)
    assert (payment.kind, payment.ts_pay) == (PAYMENT, OPEN + 3_000)
    agenda.announce([], [met, payment], {AAPL: 5_000}, 800)
    assert agenda.ahead == []


def test_payment_at_the_time_of_its_dividend_is_next() -> None:
    agenda = make_agenda(announced(DIVIDEND, ts_pay=OPEN))
    assert [each.kind for each in agenda.take_due(OPEN + GRACE)] == [DIVIDEND]
    assert [each.kind for each in agenda.take_due(OPEN + GRACE)] == [PAYMENT]
