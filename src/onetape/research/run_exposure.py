"""What a run was exposed to at the ends of its periods: currencies, sectors, Greeks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import msgspec
import numpy as np

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.numbers import minor_to_decimal
from onetape.portfolio.equity_curve import EquityCurve, Ints, Marks, TimedAccountEvent
from onetape.portfolio.greeks_exposure import GreeksExposure, measure_greeks
from onetape.portfolio.home_currency import HomeCurrency
from onetape.portfolio.performance import NAN
from onetape.portfolio.performance_summary import ReturnsClock, period_ends
from onetape.portfolio.position_values import HeldPosition, value_positions

NO_SECTOR = "(none)"
"""The sector of what `data.sectors` does not name."""


class ExposureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The positions of a currency or sector: notionals at the end of the run, and over its periods.

    `net` is signed, `gross` is not; money of the account's currency. Ratios are of the account's
    equity, at the ends of periods at which it is positive: NaN when there is none.
    """

    name: str
    net: Decimal
    gross: Decimal
    average_net_ratio: float
    average_gross_ratio: float
    max_gross_ratio: float


class RunExposure(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What was held at the ends of periods, `ts` (ns UTC) each; groups by name.

    `by_sector` is empty without sectors. `greeks` are those of every end at which an option was
    held.
    """

    ts: Ints
    positions: list[HeldPosition]
    sectors: dict[str, str]
    by_currency: list[ExposureGroup]
    by_sector: list[ExposureGroup]
    greeks: list[GreeksExposure]


def measure_run_exposure(
    marks: Marks,
    account_events: Sequence[TimedAccountEvent],
    account: EquityCurve,
    currencies: HomeCurrency,
    instruments: Sequence[Instrument],
    clock: ReturnsClock,
    sectors: Mapping[str, str],
) -> RunExposure:
    """Measure the positions of a run where periods of `clock` end.

    Args:
        marks: Values of the instruments.
        account_events: In tape order.
        account: The account's curve.
        currencies: Converts into its currency.
        instruments: Of the timeline.
        clock: How long a period is.
        sectors: By instrument id; of those that have one.
    """
    ends = period_ends(account.ts, clock)
    positions = value_positions(marks, account_events, currencies, ends) if len(ends) else []
    equity = account.equity[ends]

    def group(key_of: Callable[[InstrumentId], str]) -> list[ExposureGroup]:
        sums: dict[str, tuple[Ints, Ints]] = {}
        for each in positions:
            zeros = np.zeros(len(ends), dtype=np.int64)
            net, gross = sums.get(key_of(each.instrument), (zeros, zeros))
            parts = net + each.notional, gross + np.abs(each.notional)
            sums[key_of(each.instrument)] = parts
        return [_summarize(name, *sums[name], equity) for name in sorted(sums)]

    return RunExposure(
        ts=account.ts[ends],
        positions=positions,
        sectors=dict(sectors),
        by_currency=group(currencies.currency_of),
        by_sector=group(lambda name: sectors.get(name, NO_SECTOR)) if sectors else [],
        greeks=measure_greeks(marks, positions, ends, instruments),
    )


def _summarize(name: str, net: Ints, gross: Ints, equity: Ints) -> ExposureGroup:
    solvent = equity > 0
    ratios = (gross[solvent] / equity[solvent], net[solvent] / equity[solvent])
    shares, signed = (each if solvent.any() else np.array([NAN]) for each in ratios)
    return ExposureGroup(
        name=name,
        net=minor_to_decimal(int(net[-1])),
        gross=minor_to_decimal(int(gross[-1])),
        average_net_ratio=float(np.mean(signed)),
        average_gross_ratio=float(np.mean(shares)),
        max_gross_ratio=float(np.max(shares)),
    )


def newest_greeks(greeks: Sequence[GreeksExposure]) -> list[GreeksExposure]:
    """Those of the last end of a period at which an option was held."""
    return [each for each in greeks if each.ts == greeks[-1].ts]
