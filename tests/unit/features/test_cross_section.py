from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from onetape.domain.errors import StrategyError
from onetape.features import CrossSection, Ema, RateOfChange, Sma, compute_feature_columns
from onetape.features.archive import ArchivedFeature, archive_feature, load_feature
from onetape.features.cross_section import rank_values, score_values
from onetape.research.feature_kit import make_walk

stats = pytest.importorskip("scipy.stats")
NAN = math.nan


@pytest.mark.parametrize(
    ("values", "ranks"),
    [
        ([3.0, 1.0, 2.0], [1.0, 0.0, 0.5]),
        ([5.0, 5.0, 1.0, 9.0], [0.5, 0.5, 0.0, 1.0]),  # the two share places 1 and 2 of 0 to 3
        ([NAN, 4.0, math.inf, 2.0], [NAN, 1.0, NAN, 0.0]),
        ([7.0], [0.5]),
        ([NAN, NAN], [NAN, NAN]),
        ([2.0, 2.0], [0.5, 0.5]),
    ],
)
def test_rank_by_hand(values: list[float], ranks: list[float]) -> None:
    assert rank_values(values) == pytest.approx(ranks, nan_ok=True)


def test_rank_and_score_are_those_of_scipy() -> None:
    values = np.round(np.random.default_rng(2).normal(size=60), 1)
    expected = (stats.rankdata(values) - 1) / 59
    assert rank_values(values.tolist()) == pytest.approx(expected.tolist(), rel=1e-12)
    assert score_values(values.tolist()) == pytest.approx(stats.zscore(values).tolist(), rel=1e-9)


def test_score_of_equal_values_is_none() -> None:
    assert all(map(math.isnan, score_values([0.1, 0.1, 0.1])))
    assert score_values([1.0, NAN, 3.0]) == pytest.approx([-1.0, NAN, 1.0], nan_ok=True)


def test_slices_are_ranked_by_themselves() -> None:
    values = np.array([1.0, 2.0, 9.0, 8.0, 7.0, 5.0])
    ends = np.array([False, True, False, False, True, True])
    found = CrossSection(Sma(3)).compute_slices(values, ends)
    assert found.tolist() == [0.0, 1.0, 1.0, 0.5, 0.0, 0.5]


def test_cross_section_stands_by_itself() -> None:
    cross = CrossSection(RateOfChange(3))
    with pytest.raises(StrategyError, match="compares instruments"):
        compute_feature_columns({"rank": cross}, make_walk(30))
    with pytest.raises(StrategyError, match="compares instruments"):
        Ema(3).of(cross).start_state()
    with pytest.raises(StrategyError, match="compares instruments"):
        CrossSection(cross)
    with pytest.raises(StrategyError, match="'mean' is not valid"):
        CrossSection(Sma(3), "mean")  # pyright: ignore[reportArgumentType]


def test_version_covers_what_is_ranked_and_the_definition_can_be_archived() -> None:
    kinds = [CrossSection(Sma(3)), CrossSection(Sma(4)), CrossSection(Sma(3), "zscore")]
    assert len({each.version for each in kinds}) == 3
    for each in kinds:
        data = msgspec.json.encode(archive_feature(each))
        again = load_feature(msgspec.json.decode(data, type=ArchivedFeature))
        assert (again.version, again.warm_up) == (each.version, each.warm_up)
        assert isinstance(again, CrossSection)
        assert again.compute_slice([3.0, 1.0]) == each.compute_slice([3.0, 1.0])
