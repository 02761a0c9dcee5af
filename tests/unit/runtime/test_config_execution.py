"""The execution section becomes the models of the simulated venue, value by value."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from onetape.domain.errors import ConfigError
from onetape.execution.simulated import fee_presets, fees, slippage
from onetape.execution.simulated.fee_rates import US_EQUITY_SALES
from onetape.execution.simulated.latency import LatencyModel
from onetape.execution.simulated.routes import (
    FixedDelay,
    NormalDelay,
    RecordedDelay,
    build_routes,
)
from onetape.runtime.config_execution import ExecutionConfig
from onetape.runtime.config_fees import build_fee_model
from onetape.runtime.config_slippage import build_slippage_model

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
    (
        {"model": "per_share", "rate": 0, "maximum": 9.5, "sales": {"round_up_to": 0.01}},
        fees.PerShareFees(
            rate=D(0),
            minimum=D(0),
            maximum=D("9.5"),
            sales=fees.SaleFees(rates=US_EQUITY_SALES, round_up_to=D("0.01")),
        ),
    ),
    (
        {"model": "per_order", "amount": 1, "sales": {"rates": "us_equity"}},
        fees.PerOrderFees(
            amount=D(1), sales=fees.SaleFees(rates=US_EQUITY_SALES, round_up_to=D("1e-8"))
        ),
    ),
    (
        {"model": "per_contract", "rate": 0.85, "exchange_rate": 1.38, "minimum": 1, "maximum": 9},
        fees.PerContractFees(rate=D("0.85"), exchange_rate=D("1.38"), minimum=D(1), maximum=D(9)),
    ),
    (
        {
            "model": "per_share_tiered",
            "tiers": [{"from_quantity": 0, "rate": 2}, {"from_quantity": 7.5, "rate": 1}],
            "minimum": 1,
            "maximum": 99,
            "maximum_ratio": 0.01,
            "maker_rate": -0.002,
            "taker_rate": 0.003,
            "clearing_rate": 0.0002,
            "clearing_maximum_ratio": 0.005,
            "pass_through_ratio": 0.0007,
            "sales": {},
        },
        fees.PerShareTieredFees(
            tiers=(
                fees.ShareTier(from_quantity=D(0), rate=D(2)),
                fees.ShareTier(from_quantity=D("7.5"), rate=D(1)),
            ),
            minimum=D(1),
            maximum=D(99),
            maximum_ratio=D("0.01"),
            maker_rate=D("-0.002"),
            taker_rate=D("0.003"),
            clearing_rate=D("0.0002"),
            clearing_maximum_ratio=D("0.005"),
            pass_through_ratio=D("0.0007"),
            sales=fees.SaleFees(rates=US_EQUITY_SALES, round_up_to=D("1e-8")),
        ),
    ),
]

PRESETS = [
    ({"model": "ibkr_us_fixed"}, fee_presets.make_ibkr_us_fixed()),
    (
        {"model": "ibkr_us_tiered"},
        fee_presets.make_ibkr_us_tiered(maker_rate=D(0), taker_rate=D("0.003")),
    ),
    (
        {"model": "ibkr_us_tiered", "maker_rate": -0.0021, "taker_rate": 0.0029},
        fee_presets.make_ibkr_us_tiered(maker_rate=D("-0.0021"), taker_rate=D("0.0029")),
    ),
    ({"model": "alpaca_us"}, fee_presets.make_alpaca_us()),
    ({"model": "binance_spot"}, fee_presets.make_binance_spot()),
    (
        {"model": "binance_spot", "vip": 9, "pays_in_bnb": True},
        fee_presets.make_binance_spot(9, pays_in_bnb=True),
    ),
]


@pytest.mark.parametrize(("given", "expected"), SLIPPAGES)
def test_slippage_section_becomes_the_venue_model(given: dict[str, Any], expected: object) -> None:
    config = ExecutionConfig.model_validate({"slippage": given})
    assert build_slippage_model(config.slippage) == expected


@pytest.mark.parametrize(("given", "expected"), FEES + PRESETS)
def test_fee_section_becomes_the_venue_model(given: dict[str, Any], expected: object) -> None:
    config = ExecutionConfig.model_validate({"fees": given})
    assert build_fee_model(config.fees) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "binance_spot", "vip": 10}, "less than or equal to 9"),
        ({"model": "per_share_tiered", "tiers": []}, "at least 1 item"),
        (
            {"model": "per_share_tiered", "tiers": [{"from_quantity": 1, "rate": 1}]},
            "must begin at 0",
        ),
        (
            {"model": "per_share_tiered", "tiers": [{"from_quantity": 0, "rate": 1}] * 2},
            "must rise from tier to tier",
        ),
        ({"model": "per_order", "amount": 1, "sales": {"round_up_to": 0}}, "greater than 0"),
        ({"model": "ibkr_us_fixed", "rate": 1}, "is not a known key"),
        ({"model": "ibkr"}, "ibkr_us_fixed"),
    ],
)
def test_impossible_fees_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExecutionConfig.model_validate({"fees": given})


def test_binance_without_such_a_level_is_refused() -> None:
    with pytest.raises(ConfigError, match="no VIP level 10"):
        fee_presets.make_binance_spot(10)


def test_latency_section_becomes_the_venue_model() -> None:
    config = ExecutionConfig.model_validate({"latency": {"mean_ms": 10, "std_ms": 0.5}})
    assert config.latency_model() == LatencyModel(mean_ms=D(10), std_ms=D("0.5"))


def test_every_model_of_the_venue_has_a_section_with_the_same_keys() -> None:
    for annotation, models in (("slippage", SLIPPAGES), ("fees", FEES)):
        for given, expected in models:
            section = getattr(ExecutionConfig.model_validate({annotation: given}), annotation)
            assert set(type(section).known_keys()) == {"model", *type(expected).__struct_fields__}


def test_latency_has_models_and_keeps_its_old_form() -> None:
    plain = ExecutionConfig.model_validate({"latency": {"mean_ms": 10}})
    assert plain.route_terms(1) is None
    fixed = ExecutionConfig.model_validate({"latency": {"model": "fixed", "ms": 2}})
    assert fixed.route_terms(1) == build_routes(1, FixedDelay(ms=2))
    assert fixed.latency_model() == LatencyModel()
    each = ExecutionConfig.model_validate({"latency": {
        "model": "by_command", "submit": {"model": "normal", "mean_ms": 5, "std_ms": 1},
        "cancel": {"model": "recorded", "samples_ms": [1, 0.25]},
    }})  # fmt: skip
    assert each.route_terms(7) == build_routes(
        7, NormalDelay(mean_ms=5, std_ms=1), RecordedDelay(samples_ms=(1, 0.25))
    )
    for config in (plain, fixed, each):
        again = ExecutionConfig.model_validate(config.model_dump(mode="json"))
        assert (again, again.route_terms(3)) == (config, config.route_terms(3))


def test_recorded_latency_stands_in_the_config_itself(tmp_path: Path) -> None:
    """So the header of a tape holds it, and the file is not asked for again."""
    file = tmp_path / "delays.csv"
    routes = []
    for text in ("latency_ns\n1500000\n250\n", "latency_ms\n1.5\n0.00025\n"):
        file.write_text(text)
        config = ExecutionConfig.model_validate(
            {"latency": {"model": "recorded", "path": str(file)}}
        )
        dumped = config.model_dump(mode="json")
        file.unlink()
        routes.append(ExecutionConfig.model_validate(dumped).route_terms(1))
    assert routes[0] == routes[1] == build_routes(1, RecordedDelay(samples_ms=(1.5, 0.00025)))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (None, "can't be read"),
        ("", "neither latency_ns nor latency_ms"),
        ("12\n13\n", "neither latency_ns nor latency_ms"),
        ("latency_ns\n", "with 0 delays"),
        ("latency_ns\n1\nfast\n", "whose line 3 is 'fast'"),
        ("latency_ns\n0.5\n", "whose line 2 is '0.5'"),
        ("latency_ms\n-1\n", "whose line 2 is '-1'"),
        ("latency_ms\nnan\n", "whose line 2 is 'nan'"),
    ],
)
def test_file_of_delays_that_is_none(tmp_path: Path, text: str | None, what: str) -> None:
    file = tmp_path / "delays.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValidationError, match=what):
        ExecutionConfig.model_validate({"latency": {"model": "recorded", "path": str(file)}})


def test_recorded_latency_needs_one_source() -> None:
    for given in ({}, {"path": "x", "samples_ms": [1]}):
        with pytest.raises(ValidationError, match="of path and samples_ms"):
            ExecutionConfig.model_validate({"latency": {"model": "recorded", **given}})


def test_a_real_venue_has_its_own_abilities() -> None:
    with pytest.raises(ValidationError, match="gives alpaca the abilities of binance"):
        ExecutionConfig.model_validate({"venue": "alpaca", "capabilities": "binance"})
    assert ExecutionConfig.model_validate({"capabilities": "binance"}).venue == "simulated"
