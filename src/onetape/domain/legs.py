"""Legs: the long and the short side of one instrument, held side by side in hedging mode.

A leg is to the books what an instrument is: it has an id of its own, and with it positions, orders,
fills, margin and round trips of its own. Its prices are those of its instrument.

    BTCUSDT.BINANCE -> BTCUSDT#LONG.BINANCE, BTCUSDT#SHORT.BINANCE
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.orders import PositionSide, Side

T = TypeVar("T")

LEG_SIDES = (PositionSide.LONG, PositionSide.SHORT)

_MARK = "#"
_MARKS = {f"{_MARK}{side.name}": side for side in LEG_SIDES}


def leg_of(instrument: InstrumentId, side: PositionSide) -> InstrumentId:
    """The id of a leg of an instrument; `side` is LONG or SHORT."""
    symbol, _, venue = instrument.rpartition(".")
    return InstrumentId(f"{symbol}{_MARK}{side.name}.{venue}")


def side_of(instrument: InstrumentId) -> PositionSide | None:
    """Which leg an id is of; None: it is an instrument's own."""
    if _MARK not in instrument:
        return None
    symbol = instrument.rpartition(".")[0]
    return _MARKS.get(symbol[symbol.rfind(_MARK) :])


def market_of(instrument: InstrumentId) -> InstrumentId:
    """The instrument whose prices a leg has; an instrument is its own."""
    side = side_of(instrument)
    if side is None:
        return instrument
    symbol, _, venue = instrument.rpartition(".")
    return InstrumentId(f"{symbol.removesuffix(f'{_MARK}{side.name}')}.{venue}")


def is_closing(leg: PositionSide, side: Side) -> bool:
    """Whether an order of `side` can only bring a leg toward flat: a long one is not sold short."""
    return side is (Side.SELL if leg is PositionSide.LONG else Side.BUY)


def make_legs(instruments: Iterable[Instrument]) -> tuple[Instrument, ...]:
    """Both legs of every instrument, in its order, the long one first.

    Raises:
        ConfigError: An id is that of a leg already.
    """
    legs: list[Instrument] = []
    for each in instruments:
        if side_of(each.id) is not None:
            raise ConfigError(
                f"{each.id} is called like a leg, and positions are held as legs",
                where="execution.position_mode",
                remedy="import it under another symbol, or set position_mode: netting",
            )
        legs += [msgspec.structs.replace(each, id=leg_of(each.id, side)) for side in LEG_SIDES]
    return tuple(legs)


def markets_among(instruments: Iterable[Instrument]) -> tuple[Instrument, ...]:
    """Those of `instruments` that are no legs: the ones that have bars."""
    return tuple(each for each in instruments if side_of(each.id) is None)


def are_hedged(instruments: Iterable[Instrument]) -> bool:
    """Whether there are legs among them: the session holds longs and shorts side by side."""
    return any(side_of(each.id) is not None for each in instruments)


def index_of(instruments: Sequence[Instrument]) -> dict[InstrumentId, int]:
    """Position of each instrument; legs, which come behind them, have that of their instrument."""
    index = {each.id: at for at, each in enumerate(instruments)}
    return {name: index.get(market_of(name), at) for name, at in index.items()}


def names_of(instruments: Iterable[Instrument]) -> dict[InstrumentId, tuple[InstrumentId, ...]]:
    """Under which ids each instrument is held: its own, or those of its legs, if it has any."""
    ids = [each.id for each in instruments]
    has_legs = any(side_of(each) is not None for each in ids)
    return {
        each: tuple(leg_of(each, side) for side in LEG_SIDES) if has_legs else (each,)
        for each in ids
        if side_of(each) is None
    }


def spread_to_legs(
    values: Mapping[InstrumentId, T], legs: Iterable[Instrument]
) -> dict[InstrumentId, T]:
    """`values` by instrument, and the same for its legs."""
    return {**values, **{each.id: values[market_of(each.id)] for each in legs}}
