"""Feature columns of a session whose rows are laid aside, computed in blocks and laid aside too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.instrument import InstrumentId
from onetape.features.columns import count_updates, pays_to_compile, select_inputs
from onetape.features.cross_section import CrossSection
from onetape.features.estimator import Estimator, FloatColumn
from onetape.features.pieces import ColumnPieces
from onetape.marketdata.column_file import BLOCK_ROWS
from onetape.marketdata.timeline import Timeline

Own = tuple[Mapping[str, ColumnPieces], npt.NDArray[np.int64], dict[str, npt.NDArray[Any]]]
"""The features of an instrument, its rows in a block, and their columns."""


def compute_laid_features(
    timeline: Timeline,
    single: Mapping[str, Estimator],
    crossing: Mapping[str, CrossSection],
    instruments: Sequence[InstrumentId],
) -> dict[str, FloatColumn]:
    """Feature columns in the order of the timeline; NaN for instruments not subscribed.

    Args:
        timeline: The rows.
        single: Features instrument by instrument.
        crossing: What is made of some of them over all instruments of a slice, by the same names.
        instruments: Whose.

    Raises:
        StrategyError: A feature needs a column that is not there.
    """
    is_compiled = pays_to_compile(sum(map(count_updates, single.values())) * len(timeline))
    running = {
        at: {
            name: ColumnPieces(feature, is_compiled=is_compiled, twice=True)
            for name, feature in single.items()
        }
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

    timed = dict.fromkeys(
        name for own in running.values() for name, each in own.items() if each.is_timed
    )
    if timed:
        for first, stop in timeline.spans():
            for own, _, columns in select(first, stop):
                for name in timed:
                    own[name].prepare(select_inputs(name, single[name], columns))
        for own in running.values():
            for each in own.values():
                each.begin()

    def compute() -> Iterator[dict[str, FloatColumn]]:
        for first, stop in timeline.cut(BLOCK_ROWS):
            found = {name: np.full(stop - first, np.nan) for name in single}
            for own, rows, columns in select(first, stop):
                for name, each in own.items():
                    found[name][rows] = each.take(select_inputs(name, single[name], columns))
            for name, cross in crossing.items():
                ends = timeline.slice_end[first:stop]
                found[name] = cross.compute_slices(found[name], ends)
            yield found
            timeline.release()

    return timeline.lay_aside(dict.fromkeys(single, np.float64), compute())
