"""What is remembered of a venue is bounded, whether it says times or not."""

from __future__ import annotations

from onetape.domain.instrument import InstrumentId
from onetape.domain.orders import Side
from onetape.execution.venue_memory import UNTIMED_MAX, OrderTrack, VenueMemory


def test_venue_without_times_is_remembered_by_number() -> None:
    memory = VenueMemory()
    for number in range(UNTIMED_MAX + 5):
        memory.orders[f"o{number}"] = OrderTrack(
            "s", InstrumentId("A.X"), Side.BUY, {}, 0, 0, True, is_closed=number != 2
        )
        memory.foreign[f"x{number}"] = 0
    memory.forget(0)
    assert list(memory.orders)[:2] == ["o2", "o5"]  # an open order is never forgotten
    assert len(memory.orders) == UNTIMED_MAX + 1
    assert next(iter(memory.foreign)) == "x5"
    assert len(memory.foreign) == UNTIMED_MAX
