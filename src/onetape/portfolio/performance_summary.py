"""Every figure of one set of books, from its equity curve, fills and round trips."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.events import OrderFilled
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import E8, minor_to_decimal
from onetape.domain.timestamps import NS_PER_DAY, has_length, timeframe_ns
from onetape.portfolio import performance
from onetape.portfolio.equity_curve import EquityCurve
from onetape.portfolio.performance import NAN, Floats
from onetape.portfolio.round_trips import RoundTrip

ALWAYS_OPEN = "24/7"
"""Calendar of an instrument that trades every day of the year."""


class ReturnsClock(NamedTuple):
    """How equity is sampled into returns: length of a period, and how many make a year."""

    name: str
    periods_per_year: float


class PerformanceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of an account or a strategy; `docs/metrics.md` defines each.

    Money is in currency (Decimal, exact; `expectancy` is a mean and float), times are ns UTC,
    returns, drawdown and `*_ratio` are fractions. NaN or None: not defined for this run.
    """

    ts_start: int | None
    ts_end: int | None
    slices: int
    returns_clock: str
    periods_per_year: float
    periods: int

    deposited: Decimal
    equity: Decimal
    net_profit: Decimal
    total_return: float
    annual_return: float
    annual_volatility: float
    sharpe_ratio: float
    sortino_ratio: float
    calmar_ratio: float
    max_drawdown: float
    max_drawdown_duration_ns: int | None
    max_drawdown_slices: int | None

    time_exposure_ratio: float
    average_gross_exposure_ratio: float
    annual_turnover_ratio: float

    round_trips: int
    open_round_trips: int
    win_ratio: float
    profit_factor: float
    expectancy: float
    average_duration_ns: int | None
    best_round_trip: Decimal | None
    worst_round_trip: Decimal | None

    fills: int
    traded_notional: Decimal
    fees: Decimal
    fee_turnover_ratio: float


def choose_returns_clock(instruments: Sequence[Instrument], timeframe: str) -> ReturnsClock:
    """Days, 365 a year when anything trades around the clock and 252 otherwise; or longer bars."""
    per_year = 365 if any(each.calendar == ALWAYS_OPEN for each in instruments) else 252
    length = timeframe_ns(timeframe) if has_length(timeframe) else 0
    if length <= NS_PER_DAY:
        return ReturnsClock("1d", float(per_year))
    if length % (7 * NS_PER_DAY) == 0:
        return ReturnsClock(timeframe, 52 * 7 * NS_PER_DAY / length)
    return ReturnsClock(timeframe, per_year * NS_PER_DAY / length)


def compute_growth(curve: EquityCurve) -> Floats:
    """What one unit of money given at the start has become at every slice, deposits taken out.

    Between two deposits it is equity over what there was after the first, so with one deposit it is
    equity over capital. A deposit counts from before the slice that shows it. NaN from a deposit on
    that does not lift the equity above zero. Source: time-weighted return (GIPS 2020).
    """
    growth = np.ones(len(curve.ts))
    deposits = np.diff(curve.deposited, prepend=0)
    starts: list[int] = np.flatnonzero(deposits).tolist()
    level = 1.0
    for start, stop in pairwise([*starts, len(growth)]):
        base = int(deposits[start]) + (int(curve.equity[start - 1]) if start else 0)
        growth[start:stop] = level * (curve.equity[start:stop] / base) if base > 0 else NAN
        level = float(growth[stop - 1])
    return growth


def period_ends(ts: npt.NDArray[np.int64], clock: ReturnsClock) -> npt.NDArray[np.int64]:
    """Rows that end a period: the last slice of each UTC day, or every slice of a longer clock.

    A slice at midnight belongs to the day that it ends.
    """
    if clock.name != "1d":
        return np.arange(len(ts))
    days = (ts - 1) // NS_PER_DAY
    return np.flatnonzero(np.diff(days, append=days[-1] + 1)) if len(ts) else np.arange(0)


def compute_returns(growth_at_ends: Floats) -> Floats:
    """Return of each period; the first starts at 1.0. NaN after everything is lost."""
    before = np.concatenate(([1.0], growth_at_ends[:-1]))[: len(growth_at_ends)]
    ratio = np.full(len(before), NAN)
    np.divide(growth_at_ends, before, out=ratio, where=before > 0)
    return ratio - 1.0


def compute_calendar_returns(
    ts: npt.NDArray[np.int64], growth: Floats, unit: Literal["M", "Y"]
) -> list[tuple[str, float]]:
    """(`2024-01`, return) of each month (UTC), or (`2024`, return) of each year, that has a slice.

    Args:
        ts: Time of each slice, ns UTC; midnight belongs to the day that it ends.
        growth: `compute_growth` of the curve, same shape.
        unit: Months or years.
    """
    if not len(ts):
        return []
    names = (ts - 1).astype("datetime64[ns]").astype(f"datetime64[{unit}]")
    ends = np.flatnonzero(np.append(names[1:] != names[:-1], True))
    returns = compute_returns(growth[ends]).tolist()
    return list(zip(names[ends].astype(str).tolist(), returns, strict=True))


class BookFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a fold over books and marks counts, in whole numbers wherever it can.

    Money in minor units, times ns UTC. `ts_start` and `ts_end` are None without slices. `depth` is
    that of the deepest drawdown, from slice `fall_peak` (-1: the start) at `ts_peak` to `fall_end`
    at `ts_fall_end`. `equity_sum` is over all slices; `exposure_sum` is `sum_exposure` over the
    `slices_solvent` ones. `trips_*` are over closed round trips, `trip_best` and `trip_worst` 0
    without one.
    """

    ts_start: int | None
    ts_end: int | None
    slices: int
    slices_held: int
    slices_solvent: int
    deposited: int
    equity: int
    equity_sum: int
    exposure_sum: float
    growth: float
    depth: float
    fall_peak: int
    fall_end: int
    ts_peak: int
    ts_fall_end: int
    fills: int
    traded: int
    fees: int
    trips: int
    trips_open: int
    trips_won: int
    trips_won_sum: int
    trips_lost_sum: int
    trips_net_sum: int
    trips_duration_ns: int
    trip_best: int
    trip_worst: int


def count_figures(
    curve: EquityCurve, fills: Sequence[OrderFilled], round_trips: Sequence[RoundTrip]
) -> BookFigures:
    """The figures of one set of books: `fills` and `round_trips` are those of the same books."""
    growth = compute_growth(curve)
    fall = performance.deepest_drawdown(growth)
    fell = fall.depth < 0.0
    peak = max(fall.peak, 0)
    empty = not len(curve.ts)
    solvent = curve.equity > 0
    nets = [each.pnl_net for each in round_trips if not each.is_open]
    return BookFigures(
        ts_start=None if empty else int(curve.ts[0]),
        ts_end=None if empty else int(curve.ts[-1]),
        slices=len(curve.ts),
        slices_held=int(np.count_nonzero(curve.positions)),
        slices_solvent=int(np.count_nonzero(solvent)),
        deposited=0 if empty else int(curve.deposited[-1]),
        equity=0 if empty else int(curve.equity[-1]),
        equity_sum=sum(curve.equity.tolist()),
        exposure_sum=performance.sum_exposure(
            curve.gross_exposure[solvent].astype(np.float64),
            curve.equity[solvent].astype(np.float64),
        ),
        growth=NAN if empty else float(growth[-1]),
        depth=fall.depth,
        fall_peak=fall.peak,
        fall_end=fall.end,
        ts_peak=int(curve.ts[peak]) if fell else 0,
        ts_fall_end=int(curve.ts[fall.end]) if fell else 0,
        fills=len(fills),
        traded=sum(each.notional for each in fills),
        fees=sum(each.fee for each in fills),
        trips=len(nets),
        trips_open=len(round_trips) - len(nets),
        trips_won=sum(net > 0 for net in nets),
        trips_won_sum=sum(net for net in nets if net > 0),
        trips_lost_sum=-sum(net for net in nets if net < 0),
        trips_net_sum=sum(nets),
        trips_duration_ns=sum(each.duration_ns for each in round_trips if not each.is_open),
        trip_best=max(nets, default=0),
        trip_worst=min(nets, default=0),
    )


def summarize_performance(
    curve: EquityCurve,
    fills: Sequence[OrderFilled],
    round_trips: Sequence[RoundTrip],
    clock: ReturnsClock,
) -> PerformanceSummary:
    """All figures of one set of books: `fills` and `round_trips` are those of the same books."""
    returns = compute_returns(compute_growth(curve)[period_ends(curve.ts, clock)])
    return summarize_figures(count_figures(curve, fills, round_trips), returns, clock)


def summarize_figures(
    figures: BookFigures, returns: Floats, clock: ReturnsClock
) -> PerformanceSummary:
    """All figures of one set of books.

    Args:
        figures: What was counted.
        returns: The simple return of each period of `clock`, shape (periods,).
        clock: How equity was sampled.
    """
    per_year = clock.periods_per_year
    fell = figures.depth < 0.0
    annual = performance.annual_return(returns, periods_per_year=per_year)
    slices, trips = figures.slices, figures.trips
    average = figures.equity_sum / slices if slices else NAN
    solvent = figures.slices_solvent
    return PerformanceSummary(
        ts_start=figures.ts_start,
        ts_end=figures.ts_end,
        slices=slices,
        returns_clock=clock.name,
        periods_per_year=per_year,
        periods=len(returns),
        deposited=minor_to_decimal(figures.deposited),
        equity=minor_to_decimal(figures.equity),
        net_profit=minor_to_decimal(figures.equity - figures.deposited),
        total_return=figures.growth - 1.0,
        annual_return=annual,
        annual_volatility=performance.annual_volatility(returns, periods_per_year=per_year),
        sharpe_ratio=performance.sharpe_ratio(returns, periods_per_year=per_year),
        sortino_ratio=performance.sortino_ratio(returns, periods_per_year=per_year),
        calmar_ratio=annual / -figures.depth if fell else NAN,
        max_drawdown=figures.depth,
        max_drawdown_duration_ns=figures.ts_fall_end - figures.ts_peak if fell else None,
        max_drawdown_slices=figures.fall_end - max(figures.fall_peak, 0) if fell else None,
        time_exposure_ratio=figures.slices_held / slices if slices else NAN,
        average_gross_exposure_ratio=figures.exposure_sum / solvent if solvent else NAN,
        annual_turnover_ratio=performance.annual_turnover(
            float(figures.traded), average, years=len(returns) / per_year
        ),
        round_trips=trips,
        open_round_trips=figures.trips_open,
        win_ratio=figures.trips_won / trips if trips else NAN,
        profit_factor=figures.trips_won_sum / figures.trips_lost_sum
        if figures.trips_lost_sum
        else NAN,
        expectancy=figures.trips_net_sum / (trips * E8) if trips else NAN,
        average_duration_ns=figures.trips_duration_ns // trips if trips else None,
        best_round_trip=minor_to_decimal(figures.trip_best) if trips else None,
        worst_round_trip=minor_to_decimal(figures.trip_worst) if trips else None,
        fills=figures.fills,
        traded_notional=minor_to_decimal(figures.traded),
        fees=minor_to_decimal(figures.fees),
        fee_turnover_ratio=figures.fees / figures.traded if figures.traded else NAN,
    )
