"""Greeks of the options that a run held, and of their underlyings, by underlying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from onetape.domain.instrument import Instrument, InstrumentId, OptionRight, OptionTerms
from onetape.domain.timestamps import NS_PER_DAY
from onetape.portfolio.equity_curve import Ints, Marks
from onetape.portfolio.option_adjustment import Scaling, list_scalings
from onetape.portfolio.option_pricing import (
    Greeks,
    VanillaOption,
    compute_european_greeks,
    compute_implied_volatility,
    sum_greeks,
)
from onetape.portfolio.position_values import HeldPosition, find_held

_YEAR_NS = 365 * NS_PER_DAY
_SPOT = Greeks(1.0, 0.0, 0.0, 0.0, 0.0)


class GreeksExposure(msgspec.Struct, frozen=True, kw_only=True):
    """What is held of an underlying and its options at `ts` (ns UTC), all strategies together.

    `delta` is in units of the underlying, the others as `Greeks` has them, times units. `options`
    are the option positions in it, `without_volatility` those of them whose mark no volatility
    gives: they count as if there were none.
    """

    ts: int
    underlying: InstrumentId
    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float
    options: int
    without_volatility: int


def measure_greeks(
    marks: Marks, positions: Sequence[HeldPosition], slices: Ints, instruments: Sequence[Instrument]
) -> list[GreeksExposure]:
    """Greeks at each of `slices` at which an option is held, by underlying.

    By Black-Scholes-Merton with the volatility that the option's mark implies at the mark of its
    underlying; splits have adjusted strike and deliverable by then. Ignores: rates and dividends
    (both 0, where early exercise is worth nothing either), that the two marks may be of different
    times, and cash in lieu of fractions that a split adds.
    Source: ours, of `option_pricing`.
    """
    defined = {each.id: each for each in instruments}
    scalings = {
        each.id: list_scalings(each.id, instruments, marks.scalings)
        for each in instruments
        if isinstance(each.terms, OptionTerms)
    }
    options = {
        each.id: each.terms
        for each in instruments
        if isinstance(each.terms, OptionTerms) and any(p.instrument == each.id for p in positions)
    }
    lots = {
        name: find_held(positions, name, len(slices)).tolist()
        for name in {**options, **{terms.underlying: None for terms in options.values()}}
    }
    found: list[GreeksExposure] = []
    for at, number in enumerate(slices.tolist()):
        groups: dict[InstrumentId, list[InstrumentId]] = {}
        for name, terms in options.items():
            if lots[name][at]:
                groups.setdefault(terms.underlying, []).append(name)
        for underlying in sorted(groups):
            held = {name: lots[name][at] for name in (underlying, *groups[underlying])}
            found.append(_measure(marks, defined, number, underlying, held, scalings))
    return found


def _measure(
    marks: Marks,
    defined: Mapping[InstrumentId, Instrument],
    number: int,
    underlying: InstrumentId,
    held: Mapping[InstrumentId, int],
    scalings: Mapping[InstrumentId, Sequence[Scaling]],
) -> GreeksExposure:
    ts = int(marks.slice_ts[number])
    parts: list[tuple[float, Greeks]] = []
    without = 0
    for name, lots in held.items():
        instrument = defined[name]
        units = float(instrument.lots_to_quantity(lots) * instrument.multiplier)
        terms = instrument.terms
        if not isinstance(terms, OptionTerms):
            parts.append((units, _SPOT))
            continue
        made = [each for each in scalings[name] if each.ts <= ts]
        ratio = float(made[-1].ratio) if made else 1.0  # units that a unit of the premium is for
        option = VanillaOption(
            is_call=terms.right is OptionRight.CALL,
            spot=_price(marks, defined[underlying], number) * ratio,
            strike=float(terms.strike) / (made[-1].divisor if made else 1),
            years=max(0.0, (terms.ts_expiry - ts) / _YEAR_NS), rate=0.0, volatility=0.0,
        )  # fmt: skip
        volatility = compute_implied_volatility(option, _price(marks, instrument, number))
        if volatility != volatility:
            without += 1
            volatility = 0.0
        option = msgspec.structs.replace(option, volatility=volatility)
        greeks = compute_european_greeks(option)
        parts.append((units, greeks._replace(delta=greeks.delta * ratio,
                                             gamma=greeks.gamma * ratio * ratio)))  # fmt: skip
    return GreeksExposure(
        ts=ts, underlying=underlying, **sum_greeks(parts)._asdict(), options=len(held) - 1,
        without_volatility=without,
    )  # fmt: skip


def _price(marks: Marks, instrument: Instrument, number: int) -> float:
    found = marks.of(instrument.id)
    newest = int(found.slices.searchsorted(number, side="right")) - 1
    ticks = int(found.ticks[newest]) if newest >= 0 else 0
    return float(instrument.ticks_to_price(ticks))
