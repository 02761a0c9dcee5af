"""Sessions under every fill model go on from a snapshot as if nothing had been."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from onetape.domain.market import MarketEvent, TimeSlice
from onetape.domain.orders import Side, TimeInForce
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED
from onetape.execution.simulated.fees import (
    FeeTier,
    PerShareTieredFees,
    ShareTier,
    TieredFees,
)
from onetape.execution.simulated.fill_terms import (
    BarPath,
    FillTerms,
    MarketPrice,
    QueueModel,
    RestOfOrder,
    Trigger,
)
from onetape.execution.simulated.latency import LatencyModel
from onetape.execution.simulated.slippage import FixedSlippage
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.tick_timeline import build_quote_timeline
from onetape.marketdata.timeline import Timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.session_state import SessionState, decode_state, encode_state
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.support.halts import make_random_halts, with_halts
from tests.support.parity_worlds import Costs, override_costs
from tests.support.session_runs import make_terms
from tests.support.ticks import make_book_timeline, make_deltas, make_quotes
from tests.support.timelines import (
    AAPL,
    EQUITY,
    OTHER,
    SECOND,
    make_prints,
    make_timeline,
    make_trade_timeline,
)


class Restless(Strategy):
    """Orders, brackets, cancels and replaces at random."""

    seed: int = param(0)
    heard: int = state(0)

    def on_market_event(self, event: MarketEvent, ctx: Context) -> None:
        if isinstance(event, TimeSlice):
            return
        self.heard += 1
        chance = random.Random(f"{self.seed} {self.heard}")
        mark = ctx.mark(event.instrument)
        if chance.random() > 0.5 or mark != mark:
            return
        mine = ctx.open_orders(event.instrument)
        if len(mine) > 4:
            ctx.cancel(mine[0].client_order_id)
            return
        if mine and chance.random() < 0.2 and mine[-1].limit:
            price = round(mine[-1].limit + chance.choice((-0.5, 0.5)), 2)
            ctx.replace(mine[-1].client_order_id, event.instrument, limit=price)
            return
        side = chance.choice(list(Side))
        near, far = (round(mark + chance.randint(-4, 4) * 0.5, 2) for _ in range(2))
        lots = chance.randint(1, 15)
        kind = chance.randrange(6)
        if kind == 0:
            ctx.order(event.instrument, side, lots)
        elif kind == 1:
            ctx.order(event.instrument, side, lots, limit=near, post_only=chance.random() < 0.3)
        elif kind == 2:
            ctx.order(event.instrument, side, lots, stop=near, limit=far)
        elif kind == 3:
            ctx.order(event.instrument, side, lots, trail=1.0)
        elif kind == 4:
            in_force = chance.choice((TimeInForce.IOC, TimeInForce.FOK, TimeInForce.DAY))
            ctx.order(event.instrument, side, lots, limit=near, time_in_force=in_force)
        else:
            target, stop = round(mark + side * 1.5, 2), round(mark - side * 1.5, 2)
            ctx.bracket(event.instrument, side, lots, take_profit=target, stop_loss=stop)


def make_depth(chance: random.Random, delay: int) -> Timeline:
    rows = [(0.0, 1, 98.0, 20.0), (0.0, 0, 102.0, 20.0)]
    for second in range(1, 40):
        for _ in range(chance.randint(1, 3)):
            is_bid = chance.randint(0, 1)
            price = 100 - chance.randint(1, 4) / 2 if is_bid else 100 + chance.randint(1, 4) / 2
            rows.append((second / 2, is_bid, price, chance.choice((0, 3, 8, 20))))
    prints = [(100 + chance.randint(-3, 3) / 2, chance.randint(1, 20)) for _ in range(30)]
    at = sorted(chance.randint(1, 20 * SECOND) for _ in prints)
    return make_book_timeline(make_deltas(rows, delay=delay), prints=(prints, at), delay=delay)


def make_two_quotes(chance: random.Random, delay: int) -> Timeline:
    def rows() -> list[tuple[float, ...]]:
        middle = [100 + chance.randint(-4, 4) / 2 for _ in range(30)]
        return [
            (each - 0.5 * chance.randint(1, 3), each + 0.5, chance.randint(0, 9),
             chance.randint(1, 9))
            for each in middle
        ]  # fmt: skip

    prints = make_prints([99.5, 100.0, 100.5], at=[SECOND, 5 * SECOND, 9 * SECOND], delay=delay)
    return build_quote_timeline(
        [(EQUITY, make_quotes(rows(), delay=delay)), (OTHER, make_quotes(rows(), delay=delay))],
        source="test", trades={AAPL: prints},
    )  # fmt: skip


def make_bars(chance: random.Random, _delay: int) -> Timeline:
    rows = []
    for _ in range(40):
        prices = [100 + chance.randint(-6, 6) / 2 for _ in range(4)]
        rows.append((prices[0], max(prices), min(prices), prices[1], 100.0))
    return make_timeline(rows)


def make_trades(chance: random.Random, delay: int) -> Timeline:
    rows = [(100 + chance.randint(-4, 4) / 2, chance.randint(1, 20)) for _ in range(60)]
    return make_trade_timeline(rows, delay=delay)


WORLDS = [
    (make_bars, FillTerms(market=MarketPrice.SAME_CLOSE, path=BarPath.OPEN_HIGH_LOW_CLOSE), 0.1),
    (make_bars, FillTerms(market=MarketPrice.TYPICAL, path=BarPath.OPTIMISTIC), None),
    (make_bars, FillTerms(market=MarketPrice.MID, path=BarPath.OPEN_LOW_HIGH_CLOSE), 0.1),
    (make_trades, FillTerms(queue=QueueModel.RISK_AVERSE, queue_ahead=9), 0.5),
    (make_two_quotes, FillTerms(queue=QueueModel.RISK_AVERSE, queue_ahead=4), None),
    (make_two_quotes, FillTerms(rest=RestOfOrder.WALK, trigger=Trigger.MID), None),
    (make_depth, FillTerms(queue=QueueModel.LOG, trigger=Trigger.LAST), 0.5),
    (make_depth, FillTerms(limit_reach=LIMIT_TOUCHED), None),
]


def records_of(tape: MemoryTape) -> list[bytes]:
    tape.commit()
    return list(MemoryTapeReader(tape).encoded_records())


@pytest.mark.parametrize("halted", [False, True])
@pytest.mark.parametrize("world", range(len(WORLDS)))
def test_session_in_parts_equals_the_whole_one(world: int, halted: bool) -> None:
    make, fill, ratio = WORLDS[world]
    fills = 0
    for seed in range(6):
        chance = random.Random(seed)
        timeline = make(chance, chance.choice((0, 0, SECOND)))
        if halted:
            timeline = with_halts(timeline, make_random_halts(chance, timeline))
        terms = make_terms(
            timeline, holds_in_halts=bool(seed % 2), fill=fill, max_volume_ratio=ratio, seed=seed,
            latency=LatencyModel(mean_ms=chance.choice((0, 400)), std_ms=chance.choice((0, 200))),
        )  # fmt: skip
        fills += check_in_parts(timeline, terms, seed, chance)
    assert fills > (10 if halted else 20)


def test_session_of_several_costs_in_parts_equals_the_whole_one() -> None:
    """Each of both shares has tiers of its own: what was traded in a month is kept apart."""
    fills = 0
    for seed in range(4):
        chance = random.Random(seed)
        timeline = make_two_bars(chance)
        shares = PerShareTieredFees(
            tiers=(ShareTier(from_quantity=0, rate="0.01"), ShareTier(from_quantity=40, rate=0))
        )
        terms = override_costs(
            make_terms(timeline, fees=make_notional_tiers(), seed=seed),
            timeline.instruments[1:],
            [Costs(fees=shares, slippage=FixedSlippage(ticks=2), max_volume_ratio=0.1)],
        )
        fills += check_in_parts(timeline, terms, seed, chance)
    assert fills > 20


def make_two_bars(chance: random.Random) -> Timeline:
    one, other = ([(100 + chance.randint(-6, 6) / 2,) * 4 + (100.0,) for _ in range(40)]
                  for _ in range(2))  # fmt: skip
    return make_timeline(one, other)


def make_notional_tiers() -> TieredFees:
    return TieredFees(
        tiers=(
            FeeTier(from_notional=0, maker_bps=10, taker_bps=10),
            FeeTier(from_notional=4_000, maker_bps=5, taker_bps=5),
        )
    )


def check_in_parts(timeline: Timeline, terms: VenueTerms, seed: int, chance: random.Random) -> int:
    """A session that is cut at random says what the whole one says; returns its fills."""

    def open_session(tape: MemoryTape) -> BacktestSession:
        spec = StrategySpec(name="s0", strategy=Restless(seed=seed), capital=10**15)
        limits = RiskLimits(max_leverage=4)
        return BacktestSession(timeline, [spec], terms, limits, tape, SessionIdentity())

    tape = MemoryTape()
    whole = open_session(tape)
    whole.run()
    assert not whole.pipeline.quarantined
    expected = records_of(tape)
    ends = [stop for _, stop in open_session(MemoryTape()).cut_blocks(1)]
    stops = sorted(chance.sample(ends, min(len(ends), 5)))
    records, ended = run_in_parts(open_session, stops)
    assert records == expected, f"seed {seed}, stops {stops}"
    assert encode_state(ended) == encode_state(whole.save())
    return sum(b"order.filled" in each for each in expected)


def run_in_parts(
    open_session: Callable[[MemoryTape], BacktestSession], stops: list[int]
) -> tuple[list[bytes], SessionState]:
    records: list[bytes] = []
    tape = MemoryTape()
    session = open_session(tape)
    session.start()
    for stop in stops:
        session.advance(stop)
        records += records_of(tape)
        kept = encode_state(session.save())
        tape = MemoryTape()
        session = open_session(tape)
        session.restore(decode_state(kept))
        assert encode_state(session.save()) == kept
    for _, stop in session.cut_blocks(1):
        session.advance(stop)
    session.finish()
    return records + records_of(tape), session.save()
