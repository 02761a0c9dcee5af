"""Random sessions on contracts of all kinds: exact books, one state from the tape, restartable."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError
from onetape.domain.events import CashPosted, MarginStatusChanged, OrderFilled, PositionSettled
from onetape.domain.instrument import Instrument, OptionRight
from onetape.domain.market import Bar, ContractStep, MarkPrice
from onetape.domain.numbers import E8, to_minor
from onetape.execution.simulated.fees import BpsFees
from onetape.marketdata.timeline import Timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.recovery import fold_tape
from onetape.runtime.sessions.session_state import decode_state, encode_state
from onetape.strategy.context import Context
from onetape.strategy.library.buy_and_hold import BuyAndHold
from onetape.strategy.sdk import Strategy, param
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.support.contracts import (
    INVERSE,
    LINEAR,
    check_whole,
    make_contract_timeline,
    make_funding,
    make_future,
    make_margin,
    make_option,
)
from tests.support.session_runs import SessionRun, make_terms
from tests.support.timelines import EQUITY, Prices, closes

ROWS = 24


class Trades(Strategy):
    """Sends orders of random size, side and type, and exercises what it holds."""

    seed: int = param(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        chance = random.Random(f"{self.seed} {ctx.now} {bar.instrument}")
        instrument = ctx.instrument(bar.instrument)
        if chance.random() < 0.5:
            return
        budget = ctx.equity * chance.choice((0.3, 1, 3))
        unit = bar.close * float(instrument.multiplier)
        if instrument.is_inverse:
            unit = float(instrument.multiplier) / bar.close
        quantity = abs(ctx.round_quantity(bar.instrument, max(0.0, min(budget / unit, 1e6))))
        trade = ctx.buy if chance.random() < 0.5 else ctx.sell
        if quantity > 0 and chance.random() < 0.8:
            trade(bar.instrument, quantity)
        elif quantity > 0:
            trade(bar.instrument, quantity, limit=ctx.round_price(bar.instrument, bar.close, 1))
        held = ctx.position(bar.instrument)
        if instrument.is_contract and held > 0 and chance.random() < 0.2:
            ctx.exercise(bar.instrument, held)


def make_rows(chance: random.Random, price: float, step: float, swing: float) -> list[Prices]:
    rows: list[Prices] = []
    for _ in range(ROWS):
        price = max(step, round(price * (1 + chance.uniform(-swing, swing)) / step) * step)
        rows.append((round(price, 8),))
    return rows


def make_timeline(seed: int, *, inverse: bool) -> Timeline:
    chance = random.Random(seed)
    perpetual = INVERSE if inverse else LINEAR
    steps: list[ContractStep] = []
    for at in sorted(chance.sample(range(2, ROWS), 6)):
        mark = float(chance.randint(40_000, 60_000))
        if chance.random() < 0.5:
            steps.append(
                MarkPrice(
                    instrument=perpetual.id, ts_event=closes(at), ts_known=closes(at), price=mark
                )
            )
        rate = round(chance.uniform(-0.003, 0.003), 8)
        steps.append(make_funding(closes(at), rate, perpetual, mark))
    series: list[tuple[Instrument, list[Prices]]] = [
        (perpetual, make_rows(chance, 50_000, 0.5, 0.05))
    ]
    if not inverse:
        expiry = closes(chance.randint(8, ROWS - 3))
        short = (expiry - closes(0)) // 60_000_000_000 + 1
        future, call = make_future(expiry), make_option(expiry, name="C.OPRA")
        put = make_option(closes(ROWS - 1), right=OptionRight.PUT, cash_settled=True, name="P.OPRA")
        series += [
            (EQUITY, make_rows(chance, 100, 0.01, 0.03)),
            (future, make_rows(chance, 5_000, 0.25, 0.02)[:short]),
            (call, make_rows(chance, 4, 0.01, 0.2)[:short]),
            (put, make_rows(chance, 4, 0.01, 0.2)),
        ]
    return make_contract_timeline(*series, steps=steps, session=5)


def open_session(
    timeline: Timeline, seed: int, tape: MemoryTape, *, isolated: bool = False
) -> BacktestSession:
    chance = random.Random(f"margin {seed}")
    is_coin = timeline.instruments[0].is_inverse
    margin = make_margin(
        timeline, chance.choice(("5", "20")), "4", fee_e8=500_000, is_isolated=isolated,
        step_e8=chance.choice((E8, 30_000_000)), is_portfolio=not isolated and seed % 3 == 0,
    )  # fmt: skip
    specs = [
        StrategySpec(
            name=f"s{at}", strategy=Trades(seed=seed + at), currency="BTC" if is_coin else "USD",
            capital=to_minor(3 if is_coin else 100_000, "capital"),
        )
        for at in range(2)
    ]  # fmt: skip
    terms = make_terms(timeline, margin=margin, fees=BpsFees(maker_bps=2, taker_bps=5))
    limits = RiskLimits(max_drawdown_pct=90 if seed % 2 else None)
    return BacktestSession(timeline, specs, terms, limits, tape, SessionIdentity())


def run(timeline: Timeline, seed: int, *, isolated: bool = False) -> SessionRun:
    tape = MemoryTape()
    session = open_session(timeline, seed, tape, isolated=isolated)
    session.run()
    tape.close()
    return SessionRun(session, list(MemoryTapeReader(tape).events()), tape.digest)


@pytest.mark.parametrize("inverse", [False, True])
def test_books_of_random_sessions_are_exact_on_all_kinds(inverse: bool) -> None:
    """A ledger checks itself after every posting; curve and trips agree with it at the end."""
    seen: Counter[str] = Counter()
    for seed in range(25):
        timeline = make_timeline(seed, inverse=inverse)
        done = run(timeline, seed, isolated=inverse and seed % 2 == 1)
        check_whole(done, timeline)
        seen.update(each.kind.value for each in done.of_type(PositionSettled))
        seen.update(each.status.value for each in done.of_type(MarginStatusChanged))
        seen["fills"] += len(done.of_type(OrderFilled))
        seen["funding"] += len(done.of_type(CashPosted))
        assert not done.quarantined
    wanted = {"liquidation", "called", "sufficient", "fills", "funding"}
    if not inverse:
        wanted |= {"variation", "final", "exercise", "assignment", "worthless", "delivery"}
    assert wanted <= seen.keys()


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), inverse=st.booleans())
def test_state_is_the_fold_of_the_tape_and_a_snapshot_goes_on_as_if_nothing_was(
    seed: int, inverse: bool
) -> None:
    timeline = make_timeline(seed, inverse=inverse)
    tape = MemoryTape()
    session = open_session(timeline, seed, tape)
    session.start()
    stops = [stop for _, stop in session.cut_blocks(1)]
    kept = b""
    for stop in stops:
        session.advance(stop)
        tape.commit()
        folded, state = fold_tape(MemoryTapeReader(tape)), session.save()
        for name, runner in state.pipeline.strategies.items():
            assert folded.ledgers[name].save() == runner.ledger
        margin = {(each.strategy, each.instrument): each.status for each in state.margin}
        assert folded.margin == margin
        if stop == stops[len(stops) // 2]:
            kept = encode_state(state)
            rest = len(list(MemoryTapeReader(tape).encoded_records()))
    session.finish()
    whole = list(MemoryTapeReader(tape).events())
    second = MemoryTape()
    again = open_session(timeline, seed, second)
    again.restore(decode_state(kept))
    again.run()
    second.commit()
    tail = list(MemoryTapeReader(second).events())
    assert rest > 1
    assert [each.payload for each in whole[-len(tail) :]] == [each.payload for each in tail]
    assert again.save() == session.save()


def test_the_compiled_host_refuses_contracts_and_margin_by_name() -> None:
    limits, spec = RiskLimits(), StrategySpec(name="s", strategy=BuyAndHold(), capital=E8)
    perpetual = make_contract_timeline((LINEAR, [(50_000,), (50_000,)]))
    with pytest.raises(ConfigError, match="is a perpetual, which the compiled host does not carry"):
        CompiledHost(perpetual, spec, make_terms(perpetual), limits)
    shares = make_contract_timeline((EQUITY, [(100,), (100,)]))
    terms = make_terms(shares, margin=make_margin(shares))
    with pytest.raises(ConfigError, match="has margin, which the compiled host does not carry"):
        CompiledHost(shares, spec, terms, limits)
