"""Our order ids in Binance's 36 characters, and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError
from onetape.execution.binance.order_ids import OrderIds

# Binance, "New order": newClientOrderId matches ^[\.A-Z\:/a-z0-9_-]{1,36}$.
TAKEN = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
names = st.one_of(
    st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True),
    st.text(min_size=1, max_size=40),
    st.sampled_from(["x-5", "x-r1", "5", "-", "a-1-r2", "sma_cross"]),
)


@given(
    st.lists(names, min_size=1, max_size=5, unique=True),
    st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
    st.integers(0, 9_999_999),
    st.integers(0, 999),
)
@settings(max_examples=150, deadline=None)
def test_any_id_fits_and_comes_back(
    strategies: list[str], session: str, number: int, generation: int
) -> None:
    ids = OrderIds(strategies)
    seen = set()
    for name in strategies:
        ours = f"{session}-{name}-{number}"
        wire = ids.to_wire(ours, generation)
        assert TAKEN.match(wire)
        assert ids.from_wire(wire) == (ours, generation)
        seen.add(wire)
    assert len(seen) == len(strategies)


def test_short_names_stay_as_they_are() -> None:
    ids = OrderIds(["sma_cross", "momentum_rebalance"])
    assert ids.to_wire("3f2a9c1d-sma_cross-17") == "3f2a9c1d-sma_cross-17"
    assert ids.to_wire("3f2a9c1d-sma_cross-17", 2) == "3f2a9c1d-sma_cross-17-r2"
    # printf momentum_rebalance | sha256sum
    assert ids.to_wire("3f2a9c1d-momentum_rebalance-1") == "3f2a9c1d-.35e97b-1"


@pytest.mark.parametrize("wrong", ["3f2a9c1d-other-1", "000000000-sma_cross-1", "sma_cross", "x-1"])
def test_ids_of_others_are_not_ours(wrong: str) -> None:
    ids = OrderIds(["sma_cross"])
    assert ids.from_wire(wrong) is None
    with pytest.raises(ConfigError, match="can't take the order id"):
        ids.to_wire(wrong)


def test_too_many_successors_are_refused() -> None:
    with pytest.raises(ConfigError, match="can't take"):
        OrderIds(["sma_cross"]).to_wire("3f2a9c1d-sma_cross-17", 1000)


def test_orders_that_close_a_position_have_ids_too() -> None:
    ids = OrderIds(["sma_cross"])
    wire = ids.to_wire("3f2a9c1d-sma_cross-close2", 3)
    assert wire == "3f2a9c1d-sma_cross-close2-r3"
    assert ids.from_wire(wire) == ("3f2a9c1d-sma_cross-close2", 3)
