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
        assert ids.from_wire(wire, "BTCUSDT", "7") == (ours, generation)
        seen.add(wire)
    assert len(seen) == len(strategies)


def test_short_names_stay_as_they_are() -> None:
    ids = OrderIds(["sma_cross", "momentum_rebalance"])
    assert ids.to_wire("3f2a9c1d-sma_cross-17") == "3f2a9c1d-sma_cross-17"
    assert ids.to_wire("3f2a9c1d-sma_cross-17", 2) == "3f2a9c1d-sma_cross-17-r2"
    # printf momentum_rebalance | sha256sum
    assert ids.to_wire("3f2a9c1d-momentum_rebalance-1") == "3f2a9c1d-.35e97b-1"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("3f2a9c1d-other-1", "3f2a9c1d-other-1"),  # of a session that trades another strategy
        ("000000000-sma_cross-1", "@BTCUSDT:7"),
        ("sma_cross", "@BTCUSDT:7"),
        ("x-1", "@BTCUSDT:7"),
        ("web_3f2a9c1d", "@BTCUSDT:7"),
        ("at:BTCUSDT:5", "@BTCUSDT:7"),
    ],
)
def test_ids_of_others_are_not_ours(wrong: str, told: str) -> None:
    ids = OrderIds(["sma_cross"])
    assert ids.from_wire(wrong, "BTCUSDT", "7") == (told, 0)
    with pytest.raises(ConfigError, match="can't take the order id"):
        ids.to_wire(wrong)


def test_too_many_successors_are_refused() -> None:
    with pytest.raises(ConfigError, match="can't take"):
        OrderIds(["sma_cross"]).to_wire("3f2a9c1d-sma_cross-17", 1000)


def test_orders_that_close_a_position_have_ids_too() -> None:
    ids = OrderIds(["sma_cross"])
    wire = ids.to_wire("3f2a9c1d-sma_cross-close2", 3)
    assert wire == "3f2a9c1d-sma_cross-close2-r3"
    assert ids.from_wire(wire, "BTCUSDT", "7") == ("3f2a9c1d-sma_cross-close2", 3)


def test_orders_by_hand_are_addressed_by_number_and_their_successors_by_id() -> None:
    ids = OrderIds(["sma_cross"])
    assert ids.address("@BTCUSDT:7") == {"orderId": "7"}
    assert ids.address("@BTCUSDT:7", 0, "cancel") == {"cancelOrderId": "7"}
    assert ids.address("@BTCUSDT:7", 2) == {"origClientOrderId": "at:BTCUSDT:7-r2"}
    assert ids.address("3f2a9c1d-sma_cross-1", 0, "cancel") == {
        "cancelOrigClientOrderId": "3f2a9c1d-sma_cross-1"
    }
    wire = ids.to_wire("@BTCUSDT:7", 2)
    assert TAKEN.match(wire)
    assert ids.from_wire(wire, "BTCUSDT", "12") == ("@BTCUSDT:7", 2)
    for wrong in ("@", "@BTC USDT:7", "@" + "B" * 30 + ":1234567"):
        with pytest.raises(ConfigError, match="can't take"):
            ids.to_wire(wrong, 1)
    with pytest.raises(ConfigError, match="can't take"):
        ids.to_wire("@BTCUSDT:7")
