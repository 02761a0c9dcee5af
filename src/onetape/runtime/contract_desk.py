"""What happens to positions in contracts without an order: funding, marks, settlements, expiry."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from onetape.domain.corporate_actions import ActionTerms, compute_terms
from onetape.domain.events import (
    CashPosted,
    ContractAdjusted,
    OrderDenied,
    PositionSettled,
    SettlementKind,
)
from onetape.domain.instrument import ExerciseStyle, Instrument, InstrumentId, OptionTerms
from onetape.domain.legs import index_of, names_of
from onetape.domain.market import (
    ContractExpiry,
    ContractStep,
    CorporateAction,
    FundingRate,
    MarkPrice,
    SessionSettlement,
    TradingStatus,
)
from onetape.domain.notional import compute_fill_notional
from onetape.domain.numbers import E8, compute_ticks, to_grid
from onetape.domain.orders import DenialCode, ExerciseIntent
from onetape.domain.postings import PostingKind
from onetape.portfolio.exercise import compute_exercise_amount
from onetape.portfolio.funding import compute_funding
from onetape.portfolio.option_adjustment import Deliverable, count_contracts, find_options
from onetape.runtime.market_state import MarketState
from onetape.runtime.option_contract import OptionContract, read_option
from onetape.runtime.order_desk import OrderDesk
from onetape.runtime.runner import Runner
from onetape.runtime.step_log import StepLog

_RATE_STEP = Decimal("1e-10")


class OptionState(msgspec.Struct, frozen=True):
    """What an option that an action has adjusted is exercised for."""

    instrument: InstrumentId
    deliverable: Deliverable


class ContractDesk:
    """Books contract steps; every posting stands on the tape with the step that caused it.

    Args:
        log: Where the events go.
        market: Marks.
        instruments: Of the session.
        runners: Whose books, by name, in the order in which they are asked.
        desk: Denies orders of what has expired.

    `options` are the options among the instruments.

    Raises:
        ConfigError: An option can't be settled by its underlying (see `read_option`).
    """

    __slots__ = (
        "_defined", "_desk", "_index", "_instruments", "_log", "_market", "_names", "_runners",
        "options",
    )  # fmt: skip

    def __init__(
        self,
        log: StepLog,
        market: MarketState,
        instruments: Sequence[Instrument],
        runners: Mapping[str, Runner],
        desk: OrderDesk,
    ) -> None:
        self._log = log
        self._market = market
        self._instruments = {each.id: each for each in instruments}
        self._index = index_of(instruments)
        self._names = names_of(instruments)
        self.options: dict[InstrumentId, OptionContract] = {
            each.id: read_option(each, each.terms, self._instruments)
            for each in instruments
            if isinstance(each.terms, OptionTerms)
        }
        self._defined = {name: each.deliverable for name, each in self.options.items()}
        self._runners = runners
        self._desk = desk

    def apply(self, step: ContractStep, cause: int) -> None:
        """Book a step, whose event has the seq `cause`.

        Raises:
            InvariantBroken: A position or a balance becomes too large.
        """
        match step:
            case MarkPrice():
                self._mark(step)
            case FundingRate():
                self._fund(step, cause)
            case SessionSettlement():
                for runner, name in self._holders(step.instrument):
                    self._settle(runner, name, SettlementKind.VARIATION, 0, cause)
            case ContractExpiry():
                for runner, name in self._holders(step.instrument):
                    self._expire(runner, name, cause)
            case TradingStatus():
                pass
        self.follow(step)

    def follow(self, step: ContractStep) -> None:
        """Remember of a step what marks and books don't hold."""
        if isinstance(step, ContractExpiry):
            self._desk.route.leave(step.instrument, DenialCode.EXPIRED)
        elif isinstance(step, TradingStatus):
            self._desk.route.follow_status(step)

    def adjust(self, action: CorporateAction, cause: int) -> list[InstrumentId]:
        """Adjust the options on shares that split, before the shares are; returns which.

        Raises:
            InvariantBroken: A position becomes too large.
        """
        if not self.options or not action.kind.scales:
            return []
        log, adjusted = self._log, []
        terms = compute_terms(action, self._instruments[action.instrument])
        ticks = self._market.mark_ticks(self._index[action.instrument])
        contracts = count_contracts(terms)
        for at, instrument in find_options(list(self._instruments.values()), action):
            name = instrument.id
            made = self.options[name] = self.options[name].adjust(action, ticks)
            event = ContractAdjusted(
                name, action.instrument, action.kind, contracts, made.strike, made.top,
                made.bottom, made.cash,
            )  # fmt: skip
            seq = log.emit(event, log.origin, cause)
            adjusted.append(name)
            if contracts == 1:
                continue
            own = msgspec.structs.replace(action, instrument=name)
            for runner, held in self._holders(name):
                change = runner.adjust(
                    own, held, ActionTerms(contracts, 1), self._market.mark_ticks(at), None
                )
                if change is not None:
                    log.emit(change, log.origin, seq)
        return adjusted

    def save(self) -> list[OptionState]:
        """What actions have made of options, those that they have adjusted."""
        return [
            OptionState(name, each.deliverable)
            for name, each in self.options.items()
            if each.deliverable != self._defined[name]
        ]

    def restore(self, states: Sequence[OptionState]) -> None:
        """Go on where `states` were saved."""
        for each in states:
            self.options[each.instrument] = self.options[each.instrument].take(each.deliverable)

    def exercise(self, runner: Runner, intent: ExerciseIntent) -> OrderDenied | None:
        """Exercise an American option before its expiry, at once; returns the refusal, if it is.

        Refused are: more lots than are held and not yet for sale, another style, an option out of
        the money or without a mark, and what nothing covers (see `_find_shortfall`).
        """
        log = self._log
        seq = log.emit(intent, log.origin, log.cause)
        refusal = self._refuse(runner, intent)
        if refusal is not None:
            log.emit(refusal, log.origin, seq)
            return refusal
        self._exercise(runner, self.options[intent.instrument], intent.lots, seq)
        return None

    def _refuse(self, runner: Runner, intent: ExerciseIntent) -> OrderDenied | None:
        def deny(code: DenialCode, actual: float, limit: float, unit: str) -> OrderDenied:
            return OrderDenied(
                runner.name, intent.intent, intent.instrument, code, actual, limit, unit
            )

        option = self.options.get(intent.instrument)
        if option is None or option.terms.exercise is not ExerciseStyle.AMERICAN:
            return deny(DenialCode.NOT_EXERCISABLE, 0, 1, "american options")
        if intent.lots <= 0:
            return deny(DenialCode.ZERO_QUANTITY, intent.lots, 1, "lots")
        free = self._desk.claims.free_lots(runner, intent.instrument)
        if intent.lots > free:
            return deny(DenialCode.NOT_EXERCISABLE, intent.lots, free, "lots")
        ticks = self._market.mark_ticks(self._index[option.underlying.id])
        if not ticks:
            return deny(DenialCode.NO_MARK, 0, 1, "bars")
        if not option.lot_intrinsic(ticks):
            mark = float(option.underlying.ticks_to_price(ticks))
            return deny(DenialCode.NOT_EXERCISABLE, mark, option.strike / E8, "strike")
        shortfall = self._find_shortfall(runner, option, intent.lots)
        return None if shortfall is None else deny(DenialCode.BUYING_POWER, *shortfall)

    def _find_shortfall(
        self, runner: Runner, option: OptionContract, lots: int
    ) -> tuple[float, float, str] | None:
        """What the exercise of `lots` needs and what there is, with the unit, if that is less.

        A cash account pays for a call from settled cash that no open buy has bound, and hands over
        shares for a put that it holds and that are not for sale, for it can borrow neither. Where
        positions may not go below zero, every account needs the shares.

        Source: Interactive Brokers, knowledge base 1767, "Expiration & Corporate Action Related
            Liquidations": it may prohibit an exercise that the account can't carry. That a short
            position needs a margin account: 12 CFR 220.8 and 220.12.
        """
        claims = self._desk.claims
        shares = lots * option.lot_shares
        if shares and not self._desk.allows_short:
            free = claims.free_lots(runner, option.underlying.id)
            if shares > free:
                size = option.underlying.lot_float
                return shares * size, free * size, "units"
        cost = lots * option.lot_cost
        unit = option.instrument.quote_currency
        exchange = runner.exchange
        if exchange is not None and unit != exchange.home and not exchange.holds:
            cost = -exchange.to_home(unit, -cost)
            cost, unit = cost + exchange.compute_cost(cost), exchange.home
        if cost and self._desk.is_cash_account:
            free = claims.free_cash(runner, unit)
            if cost > free:
                return cost / E8, free / E8, unit
        return None

    def _count_covered(self, runner: Runner, option: OptionContract, lots: int) -> int:
        """How many of `lots` can be exercised."""

        def lacks(count: int) -> bool:
            return self._find_shortfall(runner, option, count) is not None

        return bisect_left(range(1, lots + 1), x=True, key=lacks)

    def _holders(self, instrument: InstrumentId) -> list[tuple[Runner, InstrumentId]]:
        """Who holds an instrument, and under which id."""
        return [
            (runner, name)
            for runner in self._runners.values()
            for name in self._names[instrument]
            if name in runner.ledger.held
        ]

    def _mark(self, step: MarkPrice) -> None:
        index = self._index[step.instrument]
        for runner in self._runners.values():
            if runner.watch is not None:
                runner.watch.advance()
        self._market.mark(index, step.price)
        for runner in self._runners.values():
            runner.valuation.expire()
            if runner.watch is not None:
                runner.watch.adjust_mark(index, self._market.mark_ticks(index))

    def _fund(self, step: FundingRate, cause: int) -> None:
        instrument = self._instruments[step.instrument]
        ticks = self._market.mark_ticks(self._index[step.instrument])
        if step.mark:
            ticks = compute_ticks(step.mark, instrument.tick_float, 0)
        rate_e10 = to_grid(step.rate, _RATE_STEP, "rate")
        for runner, name in self._holders(step.instrument):
            position = runner.ledger.held[name]
            amount = compute_funding(
                position.lots, ticks, position.factor, position.inverse_factor, rate_e10
            )
            if amount:
                reason = f"rate {step.rate!r} at {instrument.ticks_to_price(ticks):f}"
                posted = runner.post(PostingKind.FUNDING, amount, name, reason)
                self._tell(runner, posted, cause)

    def _expire(self, runner: Runner, instrument: InstrumentId, cause: int) -> None:
        lots = runner.ledger.held[instrument].lots
        option = self.options.get(instrument)
        if option is None:
            self._settle(runner, instrument, SettlementKind.FINAL, -lots, cause)
            return
        ticks = self._market.mark_ticks(self._index[option.underlying.id])
        if not ticks or not option.lot_intrinsic(ticks):
            self._let_go(runner, instrument, SettlementKind.WORTHLESS, lots, cause)
            return
        exercised = self._count_covered(runner, option, lots) if lots > 0 else lots
        if exercised:
            self._exercise(runner, option, exercised, cause)
        if lots != exercised:
            self._let_go(runner, instrument, SettlementKind.LAPSED, lots - exercised, cause)

    def _let_go(
        self, runner: Runner, instrument: InstrumentId, kind: SettlementKind, lots: int, cause: int
    ) -> None:
        """Options that end for nothing."""
        self._tell(runner, runner.settle_contract(instrument, kind, -lots, 0, 0), cause)

    def _settle(
        self,
        runner: Runner,
        instrument: InstrumentId,
        kind: SettlementKind,
        traded: int,
        cause: int,
    ) -> None:
        """Settle a future at its mark; 0 lots traded: only its gain moves to cash."""
        position = runner.ledger.held[instrument]
        ticks = self._market.mark_ticks(self._index[instrument])
        side = 1 if traded > 0 else -1
        notional = compute_fill_notional(
            abs(traded), ticks, position.factor, position.inverse_factor, side
        )
        settled = runner.settle_contract(instrument, kind, traded, ticks, notional)
        self._tell(runner, settled, cause)

    def _tell(self, runner: Runner, event: CashPosted | PositionSettled, cause: int) -> int:
        """Put it on the tape, and convert what foreign cash it moved; returns its seq."""
        seq = self._log.emit(event, self._log.origin, cause)
        self._desk.books.sweep(runner, event.instrument, seq)
        return seq

    def _exercise(self, runner: Runner, option: OptionContract, lots: int, cause: int) -> None:
        """Exercise `lots` (negative: the holder of what we sold does)."""
        kind = SettlementKind.EXERCISE if lots > 0 else SettlementKind.ASSIGNMENT
        if option.terms.cash_settled:
            here = self._market.mark_ticks(self._index[option.underlying.id])
            intrinsic = option.intrinsic(here)
            amount = compute_exercise_amount(lots, intrinsic, option.top, option.bottom)
            if not option.is_standard:
                amount = lots * option.lot_intrinsic(here)
                intrinsic = option.lot_intrinsic(here) * option.unit_bottom // option.unit_top
            ticks = int(Decimal(intrinsic) / E8 // option.instrument.tick_size)
            settled = runner.settle_contract(option.instrument.id, kind, -lots, ticks, abs(amount))
            self._tell(runner, settled, cause)
            return
        if not option.is_standard:
            self._pay_fractions(runner, option, lots, cause)
        settled = runner.settle_contract(option.instrument.id, kind, -lots, 0, 0)
        seq = self._tell(runner, settled, cause)
        delivered = option.delivered_lots(lots)
        if not delivered:
            return
        position = runner.ledger.positions[option.underlying.id]
        ticks = option.strike_ticks
        notional = compute_fill_notional(
            abs(delivered), ticks, position.factor, position.inverse_factor,
            1 if delivered > 0 else -1,
        )  # fmt: skip
        if not option.is_standard:  # what each share costs then, rounded down to a tick
            notional = abs(lots) * option.lot_strike
            ticks = notional // (abs(delivered) * position.factor)
        taken = runner.settle_contract(
            option.underlying.id, SettlementKind.DELIVERY, delivered, ticks, notional
        )
        self._tell(runner, taken, seq)

    def _pay_fractions(self, runner: Runner, option: OptionContract, lots: int, cause: int) -> None:
        """Cash that an adjusted contract delivers in lieu of fractions.

        Less the strike where no whole lot is left to deliver.
        """
        each = option.cash if option.underlying_lots else option.cash - option.lot_strike
        cash = option.right_sign * lots * each
        if cash:
            posted = runner.post(
                PostingKind.EXERCISE, cash, option.instrument.id, "in lieu of fractions"
            )
            self._tell(runner, posted, cause)
