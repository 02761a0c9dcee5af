from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError
from onetape.execution.simulated.slippage import (
    FixedSlippage,
    NoSlippage,
    SlippageModel,
    SquareRootSlippage,
    VolumeSlippage,
    build_slippage,
    compute_slipped_ticks,
)

NONE = NoSlippage()
BPS_5 = FixedSlippage(bps=5)
TICKS_2 = FixedSlippage(ticks=2)
BOTH = FixedSlippage(bps=5, ticks=2)
VOLUME = VolumeSlippage(base_bps=5, volume_factor="0.1")
ROOT = SquareRootSlippage(coefficient="0.1")
NAN = math.nan


@pytest.mark.parametrize(
    ("model",  "ticks", "side", "quantity", "volume", "slipped"),
    [
        (NONE,    10_000,  +1,     100.0,      1e6,      10_000),
        (NONE,    10_000,  -1,     100.0,      0.0,      10_000),
        (BPS_5,   10_000,  +1,     100.0,      1e6,      10_005),
        (BPS_5,   10_000,  -1,     100.0,      1e6,       9_995),
        (BPS_5,   10_001,  +1,     100.0,      1e6,      10_007),
        (BPS_5,   10_001,  -1,     100.0,      1e6,       9_995),
        (BPS_5,        1,  -1,     100.0,      1e6,           1),
        (BPS_5,        1,  +1,     100.0,      1e6,           2),
        (BPS_5,  -10_000,  +1,     100.0,      1e6,      -9_995),
        (BPS_5,  -10_000,  -1,     100.0,      1e6,     -10_005),
        (TICKS_2, 10_000,  +1,     100.0,      1e6,      10_002),
        (TICKS_2,      2,  -1,     100.0,      1e6,           1),
        (BOTH,    10_000,  +1,     100.0,      1e6,      10_007),
        (VOLUME,  10_000,  +1,     0.0,        1000.0,   10_005),
        (VOLUME,  10_000,  +1,     100.0,      1000.0,   10_105),
        (VOLUME,  10_000,  -1,     100.0,      1000.0,    9_895),
        (VOLUME,  10_000,  +1,     1000.0,     1000.0,   11_005),
        (VOLUME,  10_000,  +1,     5000.0,     1000.0,   11_005),
        (VOLUME,  10_000,  +1,     1.0,        0.0,      11_005),
        (VOLUME,  10_000,  +1,     1.0,        NAN,      11_005),
        (ROOT,    10_000,  +1,     10.0,       1000.0,   10_100),
        (ROOT,    10_000,  -1,     40.0,       1000.0,    9_800),
        (ROOT,    10_000,  -1,     250.0,      1000.0,    9_500),
        (ROOT,    10_000,  +1,     7.0,        0.0,      11_000),
    ],
)  # fmt: skip
def test_slipped_ticks_of_model_are_the_hand_number(
    model: SlippageModel, ticks: int, side: int, quantity: float, volume: float, slipped: int
) -> None:
    terms = build_slippage(model)
    assert compute_slipped_ticks(terms, ticks, side, quantity, volume) == slipped


MODELS = st.sampled_from([NONE, BPS_5, TICKS_2, BOTH, VOLUME, ROOT])
SIDES = st.sampled_from([1, -1])
QUANTITIES = st.floats(0, 1e9)


@given(MODELS, st.integers(1, 10**10), SIDES, QUANTITIES, st.floats(0, 1e9))
def test_slippage_is_against_us_and_a_price_stays_positive(
    model: SlippageModel, ticks: int, side: int, quantity: float, volume: float
) -> None:
    slipped = compute_slipped_ticks(build_slippage(model), ticks, side, quantity, volume)
    assert slipped >= 1
    assert (slipped - ticks) * side >= 0


@given(MODELS, st.integers(1, 10**10), SIDES, QUANTITIES, QUANTITIES, st.floats(1, 1e9))
def test_slippage_of_a_larger_fill_is_not_smaller(
    model: SlippageModel, ticks: int, side: int, one: float, other: float, volume: float
) -> None:
    terms = build_slippage(model)
    small, large = sorted((one, other))
    less = compute_slipped_ticks(terms, ticks, side, small, volume)
    more = compute_slipped_ticks(terms, ticks, side, large, volume)
    assert (more - less) * side >= 0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (FixedSlippage(bps=-1), "execution.slippage.bps: -1 would be for us"),
        (FixedSlippage(ticks=-1), "execution.slippage.ticks: -1 ticks would be for us"),
        (VolumeSlippage(base_bps="x"), "execution.slippage.base_bps 'x' is not a number"),
        (VolumeSlippage(volume_factor="1e-9"), "execution.slippage.volume_factor 1E-9 is off"),
        (SquareRootSlippage(coefficient="nan"), "'nan' is not finite"),
    ],
)
def test_slippage_of_bad_values_is_refused_with_its_place(
    model: SlippageModel, message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        build_slippage(model)
    assert message in str(refused.value)
