"""Proceeds of sales that have not settled yet: a cash account may not spend them.

*Settles when*: as many trading days of the instrument have ended as the terms say, the day of the
sale counted; so with one day, what is sold today can be spent tomorrow. *Ignores*: that buys settle
too (their cash is taken at once), free riding, and holidays of banks. *Units*: minor units of the
currency of the books.
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
    """What one sale brought, and how many days have to end before it settles."""

    strategy: str
    instrument: InstrumentId
    amount: int
    days: int


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
            self._runners[each.strategy].unsettled += each.amount

    def take(self, runner: Runner, fill: OrderFilled, currency: str, cause: int) -> None:
        """The proceeds of a fill wait, if it is a sale; `currency` is that of its instrument."""
        proceeds = fill.notional - fill.fee
        if runner.exchange is not None:
            proceeds = runner.exchange.to_home(currency, proceeds)
        if fill.side is Side.SELL and proceeds > 0:
            self._pending.append(Proceeds(runner.name, fill.instrument, proceeds, self._days))
            self._tell(runner, fill.instrument, proceeds, cause)

    def end_day(self, day_end: DayEnd) -> None:
        """Settle what is due."""
        ended = {self._instruments[index].id for index in day_end.instruments}
        for each in self._pending:
            each.days -= market_of(each.instrument) in ended
        for each in self._pending:
            if not each.days:
                runner = self._runners[each.strategy]
                self._tell(runner, each.instrument, -each.amount, self._log.cause)
        self._pending = [each for each in self._pending if each.days]

    def _tell(self, runner: Runner, instrument: InstrumentId, amount: int, cause: int) -> None:
        runner.unsettled += amount
        event = CashSettling(
            runner.name, instrument, amount, runner.ledger.currency, runner.unsettled
        )
        self._log.emit(event, self._log.origin, cause)
