"""Causes of one order, worked by hand.

The instrument has ticks of 0.01 and lots of one share, so one tick of one lot is a cent: 1,000,000
minor units. Its bars close at 100.00, 100.40, 100.20 and 101.00; bar k opens at minute k.
"""

from __future__ import annotations

import msgspec
import pytest

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import make_equity
from onetape.domain.market import Quality
from onetape.domain.orders import DenialCode, Side
from onetape.domain.venue import BarClosed
from onetape.runtime.parity.causes import Cause, InstrumentMarks, explain_order
from onetape.runtime.parity.paths import Fill, OrderPath
from onetape.runtime.sessions.live_timeline import build_rows

CENT = 1_000_000
MINUTE = 60_000_000_000
AAPL, MSFT = make_equity("AAPL.XNAS"), make_equity("MSFT.XNAS")
LINE = ("s0", AAPL.id)
CLOSES = (100.0, 100.4, 100.2, 101.0)
LATE = Quality.LATE


def make_bars(flagged: int = -1) -> list[BarClosed]:
    return [
        BarClosed(
            instrument=AAPL.id, ts_open=at * MINUTE, ts_close=(at + 1) * MINUTE,
            ts_known=(at + 1) * MINUTE, session_close=(at + 1) * MINUTE, open=close, high=close,
            low=close, close=close, volume=1.0, quality=LATE.value if at == flagged else 0,
        )
        for at, close in enumerate(CLOSES)
    ]  # fmt: skip


def mark(bars: list[BarClosed]) -> InstrumentMarks:
    return InstrumentMarks(AAPL, build_rows((AAPL, MSFT), lambda: bars, "1m", "test"))


def make_fill(minute: float, lots: int, ticks: int, fee: int = 0, row: int = -1) -> Fill:
    return Fill(int(minute * MINUTE), row, lots, ticks, lots * ticks * CENT, fee * CENT)


def make_path(*fills: Fill, side: Side = Side.BUY, ending: str = "", venue: bool = False,
              denied: DenialCode | None = None) -> OrderPath:  # fmt: skip
    refusal = None
    if denied is not None:
        refusal = OrderDenied("s0", 1, AAPL.id, denied, 0, 0, "")
    return OrderPath(line=LINE, side=side, fills=list(fills), ending=ending,
                     ended_by_venue=venue, denied=refusal)  # fmt: skip


