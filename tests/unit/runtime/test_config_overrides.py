"""The `execution.overrides` section: which entry counts for an instrument, and what is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument, make_equity, make_spot
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.runtime.config import SessionConfig, config_hash, decision_json, load_config
from onetape.runtime.config_execution import ExecutionConfig
from onetape.runtime.sessions.backtest import build_terms
from tests.support.contracts import LINEAR, make_future

AAPL, IBM = make_equity("AAPL.XNAS"), make_equity("IBM.XNYS")
ES, MES = make_future(10**18), make_future(10**18, "MESH4.XCME")
BTC = make_spot("BTC-USD.VENUE", base="BTC", quote="USD", tick_size="0.01", lot_size="0.001")
PERP = LINEAR

ENTRIES: dict[str, dict[str, Any]] = {
    "kind": {"kinds": ["perpetual", "future"]},
    "venue": {"venues": ["VENUE", "XNAS"]},
    "both": {"venues": ["VENUE"], "kinds": ["perpetual"]},
    "pattern": {"instruments": ["ES*.XCME", "BTC-*.VENUE"]},
    "id": {"instruments": ["ESH4.XCME"]},
}


def config_of(*names: str) -> ExecutionConfig:
    """Entry n (from 1) gives a slippage of n bps."""
    overrides = [
        {**ENTRIES[name], "slippage": {"model": "fixed", "bps": number}}
        for number, name in enumerate(names, 1)
    ]
    return ExecutionConfig.model_validate({"overrides": overrides})


def chosen_by(config: ExecutionConfig, instrument: Instrument) -> int:
    """Number of the entry that counts; 0: none."""
    return int(getattr(config.chosen_for(instrument).slippage, "bps", 0))


@pytest.mark.parametrize(
    ("names", "instrument", "expected"),
    [
        (("id", "pattern"), ES, "id"),
        (("pattern", "id"), ES, "id"),
        (("pattern", "kind"), ES, "pattern"),
        (("pattern", "kind"), MES, "kind"),
        (("pattern", "both"), BTC, "pattern"),
        (("both", "venue", "kind"), PERP, "both"),
        (("both", "venue", "kind"), BTC, "venue"),
        (("venue", "kind"), PERP, "venue"),
        (("kind", "venue"), PERP, "venue"),
        (("kind", "venue"), AAPL, "venue"),
        (("kind", "venue", "id"), IBM, None),
    ],
)  # fmt: skip
def test_the_most_specific_entry_counts(
    names: tuple[str, ...], instrument: Instrument, expected: str | None
) -> None:
    number = 0 if expected is None else names.index(expected) + 1
    assert chosen_by(config_of(*names), instrument) == number


def test_of_equally_specific_entries_the_last_counts() -> None:
    assert chosen_by(config_of("venue", "venue", "kind"), AAPL) == 2


def test_keys_are_chosen_one_by_one() -> None:
    config = ExecutionConfig.model_validate(
        {
            "max_volume_ratio": 0.1,
            "overrides": [
                {"instruments": ["AAPL.XNAS"], "fees": {"model": "alpaca_us"},
                 "fill": {"market": "mid"}},
                {"kinds": ["equity"], "fees": {"model": "ibkr_us_fixed"}, "max_volume_ratio": 0.2,
                 "fill": {"market": "vwap", "limit": "touch"}},
                {"instruments": ["BTC-USD.VENUE"], "max_volume_ratio": "none"},
            ],
        }
    )  # fmt: skip
    apple, spot, future = (config.chosen_for(each) for each in (AAPL, BTC, ES))
    assert (apple.fees.model, apple.max_volume_ratio) == ("alpaca_us", Decimal("0.2"))
    assert (apple.fill.market, apple.fill.limit) == ("mid", "touch")
    assert (spot.fees.model, spot.max_volume_ratio) == ("none", None)
    assert (future.max_volume_ratio, future.fill.market) == (Decimal("0.1"), "next_open")


CONFIG = """\
clock: {type: historical, start: 2024-01-01, end: 2024-02-01}
data: {instruments: [AAPL.XNAS, ESH4.XCME], timeframe: 1d}
execution:
  overrides:
    - {instruments: [AAPL.XNAS], fees: {model: alpaca_us}}
    - {venues: [XCME], kinds: [future], slippage: {model: fixed, ticks: 1}}
