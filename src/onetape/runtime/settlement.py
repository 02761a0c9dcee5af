"""Proceeds of sales that have not settled yet: a cash account may not spend them.

*Settles when*: as many trading days of the instrument have ended as the terms say, the day of the
sale counted; so with one day, what is sold today can be spent tomorrow. *Ignores*: that buys settle
too (their cash is taken at once), free riding, and holidays of banks. *Units*: minor units of the
currency of the books, or where foreign cash is held of that of the instrument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from onetape.domain.events import CashSettling, OrderFilled
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import market_of
from onetape.domain.orders import Side
from onetape.marketdata.timeline import DayEnd
from onetape.runtime.runner import Runner
from onetape.runtime.step_log import StepLog


class Proceeds(msgspec.Struct):
    """What one sale brought, and how many days have to end before it settles.

    `currency` is empty where it is that of the books.
    """

    strategy: str
    instrument: InstrumentId
    amount: int
    days: int
    currency: str = ""


class Settlement:
    """Keeps the proceeds of all strategies until they settle; a task at the ends of trading days.

    Args:
        days: Trading days from a sale to its cash, 1 at least.
        instruments: Of the timeline, in its order.
        runners: The strategies.
        log: Where the events go.
    """

    def __init__(
        self,
        days: int,
        instruments: Sequence[Instrument],
        runners: Mapping[str, Runner],
        log: StepLog,
    ) -> None:
        self._days = days
        self._instruments = instruments
        self._runners = runners
        self._log = log
        self._pending: list[Proceeds] = []

    def save(self) -> list[Proceeds]:
        """What has not settled yet, oldest first."""
        return [msgspec.structs.replace(each) for each in self._pending]

    def restore(self, pending: Sequence[Proceeds]) -> None:
        """Go on where `pending` was saved."""
        self._pending = [msgspec.structs.replace(each) for each in pending]
        for each in self._pending:
            self._runners[each.strategy].wait_for(each.amount, each.currency)

    def take(self, runner: Runner, fill: OrderFilled, currency: str, cause: int) -> None:
        """The proceeds of a fill wait, if it is a sale; `currency` is that of its instrument."""
        proceeds, own, exchange = fill.notional - fill.fee, "", runner.exchange
        if exchange is not None and not exchange.holds:
            proceeds = exchange.to_home(currency, proceeds)
        elif exchange is not None and currency != exchange.home:
            own = currency
        if fill.side is Side.SELL and proceeds > 0:
            made = Proceeds(runner.name, fill.instrument, proceeds, self._days, own)
            self._pending.append(made)
            self._tell(runner, made, proceeds, cause)

    def end_day(self, day_end: DayEnd) -> None:
        """Settle what is due."""
        ended = {self._instruments[index].id for index in day_end.instruments}
        for each in self._pending:
            each.days -= market_of(each.instrument) in ended
        for each in self._pending:
            if not each.days:
                runner = self._runners[each.strategy]
                self._tell(runner, each, -each.amount, self._log.cause)
        self._pending = [each for each in self._pending if each.days]

    def _tell(self, runner: Runner, made: Proceeds, amount: int, cause: int) -> None:
        event = CashSettling(
            runner.name, made.instrument, amount, made.currency or runner.ledger.currency,
            runner.wait_for(amount, made.currency),
        )  # fmt: skip
        self._log.emit(event, self._log.origin, cause)
