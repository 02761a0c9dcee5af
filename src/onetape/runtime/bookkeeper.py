"""Keeps the books of all strategies of a session, and tells the tape what it has posted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onetape.domain.corporate_actions import compute_terms
from onetape.domain.events import CashPosted, OrderFilled, PositionSettled, SettlementKind
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import index_of, leg_of, names_of, side_of
from onetape.domain.market import CorporateAction
from onetape.domain.postings import PostingKind
from onetape.execution.venue_reports import BaseFee
from onetape.portfolio.adjusted_marks import new_share_ticks
from onetape.portfolio.ledger import NO_INSTRUMENT, NewShares
from onetape.runtime.currency_exchange import CurrencyExchange
from onetape.runtime.market_state import MarketState
from onetape.runtime.risk_controls import RiskControls
from onetape.runtime.runner import Runner
from onetape.runtime.settlement import Settlement
from onetape.runtime.step_log import StepLog


class Bookkeeper:
    """Posts fills, fees, corporate actions and cash to the books of the strategy they are of.

    What moves cash of a foreign currency converts it in the same step, unless it is held.

    Args:
        log: Where what is posted stands.
        market: Where the marks come from, which a corporate action adjusts.
        instruments: Those of the timeline, in its order, and their legs.
        runners: The strategies.
        watching: Limits that count fills and hear of marks.

    Attributes:
        settlement: Keeps the proceeds of sales until they settle; None: they do at once.
    """

    __slots__ = (
        "_all", "_index", "_instruments", "_log", "_market", "_names", "_runners", "_watching",
        "settlement",
    )  # fmt: skip

    def __init__(
        self,
        log: StepLog,
        market: MarketState,
        instruments: Sequence[Instrument],
        runners: Mapping[str, Runner],
        watching: Sequence[RiskControls] = (),
    ) -> None:
        self._log = log
        self._market = market
        self._runners = runners
        self._watching = watching
        self._all = instruments
        self._instruments = {each.id: each for each in instruments}
        self._index = index_of(instruments)
        self._names = names_of(instruments)
        self.settlement: Settlement | None = None

    def take_fill(
        self, runner: Runner, fill: OrderFilled, origin: int, seq: int, *, is_first: bool = True
    ) -> None:
        """Post a fill that stands on the tape at `seq`; `is_first`: of its order.

        Raises:
            InvariantBroken: The books don't balance afterwards.
        """
        for each in self._watching:
            each.hear(fill, is_first=is_first)
        self._log.events.append((runner.settle(fill), origin, seq))
        if runner.exchange is not None:
            currency = self._instruments[fill.instrument].settlement_currency
            self._convert(runner, runner.exchange, currency, origin, seq)
        if self.settlement is not None:
            instrument = self._instruments[fill.instrument]
            if not instrument.is_margined:  # only what is realized moves cash, at once
                self.settlement.take(runner, fill, instrument.settlement_currency, seq)

    def pay_in_lots(self, fee: BaseFee, cause: int) -> PositionSettled:
        """Post a fee that a venue took in lots; `cause` is the seq of the report that told it.

        Raises:
            InvariantBroken: The books don't balance afterwards.
        """
        settled = self._runners[fee.strategy].settle_contract(
            fee.instrument, SettlementKind.BASE_FEE, fee.traded, fee.ticks, fee.notional, fee.fee
        )
        self._log.emit(settled, self._log.origin, cause)
        return settled

    def post(
        self,
        strategy: str,
        kind: PostingKind,
        amount: int,
        instrument: InstrumentId = NO_INSTRUMENT,
        reason: str = "",
        currency: str = "",
    ) -> CashPosted:
        """Post cash that moves without a fill, on the tape in the current step.

        Args:
            strategy: Whose books.
            kind: Why it moves; says the account.
            amount: Minor units, received: positive.
            instrument: On whose account; empty where it is of none.
            reason: How the amount came about, for people.
            currency: Of `amount`; empty: that of the instrument, or else of the books.

        Raises:
            InvariantBroken: A balance becomes too large.
        """
        runner, log = self._runners[strategy], self._log
        posted = runner.post(kind, amount, instrument, reason, currency)
        seq = log.emit(posted, log.origin, log.cause)
        if runner.exchange is not None:
            self._convert(runner, runner.exchange, posted.currency, log.origin, seq)
        return posted

    def adjust(self, action: CorporateAction, cause: int) -> None:
        """Post a corporate action to the books of every strategy, and adjust marks by it.

        Raises:
            InvariantBroken: A position or a balance becomes too large.
        """
        log, market, index = self._log, self._market, self._index[action.instrument]
        instrument, definition, new = self._instruments[action.instrument], None, None
        if action.new_instrument:
            definition = self._instruments[action.new_instrument]
            new = NewShares(definition.id, new_share_ticks(self._all, action, market.mark_ticks))
        terms = compute_terms(action, instrument, definition)
        mark_ticks = market.mark_ticks(index)
        for runner in self._runners.values():
            for name in self._names[action.instrument]:
                change = runner.adjust(action, name, terms, mark_ticks, _of_leg(new, name))
                if change is not None:
                    self.sweep(runner, action.instrument, log.emit(change, log.origin, cause))
        for at in market.adjust(action):
            ticks = market.mark_ticks(at)
            for runner in self._runners.values():
                runner.valuation.expire()
                if runner.watch is not None:
                    runner.watch.adjust_mark(at, ticks)
            for each in self._watching:
                each.adjust_mark(at, ticks)

    def sweep(self, runner: Runner, instrument: InstrumentId, cause: int) -> None:
        """Convert what `cause` moved in the currency of `instrument`, unless it stays."""
        if runner.exchange is not None:
            currency = self._instruments[instrument].settlement_currency
            self._convert(runner, runner.exchange, currency, self._log.origin, cause)

    def sweep_all(self, runner: Runner, cause: int) -> None:
        """Convert all foreign cash, what is held too."""
        if runner.exchange is not None:
            for currency in runner.exchange.currencies:
                self._convert(
                    runner, runner.exchange, currency, self._log.origin, cause, is_forced=True
                )

    def _convert(
        self,
        runner: Runner,
        exchange: CurrencyExchange,
        currency: str,
        origin: int,
        cause: int,
        *,
        is_forced: bool = False,
    ) -> None:
        """Bring foreign cash to zero: two postings, one in each currency."""
        if currency == exchange.home:
            return
        sweep = exchange.quote_sweep(currency, is_forced=is_forced)
        if sweep is None:
            return
        foreign, home, reason = sweep
        pair = exchange.pair_of(currency)
        for amount, name in ((foreign, currency), (home, exchange.home)):
            posted = runner.post(PostingKind.FX_CONVERSION, amount, pair, reason, name)
            self._log.emit(posted, origin, cause)


def _of_leg(new: NewShares | None, name: InstrumentId) -> NewShares | None:
    """What a leg turns into is the same leg of the new instrument."""
    leg = side_of(name)
    if new is None or leg is None:
        return new
    return NewShares(leg_of(new.instrument, leg), new.ticks)
