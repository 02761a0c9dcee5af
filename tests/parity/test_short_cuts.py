"""Every short cut of the order path gives the bytes of the general path: switched off, no change.

The short cuts are one function for all gates, a flat fee in one line, and one plain order meeting a
bar. Most orders of the plain worlds take all of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.execution.simulated import venue
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED, LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fees import BpsFees
from onetape.execution.simulated.latency import LatencyModel
from onetape.risk import approval
from onetape.risk.limits import RiskLimits
from onetape.runtime import runner
from tests.support.random_strategies import BarsAlone, RandomBars, World, make_world
from tests.support.session_runs import make_terms

WORLDS = settings(max_examples=60, deadline=None)

seeds = st.integers(0, 2**32)
SwitchOff = Callable[[pytest.MonkeyPatch], None]


def ask_gate_by_gate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(approval, "build_gate_row", lambda *_: lambda *_: None)


def ask_the_fee_rule(patch: pytest.MonkeyPatch) -> None:
    for module in (runner, venue):
        patch.setattr(module, "flat_ratio_e8", lambda *_: None)


def meet_in_general(patch: pytest.MonkeyPatch) -> None:
    meet = venue.SimulatedVenue._meet  # pyright: ignore[reportPrivateUsage]
    patch.setattr(
        venue.SimulatedVenue, "_meet_alone", lambda self, bar, account, *_: meet(self, bar, account)
    )


SHORT_CUTS = [ask_gate_by_gate, ask_the_fee_rule, meet_in_general]


def make_plain_world(seed: int) -> World:
    """A world without slippage and without a bound on volume."""
    chance = random.Random(f"plain {seed}")
    world = make_world(seed, rows=60, instruments=chance.choice((1, 1, 2)))
    terms = make_terms(
        world.timeline,
        fees=chance.choice((
            None, BpsFees(maker_bps=-2, taker_bps="7.5"), BpsFees(maker_bps=1, taker_bps=0),
        )),
        latency=chance.choice((LatencyModel(), LatencyModel(), LatencyModel(mean_ms=20_000))),
        limit_reach=chance.choice((LIMIT_TOUCHED, LIMIT_TRADED_THROUGH)),
    )  # fmt: skip
    limits = RiskLimits(
        max_order_quantity=35,
        max_position_quantity=chance.choice((None, 60)),
        max_leverage=chance.choice((None, 3)),
        max_drawdown_pct=chance.choice((None, 10)),
        max_orders_per_minute=chance.choice((None, 3)),
    )
    return replace(world, terms=terms, limits=limits)


@pytest.mark.parametrize("make", [make_world, make_plain_world])
@pytest.mark.parametrize("switch_off", SHORT_CUTS)
def test_short_cut_gives_the_bytes_of_the_general_path(
    switch_off: SwitchOff, make: Callable[[int], World]
) -> None:
    @WORLDS
    @given(seeds)
    def compare(seed: int) -> None:
        world = make(seed)
        for strategy in (RandomBars(seed=seed), BarsAlone(seed=seed)):
            quick = world.run(strategy)
            with pytest.MonkeyPatch.context() as patch:
                switch_off(patch)
                assert world.run(strategy).digest == quick.digest

    compare()


def test_plain_worlds_take_the_short_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the comparison above would show nothing."""
    taken: list[str] = []
    for name in ("_meet_alone", "_meet", "_fee", "_fill"):
        method = getattr(venue.SimulatedVenue, name)

        def count(*args: Any, name: str = name, method: Callable[..., Any] = method) -> Any:
            taken.append(name)
            return method(*args)

        monkeypatch.setattr(venue.SimulatedVenue, name, count)
    for seed in range(30):
        make_plain_world(seed).run(BarsAlone(seed=seed, special=False))
    assert taken.count("_meet_alone") > 100
    assert taken.count("_meet") > 100
    assert taken.count("_fill") > 100 + 2 * taken.count("_fee")
