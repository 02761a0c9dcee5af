"""Features of a live session between two slices: which of them have no value yet."""

from __future__ import annotations

from onetape.domain.instrument import InstrumentId
from onetape.domain.venue import BarClosed
from onetape.features.average import Sma
from onetape.runtime.live_runner import LiveFeatures

AAPL, MSFT = InstrumentId("AAPL.X"), InstrumentId("MSFT.X")


def bar(name: InstrumentId, at: int) -> BarClosed:
    return BarClosed(name, at, at + 1, at + 1, 99, 1.0, 1.0, 1.0, 1.0, 1.0)


def test_feature_is_cold_until_it_has_a_value_of_every_instrument() -> None:
    live = LiveFeatures({"fast": Sma(1), "slow": Sma(2)}, [AAPL, MSFT])
    assert live.cold == ["fast", "slow"]
    live.push([bar(AAPL, 0)])
    live.push([bar(AAPL, 1)])
    assert live.cold == ["fast", "slow"]
    live.push([bar(MSFT, 2)])
    assert live.cold == ["slow"]
    live.push([bar(MSFT, 3)])
    assert live.cold == []
