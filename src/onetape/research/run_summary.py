"""Everything that is known about a run, finished or broken off, from its timeline and its tape."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from onetape.domain.errors import DataError, InvariantBroken
from onetape.domain.events import CapitalDeposited, Event, OrderDenied, OrderFilled
from onetape.domain.instrument import InstrumentId
from onetape.domain.legs import market_of
from onetape.domain.numbers import INT64_MAX, minor_to_decimal
from onetape.domain.orders import DenialCode
from onetape.domain.timestamps import to_iso
from onetape.portfolio.equity_curve import (
    EquityCurve,
    EquityCurves,
    Marks,
    SlicedTimeline,
    TimedAccountEvent,
    compute_equity_curves,
    currency_of,
    fold_cash,
)
from onetape.portfolio.home_amounts import fills_at_home, trips_at_home
from onetape.portfolio.home_currency import HomeCurrency
from onetape.portfolio.performance_summary import (
    PerformanceSummary,
    choose_returns_clock,
    compute_calendar_returns,
    compute_growth,
    summarize_performance,
)
from onetape.portfolio.round_trips import RoundTrip, pair_round_trips
from onetape.research.run_execution import RunExecution, measure_run_execution
from onetape.research.run_exposure import RunExposure, measure_run_exposure, newest_greeks
from onetape.research.run_risk import RunRisk, measure_run_risk
from onetape.research.thin_ticks import ThinTimeline, is_long, list_moments
from onetape.telemetry.run_projection import RunProjection, project_run

METRICS_VERSION = 1
"""Version of the layout of metrics.json."""


class ReportedTimeline(SlicedTimeline, Protocol):
    """What a summary reads of a timeline, beyond its marks."""

    @property
    def timeframe(self) -> str:
        """Length of a bar as text, such as `1d`."""
        ...


class InstrumentSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What one instrument did for the account; money exact in currency.

    `net_profit` is that of its round trips, open ones at their mark.
    """

    instrument: InstrumentId
    fills: int
    round_trips: int
    traded_notional: Decimal
    fees: Decimal
    net_profit: Decimal


_OF_AN_ORDER = frozenset(
    (
        DenialCode.UNKNOWN_ORDER, DenialCode.ORDER_CLOSED, DenialCode.ALREADY_PENDING,
        DenialCode.PARENT_CLOSED,
    )
)  # fmt: skip
"""Refusals that have no numbers: their unit is the id of the order that they are about."""


class DenialGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Orders that risk denied for one reason: how many, when, and the range of the numbers."""

    code: str
    unit: str
    count: int
    actual_min: float
    actual_max: float
    limit_min: float
    limit_max: float
    ts_first: int
    ts_last: int


class RunSummary(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A run, folded and measured. `digest` is that of the tape.

    `instruments` holds the traded ones, most traded first. An incomplete run is measured up to the
    last event of its tape.
    """

    projection: RunProjection
    timeline: ReportedTimeline
    marks: Marks
    curves: EquityCurves
    round_trips: list[RoundTrip]
    currency: str
    digest: str
    account: PerformanceSummary
    strategies: dict[str, PerformanceSummary]
    instruments: list[InstrumentSummary]
    denials: list[DenialGroup]
    execution: RunExecution
    risk: RunRisk
    exposure: RunExposure
    returns_by_month: list[tuple[str, float]]
    returns_by_year: list[tuple[str, float]]

    @property
    def is_complete(self) -> bool:
        """Whether the session came to its end."""
        return self.projection.stopped is not None

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration of the session."""
        return json.loads(self.projection.header.config)

    @property
    def orders_by_status(self) -> dict[str, int]:
        """How many submitted orders ended in each of the classic six statuses."""
        orders = self.projection.orders.values()
        return dict(sorted(Counter(each.classic_status for each in orders).items()))

    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json: exact money as Decimal, times as ISO text, NaN undefined."""
        projection = self.projection
        header = projection.header
        return {
            "metrics_version": METRICS_VERSION,
            "session": header.session,
            "mode": header.mode,
            "config_hash": header.config_hash,
            "code_version": header.code_version,
            "tape_digest": self.digest,
            "datasets": [_plain(each) for each in header.datasets],
            "complete": self.is_complete,
            "breakers": [{"time": to_iso(ts), **_plain(trip)} for ts, trip in projection.breakers],
            "quarantined": [
                {"time": to_iso(ts), **_plain(failure)} for ts, failure in projection.quarantined
            ],
            "currency": self.currency,
            "account": _plain(self.account),
            "strategies": {name: _plain(each) for name, each in self.strategies.items()},
            "instruments": [_plain(each) for each in self.instruments],
            "returns_by_month": dict(self.returns_by_month),
            "returns_by_year": dict(self.returns_by_year),
            "denied": [_plain(each) for each in self.denials],
            "execution": {
                "total": _plain(self.execution.total),
                "by_type": {name: _plain(each) for name, each in self.execution.by_type.items()},
                "endings": [_plain(each) for each in self.execution.endings],
            },
            "risk": {
                "account": _plain(self.risk.account),
                "strategies": {name: _plain(each) for name, each in self.risk.strategies.items()},
                "correlation": self.risk.correlation,
                "exposure_by_currency": [_plain(each) for each in self.exposure.by_currency],
                "exposure_by_sector": [_plain(each) for each in self.exposure.by_sector],
                "greeks": [_plain(each) for each in newest_greeks(self.exposure.greeks)],
            },
            "orders": self.orders_by_status,
            "events": dict(projection.counts),
            **self._actions_metrics(),
            **self._postings_metrics(),
            **self._contracts_metrics(),
        }

    def sum_settlements(self, strategy: str | None = None) -> dict[str, Decimal]:
        """PnL of contracts by what settled them, and the fees; of one strategy, or of all."""
        totals: Counter[str] = Counter()
        for _, _, each in self.projection.settlements:
            if strategy in (None, each.strategy):
                totals[each.kind.value] += each.realized
                totals["fees"] += each.fee
        return {name: minor_to_decimal(totals[name]) for name in sorted(totals)}

    def _contracts_metrics(self) -> dict[str, Any]:
        """A part of metrics.json that only a run has in which contracts were settled."""
        if not self.projection.settlements:
            return {}

        def amounts(strategy: str | None = None) -> dict[str, Any]:
            return {name: _shorten(each) for name, each in self.sum_settlements(strategy).items()}

        strategies = {name: amounts(name) for name in self.strategies}
        return {"contracts": {"account": amounts(), "strategies": strategies}}

    def sum_postings(self, strategy: str | None = None) -> dict[str, dict[str, Decimal]]:
        """Cash that moved without a fill by kind and currency, received: positive.

        Of one strategy, or of all.
        """
        totals: Counter[tuple[str, str]] = Counter()
        for _, _, posted in self.projection.postings:
            if strategy in (None, posted.strategy):
                totals[posted.kind.value, posted.currency] += posted.amount
        found: dict[str, dict[str, Decimal]] = {}
        for kind, currency in sorted(totals):
            found.setdefault(kind, {})[currency] = minor_to_decimal(totals[kind, currency])
        return found

    def _postings_metrics(self) -> dict[str, Any]:
        """A part of metrics.json that only a run has in which cash moved without a fill."""
        if not self.projection.postings:
            return {}

        def amounts(strategy: str | None = None) -> dict[str, Any]:
            return {
                kind: {currency: _shorten(each) for currency, each in sums.items()}
                for kind, sums in self.sum_postings(strategy).items()
            }

        strategies = {name: amounts(name) for name in self.strategies}
        return {"postings": {"account": amounts(), "strategies": strategies}}

    def sum_dividends(self, strategy: str | None = None) -> Decimal:
        """Dividends that one strategy, or all, received less those that it paid, in currency."""
        changes = [change for _, _, change in self.projection.adjustments]
        return minor_to_decimal(
            sum(each.income for each in changes if strategy in (None, each.strategy))
        )

    def sum_settled(self, strategy: str | None = None) -> Decimal:
        """Cash from splits, mergers and the like, of one strategy or all, in currency."""
        changes = [change for _, _, change in self.projection.adjustments]
        return minor_to_decimal(
            sum(
                each.amount + each.receivable - each.income
                for each in changes
                if strategy in (None, each.strategy)
            )
        )

    def sum_receivable(self, strategy: str | None = None) -> Decimal:
        """Dividends that were not paid by the end, of one strategy or all, in currency."""
        changes = [change for _, _, change in self.projection.adjustments]
        return minor_to_decimal(
            sum(each.receivable for each in changes if strategy in (None, each.strategy))
        )

    def _actions_metrics(self) -> dict[str, Any]:
        """A part of metrics.json that only a run has whose positions were adjusted."""
        if not self.projection.adjustments:
            return {}

        def amounts(strategy: str | None = None) -> dict[str, Any]:
            due = self.sum_receivable(strategy)
            return {
                "dividends": _shorten(self.sum_dividends(strategy)),
                **({"receivable": _shorten(due)} if due else {}),
                "settled": _shorten(self.sum_settled(strategy)),
            }

        strategies = {name: amounts(name) for name in self.strategies}
        return {"corporate_actions": {"account": amounts(), "strategies": strategies}}


