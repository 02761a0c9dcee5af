"""Sessions whose account has limits and whose orders shrink: in parts, folded, and run again."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np

from onetape.domain.breakers import BreakerAction, BreakerKind
from onetape.domain.events import (
    BreakerRearmed,
    BreakerTripped,
    OrderDenied,
    OrderFilled,
    OrderShrunk,
)
from onetape.domain.orders import DenialCode
from onetape.marketdata.timeline import build_timeline
from onetape.risk.breakers import BreakerLimits
from onetape.risk.limits import SHRINKING, AccountLimits, RiskLimits, ShortSaleLimits
from onetape.runtime.sessions.recovery import fold_tape
from onetape.runtime.sessions.session_state import encode_state
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.parity.test_fold import check
from tests.parity.test_snapshots import open_session, records_of, run_in_parts
from tests.support.actions import series_of
from tests.support.random_strategies import World, make_world
from tests.support.timelines import AAPL

EVERY = tuple(each.value for each in SHRINKING)


def make_controlled_world(seed: int) -> World:
    """A random world with limits over the account, half of them with orders that shrink."""
    chance = random.Random(f"controls {seed}")
    world = make_world(seed, rows=40)
    account = AccountLimits(
        max_gross_exposure_pct=chance.choice((None, 60, 90)),
        max_daily_loss_pct=chance.choice((None, 3)),
        max_drawdown_pct=chance.choice((None, 6)),
        max_orders_per_minute=chance.choice((None, 4)),
        pattern_day_trader=seed % 4 == 1,
    )
    shrink = EVERY if seed % 2 else ()
    breakers = tuple(
        BreakerLimits(
            kind=kind, action=chance.choice(list(BreakerAction)[: 3 if seed % 5 == 0 else 2]),
            is_account=chance.random() < 0.3, pct=chance.choice(("0.1", "0.5", 2)),
            round_trips=2, orders=3, minutes=chance.choice((1, 3)),
        )
        for kind in chance.sample(list(BreakerKind), 2)
    )  # fmt: skip
    breakers = tuple(
        each if each.action is BreakerAction.KILL
        else msgspec.structs.replace(
            each, cooldown_minutes=chance.choice((None, 2, 9)),
            rearm_next_session=chance.random() < 0.5,
        )
        for each in breakers
    )  # fmt: skip
    limits = msgspec.structs.replace(
        world.limits, account=account, shrink=shrink, breakers=breakers if seed % 3 else ()
    )
    return replace(world, limits=limits)


def test_session_with_risk_controls_in_parts_and_folded_equals_the_whole_one() -> None:
    by_account = shrunk = day_trades = 0
    trips: Counter[tuple[BreakerKind, BreakerAction]] = Counter()
    closed = rearmed = 0
    for seed in range(40):
        world = make_controlled_world(seed)
        tape = MemoryTape()
        whole = open_session(world, tape)
        whole.run()
        expected = records_of(tape)
        chance = random.Random(seed)
        ends = [stop for _, stop in open_session(world, MemoryTape()).cut_blocks(1)]
        stops = sorted(chance.sample(ends, min(len(ends), 4)))
        records, state = run_in_parts(world, stops)
        assert records == expected, f"seed {seed}, stops {stops}"
        assert encode_state(state) == encode_state(whole.save()), f"seed {seed}"
        reader = MemoryTapeReader(tape)
        folded = fold_tape(reader)
        check(folded, whole, f"seed {seed}")
        kept = state.pipeline.breakers
        tripped = [] if kept is None else [each.trip for each in kept.watched if each.trip]
        assert sorted(folded.breakers.values(), key=str) == sorted(tripped, key=str), f"seed {seed}"
        for each in reader.events():
            payload = each.payload
            shrunk += isinstance(payload, OrderShrunk)
            rearmed += isinstance(payload, BreakerRearmed)
            closed += isinstance(payload, OrderFilled) and "close" in payload.client_order_id
            if isinstance(payload, BreakerTripped):
                trips[payload.kind, payload.action] += 1
            if isinstance(payload, OrderDenied):
                by_account += "account" in payload.code.value
                day_trades += payload.code is DenialCode.DAY_TRADES
    assert by_account > 50
    assert day_trades > 20
    assert shrunk > 50
    assert {kind for kind, _ in trips} == set(BreakerKind) - {BreakerKind.REJECTION_RATE}
    assert {action for _, action in trips} == set(BreakerAction)
    assert min(closed, rearmed) > 10


def make_falling_world(seed: int) -> World:
    """A random world whose sessions begin up to 15 % lower or higher, with rules of short sales."""
    chance = random.Random(f"falls {seed}")
    world = make_world(seed, rows=40)
    series = series_of(world.timeline)
    for _, columns in series:
        sessions, number = np.unique(columns["session_close"], return_inverse=True)
        levels = np.cumprod([chance.choice((0.85, 0.95, 1.0, 1.15)) for _ in sessions])
        for name in ("open", "high", "low", "close"):
            columns[name] = columns[name] * levels[number]
    timeline = build_timeline(series, source="random", timeframe="1m")
    rules = ShortSaleLimits(uptick_rule=True, hard_to_borrow=(AAPL,), locates={AAPL: 10})
    limits = RiskLimits(short_sale=rules, trading_status=True)
    return replace(world, timeline=timeline, limits=limits)


def test_session_with_rules_of_short_sales_in_parts_and_folded_equals_the_whole_one() -> None:
    denied: Counter[DenialCode] = Counter()
    for seed in range(25):
        world = make_falling_world(seed)
        tape = MemoryTape()
        whole = open_session(world, tape)
        whole.run()
        expected = records_of(tape)
        chance = random.Random(seed)
        ends = [stop for _, stop in open_session(world, MemoryTape()).cut_blocks(1)]
        stops = sorted(chance.sample(ends, min(len(ends), 4)))
        records, state = run_in_parts(world, stops)
        assert records == expected, f"seed {seed}, stops {stops}"
        assert encode_state(state) == encode_state(whole.save()), f"seed {seed}"
        reader = MemoryTapeReader(tape)
        check(fold_tape(reader), whole, f"seed {seed}")
        payloads = (each.payload for each in reader.events())
        denied.update(each.code for each in payloads if isinstance(each, OrderDenied))
    assert min(denied[DenialCode.UPTICK], denied[DenialCode.NOT_LOCATED]) > 20