def explain(
    session: OrderPath | None, backtest: OrderPath | None, flagged: int = -1
) -> list[tuple[str, int, int]]:
    """(cause, lots, cents)."""
    shares = explain_order(session, backtest, mark(make_bars(flagged)))
    assert all(each.amount % CENT == 0 for each in shares)
    return [(each.cause.value, each.lots, each.amount // CENT) for each in shares]


F, P = make_fill, make_path
SELL = Side.SELL
TEN = P(F(1, 10, 10_010, row=1))
NONE = P(ending="expired: time in force")
CASES = {
    # What stands on both sides, and what it is worth: cents, session less backtest.
    "same": (TEN, P(F(1, 10, 10_010, row=1)), []),
    "same in three parts": (P(F(1, 3, 10_010), F(1, 3, 10_010), F(1, 4, 10_010)), TEN, []),
    "same price at another time": (P(F(2.5, 10, 10_010)), TEN, []),
    "dearer in the same bar": (P(F(1.1, 10, 10_013)), TEN, [("price", 10, -30)]),
    "sold dearer": (
        P(F(1.1, 10, 10_013), side=SELL), P(F(1.2, 10, 10_010), side=SELL), [("price", 10, 30)],
    ),
    # In bar 2 and not in bar 1: the mark has moved from 100.00 to 100.40, we paid 0.33 more.
    "a bar later": (P(F(2.2, 10, 10_043)), TEN, [("latency", 10, -400), ("price", 10, 70)]),
    "a bar later, just by its move": (P(F(2.2, 10, 10_050)), TEN, [("latency", 10, -400)]),
    # In the bar that made it, though its time is the close: a limit that was touched.
    "by the row": (P(F(2, 10, 10_009, row=1)), TEN, [("price", 10, 10)]),
    "fees": (P(F(1, 10, 10_010, 5)), P(F(1, 4, 10_010, 1), F(1, 6, 10_010, 1)),
             [("fees", 10, -3)]),
    # Six of ten lots, at the same price; what lacks had made 101.00 - 100.10 a lot.
    "fewer": (P(F(1, 6, 10_010)), TEN, [("size", 4, -360)]),
    "more": (TEN, P(F(1, 6, 10_010)), [("size", 4, 360)]),
    # The fee of the lots that lack goes with them: 10 cents for ten lots are 4 for four.
    "fewer, with fees": (P(F(1, 6, 10_010, 6)), P(F(1, 10, 10_010, 10)), [("size", 4, -356)]),
    "nothing": (NONE, TEN, [("missed", 10, -900)]),
    "nothing in the backtest": (TEN, NONE, [("missed", 10, 900)]),
    "rejected": (P(ending="rejected: halted", venue=True), TEN, [("venue_rule", 10, -900)]),
    "taken off halfway": (
        P(F(1, 6, 10_010), ending="canceled: halted", venue=True), TEN, [("venue_rule", 4, -360)],
    ),
    "paused": (P(denied=DenialCode.PAUSED), TEN, [("risk", 10, -900)]),
    "unsupported": (P(denied=DenialCode.UNSUPPORTED), TEN, [("venue_rule", 10, -900)]),
    "decided there only": (None, TEN, [("decision", 10, -900)]),
    "decided here only": (TEN, None, [("decision", 10, 900)]),
    # A target can be sized to the other side: sold 5 at 100.10 and bought 10.
    "other way": (P(F(1, 5, 10_010), side=SELL), TEN, [("size", 15, -450 - 900)]),
    # Everything at once. 4 lots: 3 cents dearer. 4: a bar later, 100.40 - 100.00 for the mark and
    # 100.45 - 100.10 paid. 2 lack. The fee is 8 for 8 lots, of 10 for 10.
    "mixed": (
        P(F(1.1, 4, 10_013, 4), F(2.1, 4, 10_045, 4)), P(F(1, 10, 10_010, 20, row=1)),
        [("latency", 4, -160), ("price", 8, -12 + 20), ("fees", 8, 8), ("size", 2, -180 + 4)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_causes_of_an_order(case: str) -> None:
    session, backtest, expected = CASES[case]
    assert explain(session, backtest) == expected


@pytest.mark.parametrize("case", CASES)
def test_the_other_way_round_has_the_other_sign(case: str) -> None:
    session, backtest, _ = CASES[case]
    there = {cause: amount for cause, _, amount in explain(session, backtest)}
    back = {cause: -amount for cause, _, amount in explain(backtest, session)}
    assert there == back


def test_price_in_a_doubtful_bar_is_data() -> None:
    session = P(F(1.1, 10, 10_013))
    assert explain(session, TEN, flagged=1) == [("data", 10, -30)]
    assert explain(session, TEN, flagged=2) == [("price", 10, -30)]


def test_fee_in_lots_is_worth_the_lots_at_the_mark() -> None:
    session = P(F(1, 10, 10_010))
    session.fee_in_lots = [(-1, 0)]
    assert explain(session, TEN) == [("fees", 1, -10_100)]


def test_fee_of_a_fill_that_is_cut_is_not_lost() -> None:
    """A fee of 1e-8 in a fill of three lots, against three fills of one lot."""
    one = Fill(0, -1, 3, 10_000, 3 * 10_000 * CENT, 1)
    shares = explain_order(P(one), P(F(0, 1, 10_000), F(0, 1, 10_000)), mark(make_bars()))
    fees = sum(each.amount for each in shares) - 100 * CENT
    assert fees == -1
    assert {each.cause for each in shares} == {Cause.SIZE}


def test_other_instrument_has_other_bars() -> None:
    bars = make_bars()
    bars[3] = msgspec.structs.replace(bars[3], instrument=MSFT.id)
    assert mark(bars).newest == 10_020