def summarize_run(
    timeline: ReportedTimeline, events: Iterable[Event], *, digest: str
) -> RunSummary:
    """Fold a tape over the market data that its session ran on, and measure it.

    Args:
        timeline: The session's market data; where it is long and of ticks, the slices that
            `ThinTimeline` keeps are measured.
        events: The whole tape, in order.
        digest: Digest of the tape, hex.

    Raises:
        DataError: The tape is empty or doesn't fit the timeline, or its books have no common
            currency.
        InvariantBroken: The curve and the books on the tape disagree, or leave int64.
    """
    projection = project_run(events)
    if is_long(timeline):
        timeline = ThinTimeline(timeline, list_moments(projection))
    marks = Marks(
        timeline, INT64_MAX if projection.stopped else projection.ts_last,
        counts_later=projection.header.mode != "backtest",
    )  # fmt: skip
    currencies = marks.currencies(_currency(projection, timeline))
    curves = compute_equity_curves(marks, projection.account_events)
    _check_cash(projection, marks, curves, currencies)
    round_trips = trips_at_home(currencies, pair_round_trips(marks, projection.account_events))
    fills = fills_at_home(currencies, [(ts, fill) for _, ts, fill in projection.fills])
    clock = choose_returns_clock(timeline.instruments, timeline.timeframe)
    growth = compute_growth(curves.account)

    def measure(curve: EquityCurve, name: str) -> PerformanceSummary:
        return summarize_performance(
            curve,
            [each for each in fills if each.strategy == name],
            [each for each in round_trips if each.strategy == name],
            clock,
        )

    return RunSummary(
        projection=projection,
        timeline=timeline,
        marks=marks,
        curves=curves,
        round_trips=round_trips,
        currency=currencies.home,
        digest=digest,
        account=summarize_performance(curves.account, fills, round_trips, clock),
        strategies={name: measure(curve, name) for name, curve in curves.strategies.items()},
        instruments=_summarize_instruments(fills, round_trips),
        denials=_group_denials(projection.denied),
        execution=measure_run_execution(projection, marks, timeline, currencies),
        risk=measure_run_risk(curves, clock),
        exposure=measure_run_exposure(
            marks,
            projection.account_events,
            curves.account,
            currencies,
            timeline.tradable,
            clock,
            _sectors(projection, timeline),
        ),
        returns_by_month=compute_calendar_returns(marks.slice_ts, growth, "M"),
        returns_by_year=compute_calendar_returns(marks.slice_ts, growth, "Y"),
    )