strategies: [{name: sma_cross, capital: 1000}]
"""


def load(tmp_path: Path, text: str, *overrides: str) -> SessionConfig:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return load_config(path, overrides, {})


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[AAPL.XNAS], fees", "[APL.XNAS], fees",
         r"run.yaml:5: execution.overrides.0.instruments.0 is 'APL.XNAS', and data.instruments "
         r"lists none such \(did you mean 'AAPL.XNAS'\?\)"),
        ("[AAPL.XNAS], fees", "[NQ*.XCME], fees", "execution.overrides.0.instruments.0 is 'NQ"),
        ("[XCME]", "[XCBT]", r"overrides.1.venues.0 is 'XCBT', .* \(known: XNAS, XCME\)"),
        ("[future]", "[futures]", "overrides.1.kinds.0 is 'futures', expected one of equity"),
        ("instruments: [AAPL.XNAS], fees", "fees", "overrides.0 is for no instrument"),
        ("[AAPL.XNAS], fees", "[AAPL.XNAS], kinds: [equity], fees",
         "overrides.0 names ids beside venues or kinds"),
        (", slippage: {model: fixed, ticks: 1}", "", "overrides.1 changes nothing"),
        ("model: alpaca_us", "model: alpaca", r"overrides.0.fees.model is 'alpaca', expected one"),
        ("fees: {model: alpaca_us}", "max_volume_ratio: 2", "overrides.0.max_volume_ratio is 2"),
        ("fees: {model: alpaca_us}", "latency: {mean_ms: 2}", "overrides.0.latency is not a known"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert CONFIG.count(before) == 1
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, CONFIG.replace(before, after))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kinds": ["option"]}, "no instrument in the session is of kind 'option'"),
        ({"kinds": ["future"], "venues": ["XNAS"]}, "no instrument of XNAS in the session is of"),
        ({"instruments": ["MSFT.XNAS"]}, "'MSFT.XNAS' is of no instrument of the session"),
    ],
)
def test_what_only_the_definitions_of_the_instruments_tell_is_refused(
    entry: dict[str, Any], message: str
) -> None:
    given = {"overrides": [{**entry, "slippage": {"model": "none"}}]}
    with pytest.raises(ConfigError, match=message) as refused:
        build_terms(ExecutionConfig.model_validate(given), 0, [AAPL, ES])
    assert str(refused.value.where).startswith("execution.overrides.0.")


def test_overrides_belong_to_the_configuration_of_the_tape(tmp_path: Path) -> None:
    config = load(tmp_path, CONFIG)
    assert SessionConfig.model_validate_json(decision_json(config)).execution == config.execution
    other = load(tmp_path, CONFIG, "execution.overrides.1.slippage.ticks=2")
    assert config_hash(other) != config_hash(config)


def test_without_overrides_the_configuration_is_that_of_tapes_before_there_were_any(
    tmp_path: Path,
) -> None:
    text = CONFIG[: CONFIG.index("  overrides")].replace("execution:", "execution: {}")
    decided = json.loads(
        decision_json(load(tmp_path, text + "strategies: [{name: a, capital: 1}]"))
    )
    assert "overrides" not in decided["execution"]
    assert decided["execution"]["fill"]["overrides"] == []


def test_fills_of_older_tapes_mean_the_same() -> None:
    """Ids and venues of an entry counted alike then, and the last that fitted."""
    older = [
        {"instruments": ["IBM.XNYS"], "venues": ["XNAS"], "market": "mid", "limit": "touch"},
        {"instruments": ["AAPL.XNAS"], "venues": [], "path": "optimistic", "market": "typical"},
        {"venues": ["XNYS"], "limit": "through"},
        {"venues": ["XNAS"], "market": "vwap"},
    ]
    config = ExecutionConfig.model_validate({"fill": {"market": "same_close", "overrides": older}})
    found = {
        each.id: config.chosen_for(each).fill for each in (AAPL, IBM, make_equity("MSFT.XNAS"), BTC)
    }
    assert [(each.market, each.limit, each.path) for each in found.values()] == [
        ("vwap", "touch", "optimistic"),
        ("mid", "through", "pessimistic"),
        ("vwap", "touch", "pessimistic"),
        ("same_close", None, "pessimistic"),
    ]


def test_slippage_and_participation_reach_the_venue_and_every_leg() -> None:
    given = {
        "position_mode": "hedging",
        "overrides": [
            {"instruments": ["AAPL.XNAS"], "slippage": {"model": "fixed", "ticks": 3},
             "max_volume_ratio": 0.5, "fees": {"model": "per_order", "amount": 2}},
        ],
    }  # fmt: skip
    terms = build_terms(ExecutionConfig.model_validate(given), 0, [AAPL, IBM])
    legs = [each for each in terms.slippages if each.startswith("AAPL")]
    assert len(legs) == 3
    for each in legs:
        assert terms.slippage_of(each) == SlippageTerms(ticks=3)
        assert terms.max_volume_ratio_of(each) == 0.5
        assert terms.fees[each].per_order == 2 * 10**8
        assert terms.month_of("s0", each) == "s0/1"
    assert terms.slippage_of(IBM.id) == SlippageTerms()
    assert terms.month_of("s0", IBM.id) == "s0"


def test_a_fee_that_can_not_be_exact_is_told_at_its_entry() -> None:
    fees = {"model": "per_share", "rate": "0.00001"}
    given = {"overrides": [{"kinds": ["equity"], "slippage": {"model": "none"}},
                           {"venues": ["VENUE"], "fees": fees}]}  # fmt: skip
    coin = make_spot("BTC-USD.VENUE", base="BTC", quote="USD", tick_size="1", lot_size="0.0001")
    with pytest.raises(ConfigError, match=r"not a whole number") as refused:
        build_terms(ExecutionConfig.model_validate(given), 0, [AAPL, coin])
    assert refused.value.where == "execution.overrides.1.fees.rate"
