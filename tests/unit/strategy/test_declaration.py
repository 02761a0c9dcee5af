from __future__ import annotations

import pytest

from onetape.domain.errors import StrategyError
from onetape.strategy.declaration import Param
from onetape.strategy.sdk import Strategy, param, state

NAN = float("nan")


class Declared(Strategy):
    count: int = param(3, ge=2, lt=10)
    size: float = param(1.0, gt=0, le=5)
    short: bool = param(False)
    style: str = param("calm", choices=("calm", "bold"))


@pytest.mark.parametrize(
    ("params", "name", "value"),
    [
        ({}, "count", 3),
        ({"count": 2}, "count", 2),
        ({"count": 9}, "count", 9),
        ({"size": 5}, "size", 5.0),
        ({"size": 0.5}, "size", 0.5),
        ({"short": True}, "short", True),
        ({"style": "bold"}, "style", "bold"),
    ],
)
def test_param_inside_its_bounds_is_kept_as_the_declared_type(params, name, value):
    found = getattr(Declared(**params), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("params", "what", "remedy"),
    [
        ({"count": 1}, "1 is out of range", "must be >= 2, < 10"),
        ({"count": 10}, "10 is out of range", "must be >= 2, < 10"),
        ({"count": 3.0}, "3.0 is not of type int", ""),
        ({"count": True}, "True is not of type int", ""),
        ({"count": "3"}, "'3' is not of type int", ""),
        ({"count": None}, "None is not of type int", ""),
        ({"size": 0}, "0.0 is out of range", "must be > 0, <= 5"),
        ({"size": 5.1}, "5.1 is out of range", "must be > 0, <= 5"),
        ({"size": NAN}, "nan is not of type float", ""),
        ({"size": True}, "True is not of type float", ""),
        ({"short": 1}, "1 is not of type bool", ""),
        ({"style": "wild"}, "'wild' is out of range", "must be one of 'calm', 'bold'"),
    ],
)
def test_param_outside_its_declaration_is_refused_with_place_and_remedy(params, what, remedy):
    with pytest.raises(StrategyError) as caught:
        Declared(**params)
    assert caught.value.what == what
    assert caught.value.where == f"Declared.{next(iter(params))}"
    assert caught.value.remedy == remedy


def test_default_outside_its_bounds_is_refused():
    class Wrong(Strategy):
        count: int = param(1, ge=2)

    with pytest.raises(StrategyError, match="1 is out of range"):
        Wrong()


def test_param_of_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(StrategyError, match=r"unknown param 'cout' \(did you mean 'count'\?\)"):
        Declared(cout=3)


def test_declarations_are_inherited_in_order_and_may_be_declared_anew():
    class Child(Declared):
        extra: int = param(1)
        count: int = param(4, ge=4)
        seen: int = state(0)

    assert list(Child.declared_params) == ["count", "size", "short", "style", "extra"]
    assert Child.declared_params["count"].default == 4
    assert list(Child.declared_state) == ["seen"]
    assert Declared.declared_params["count"].default == 3


def test_declaration_without_annotation_is_refused():
    with pytest.raises(StrategyError, match="a param can't be of type nothing"):
        type("Wrong", (Strategy,), {"count": param(1)})


def test_declaration_of_a_container_is_refused():
    with pytest.raises(StrategyError, match=r"a state can't be of type list\[int\].*annotate it"):

        class Wrong(Strategy):
            seen: list[int] = state([])  # type: ignore[type-var]


def test_state_starts_as_its_declared_type():
    class Peaked(Strategy):
        peak: float = state(0)

    assert type(Peaked().peak) is float


def test_initial_state_of_another_type_is_refused():
    with pytest.raises(StrategyError, match=r"Wrong.seen: 0.5 is not of type int"):

        class Wrong(Strategy):
            seen: int = state(0.5)


def test_name_may_be_declared_anew_as_the_other_kind():
    class Child(Declared):
        count: int = state(7)

    class Grandchild(Child):
        count: int = param(8)

    assert "count" not in Child.declared_params
    assert "count" not in Grandchild.declared_state
    assert (Child().count, Grandchild().count) == (7, 8)


def test_plain_value_for_a_declared_name_is_refused_instead_of_being_ignored():
    with pytest.raises(StrategyError, match=r"Child.count: 'count' is a declared name and gets"):

        class Child(Declared):
            count = 5


def test_constraint_names_every_bound():
    assert Param(1, ge=0, lt=2, choices=(0, 1)).constraint() == ">= 0, < 2, one of 0, 1"
    assert Param(1).constraint() == ""
