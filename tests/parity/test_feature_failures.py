"""A feature that raises or does not come back takes out the strategies that have it, and no other.

The same in a re-run and from every snapshot: what did not come back is not called again.
"""

from __future__ import annotations

import math

import msgspec
import pytest

from onetape.domain.errors import StrategyStuck
from onetape.domain.events import OrderSubmitted, StrategyQuarantined
from onetape.domain.instrument import make_equity
from onetape.domain.market import Bar, TimeSlice
from onetape.domain.numbers import E8
from onetape.domain.rules import rule
from onetape.execution.simulated.fees import NoFees, build_fee_schedule
from onetape.execution.simulated.latency import LatencyModel, build_latency
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.execution.simulated.terms import VenueTerms
from onetape.features import CrossSection, Ema, Estimator, Sma, State, Timeframed
from onetape.features.archive import archive_feature, load_feature
from onetape.features.drift import DriftSettings
from onetape.risk.limits import RiskLimits
from onetape.runtime.live_runner import FeatureFailed, LiveFeatures
from onetape.runtime.realtime.watchdog import list_feature_modules
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.runtime.sessions.live_inputs import give, read_inputs
from onetape.runtime.sessions.realtime import (
    RealtimeIdentity,
    RealtimePolicy,
    RealtimeSession,
    decode_realtime,
    encode_realtime,
)
from onetape.runtime.sessions.recorded import find_broken
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from onetape.tape.block import decode_record
from onetape.tape.store import MemoryTape
from tests.parity.test_realtime import slice_bars
from tests.parity.test_stuck import records_of
from tests.support.runs import make_walks

STOCKS = [make_equity(name, calendar="24/7") for name in ("A.TEST", "B.TEST")]
MINUTE = 60_000_000_000
SLICES = 12
OVER = 7
"""Bars of an instrument before one is too many for it."""


class CountState(State):
    limit: int
    count: int = 0


@rule
def update_fragile(state: CountState, close: float) -> float:
    """Divides by zero at bar `limit`."""
    state.count += 1
    return close / (state.limit - state.count)


class Fragile(Estimator, frozen=True):
    limit: int

    update = staticmethod(update_fragile)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> CountState:
        return CountState(limit=self.limit)


MAY_HANG = [True]


class EndlessState(CountState):
    """Does not come back when it counts to `limit`; as the watchdog has it."""

    def __setattr__(self, name: str, value: int) -> None:
        if name == "count" and value == self.limit:
            assert MAY_HANG[0], "it is called again"
            super().__setattr__(name, 103)  # what had changed by then is chance
            raise StrategyStuck("did not come back within 1 s (look for a loop without an end)")
        super().__setattr__(name, value)


@rule
def update_endless(state: EndlessState, close: float) -> float:
    """The close."""
    state.count += 1
    return close


class Endless(Fragile, frozen=True):
    update = staticmethod(update_endless)

    def start_state(self) -> CountState:
        return EndlessState(limit=self.limit)


class Trades(Strategy):
    """Buys at each bar whose feature is known."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if not math.isnan(ctx.features.wave):
            ctx.buy(bar.instrument, 1)


class Ranks(Strategy):
    """Buys what is first among the instruments of a slice."""

    def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
        for bar in slice_.bars:
            if ctx.features_of(bar.instrument).wave == 1.0:
                ctx.buy(bar.instrument, 1)


class Fails(Trades):
    """At bar 3 by itself, while its features go on."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        super().on_bar(bar, ctx)
        if bar.close > 0 and len(ctx.history(bar.instrument, 3)) == 3:
            raise ValueError("enough")


FEATURES = {
    "raises": {"calm": Sma(2), "wave": Fragile(OVER)},
    "hangs": {"calm": Sma(2), "wave": Endless(OVER)},
    "hangs inside": {"wave": Ema(2).of(Endless(OVER)) - Sma(2)},
    "raises inside": {"wave": Ema(2).of(Fragile(OVER))},
    "hangs in a rank": {"wave": CrossSection(Endless(OVER))},
}


def open_session(tape: MemoryTape, case: str, kind: type[Strategy] = Trades) -> RealtimeSession:
    features: dict[str, Estimator] = dict(FEATURES[case])
    specs = [
        StrategySpec(name="odd", strategy=kind(), capital=E8 * 10**6, features=features),
        StrategySpec(name="good", strategy=Trades(), capital=E8 * 10**6,
                     features={"wave": Sma(3)}),
    ]  # fmt: skip
    terms = VenueTerms(
        fees={each.id: build_fee_schedule(NoFees(), each) for each in STOCKS},
        slippage=SlippageTerms(), latency=build_latency(LatencyModel(mean_ms=5_000), 0),
        limit_reach=0.0,
    )  # fmt: skip
    return RealtimeSession(
        STOCKS, "1m", "made", specs, terms, RiskLimits(), tape,
        RealtimeIdentity(session="0123456789abcdef", mode="paper"),
        RealtimePolicy(drift=DriftSettings()),
    )  # fmt: skip


