"""Ids of legs, and what they stand for."""

from __future__ import annotations

import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.legs import (
    are_hedged,
    index_of,
    is_closing,
    leg_of,
    make_legs,
    market_of,
    markets_among,
    names_of,
    side_of,
    spread_to_legs,
)
from onetape.domain.orders import PositionSide, Side

LONG, SHORT, FLAT = PositionSide.LONG, PositionSide.SHORT, PositionSide.FLAT
BERKSHIRE = InstrumentId("BRK.B.XNYS")
"""A symbol with a dot."""


@pytest.mark.parametrize("name", ["AAPL.XNAS", BERKSHIRE, "BTC/USDT:USDT.BINANCE", "C#7.XEUR"])
@pytest.mark.parametrize("side", [LONG, SHORT])
def test_leg_of_any_instrument_leads_back_to_it(name: str, side: PositionSide) -> None:
    leg = leg_of(InstrumentId(name), side)
    assert leg != name
    assert (side_of(leg), market_of(leg)) == (side, name)
    assert (side_of(InstrumentId(name)), market_of(InstrumentId(name))) == (None, name)


def test_leg_has_the_venue_of_its_instrument() -> None:
    (long, short) = make_legs([make_equity(BERKSHIRE)])
    assert (long.id, short.id) == ("BRK.B#LONG.XNYS", "BRK.B#SHORT.XNYS")
    assert long.venue == short.venue == "XNYS"
    assert long.minor_per_tick_lot == make_equity(BERKSHIRE).minor_per_tick_lot


@pytest.mark.parametrize(
    ("leg", "side", "closes"),
    [(LONG, Side.BUY, False), (LONG, Side.SELL, True), (SHORT, Side.BUY, True),
     (SHORT, Side.SELL, False)],
)  # fmt: skip
def test_other_side_of_a_leg_closes_it(leg: PositionSide, side: Side, closes: bool) -> None:
    assert is_closing(leg, side) is closes


def test_legs_are_found_at_the_place_of_their_instrument() -> None:
    markets = (make_equity("A.X"), make_equity("B.X"))
    every = (*markets, *make_legs(markets))
    assert index_of(every) == {
        "A.X": 0, "B.X": 1, "A#LONG.X": 0, "A#SHORT.X": 0, "B#LONG.X": 1, "B#SHORT.X": 1,
    }  # fmt: skip
    assert names_of(every)[InstrumentId("B.X")] == ("B#LONG.X", "B#SHORT.X")
    assert names_of(markets) == {"A.X": ("A.X",), "B.X": ("B.X",)}
    assert markets_among(every) == markets
    assert are_hedged(every)
    assert not are_hedged(markets)
    spread = spread_to_legs({markets[0].id: 1, markets[1].id: 2}, every[2:])
    assert [spread[each.id] for each in every] == [1, 2, 1, 1, 2, 2]


def test_instrument_that_is_called_like_a_leg_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"A#LONG\.X is called like a leg"):
        make_legs([make_equity("A#LONG.X")])
