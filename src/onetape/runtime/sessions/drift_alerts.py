"""Which features drift in a session, and behind which row it is known.

An alert follows from features alone and nothing listens to it, so all of a session are found
before it runs, by the same monitor that watches bar by bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from onetape.domain.events import FeatureDrifted
from onetape.domain.instrument import InstrumentId
from onetape.features.drift import DriftMonitor, DriftSettings
from onetape.features.estimator import FeatureMap
from onetape.marketdata.timeline import Timeline
from onetape.runtime.runner import Runner


class Alert(NamedTuple):
    """An alert and the row that it comes behind, which ends a time slice."""

    row: int
    drifted: FeatureDrifted


def find_alerts(
    timeline: Timeline,
    runner: Runner,
    features: FeatureMap,
    instruments: Sequence[InstrumentId],
    settings: DriftSettings,
) -> list[Alert]:
    """The alerts of one strategy, in the order of the timeline, then of instruments and features.

    Args:
        timeline: The bars of the session.
        runner: The strategy with its feature columns.
        features: Their definitions.
        instruments: What the strategy is subscribed to.
        settings: Windows and thresholds.
    """
    if not features:
        return []
    warm_up = max(each.warm_up for each in features.values())
    ends = np.flatnonzero(timeline.slice_end)
    found: list[Alert] = []
    for instrument in instruments:
        rows = timeline.rows_of(instrument)
        monitor = DriftMonitor(tuple(features), warm_up, settings)
        columns = [runner.columns[name][rows].tolist() for name in features]
        for row, values in zip(rows.tolist(), zip(*columns, strict=True), strict=True):
            for each in monitor.update(values):
                end = int(ends[np.searchsorted(ends, row)])
                found.append(Alert(end, FeatureDrifted(runner.name, instrument, *each)))
    return sorted(found, key=lambda each: each.row)
