"""The rows of a timeline of ticks as a session in paper or live hears them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from onetape.domain.market import Bar
from onetape.domain.venue import TickHeard
from onetape.marketdata.timeline import Timeline


def list_ticks(timeline: Timeline) -> list[TickHeard]:
    """Every tick of a timeline in its order."""
    closes = timeline.columns["session_close"].tolist()
    found: list[TickHeard] = []
    for row in range(len(timeline)):
        event = next(timeline.blocks(1, row)).event(0)
        assert not isinstance(event, Bar)
        found.append(TickHeard(event, closes[row]))
    return found


def slice_ticks(timeline: Timeline) -> Iterator[tuple[TickHeard, ...]]:
    """The same, a time slice at a time."""
    for _, group in groupby(list_ticks(timeline), key=lambda each: each.ts_known):
        yield tuple(group)
