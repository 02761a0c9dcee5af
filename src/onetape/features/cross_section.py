"""Features over the instruments of a time slice: ranks and z-scores."""

from __future__ import annotations

import hashlib
import math
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import StrategyError
from onetape.features.estimator import Estimator
from onetape.features.plan import Plan
from onetape.features.state import FloatColumn, State
from onetape.features.timeframe import update_timeframed

NAN = math.nan


def rank_values(values: list[float]) -> list[float]:
    """The share of the other values that each is above, 0 to 1; equal ones share their places.

    0 is the least and 1 the greatest; 0.5 of a single one. A NaN or an infinity is NaN and no
    other.
    """
    ordered = sorted(each for each in values if math.isfinite(each))
    others = len(ordered) - 1
    if others < 1:
        return [0.5 if math.isfinite(each) else NAN for each in values]
    places: dict[float, float] = {}
    at = 0
    while at <= others:
        last = at
        while last < others and ordered[last + 1] == ordered[at]:
            last += 1
        places[ordered[at]] = (at + last) / 2.0 / others
        at = last + 1
    return [places[each] if math.isfinite(each) else NAN for each in values]


def score_values(values: list[float]) -> list[float]:
    """How many population standard deviations each is above the mean of all.

    NaN where all are equal. A NaN or an infinity is NaN and does not count.
    """
    finite = [each for each in values if math.isfinite(each)]
    if len(finite) < 2 or min(finite) == max(finite):
        return [NAN] * len(values)
    mean = math.fsum(finite) / len(finite)
    spread = math.sqrt(math.fsum((each - mean) * (each - mean) for each in finite) / len(finite))
    if not spread > 0.0:
        return [NAN] * len(values)
    return [(each - mean) / spread if math.isfinite(each) else NAN for each in values]


_STATISTICS = {"rank": rank_values, "zscore": score_values}
_DEFINITION = 1
"""Raised when a formula above changes, so that versions do."""


class CrossSection(Estimator, frozen=True):
    """A feature beside that of the other instruments of its time slice; by `"rank"` or `"zscore"`.

    `CrossSection(RateOfChange(90))` is the rank of the 90-bar change among all instruments that
    have a bar in the slice and that the strategy is subscribed to. It is known when the slice is
    over, so strategies read it in `on_slice`, with `ctx.features_of(instrument)`. Of what it is
    made of may be any feature; it can't be a part of another one.

    Rank: the share of the others that the instrument is above, 0 to 1, equal ones share their
    places. Z-score: (value - mean) / population standard deviation over the instruments.

    NaN policy: an instrument without a value has no rank and does not count; nor do infinities.

    Raises:
        StrategyError: What it is of is no feature, or another cross-section.
    """

    feature: Estimator
    statistic: Literal["rank", "zscore"] = "rank"

    update = staticmethod(update_timeframed)  # never called: see `start_state`

    def __post_init__(self) -> None:
        if not isinstance(self.feature, Estimator):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise StrategyError(f"is of {self.feature!r}", where=type(self).__name__,
                                remedy="give it a feature")  # fmt: skip
        if isinstance(self.feature, CrossSection):
            raise self._refuse()
        if self.statistic not in _STATISTICS:
            raise StrategyError(f"statistic {self.statistic!r} is not valid",
                                where=type(self).__name__,
                                remedy=f"one of {', '.join(_STATISTICS)}")  # fmt: skip
        msgspec.structs.force_setattr(self, "inputs", self.feature.inputs)

    @property
    def warm_up(self) -> int:
        """That of the feature, if every instrument has had as many bars."""
        return self.feature.warm_up

    @property
    def version(self) -> str:
        """16 hex digits that change with the statistic or the version of the feature."""
        whole = (type(self).__name__, _DEFINITION, self.feature.version, self.statistic)
        return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()[:16]

    def start_state(self) -> State:
        """There is none: a single instrument has no rank.

        Raises:
            StrategyError: Always.
        """
        raise self._refuse()

    def add_to(self, plan: Plan) -> int:
        """It can't be a part of another feature.

        Raises:
            StrategyError: Always.
        """
        raise self._refuse()

    def _refuse(self) -> StrategyError:
        return StrategyError(
            "compares instruments, so it can't be computed for one alone or inside another feature",
            where=repr(self),
            remedy="let it stand by itself in features(); put what is to be ranked inside",
        )

    def compute_slice(self, values: list[float]) -> list[float]:
        """Its values from those of the feature, for the instruments of one slice in order."""
        return _STATISTICS[self.statistic](values)

    def compute_slices(self, values: FloatColumn, slice_end: npt.NDArray[np.bool_]) -> FloatColumn:
        """Its values over the rows of all instruments.

        Args:
            values: Those of the feature, in the order of the timeline; NaN where an instrument does
                not count.
            slice_end: True on the last row of each slice.
        """
        out: list[float] = []
        start = 0
        plain = values.tolist()
        for end in (np.flatnonzero(slice_end) + 1).tolist():
            out += self.compute_slice(plain[start:end])
            start = end
        return np.array(out, dtype=np.float64)


def split_cross_sections(
    features: dict[str, Estimator],
) -> tuple[dict[str, Estimator], dict[str, CrossSection]]:
    """What is computed instrument by instrument, and what is made of it over all of them."""
    crossing = {name: each for name, each in features.items() if isinstance(each, CrossSection)}
    single = {
        name: each.feature if isinstance(each, CrossSection) else each
        for name, each in features.items()
    }
    return single, crossing
