"""Which features drift in a session, and behind which row it is known.

An alert follows from features alone and nothing listens to it, so all of a session are found
before it runs, by the same watch that a live session moves slice by slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from onetape.domain.events import FeatureDrifted
from onetape.features.drift import DriftSettings
from onetape.marketdata.timeline import Timeline
from onetape.runtime.drift_watch import DriftWatch, Watched
from onetape.runtime.runner import Runner


class Alert(NamedTuple):
    """An alert and the row that it comes behind, which ends a time slice."""

    row: int
    drifted: FeatureDrifted


def find_alerts(
    timeline: Timeline,
    runners: Mapping[str, Runner],
    watched: Sequence[Watched],
    settings: DriftSettings,
) -> list[Alert]:
    """The alerts of a session, in the order of the timeline, of strategies and of instruments.

    Args:
        timeline: The rows of the session.
        runners: The strategies with their feature columns, by name.
        watched: Their features, and what they are subscribed to.
        settings: Windows and thresholds.
    """
    watch = DriftWatch(watched, settings)
    columns = {
        each.strategy: [runners[each.strategy].columns[name] for name in each.features]
        for each in watched
        if each.features
    }
    ids = [each.id for each in timeline.instruments]
    found: list[Alert] = []
    for first, stop in timeline.spans():
        tables = [
            (strategy, list(zip(*(each[first:stop].tolist() for each in own), strict=True)))
            for strategy, own in columns.items()
        ]
        owners = timeline.instrument_index[first:stop].tolist()
        ends = timeline.slice_end[first:stop].tolist()
        for at, owner in enumerate(owners):
            for strategy, rows in tables:
                watch.take(strategy, ids[owner], rows[at])
            if ends[at]:
                found += [Alert(first + at, each) for each in watch.end_slice()]
    return found
