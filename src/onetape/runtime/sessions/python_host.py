"""The Python host of a sweep: a set is a whole backtest session, of which its figures are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import (
    CapitalDeposited,
    CashPosted,
    KillSwitchSet,
    OrderApproved,
    OrderDenied,
    OrderFilled,
    OrderPartiallyFilled,
    Payload,
    PositionAdjusted,
    PositionChanged,
    PositionClosed,
    PositionOpened,
    PositionSettled,
    SessionStarted,
    SessionStopped,
    StrategyQuarantined,
    StrayFilled,
)
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.equity_curve import Marks, TimedAccountEvent, compute_equity_curves
from onetape.portfolio.home_amounts import fills_at_home, trips_at_home
from onetape.portfolio.performance_summary import (
    choose_returns_clock,
    compute_growth,
    compute_returns,
    count_figures,
    period_ends,
    summarize_figures,
)
from onetape.portfolio.round_trips import pair_round_trips
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.set_outcome import GivenUp, SetOutcome
from onetape.strategy.guard import watching
from onetape.strategy.sdk import Strategy


class AccountTape:
    """A tape that keeps what the figures need of the account, and how often risk said what.

    Attributes:
        events: Deposits, fills, what corporate actions made of positions and other postings of
            cash, with their engine time, in order.
        orders: Orders that risk approved.
        denied: What it refused.
        cash: What the ledger said last, in minor units; None before the first fill.
        quarantined: Why the strategy was taken out; empty when it was not.
    """

    def __init__(self) -> None:
        self.events: list[TimedAccountEvent] = []
        self.orders = 0
        self.denied = 0
        self.cash: int | None = None
        self.quarantined = ""
        self._folds: dict[type, Callable[[int, Any], None]] = {
            CapitalDeposited: self._account,
            OrderFilled: self._account,
            OrderPartiallyFilled: self._account,
            StrayFilled: self._account,
            PositionChanged: self._position,
            PositionOpened: self._position,
            PositionClosed: self._position,
            PositionAdjusted: self._adjust,
            PositionSettled: self._adjust,
            CashPosted: self._adjust,
            OrderApproved: self._approve,
            OrderDenied: self._deny,
            StrategyQuarantined: self._quarantine,
        }

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        """Take the events of one step (see `TapeWriter`)."""
        for payload, _, _ in events:
            fold = self._folds.get(type(payload))
            if fold is not None:
                fold(ts, payload)

    def commit(self) -> None:
        """Nothing waits to be written."""

    def _account(self, ts: int, event: CapitalDeposited | OrderFilled) -> None:
        self.events.append((ts, event))

    def _adjust(self, ts: int, change: PositionAdjusted | PositionSettled | CashPosted) -> None:
        self.events.append((ts, change))
        self.cash = change.cash

    def _position(self, _ts: int, change: PositionChanged) -> None:
        self.cash = change.cash

    def _approve(self, _ts: int, _approved: OrderApproved) -> None:
        self.orders += 1

    def _deny(self, _ts: int, _refusal: OrderDenied) -> None:
        self.denied += 1

    def _quarantine(self, _ts: int, failure: StrategyQuarantined) -> None:
        place = f" ({failure.where})" if failure.where else ""
        self.quarantined = f"{failure.callback}: {failure.error}{place}"


class TracedTape(AccountTape):
    """One that keeps every event but header and footer, with its engine time."""

    def __init__(self) -> None:
        super().__init__()
        self.trace: list[tuple[int, Payload]] = []

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        """Take the events of one step (see `TapeWriter`)."""
        super().append(first_seq, ts, market_index, events)
        self.trace += [
            (ts, payload)
            for payload, _, _ in events
            if not isinstance(payload, SessionStarted | SessionStopped)
        ]


class PythonHost:
    """Runs sets of one strategy over one timeline, in this thread.

    Args:
        timeline: The market data, shared by all sets.
        spec: The strategy; its params are not used.
        terms: How the simulated venue fills and charges.
        limits: Risk limits.
        identity: What the sessions are called after.
        controls: Operators' commands with their times, in order.

    Raises:
        ConfigError: The configuration does not fit the instruments.
    """

    def __init__(
        self,
        timeline: Timeline,
        spec: StrategySpec,
        terms: VenueTerms,
        limits: RiskLimits,
        identity: SessionIdentity | None = None,
        controls: Sequence[tuple[int, KillSwitchSet]] = (),
    ) -> None:
        self._timeline = timeline
        self._spec = spec
        self._terms = terms
        self._limits = limits
        self._identity = identity or SessionIdentity()
        self._controls = controls
        marked = timeline.with_legs() if terms.has_legs else timeline
        self._marks = Marks(marked.at_closing_side() if terms.marks_closing_side else marked)
        self._is_foreign = any(e.settlement_currency != spec.currency for e in timeline.instruments)
        self._clock = choose_returns_clock(timeline.instruments, timeline.timeframe)

    def run(self, params: Mapping[str, Any]) -> SetOutcome:
        """Run one set.

        Raises:
            StrategyError: The strategy refuses the params, or its features raise.
            DataError: A close can't be counted in ticks.
            InvariantBroken: A promise of ours does not hold.
        """
        tape = AccountTape()
        self._run(self._make(params), tape)
        return self._measure(tape)

    def trace(self, params: Mapping[str, Any]) -> tuple[list[tuple[int, Payload]], BacktestSession]:
        """Every event of one set with its engine time, and the session as it ended."""
        tape = TracedTape()
        session = self._run(self._make(params), tape)
        return tape.trace, session

    def _make(self, params: Mapping[str, Any]) -> Strategy:
        return type(self._spec.strategy)(**params)

    def _run(self, strategy: Strategy, tape: AccountTape) -> BacktestSession:
        spec = msgspec.structs.replace(self._spec, strategy=strategy)
        session = BacktestSession(
            self._timeline, [spec], self._terms, self._limits, tape, self._identity
        )
        with watching([type(strategy)]):
            session.run(controls=self._controls)
        return session

    def _measure(self, tape: AccountTape) -> SetOutcome:
        """The figures as `summarize_run` has them of a whole tape."""
        curve = compute_equity_curves(self._marks, tape.events).account
        currencies = self._marks.currencies(self._spec.currency)
        if not self._is_foreign and tape.cash is not None and tape.cash != int(curve.cash[-1]):
            raise InvariantBroken(
                f"cash is {tape.cash} minor units in the books and {int(curve.cash[-1])} by fills"
            )
        fills = [(ts, event) for ts, event in tape.events if isinstance(event, OrderFilled)]
        trips = trips_at_home(currencies, pair_round_trips(self._marks, tape.events))
        figures = count_figures(curve, fills_at_home(currencies, fills), trips)
        returns = compute_returns(compute_growth(curve)[period_ends(curve.ts, self._clock)])
        return SetOutcome(
            summary=summarize_figures(figures, returns, self._clock),
            returns=returns,
            orders=tape.orders,
            denied=tape.denied,
            quarantined=tape.quarantined,
        )


class CompiledFirst:
    """Runs sets in compiled code, and those that it gives up in the Python host.

    Args:
        compiled: `CompiledHost.run`.
        make_python: Makes the Python host, when it is needed.
    """

    def __init__(
        self,
        compiled: Callable[[Mapping[str, Any]], SetOutcome],
        make_python: Callable[[], PythonHost],
    ) -> None:
        self._compiled = compiled
        self._make_python = make_python

    @cached_property
    def _python(self) -> PythonHost:
        return self._make_python()

    def run(self, params: Mapping[str, Any]) -> SetOutcome:
        """Run one set; raises as both do."""
        try:
            return self._compiled(params)
        except GivenUp:
            return self._python.run(params)
