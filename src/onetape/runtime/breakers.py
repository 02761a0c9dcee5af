"""Circuit breakers of a session: they look at equity, trips, rejections and data, and act."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from onetape.domain.breakers import BreakerAction, BreakerKind
from onetape.domain.events import (
    BreakerRearmed,
    BreakerTripped,
    KillSwitchSet,
    OrderAccepted,
    OrderFilled,
    OrderRejected,
    OrderReport,
    PositionChanged,
)
from onetape.domain.instrument import InstrumentId
from onetape.domain.numbers import compute_ratio_floor, minor_to_float
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.marketdata.session_rows import SessionRows
from onetape.risk.breakers import (
    Breaker,
    is_data_fresh,
    is_loss_within,
    is_rejection_rate_within,
    is_streak_within,
    percent_of,
    share_of,
)
from onetape.runtime.equity_watch import follow_capital
from onetape.runtime.market_state import MarketState
from onetape.runtime.order_desk import OrderDesk
from onetape.runtime.runner import Runner
from onetape.runtime.step_log import StepLog

_NS_PER_MINUTE = 60 * NS_PER_SECOND


class Watched(msgspec.Struct):
    """One breaker on one target: what it has seen since it was armed, and its trip while it lasts.

    Attributes:
        breaker: Its place in the configuration.
        strategy: Whose books; empty: the account's.
        instrument: Whose data; empty: not about data.
        base: What a loss is counted from (minor units): start of the day, or the highest equity.
        streak: Losing round trips in a row.
        answers: Whether each of the last answers of the venue was a rejection, oldest first.
        trip: The event while it is tripped.
    """

    breaker: int
    strategy: str
    instrument: InstrumentId
    base: int
    streak: int = 0
    answers: list[bool] = []
    trip: BreakerTripped | None = None


class Trip(msgspec.Struct):
    """A round trip under way: signed lots, and what it has earned (minor units), fees paid."""

    lots: int = 0
    earned: int = 0


class BreakersState(msgspec.Struct, frozen=True, kw_only=True):
    """What `Breakers` remember between two steps."""

    watched: list[Watched]
    trips: list[tuple[str, InstrumentId, int, int]]
    equity: dict[str, int]
    capital: dict[str, int]
    row: int


class Breakers:
    """All breakers of a session. A session without breakers has none of this.

    Losses are looked at where a time slice ends, at its marks, before the strategies hear of it;
    trips and rejections when they happen; data when the newest event has become too old.

    Args:
        breakers: In the order of the configuration.
        timeline: Which instruments there are.
        market: Where the session stands.
        log: Where what happens is told.
        desk: Who cancels and closes.
        runners: The strategies.
    """

    def __init__(
        self,
        breakers: Sequence[Breaker],
        timeline: SessionRows,
        market: MarketState,
        log: StepLog,
        desk: OrderDesk,
        runners: Mapping[str, Runner],
    ) -> None:
        self._breakers = breakers
        self._market = market
        self._log = log
        self._desk = desk
        self._runners = runners
        self._index = {each.id: at for at, each in enumerate(timeline.instruments)}
        self._trips: dict[tuple[str, InstrumentId], Trip] = {}
        self._row = -1
        self._equity = {name: each.ledger.cash for name, each in runners.items()}
        self._equity[""] = sum(self._equity.values())
        self._capital = {name: each.ledger.capital for name, each in runners.items()}
        self.watched = [
            Watched(at, strategy, instrument, self._equity[strategy])
            for at, each in enumerate(breakers)
            for strategy in ([""] if each.is_account else runners)
            for instrument in self._instruments_of(each, strategy)
        ]

    def _instruments_of(self, breaker: Breaker, strategy: str) -> Sequence[InstrumentId]:
        if breaker.kind is not BreakerKind.STALE_DATA:
            return (InstrumentId(""),)
        every = tuple(self._index)
        return every if not strategy else tuple(filter(self._runners[strategy].hears, every))

    def save(self) -> BreakersState:
        """What they remember, between two steps."""
        return BreakersState(
            watched=[msgspec.structs.replace(each, answers=list(each.answers))
                     for each in self.watched],
            trips=[(*key, each.lots, each.earned) for key, each in self._trips.items()],
            equity=dict(self._equity), capital=dict(self._capital), row=self._row,
        )  # fmt: skip

    def restore(self, state: BreakersState) -> None:
        """Go on where `state` was saved."""
        self.watched = [
            msgspec.structs.replace(each, answers=list(each.answers)) for each in state.watched
        ]
        self._trips = {
            (name, instrument): Trip(lots, earned) for name, instrument, lots, earned in state.trips
        }
        self._equity = dict(state.equity)
        self._capital = dict(state.capital)
        self._row = state.row
        self._pause()

    # What they look at.

    def look(self) -> None:
        """At the end of a time slice: sessions, re-arming, losses; then close what is to close."""
        row = self._market.row
        is_new = self._market.session_start_between(self._row, row) >= 0 and self._row >= 0
        before, self._row = self._equity, row
        moved = self._follow_capital()
        self._equity = {name: self._value(each) for name, each in self._runners.items()}
        self._equity[""] = sum(self._equity.values())
        for each in self.watched:
            breaker = self._breakers[each.breaker]
            came = moved.get(each.strategy, 0)
            own = self._equity[each.strategy] - came
            each.base = follow_capital(each.base, own, came)
            if each.trip is not None and self._is_rearmed(breaker, each.trip, is_new=is_new):
                self._rearm(each)
            equity = self._equity[each.strategy]
            if breaker.kind is BreakerKind.DAILY_LOSS and is_new and each.trip is None:
                each.base = follow_capital(before[each.strategy], own, came)
            elif breaker.kind is BreakerKind.DRAWDOWN:
                each.base = max(each.base, equity)
            elif breaker.kind is not BreakerKind.DAILY_LOSS:
                continue
            if each.trip is None and not is_loss_within(each.base, equity, breaker.ratio_e8):
                allowed = compute_ratio_floor(each.base, breaker.ratio_e8)
                currency = self._runners[each.strategy or next(iter(self._runners))].ledger.currency
                loss = minor_to_float(each.base - equity)
                self._trip(each, loss, minor_to_float(allowed), currency)
        self._flatten()

    def _follow_capital(self) -> dict[str, int]:
        """Capital that each strategy got (gave: negative) since the last look: no gain, no loss."""
        now = {name: each.ledger.capital for name, each in self._runners.items()}
        moved = {name: capital - self._capital[name] for name, capital in now.items()}
        self._capital = now
        return moved

    def _value(self, runner: Runner) -> int:
        runner.valuation.refresh()
        return runner.valuation.equity

    def hear(self, runner: Runner, report: OrderReport, change: PositionChanged | None) -> None:
        """What the venue said to an order of `runner`, and what a fill made of its books."""
        won: bool | None = None
        if isinstance(report, OrderFilled) and change is not None:
            won = self._follow(report, change)
        for each in self.watched:
            if each.trip is not None or each.strategy not in ("", runner.name):
                continue
            breaker = self._breakers[each.breaker]
            if breaker.kind is BreakerKind.LOSING_STREAK and won is not None:
                each.streak = 0 if won else each.streak + 1
                if not is_streak_within(each.streak, breaker.count):
                    self._trip(each, each.streak, breaker.count, "losing round trips")
            elif breaker.kind is BreakerKind.REJECTION_RATE and isinstance(
                report, OrderAccepted | OrderRejected
            ):
                answers = each.answers = [*each.answers, isinstance(report, OrderRejected)]
                del answers[: -breaker.count]
                rejected, answered = sum(answers), len(answers)
                if not is_rejection_rate_within(
                    rejected, answered, breaker.count, breaker.ratio_e8
                ):
                    unit = f"% of {breaker.count} answers"
                    limit = percent_of(breaker.ratio_e8)
                    self._trip(each, share_of(rejected, answered), limit, unit)

    def _follow(self, fill: OrderFilled, change: PositionChanged) -> bool | None:
        """Whether a round trip that ends with this fill has earned money; None: none ends.

        A fill that turns a position around ends its trip, and all of its fee belongs to that.
        """
        trip = self._trips.setdefault((fill.strategy, fill.instrument), Trip())
        before, trip.lots = trip.lots, change.lots
        trip.earned += change.realized - fill.fee
        is_turned = before * change.lots < 0
        if change.lots and not is_turned:
            return None
        earned, trip.earned = trip.earned, 0
        return earned >= 0

    def first_check(self) -> Iterator[tuple[str, int]]:
        """Timers to set at the start: (name, how long after it) of each watch over data."""
        for at, each in enumerate(self.watched):
            if each.instrument:
                yield str(at), self._breakers[each.breaker].limit_ns

    def check_data(self, name: str) -> int:
        """A timer has come: trip if the data is too old; returns when to look again, ns UTC."""
        each = self.watched[int(name)]
        limit_ns = self._breakers[each.breaker].limit_ns
        now = self._log.now
        newest = self._market.ts_known(self._index[each.instrument])
        if newest < 0:
            return now + limit_ns
        close = self._market.session_close(each.instrument)
        if is_data_fresh(now, newest, limit_ns, close):
            return newest + limit_ns if newest + limit_ns > now else now + limit_ns
        if each.trip is None:
            minutes = (now - newest) / _NS_PER_MINUTE
            self._trip(each, minutes, limit_ns / _NS_PER_MINUTE, "minutes")
        return now + limit_ns

    # What they do.

    def _trip(self, watched: Watched, actual: float, limit: float, unit: str) -> None:
        breaker = self._breakers[watched.breaker]
        ts_rearm = self._log.now + breaker.cooldown_ns if breaker.cooldown_ns else 0
        watched.trip = event = BreakerTripped(
            watched.breaker, breaker.kind, watched.strategy, watched.instrument, breaker.action,
            float(actual), float(limit), unit, ts_rearm,
        )  # fmt: skip
        log = self._log
        seq = log.emit(event, log.origin, log.cause)
        if breaker.action is BreakerAction.KILL:
            whose = watched.strategy or "the account"
            reason = f"breaker {breaker.kind.value} of {whose}"
            switch = KillSwitchSet(active=True, reason=reason)
            seq = log.emit(switch, log.origin, seq)
            self._desk.apply_control(switch)
        self._pause()
        runners = self._runners if breaker.action is BreakerAction.KILL else self._whose(watched)
        for name in runners:
            if breaker.action is BreakerAction.FLATTEN:
                self._desk.closing.flatten(self._runners[name], seq)
            else:
                self._desk.closing.cancel_entries(self._runners[name], seq)

    def _whose(self, watched: Watched) -> Sequence[str]:
        """The strategies that a breaker stops."""
        return (watched.strategy,) if watched.strategy else tuple(self._runners)

    def _is_rearmed(self, breaker: Breaker, trip: BreakerTripped, *, is_new: bool) -> bool:
        is_over = bool(trip.ts_rearm) and self._log.now >= trip.ts_rearm
        return is_over or (breaker.rearm_next_session and is_new)

    def _rearm(self, watched: Watched) -> None:
        """Armed again, and counting anew from here."""
        kind = self._breakers[watched.breaker].kind
        log = self._log
        event = BreakerRearmed(watched.breaker, kind, watched.strategy, watched.instrument)
        log.emit(event, log.origin, log.cause)
        watched.trip = None
        watched.base = self._equity[watched.strategy]
        watched.streak = 0
        watched.answers = []
        self._pause()

    def _pause(self) -> None:
        """Tell the desk who may not open anything."""
        self._desk.pause(
            name
            for each in self.watched
            if each.trip is not None and each.trip.action is not BreakerAction.KILL
            for name in self._whose(each)
        )

    def _flatten(self) -> None:
        """Close what is still open, or open again, under a breaker that flattens."""
        for each in self.watched:
            if each.trip is not None and each.trip.action is BreakerAction.FLATTEN:
                for name in self._whose(each):
                    self._desk.closing.flatten(self._runners[name], self._log.cause)
