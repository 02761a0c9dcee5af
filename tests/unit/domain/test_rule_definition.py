from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from onetape.domain.errors import StrategyError
from onetape.domain.rule_definition import compute_definition_hash, compute_layout, list_rules
from onetape.domain.rules import rule
from onetape.features.estimator import State

SOURCE = """
from onetape.domain.rules import rule

STEP = 1.0
UNUSED = 7
step = None

@rule
def double(x):
    return x + x

@rule
def update(state, close):
    step = STEP
    return double(close) + step
"""


def load(source: str, folder: Path) -> ModuleType:
    path = folder / f"written{len(list(folder.iterdir()))}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("written", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("", "", True),
        ("UNUSED = 7", "UNUSED = 8", True),
        ("STEP = 1.0", "STEP = 1.5", False),
        ("return x + x", "return 2.0 * x", False),
        ("+ step", "- step", False),
    ],
)
def test_definition_hash_changes_with_all_that_update_uses_and_nothing_else(
    old: str, new: str, same: bool, tmp_path: Path
) -> None:
    before = compute_definition_hash(load(SOURCE, tmp_path).update, ())
    after = compute_definition_hash(load(SOURCE.replace(old, new), tmp_path).update, ())
    assert (before == after) is same


def test_definition_hash_changes_with_the_layout(tmp_path: Path) -> None:
    update = load(SOURCE, tmp_path).update
    layouts: list[Any] = [(), (("a", "int"),), (("a", "float"),), (("b", "int"),)]
    assert len({compute_definition_hash(update, layout) for layout in layouts}) == 4


def test_rules_of_an_update_are_itself_and_those_it_calls(tmp_path: Path) -> None:
    module = load(SOURCE, tmp_path)
    assert list_rules(module.update) == (module.update, module.double)


def make_closure() -> Callable[..., float]:
    factor = 2.0

    @rule
    def update_closure(state: State, close: float) -> float:
        return close * factor

    return update_closure


@rule
def update_with_object(state: State, close: float) -> float:
    return close + len(sys.path)


def not_a_rule(x: float) -> float:
    return x


@rule
def update_with_plain_function(state: State, close: float) -> float:
    return not_a_rule(close)


update_lambda: Callable[..., float] = rule(lambda: 0.0)
namespace: dict[str, Any] = {"rule": rule, "__name__": "nowhere"}
exec("@rule\ndef update_text(state, close):\n    return close", namespace)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (not_a_rule, "not_a_rule: is not a rule (mark it with @rule)"),
        (update_with_plain_function, "not_a_rule: is not a rule (mark it with @rule)"),
        (update_with_object, "uses 'sys', which a rule can't"),
        (make_closure(), "uses factor of an enclosing function"),
        (update_lambda, "has no source text to read"),
        (namespace["update_text"], "has no source text to read"),
    ],
)
def test_update_that_is_no_clean_rule_is_refused(
    update: Callable[..., float], message: str
) -> None:
    with pytest.raises(StrategyError) as caught:
        list_rules(update)
    assert message in str(caught.value)


class TextState(State):
    count: int
    label: str


class NumbersState(State):
    count: int
    ring: list[float]
    total: float = 0.0


def test_layout_names_each_field_and_its_kind() -> None:
    assert compute_layout(NumbersState) == (
        ("count", "int"),
        ("ring", "array"),
        ("total", "float"),
    )


def test_layout_with_a_field_that_is_no_number_is_refused() -> None:
    with pytest.raises(StrategyError, match="field 'label' of TextState can't be state"):
        compute_layout(TextState)
