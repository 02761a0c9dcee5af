"""Legs against netting: the same fills come to the same money, however positions are held."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from onetape.domain.instrument import Instrument
from onetape.domain.legs import LEG_SIDES, is_closing
from onetape.domain.orders import PositionSide, Side
from onetape.execution.simulated.fees import BpsFees
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.equity_curve import Marks, compute_equity_curves
from onetape.risk.limits import RiskLimits
from onetape.strategy.context import Context
from onetape.telemetry.run_projection import project_run
from tests.support.contracts import (
    INVERSE,
    LINEAR,
    check_whole,
    make_contract_timeline,
    make_funding,
    make_margin,
)
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import EQUITY, at_rows, closes

ROWS = 40

Order = tuple[int, PositionSide, Side, int]
"""At which bar, which leg, which way, how many lots."""


def draw_orders(chance: random.Random) -> list[Order]:
    """Entries and exits of both legs; an exit never asks for more than is held by then."""
    held = dict.fromkeys(LEG_SIDES, 0)
    orders: list[Order] = []
    for row in range(ROWS - 1):
        for leg in LEG_SIDES:
            side = chance.choice(list(Side))
            most = held[leg] if is_closing(leg, side) else 50
            if chance.random() < 0.4 and most:
                lots = chance.randint(1, most)
                held[leg] += -lots if is_closing(leg, side) else lots
                orders.append((row, leg, side, lots))
    return orders


def draw_timeline(chance: random.Random, instrument: Instrument) -> Timeline:
    price, rows = 4_000.0, []
    for _ in range(ROWS):
        ticks = round(price * chance.uniform(0.97, 1.03) / instrument.tick_float)
        price = round(ticks * instrument.tick_float, 8)
        rows.append((price, price, price, price, 1e6))
    steps = []
    if instrument.is_margined:
        steps = [
            make_funding(closes(at), round(chance.uniform(-0.002, 0.002), 8), instrument, 4_000)
            for at in range(5, ROWS, 9)
        ]
    return make_contract_timeline((instrument, rows), steps=steps)


def run(timeline: Timeline, orders: list[Order], *, has_legs: bool) -> SessionRun:
    (instrument,) = timeline.instruments

    def act(row: int) -> Callable[[Context], None]:
        def trade(ctx: Context) -> None:
            for at, leg, side, lots in orders:
                if at == row:
                    units = instrument.lots_to_float(lots)
                    ctx.order(instrument.id, side, units, leg=leg if has_legs else None)

        return trade

    strategy = at_rows({row: act(row) for row in range(ROWS)}, instrument=instrument.id)
    margin = make_margin(timeline, "0.001", "0.0005") if instrument.is_margined else None
    return run_session(
        timeline, strategy, capital=1_000_000, currency=instrument.settlement_currency,
        limits=RiskLimits(max_leverage=None if margin else 1_000, max_drawdown_pct=99),
        has_legs=has_legs,
        fees=BpsFees(maker_bps=1, taker_bps=4), margin=margin,
    )  # fmt: skip


@pytest.mark.parametrize("instrument", [EQUITY, LINEAR, INVERSE], ids=lambda each: each.id)
def test_legs_come_to_what_netting_comes_to(instrument: Instrument) -> None:
    """Realized and unrealized results of both legs add up to those of the net position.

    Equity is equal at the end of every slice; cash too, where positions are paid for. A promise
    moves cash when it is closed, which for legs is another time. The value of an inverse contract
    is rounded down for each position and each part that is closed, so that may differ by as many
    minor units.
    """
    both = 0
    for seed in range(12):
        chance = random.Random(f"legs {instrument.id} {seed}")
        timeline, orders = draw_timeline(chance, instrument), draw_orders(chance)
        netted, hedged = (run(timeline, orders, has_legs=has_legs) for has_legs in (False, True))
        for each in (netted, hedged):
            assert not each.denied
            assert not each.quarantined
        assert [(each.side, each.lots, each.ticks, each.fee) for each in hedged.fills] == [
            (each.side, each.lots, each.ticks, each.fee) for each in netted.fills
        ]
        check_whole(hedged, timeline.with_legs())
        slack = 2 * len(orders) + 2 if instrument.is_inverse else 0
        if not instrument.is_margined:
            assert hedged.ledger().cash == netted.ledger().cash
        curves = [
            compute_equity_curves(
                Marks(timeline.with_legs()), project_run(each.events).account_events
            ).account
            for each in (netted, hedged)
        ]
        assert abs(curves[1].equity - curves[0].equity).max() <= slack, f"seed {seed}"
        assert (curves[1].net_exposure == curves[0].net_exposure).all() or slack
        assert (curves[1].gross_exposure >= curves[0].gross_exposure - slack).all()
        watches = [each.session.runners["s0"].watch for each in (netted, hedged)]
        for name in ("equity", "peak", "session_start"):
            one, other = (getattr(each.save(), name) for each in watches if each is not None)
            assert abs(one - other) <= slack, f"seed {seed}: {name}"
        results = [each.ledger().realized + unrealized(each) for each in (netted, hedged)]
        assert abs(results[1] - results[0]) <= slack, f"seed {seed}"
        assert hedged.ledger().fees == netted.ledger().fees
        assert abs(hedged.ledger().financing - netted.ledger().financing) <= slack
        both += int((curves[1].positions == 2).sum())
    assert both > 100


def unrealized(run: SessionRun) -> int:
    """What the positions have gained at the marks."""
    ledger = run.ledger()
    ticks = run.session._market.mark_ticks(0)  # pyright: ignore[reportPrivateUsage]
    return sum(each.value(ticks) - each.cost for each in ledger.held.values())
