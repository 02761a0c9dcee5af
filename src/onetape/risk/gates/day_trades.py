"""Gate: day trades of a small margin account (the pattern day trader rule of FINRA)."""

from __future__ import annotations

import msgspec

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument, InstrumentKind
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import make_denial
from onetape.risk.input import RiskInput

DAY_TRADES_MAX = 3
"""Four in five days make a pattern."""

BUSINESS_DAYS = 5

_KINDS = (InstrumentKind.EQUITY, InstrumentKind.OPTION)


class DayTradeCount(msgspec.Struct):
    """What the rule reads beside the order: filled before each order is asked.

    Of the last five trading days, today among them: `made` day trades, and `trades`, orders that
    have filled. `coming` are day trades that today could still see: one of each position that was
    opened today, and one of each order that may open something, this one among them.
    """

    made: int = 0
    trades: int = 0
    coming: int = 0


@rule
def check_day_trades(order: RiskInput, count: DayTradeCount) -> bool:
    """Whether an order can't make the account that of a pattern day trader without the equity.

    FINRA Rule 4210(f)(8)(B), as it stood in 2024. (ii): four or more day trades within five
    business days, unless they are 6 % or less of all trades of these days. (iv): 25,000 of equity.
    """
    if order.end_lots <= 0 or order.equity >= 2_500_000_000_000:
        return True
    day_trades = count.made + count.coming
    return day_trades <= 3 or 100 * day_trades <= 6 * (count.trades + count.coming)


@rule
def is_day_trade(side_sign: int, position_lots: int, opened: bool) -> bool:
    """Whether a fill makes a day trade: it closes, and something was opened before on its day.

    FINRA Rule 4210(f)(8)(B)(i): buying and selling, or selling and buying, the same security on the
    same day; but not the sale of what was held overnight before any new purchase. Sales in a row,
    without a purchase between them, are one day trade: `opened` is `is_opening` of the fill before,
    of the same day. `position_lots` is from before the fill.
    """
    return opened and side_sign * position_lots < 0


@rule
def is_opening(side_sign: int, position_lots: int, lots: int) -> bool:
    """Whether a fill of `lots` opens something, be it by turning a position around. Ours."""
    return side_sign * position_lots >= 0 or lots > abs(position_lots)


class DayTradeGate:
    """Refuses what is not reducing where the account could have four day trades in five days.

    Only while its equity is below 25,000. The broker's day trade is meant, so all strategies count
    together, at the account's position.

    *Ignores*: orders that fill in turns, part by part; exercises and liquidations; the day-trading
        buying power of accounts above the bound; instruments that are no equities or options.

    Attributes:
        count: The record to fill before an order is asked.
    """

    __slots__ = ("count",)

    code = DenialCode.DAY_TRADES
    check = staticmethod(check_day_trades)

    def __init__(self) -> None:
        self.count = DayTradeCount()

    @staticmethod
    def counts(instrument: Instrument) -> bool:
        """Whether trades of it count."""
        return instrument.kind in _KINDS

    def limit_for(self, instrument: Instrument) -> DayTradeCount | None:
        """The record; None for what does not count."""
        return self.count if self.counts(instrument) else None

    def deny(self, order: RiskInput, limit: DayTradeCount) -> OrderDenied:
        """The day trades that there could be against those that there may."""
        could = limit.made + limit.coming
        unit = f"day trades in {BUSINESS_DAYS} days"
        return make_denial(order, self.code, could, DAY_TRADES_MAX, unit)
