"""Feature columns of a session on ticks, computed in blocks and laid aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.instrument import InstrumentId
from onetape.features.blocks import BlockFeatures
from onetape.features.columns import select_inputs
from onetape.features.cross_section import CrossSection
from onetape.features.estimator import Estimator, FloatColumn
from onetape.marketdata.column_file import BLOCK_ROWS
from onetape.marketdata.timeline import Timeline

Own = tuple[BlockFeatures, npt.NDArray[np.int64], dict[str, npt.NDArray[Any]]]
"""The features of an instrument, its rows in a block, and their columns."""


def compute_tick_features(
    timeline: Timeline,
    single: Mapping[str, Estimator],
    crossing: Mapping[str, CrossSection],
    instruments: Sequence[InstrumentId],
) -> dict[str, FloatColumn]:
    """Feature columns in the order of the timeline; NaN for instruments not subscribed.

    Args:
        timeline: The ticks.
        single: Features instrument by instrument.
        crossing: What is made of some of them over all instruments of a slice, by the same names.
        instruments: Whose.

    Raises:
        StrategyError: A feature needs a column that is not there.
    """
    running = {
        at: BlockFeatures(single, len(timeline))
        for at, each in enumerate(timeline.instruments)
        if each.id in instruments
    }
    nothing = {name: column[:0] for name, column in timeline.columns.items()}
    for name, each in single.items():
        select_inputs(name, each, nothing)  # which tells of a column that is not there
    names = {name for each in single.values() for name in each.inputs}

    def select(first: int, stop: int) -> Iterator[Own]:
        owners = timeline.instrument_index[first:stop]
        for at, each in running.items():
            rows = np.flatnonzero(owners == at)
            yield each, rows, {name: timeline.columns[name][first:stop][rows] for name in names}

    if any(each.looks_ahead for each in running.values()):
        for first, stop in timeline.spans():
            for each, _, columns in select(first, stop):
                each.prepare(columns)
        for each in running.values():
            each.close()

    def compute() -> Iterator[dict[str, FloatColumn]]:
        for first, stop in timeline.cut(BLOCK_ROWS):
            found = {name: np.full(stop - first, np.nan) for name in single}
            for each, rows, columns in select(first, stop):
                for name, values in each.compute(columns).items():
                    found[name][rows] = values
            for name, cross in crossing.items():
                ends = timeline.slice_end[first:stop]
                found[name] = cross.compute_slices(found[name], ends)
            yield found
            timeline.release()

    return timeline.lay_aside(dict.fromkeys(single, np.float64), compute())