def run(
    case: str, kind: type[Strategy] = Trades, history: int = 0
) -> tuple[list[bytes], list[tuple[int, bytes]]]:
    MAY_HANG[0] = True
    tape = MemoryTape()
    session = open_session(tape, case, kind)
    walks = make_walks(STOCKS, SLICES, timeframe="1m", length_ns=MINUTE)
    states: list[tuple[int, bytes]] = []
    session.start(int(walks.columns["ts_open"].min()))
    for number, bars in enumerate(slice_bars(walks)):
        old = number < history
        session.take_rows([msgspec.structs.replace(each, is_history=old) for each in bars])
        states.append((session.events, encode_realtime(session.save())))
    session.stop("end", session.now + 1)
    return records_of(tape), states


def run_again(
    case: str, kind: type[Strategy], records: list[bytes], state: bytes = b""
) -> list[bytes]:
    MAY_HANG[0] = False
    tape = MemoryTape()
    session = open_session(tape, case, kind)
    if state:
        session.restore(decode_realtime(state))
    for each in read_inputs(records):
        give(session, each)
    return records_of(tape)


def payloads(records: list[bytes], kind: type) -> list[tuple[int, object]]:
    return [
        (decode_record(each).ts, payload)
        for each in records
        for payload, _, _ in decode_record(each).events
        if isinstance(payload, kind)
    ]


@pytest.mark.parametrize("history", [0, SLICES])
@pytest.mark.parametrize("case", FEATURES)
def test_failing_feature_takes_its_strategy_out_and_leaves_the_other(
    case: str, history: int
) -> None:
    kind = Ranks if "rank" in case else Trades
    records, states = run(case, kind, history)
    ((ts, event),) = payloads(records, StrategyQuarantined)
    assert isinstance(event, StrategyQuarantined)
    assert (event.strategy, event.callback) == ("odd", "feature wave")
    if "raises" in case:
        assert event.error == "ZeroDivisionError: float division by zero"
        assert event.where == "update_fragile, line 5"
    else:
        assert event.error.startswith("did not come back within 1 s")
        assert event.where == "__setattr__, line 5"
    if not history:
        bought = [(at, each.strategy) for at, each in payloads(records, OrderSubmitted)]  # type: ignore[attr-defined]
        assert max(at for at, name in bought if name == "odd") < ts
        assert max(at for at, name in bought if name == "good") > ts
    assert find_broken(records) == {"odd"}
    assert find_broken(records[:1]) == set()
    assert run_again(case, kind, records) == records
    for events, saved in states:  # a process that was killed goes on from any of these
        rest = [each for each in records if decode_record(each).first_seq >= events]
        assert run_again(case, kind, rest, saved) == rest


@pytest.mark.parametrize("case", ["raises", "hangs"])
def test_feature_of_a_strategy_that_is_out_is_told_and_not_called_again(case: str) -> None:
    records, states = run(case, Fails)
    events = [each for _, each in payloads(records, StrategyQuarantined)]
    assert [each.callback for each in events] == ["on_bar", "feature wave"]  # type: ignore[attr-defined]
    assert run_again(case, Fails, records) == records
    for events_, saved in states:
        rest = [each for each in records if decode_record(each).first_seq >= events_]
        assert run_again(case, Fails, rest, saved) == rest


def test_features_that_have_failed_are_moved_no_more_and_keep_their_last_values() -> None:
    MAY_HANG[0] = True
    walks = make_walks(STOCKS, SLICES, timeframe="1m", length_ns=MINUTE)
    live = LiveFeatures(FEATURES["raises"], [each.id for each in STOCKS])
    slices = list(slice_bars(walks))
    rows = [live.push(bars) for bars in slices[: OVER - 1]][-1]
    with pytest.raises(FeatureFailed) as caught:
        live.push(slices[OVER - 1])
    assert caught.value.name == "wave"
    newest = zip(slices[OVER - 2], rows, strict=True)
    assert live.values == {bar.instrument: row for bar, row in newest}
    assert live.push(slices[OVER]) == [None, None]
    other = LiveFeatures(FEATURES["raises"], [each.id for each in STOCKS])
    other.restore(live.save())
    assert other.is_broken
    assert other.save() == live.save()


def test_place_of_a_failure_is_that_of_the_archived_definition_too() -> None:
    archived = load_feature(archive_feature(Fragile(2)))
    walks = make_walks(STOCKS[:1], 3, timeframe="1m", length_ns=MINUTE)
    places: list[str] = []
    for feature in (Fragile(2), archived):
        live = LiveFeatures({"wave": feature}, [STOCKS[0].id])
        first, second, *_ = slice_bars(walks)
        live.push(first)
        with pytest.raises(FeatureFailed) as caught:
            live.push(second)
        places.append(caught.value.place)
    assert places == ["update_fragile, line 5"] * 2
    assert list_feature_modules([archived]) == [type(archived).update.__module__]


def test_watchdog_knows_the_modules_of_features_but_ours() -> None:
    deep = CrossSection(Timeframed(Ema(2).of(Fragile(3)) + Endless(4), "1h"))
    assert list_feature_modules([Sma(3), Ema(2).of(Sma(3))]) == []
    assert list_feature_modules([Sma(3), deep]) == [__name__]
