"""Margin of the strategies: what an order needs, calls, and liquidation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from onetape.domain.events import MarginStatus, MarginStatusChanged, SettlementKind
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import index_of, market_of
from onetape.domain.margin import MarginAgreement
from onetape.domain.margin_rules import compute_short_option_margin
from onetape.domain.notional import compute_fill_notional, compute_notional
from onetape.domain.numbers import E8, compute_ratio_ceil
from onetape.execution.oms import Order
from onetape.portfolio.currency_ledger import CurrencyLedger
from onetape.runtime.currency_valuation import CurrencyValuation
from onetape.runtime.market_state import MarketState
from onetape.runtime.option_contract import OptionContract
from onetape.runtime.order_claims import find_dearest, sum_leaves
from onetape.runtime.runner import Runner
from onetape.runtime.step_log import StepLog

_WHOLE = InstrumentId("")
_OPTION_E8, _OPTION_FLOOR_E8 = 20_000_000, 10_000_000

Cancel = Callable[[Runner, InstrumentId, int], None]
"""Takes the orders of a strategy off, of one instrument or (empty) all, for the cause of a seq."""


class CashSweeper(Protocol):
    """What brings foreign cash home."""

    def sweep(self, runner: Runner, instrument: InstrumentId, cause: int) -> None:
        """Convert what `cause` moved in the currency of `instrument`, unless it stays."""
        ...

    def sweep_all(self, runner: Runner, cause: int) -> None:
        """Convert all foreign cash, what is held too."""
        ...


class MarginState(msgspec.Struct, frozen=True):
    """A status that is not `sufficient`: whose, of which position (empty: all), which."""

    strategy: str
    instrument: InstrumentId
    status: MarginStatus


class MarginDesk:
    """Measures margin and acts on it.

    A liquidation is booked at the mark with a fee, largest requirement first, in steps, until the
    rest is backed again. What is lost beyond the equity is owed: it stands as negative cash. What
    is halted can't be closed: it stays `called` until it trades again.

    Everything is measured in the currency of the books, at the marks of the pairs: requirements
    rounded up, equity down. Where foreign cash is held, what is owed in a currency, less what is
    held in it, needs a share of its own; a liquidation that has closed everything converts it.

    Ignores: an insurance fund, auto-deleveraging, the price impact of the liquidation, and what the
        price did between two marks.
    """

    __slots__ = (
        "_halted",
        "_index",
        "_instruments",
        "_log",
        "_market",
        "_options",
        "_status",
        "_sweeper",
        "agreement",
    )  # fmt: skip

    def __init__(
        self,
        agreement: MarginAgreement,
        log: StepLog,
        market: MarketState,
        instruments: Sequence[Instrument],
        options: Mapping[InstrumentId, OptionContract],
        halted: Collection[InstrumentId] = (),
        sweeper: CashSweeper | None = None,
    ) -> None:
        self.agreement = agreement
        self._log = log
        self._market = market
        self._instruments = {each.id: each for each in instruments}
        self._index = index_of(instruments)
        self._options = options
        self._halted = halted
        self._sweeper = sweeper
        self._status: dict[tuple[str, InstrumentId], MarginStatus] = {}

    def save(self) -> list[MarginState]:
        """Every status that is not `sufficient`."""
        return [MarginState(*key, status) for key, status in self._status.items()]

    def restore(self, states: Iterable[MarginState]) -> None:
        """Go on where `states` were saved."""
        self._status = {(each.strategy, each.instrument): each.status for each in states}

    # What an order needs.

    def compute_needs(
        self,
        runner: Runner,
        orders: Iterable[Order],
        instrument: InstrumentId = _WHOLE,
        signed_lots: int = 0,
        ticks: int = 0,
    ) -> tuple[int, int]:
        """Initial margin of everything at its worst with one more order, and what may back it.

        Worst is the larger of what an instrument needs when all its open buys have filled and when
        all its open sells have; reduce-only orders don't count.

        Args:
            runner: Whose order it is.
            orders: Open ones; those of other strategies are passed over.
            instrument: What the order trades; empty: there is none, everything is as it stands.
            signed_lots: How much of it; 0: it only reduces.
            ticks: The price at which it is measured.
        """
        orders = list(orders)
        buys, sells = sum_leaves(orders, runner.name)
        if signed_lots:
            side = buys if signed_lots > 0 else sells
            side[instrument] = side.get(instrument, 0) + abs(signed_lots)
        longs = shorts = needed = 0
        for name in {**runner.ledger.held, **buys, **sells}:
            price = ticks if name == instrument else 0
            price = price or self._market.mark_ticks(self._index[name])
            if not price:
                is_inverse = self._instruments[name].is_inverse
                price = find_dearest(orders, runner.name, name, is_inverse=is_inverse)
            lots = runner.ledger.positions[name].lots
            most = self._initial(runner, name, lots + buys.get(name, 0), price)
            least = self._initial(runner, name, lots - sells.get(name, 0), price)
            needed += max(most, least)
            longs += most if lots + buys.get(name, 0) > 0 else 0
            shorts += least if lots - sells.get(name, 0) < 0 else 0
        if self.agreement.is_portfolio:
            needed = max(longs, shorts)
        if self.agreement.is_isolated:
            return needed, runner.ledger.cash
        return needed + self.compute_owed_margin(self._owed(runner)), runner.valuation.equity

    def compute_owed_margin(self, owed: int) -> int:
        """What owing so much in currencies, net of what is held in them, must be backed with."""
        return compute_ratio_ceil(owed, self.agreement.short_currency_e8)

    def _owed(self, runner: Runner) -> int:
        """What a strategy that holds foreign cash owes, net of what it holds, by currency."""
        exchange, valuation = runner.exchange, runner.valuation
        if exchange is None or not exchange.holds or not isinstance(valuation, CurrencyValuation):
            return 0
        valuation.refresh()
        return exchange.sum_owed(valuation.worths)

    def _at_home(self, runner: Runner, name: InstrumentId, amount: int) -> int:
        """A requirement in the currency of the books, rounded up."""
        if runner.exchange is None:
            return amount
        currency = self._instruments[name].settlement_currency
        return -runner.exchange.to_home(currency, -amount)

    def _initial(self, runner: Runner, name: InstrumentId, lots: int, ticks: int) -> int:
        if not lots or not ticks:
            return 0
        position = runner.ledger.positions[name]
        if self.agreement.is_isolated and lots == position.lots:
            return self._isolated(runner, name)
        return self._at_home(runner, name, self._require(name, lots, ticks, is_initial=True))

    def _isolated(self, runner: Runner, name: InstrumentId) -> int:
        """What an isolated position answers with: the initial margin of its cost."""
        position = runner.ledger.positions[name]
        return self.agreement.schedules[name].initial(abs(position.cost), position.lots)

    def _require(self, name: InstrumentId, lots: int, ticks: int, *, is_initial: bool) -> int:
        instrument = self._instruments[name]
        factor = instrument.minor_per_tick_lot
        notional = compute_notional(abs(lots), ticks, factor, instrument.inverse_factor)
        option = self._options.get(name)
        if option is not None:
            return notional if lots > 0 else self._short_option(option, -lots, notional)
        schedule = self.agreement.schedules[name]
        if is_initial:
            return schedule.initial(notional, lots)
        return schedule.maintenance(notional, lots)

    def _short_option(self, option: OptionContract, lots: int, premium: int) -> int:
        ticks = self._market.mark_ticks(self._index[option.underlying.id])
        price = ticks * option.tick_minor or option.strike  # at the money where nothing is known
        underlying = -(-price * lots * option.top // option.bottom) + lots * option.cash
        strike = -(-option.strike * lots * option.unit_top // option.unit_bottom)
        beyond = max(0, option.right_sign * (strike - underlying))
        base = underlying if option.right_sign > 0 else strike
        return compute_short_option_margin(
            premium, underlying, beyond, base, _OPTION_E8, _OPTION_FLOOR_E8
        )

    def maintenance(self, runner: Runner) -> int:
        """Maintenance margin of a strategy at the marks, in minor units of its books."""
        longs = shorts = 0
        for name, position in runner.ledger.held.items():
            ticks = self._market.value_ticks(self._index[name], position.lots)
            required = self._require(name, position.lots, ticks, is_initial=False)
            required = self._at_home(runner, name, required)
            longs += required if position.lots > 0 else 0
            shorts += required if position.lots < 0 else 0
        positions = max(longs, shorts) if self.agreement.is_portfolio else longs + shorts
        return positions + self.compute_owed_margin(self._owed(runner))

    # Calls and liquidation.

    def check(self, runner: Runner, cause: int, cancel: Cancel) -> Iterator[MarginStatusChanged]:
        """Judge a strategy at the marks, and act; yields each status that has changed.

        Every event is on the tape when it is yielded; `cause` is the seq of what moved the marks.
        """
        if (
            not runner.ledger.held
            and not any(key[0] == runner.name for key in self._status)
            and not self._owed(runner)
        ):
            return
        if not self.agreement.is_isolated:
            yield from self._judge(runner, _WHOLE, cause, cancel)
            return
        known = [key[1] for key in self._status if key[0] == runner.name]
        for name in [*dict.fromkeys([*runner.ledger.held, *known])]:
            yield from self._judge(runner, name, cause, cancel)

    def _judge(
        self, runner: Runner, name: InstrumentId, cause: int, cancel: Cancel
    ) -> Iterator[MarginStatusChanged]:
        equity, required = self._measure(runner, name)
        if equity < required and (self._closable(runner, name) or _has_foreign(runner)):
            status = MarginStatus.LIQUIDATION
            changed = self._change(runner, name, status, equity, required, cause)
            cause = self._log.first_seq + len(self._log.events) - 1
            yield changed
            cancel(runner, name, cause)
            self._liquidate(runner, name, cause)
            equity, required = self._measure(runner, name)
        status = self._status_of(runner, equity, required)
        if self._status.get((runner.name, name), MarginStatus.SUFFICIENT) is not status:
            yield self._change(runner, name, status, equity, required, cause)

    def _closable(self, runner: Runner, name: InstrumentId) -> list[InstrumentId]:
        """Positions, or (`name`) the one, that a liquidation can close."""
        return [
            each
            for each in runner.ledger.held
            if name in ("", each) and market_of(each) not in self._halted
        ]

    def _measure(self, runner: Runner, name: InstrumentId) -> tuple[int, int]:
        """What backs the positions of a strategy, or one of them, and what they require."""
        if not name:
            runner.valuation.refresh()
            return runner.valuation.equity, self.maintenance(runner)
        position = runner.ledger.held.get(name)
        if position is None:
            return 0, 0
        ticks = self._market.value_ticks(self._index[name], position.lots)
        required = self._require(name, position.lots, ticks, is_initial=False)
        return self._isolated(runner, name) + position.worth(ticks), required

    def _status_of(self, runner: Runner, equity: int, required: int) -> MarginStatus:
        runner.valuation.refresh()
        if runner.valuation.equity < 0 and not runner.ledger.held:
            return MarginStatus.BANKRUPT
        if equity < compute_ratio_ceil(required, self.agreement.call_e8):
            return MarginStatus.CALLED
        return MarginStatus.SUFFICIENT

    def _change(
        self,
        runner: Runner,
        name: InstrumentId,
        status: MarginStatus,
        equity: int,
        required: int,
        cause: int,
    ) -> MarginStatusChanged:
        """Put another status on the tape."""
        key = (runner.name, name)
        if status is MarginStatus.SUFFICIENT:
            del self._status[key]
        else:
            self._status[key] = status
        event = MarginStatusChanged(runner.name, name, status, equity, required)
        self._log.emit(event, self._log.origin, cause)
        return event

    def _liquidate(self, runner: Runner, name: InstrumentId, cause: int) -> None:
        """Close lots at the mark, step by step, until what is left is backed."""
        held = {each: runner.ledger.held[each].lots for each in runner.ledger.held}
        while True:
            equity, required = self._measure(runner, name)
            closable = self._closable(runner, name)
            if equity >= required:
                return
            if not closable:
                if self._sweeper is not None:
                    self._sweeper.sweep_all(runner, cause)
                return
            here = max(closable, key=lambda each: self._requirement_of(runner, each))
            self._close(runner, here, held[here], cause)

    def _requirement_of(self, runner: Runner, name: InstrumentId) -> int:
        lots = runner.ledger.held[name].lots
        ticks = self._market.value_ticks(self._index[name], lots)
        required = self._require(name, lots, ticks, is_initial=False)
        return self._at_home(runner, name, required)

    def _close(self, runner: Runner, name: InstrumentId, lots_before: int, cause: int) -> None:
        position = runner.ledger.held[name]
        step = max(1, -(-abs(lots_before) * self.agreement.step_e8 // E8))
        lots = min(abs(position.lots), step)
        side = -1 if position.lots > 0 else 1
        ticks = self._market.value_ticks(self._index[name], position.lots)
        notional = compute_fill_notional(
            lots, ticks, position.factor, position.inverse_factor, side
        )
        fee = compute_ratio_ceil(notional, self.agreement.fee_e8)
        settled = runner.settle_contract(
            name, SettlementKind.LIQUIDATION, side * lots, ticks, notional, fee
        )
        seq = self._log.emit(settled, self._log.origin, cause)
        if self._sweeper is not None:
            self._sweeper.sweep(runner, name, seq)


def _has_foreign(runner: Runner) -> bool:
    """Whether foreign cash is held or owed, which a liquidation can convert."""
    ledger = runner.ledger
    return isinstance(ledger, CurrencyLedger) and any(each.cash for each in ledger.others.values())