def _check_cash(
    projection: RunProjection, marks: Marks, curves: EquityCurves, currencies: HomeCurrency
) -> None:
    """The cash that the ledger put on the tape last is what the events add up to.

    And where all of a strategy is in one currency, what its curve ends with.
    """
    groups: dict[tuple[str, str], list[TimedAccountEvent]] = {}
    for timed in projection.account_events:
        key = timed[1].strategy, currency_of(timed[1], currencies)
        groups.setdefault(key, []).append(timed)
    totals = {key: sum(fold_cash(marks, each)[0]) for key, each in groups.items()}
    foreign = {strategy for strategy, currency in totals if currency != currencies.home}
    for (strategy, currency), cash in projection.cash.items():
        folded = totals[strategy, currency]
        if folded == cash and strategy not in foreign:
            folded = int(curves.strategies[strategy].cash[-1])
        if folded != cash:
            raise InvariantBroken(
                f"cash of {strategy} is {minor_to_decimal(cash)} {currency} in the books and "
                f"{minor_to_decimal(folded)} by its fills"
            )


def _sectors(projection: RunProjection, timeline: ReportedTimeline) -> dict[str, str]:
    config = json.loads(projection.header.config)
    sectors = config.get("data", {}).get("sectors", {})
    names = {each.id: market_of(each.id) for each in timeline.tradable}
    return {name: sectors[market] for name, market in names.items() if market in sectors}


def _currency(projection: RunProjection, timeline: ReportedTimeline) -> str:
    deposits = [
        event for _, event in projection.account_events if isinstance(event, CapitalDeposited)
    ]
    currencies = sorted({each.currency for each in deposits})
    if len(currencies) > 1:
        raise DataError(
            f"the strategies keep books in {' and '.join(currencies)}, whose sum means nothing",
            remedy="run one session for each currency",
        )
    return currencies[0] if currencies else timeline.instruments[0].settlement_currency


def _summarize_instruments(
    fills: Sequence[OrderFilled], round_trips: Sequence[RoundTrip]
) -> list[InstrumentSummary]:
    counts: Counter[InstrumentId] = Counter()
    traded: Counter[InstrumentId] = Counter()
    fees: Counter[InstrumentId] = Counter()
    for fill in fills:
        counts[fill.instrument] += 1
        traded[fill.instrument] += fill.notional
        fees[fill.instrument] += fill.fee
    trips: Counter[InstrumentId] = Counter()
    profit: Counter[InstrumentId] = Counter()
    for trip in round_trips:
        trips[trip.instrument] += 1
        profit[trip.instrument] += trip.pnl_net
    return [
        InstrumentSummary(
            instrument=name,
            fills=counts[name],
            round_trips=trips[name],
            traded_notional=minor_to_decimal(traded[name]),
            fees=minor_to_decimal(fees[name]),
            net_profit=minor_to_decimal(profit[name]),
        )
        for name in sorted(counts, key=lambda name: (-traded[name], name))
    ]


def _group_denials(denied: Sequence[tuple[int, OrderDenied]]) -> list[DenialGroup]:
    """Groups by code and unit, the largest first; whose unit is an order are one group."""
    groups: dict[tuple[str, str], list[tuple[int, OrderDenied]]] = {}
    for timed in denied:
        unit = "" if timed[1].code in _OF_AN_ORDER else timed[1].unit
        groups.setdefault((timed[1].code.value, unit), []).append(timed)
    summaries = [
        DenialGroup(
            code=code,
            unit=unit,
            count=len(group),
            actual_min=min(each.actual for _, each in group),
            actual_max=max(each.actual for _, each in group),
            limit_min=min(each.limit for _, each in group),
            limit_max=max(each.limit for _, each in group),
            ts_first=group[0][0],
            ts_last=group[-1][0],
        )
        for (code, unit), group in groups.items()
    ]
    return sorted(summaries, key=lambda each: (-each.count, each.code, each.unit))


def _plain(value: msgspec.Struct) -> dict[str, Any]:
    """Fields by name; `ts_x` (ns) becomes `time_x` (ISO text), Decimals lose trailing zeros."""
    plain: dict[str, Any] = {}
    for name in value.__struct_fields__:
        field = getattr(value, name)
        if name.startswith("ts_"):
            plain["time_" + name[3:]] = None if field is None else to_iso(field)
        elif isinstance(field, Decimal):
            plain[name] = _shorten(field)
        else:
            plain[name] = field
    return plain


def _shorten(amount: Decimal) -> Decimal:
    """Without trailing zeros."""
    return Decimal(f"{amount.normalize():f}")
