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
from onetape.domain.timestamps import NS_PER_DAY, timeframe_ns
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
    length = timeframe_ns(timeframe)
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


def summarize_performance(
    curve: EquityCurve,
    fills: Sequence[OrderFilled],
    round_trips: Sequence[RoundTrip],
    clock: ReturnsClock,
) -> PerformanceSummary:
    """All figures of one set of books: `fills` and `round_trips` are those of the same books."""
    growth = compute_growth(curve)
    returns = compute_returns(growth[period_ends(curve.ts, clock)])
    per_year = clock.periods_per_year
    fall = performance.deepest_drawdown(growth)
    peak = max(fall.peak, 0)
    fell = fall.depth < 0.0
    annual = performance.annual_return(returns, periods_per_year=per_year)
    equity = curve.equity.astype(np.float64)
    empty = not len(curve.ts)
    final = 0 if empty else int(curve.equity[-1])
    deposited = 0 if empty else int(curve.deposited[-1])
    traded = sum(each.notional for each in fills)
    fees = sum(each.fee for each in fills)
    closed = [each for each in round_trips if not each.is_open]
    nets = [each.pnl_net for each in closed]
    won = sum(net for net in nets if net > 0)
    lost = -sum(net for net in nets if net < 0)
    return PerformanceSummary(
        ts_start=None if empty else int(curve.ts[0]),
        ts_end=None if empty else int(curve.ts[-1]),
        slices=len(curve.ts),
        returns_clock=clock.name,
        periods_per_year=per_year,
        periods=len(returns),
        deposited=minor_to_decimal(deposited),
        equity=minor_to_decimal(final),
        net_profit=minor_to_decimal(final - deposited),
        total_return=NAN if empty else float(growth[-1]) - 1.0,
        annual_return=annual,
        annual_volatility=performance.annual_volatility(returns, periods_per_year=per_year),
        sharpe_ratio=performance.sharpe_ratio(returns, periods_per_year=per_year),
        sortino_ratio=performance.sortino_ratio(returns, periods_per_year=per_year),
        calmar_ratio=annual / -fall.depth if fell else NAN,
        max_drawdown=fall.depth,
        max_drawdown_duration_ns=int(curve.ts[fall.end] - curve.ts[peak]) if fell else None,
        max_drawdown_slices=fall.end - peak if fell else None,
        time_exposure_ratio=performance.time_exposure(curve.positions),
        average_gross_exposure_ratio=performance.average_gross_exposure(
            curve.gross_exposure.astype(np.float64), equity
        ),
        annual_turnover_ratio=performance.annual_turnover(
            float(traded), equity, years=len(returns) / per_year
        ),
        round_trips=len(closed),
        open_round_trips=len(round_trips) - len(closed),
        win_ratio=sum(net > 0 for net in nets) / len(nets) if nets else NAN,
        profit_factor=won / lost if lost else NAN,
        expectancy=sum(nets) / (len(nets) * E8) if nets else NAN,
        average_duration_ns=sum(e.duration_ns for e in closed) // len(closed) if closed else None,
        best_round_trip=minor_to_decimal(max(nets)) if nets else None,
        worst_round_trip=minor_to_decimal(min(nets)) if nets else None,
        fills=len(fills),
        traded_notional=minor_to_decimal(traded),
        fees=minor_to_decimal(fees),
        fee_turnover_ratio=fees / traded if traded else NAN,
    )
