"""The execution section becomes the models of the simulated venue, value by value."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from onetape.execution.simulated import fees, slippage
from onetape.execution.simulated.latency import LatencyModel
from onetape.runtime.config_execution import ExecutionConfig

D = Decimal

SLIPPAGES = [
    ({"model": "none"}, slippage.NoSlippage()),
    ({"model": "fixed", "bps": 2.5}, slippage.FixedSlippage(bps=D("2.5"))),
    ({"model": "fixed", "ticks": 2}, slippage.FixedSlippage(bps=D(0), ticks=2)),
    (
        {"model": "volume", "base_bps": 5, "volume_factor": 0.1},
        slippage.VolumeSlippage(base_bps=D(5), volume_factor=D("0.1")),
    ),
    (
        {"model": "square_root", "coefficient": "0.01"},
        slippage.SquareRootSlippage(coefficient=D("0.01")),
    ),
]

FEES = [
    ({"model": "none"}, fees.NoFees()),
    (
        {"model": "per_share", "rate": 0.005, "minimum": 1, "maximum_ratio": 0.01},
        fees.PerShareFees(rate=D("0.005"), minimum=D(1), maximum_ratio=D("0.01")),
    ),
    (
        {"model": "per_share", "rate": 0.005},
        fees.PerShareFees(rate=D("0.005"), minimum=D(0), maximum_ratio=None),
    ),
    ({"model": "per_order", "amount": 9.99}, fees.PerOrderFees(amount=D("9.99"))),
    (
        {"model": "bps", "maker_bps": -0.5, "taker_bps": 4},
        fees.BpsFees(maker_bps=D("-0.5"), taker_bps=D(4)),
    ),
    (
        {"model": "tiered", "tiers": [{"from_notional": 0, "maker_bps": 1, "taker_bps": 2}]},
        fees.TieredFees(tiers=(fees.FeeTier(from_notional=D(0), maker_bps=D(1), taker_bps=D(2)),)),
    ),
]


@pytest.mark.parametrize(("given", "expected"), SLIPPAGES)
def test_slippage_section_becomes_the_venue_model(given: dict[str, Any], expected: object) -> None:
    config = ExecutionConfig.model_validate({"slippage": given})
    assert config.slippage_model() == expected


@pytest.mark.parametrize(("given", "expected"), FEES)
def test_fee_section_becomes_the_venue_model(given: dict[str, Any], expected: object) -> None:
    assert ExecutionConfig.model_validate({"fees": given}).fee_model() == expected


def test_latency_section_becomes_the_venue_model() -> None:
    config = ExecutionConfig.model_validate({"latency": {"mean_ms": 10, "std_ms": 0.5}})
    assert config.latency_model() == LatencyModel(mean_ms=D(10), std_ms=D("0.5"))


def test_every_model_of_the_venue_has_a_section_with_the_same_keys() -> None:
    for annotation, models in (("slippage", SLIPPAGES), ("fees", FEES)):
        for given, expected in models:
            section = getattr(ExecutionConfig.model_validate({annotation: given}), annotation)
            assert set(type(section).known_keys()) == {"model", *type(expected).__struct_fields__}
