"""What a sweep runs, and what of its input makes no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onetape.domain.errors import FixInput
from onetape.research.grid import Axis, Grid
from onetape.research.sweep_metric import find_metric
from onetape.research.sweep_plan import SweepPlan, make_plan
from onetape.runtime.config import SessionConfig, load_config
from onetape.runtime.config_document import ConfigDocument, apply_overrides
from onetape.strategy.library.sma_cross import SmaCross
from tests.support.sweep_fakes import plan_wave

pytestmark = pytest.mark.usefixtures("in_wave")


def test_sets_are_the_combinations_that_condition_and_strategy_let_through() -> None:
    plan = plan_wave("fast=2:10:2", "slow=4:12:4", where="slow < 12")
    assert list(plan.sets()) == [(2, 4), (2, 8), (4, 8), (6, 8)]
    assert list(plan.sets()) == list(plan.sets())
    counts = plan.counts
    assert (counts.combinations, counts.left_out, counts.refused, counts.sets) == (15, 5, 6, 4)
    assert "fast 4 is not below slow 4" in counts.refusal


def test_a_condition_may_name_params_that_do_not_vary() -> None:
    assert list(plan_wave("fast=2:10:2", where="fast < slow - 3").sets()) == [(2,), (4,)]


def test_a_set_has_its_values_the_configured_ones_and_the_defaults() -> None:
    plan = plan_wave("fast=2,4", overrides=("strategies.0.params={slow: 19}",))
    assert plan.params((4,)) == {"fast": 4, "slow": 19, "quantity": 1.0}


@pytest.mark.parametrize("name", ["fast", "0.fast", "strategies.0.params.fast"])
def test_a_param_may_be_named_by_its_place(name: str) -> None:
    assert plan_wave(f"{name}=2,4").grid.names == ("fast",)


def test_the_enabled_strategy_varies_whatever_its_place() -> None:
    overrides = (
        "strategies.0.enabled=false",
        "strategies.1={name: mean_reversion, capital: 1000}",
    )
    plan = plan_wave("1.window=5:10:5", "exit=0,0.5", overrides=overrides)
    assert (plan.position, plan.kind.__name__) == (1, "MeanReversion")
    assert plan.overrides({"window": 5, "exit": 0.5}) == [
        "strategies.1.params.window=5", "strategies.1.params.exit=0.5",
    ]  # fmt: skip


TWO = "strategies.1={name: buy_and_hold, capital: 1000}"


@pytest.mark.parametrize(
    ("params", "how", "part"),
    [
        ([], {}, "there is nothing to vary (give --param, like fast=5:50:5)"),
        (["fats=2"], {}, "--param fats: sma_cross has no param 'fats' (did you mean 'fast'?)"),
        (["x=2"], {}, "known: fast, slow, quantity"),
        (["fast=2", "0.fast=3"], {}, "--param 0.fast: fast comes twice"),
        (["fast=0:4:1"], {}, "--param fast: 0 is out of range (must be >= 2)"),
        (["fast=a"], {}, "'a' is not a number"),
        (["1.fast=3"], {}, "strategies.1 is not the enabled strategy (strategies.0 is sma_cross)"),
        (["strategies.0.fast=3"], {}, "names no param"),
        (["fast=3"], {"metric": "sharp"}, "--metric 'sharp' is no figure of a run (did you mean"),
        (["fast=3"], {"metric": "slices"}, "--metric slices is the same in all sets"),
        (["fast=3"], {"where": "fast <"}, "is not an expression"),
        (["fast=3"], {"where": "fats < 3"}, "did you mean 'fast'?"),
        (["fast=3"], {"config": (TWO,)}, "a sweep varies one strategy, and 2 are enabled: sma"),
        (["fast=3"], {"config": (TWO,)}, "--set strategies.1.enabled=false"),
        (["fast=3"], {"config": ("mode=paper", "clock={type: live}", "data.source=alpaca")},
         "a sweep runs backtests, and this is mode paper"),
        (["fast=3"], {"config": ("strategies.0.name=nope",)}, "'nope' is not installed"),
        (["fast=3"], {"config": ("strategies.0.version='9'",)}, "has version 1, not 9"),
    ],
)  # fmt: skip
def test_input_that_makes_no_sense_is_one_error(
    params: list[str], how: dict[str, Any], part: str
) -> None:
    how = dict(how)
    config = load_config(Path("run.yaml"), how.pop("config", ()), {})
    with pytest.raises(FixInput) as caught:
        make_plan(config, params, **how)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("params", "where", "part"),
    [
        (["fast=2:8:2"], "fast > 8", "--where 'fast > 8' leaves out all 4 combinations"),
        (
            ["fast=9:12:1"],
            "",
            "SmaCross.check_params refuses 4 (SmaCross: fast 9 is not",
        ),
        (["fast=7:12:1"], "fast > 8", "--where leaves out 2, and SmaCross.check_params refuses 4"),
    ],
)
def test_a_grid_without_a_set_says_what_became_of_it(
    params: list[str], where: str, part: str
) -> None:
    with pytest.raises(FixInput) as caught:
        _ = plan_wave(*params, where=where).counts
    assert part in str(caught.value)


def test_params_that_break_check_params_are_the_strategys_fault() -> None:
    class Broken(SmaCross):
        def check_params(self) -> None:
            _ = 1 / (self.fast - 4)

    plan = plan_wave("fast=2:8:2")
    broken = SweepPlan(plan.config, 0, Broken, plan.grid, None, plan.metric)
    with pytest.raises(FixInput, match=r"Broken: check_params raises ZeroDivisionError for fast=4"):
        list(broken.sets())


@pytest.mark.parametrize(("values", "large"), [("2:1000001:1", False), ("2:1000002:1", True)])
def test_more_than_a_million_combinations_are_large(values: str, large: bool) -> None:
    assert plan_wave(f"fast={values}").is_large is large


def test_the_hash_depends_on_everything_that_the_result_depends_on() -> None:
    plans = [
        plan_wave("fast=2,4"),
        plan_wave("fast=2,5"),
        plan_wave("fast=2,4", where="fast < 9"),
        plan_wave("fast=2,4", metric="calmar"),
        plan_wave("fast=2,4", overrides=("seed=1",)),
    ]
    assert len({plan.hash for plan in plans}) == len(plans)
    assert plans[0].hash == plan_wave("fast=2,4", overrides=("output.path=elsewhere",)).hash


scalars = st.one_of(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(max_size=8),
)


@given(scalars)
@example("a${HOME}b")
def test_an_override_of_the_command_line_reads_back_as_the_value(value: Any) -> None:
    config = SessionConfig.model_validate(
        {
            "clock": {"type": "historical", "start": "2024-01-01", "end": "2025-01-01"},
            "data": {"instruments": ["A.B"], "timeframe": "1d"},
            "strategies": [{"name": "sma_cross", "capital": 1}],
        }
    )
    grid = Grid([Axis("p", (value,))])
    plan = SweepPlan(config, 0, SmaCross, grid, None, find_metric("sharpe"))
    document = ConfigDocument({"strategies": [{}]}, {(): "test"})
    apply_overrides(document, plan.overrides({"p": value}))
    read = document.values["strategies"][0]["params"]["p"]
    assert read == value
    assert type(read) is type(value)


def test_a_plan_from_python_values_is_that_of_the_texts() -> None:
    by_text = plan_wave("fast=2:10:2", "slow=4,8", where="fast < slow")
    by_value = make_plan(
        by_text.config, {"fast": range(2, 11, 2), "slow": [4, 8]}, "fast < slow", "sharpe_ratio"
    )
    assert by_value.hash == by_text.hash
    assert list(by_value.sets()) == list(by_text.sets())
