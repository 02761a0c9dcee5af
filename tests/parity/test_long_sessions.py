"""What reads a paper or live session again needs no more memory for a longer one."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from onetape.domain.errors import DataError
from onetape.domain.instrument import make_equity
from onetape.domain.market import QuoteTick, TradeTick
from onetape.domain.timestamps import NS_PER_DAY
from onetape.domain.venue import BarClosed, OperatorAction, OperatorCommand, RowHeard, TickHeard
from onetape.research.artifacts import load_run
from onetape.runtime.config import SessionConfig
from onetape.runtime.parity import sentinel
from onetape.runtime.parity.sentinel import check_parity
from onetape.runtime.sessions import live_timeline
from onetape.runtime.sessions.backtest import build_spec
from onetape.runtime.sessions.live_run import open_session
from onetape.runtime.sessions.tape_choice import create_tape
from onetape.runtime.verification import Verdict, verify_tape
from onetape.tape.sqlite_store import Durability
from tests.support.timelines import MINUTE, T0
from tests.support.whole_ticks import pieces_of

INSTRUMENTS = (make_equity("AAPL.ALPACA", calendar="24/7"),
               make_equity("MSFT.ALPACA", calendar="24/7"))  # fmt: skip
SHORT, LONG = 300, 1_500
BYTES_PER_ROW_MAX = 80
"""A row takes some 500 as an object and 200 as columns; garbage that waits some 50 of the first."""

STRATEGY = '''
from onetape.domain.market import MarketEvent
from onetape.features.average import Sma
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state


class Seldom(Strategy):
    """Decides four times, however long it lasts."""

    heard: int = state(0)

    def features(self):
        return {"mark": Sma(5)}

    def on_market_event(self, event: MarketEvent, ctx: Context) -> None:
        self.heard += 1
        if self.heard in (40, 120):
            ctx.buy("AAPL.ALPACA", 3)
        elif self.heard in (80, 160):
            ctx.sell("AAPL.ALPACA", 3)
'''


def make_slice(kind: str, number: int) -> list[RowHeard]:
    """The rows of one time slice: both instruments' bars, or a tick of one of them."""
    ts = T0 + (number + 1) * MINUTE
    price = 100 + number * 7 % 11 / 100
    closes = (ts // NS_PER_DAY + 1) * NS_PER_DAY
    if kind == "1m":
        return [
            BarClosed(each.id, ts - MINUTE, ts, ts + 5, closes, price, price, price, price, 10.0)
            for each in INSTRUMENTS
        ]
    of = INSTRUMENTS[number % 2].id
    if kind == "trades" or number % 3 == 0:
        return [TickHeard(TradeTick(of, ts, ts + 5, price, 10.0), closes)]
    quote = QuoteTick(instrument=of, ts_event=ts, ts_known=ts + 5, bid=price - 0.01,
                      ask=price + 0.01, bid_size=20.0, ask_size=30.0)  # fmt: skip
    return [TickHeard(quote, closes)]


def make_paper_run(run_dir: Path, kind: str, slices: int) -> Path:
    """The tape of a paper session, committed with each slice as a live one is."""
    run_dir.mkdir()
    strategy = run_dir / "seldom.py"
    strategy.write_text(STRATEGY)
    config = SessionConfig.model_validate({
        "mode": "paper",
        "clock": {"type": "live"},
        "data": {"source": "alpaca", "timeframe": kind, "history_bars": 20,
                 "instruments": [each.id for each in INSTRUMENTS]},
        "strategies": [{"name": "seldom", "path": str(strategy), "capital": 10_000}],
        "live": {"power_loss": False},
    })  # fmt: skip
    specs = [build_spec(each) for each in config.enabled_strategies]
    tape = create_tape(run_dir, config.output, Durability.PROCESS_END)
    session = open_session(config, specs, INSTRUMENTS, tape, None, ts_start=T0)
    session.start(T0)
    for number in range(slices):
        session.take_rows(make_slice(kind, number))
        tape.commit()
        if number % (slices // 4) == 0:
            tape.keep(session.rows, session.now, session.encode_state())
    session.take(OperatorCommand(OperatorAction.STOP, "", ""), session.now + 1)
    session.stop("stopped by an operator", session.now + 1)
    tape.close()
    return run_dir / "tape.db"


def test_session_without_a_row_verifies_and_the_rest_says_that_it_has_none(tmp_path: Path) -> None:
    tape = make_paper_run(tmp_path / "run", "1m", 0)
    found = verify_tape(tape)
    assert found.verdict is Verdict.IDENTICAL, found.what
    for read in (check_parity, lambda _: load_run(tape.parent, tmp_path)):
        with pytest.raises(DataError, match="the tape holds no bar yet"):
            read(tape)


def verify(tape: Path) -> None:
    found = verify_tape(tape)
    assert found.verdict is Verdict.IDENTICAL, found.what
    assert found.decisions >= 4, found


def compare(tape: Path) -> None:
    found = check_parity(tape)
    assert found.bars >= SHORT
    assert found.no_backtest == ""
    assert found.is_backtest_same


def measure_peak(read: Callable[[Path], None], tape: Path) -> int:
    """Bytes of Python's own at once, at the most, while a tape is read."""
    gc.collect()
    gc.freeze()  # else garbage waits until there is as much of it as of all modules
    tracemalloc.start()
    try:
        read(tape)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.unfreeze()


@pytest.mark.parametrize(
    ("kind", "read"),
    [("1m", verify), ("1m", compare), ("trades", verify), ("quotes+trades", compare)],
)
def test_memory_is_flat_in_the_length_of_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, read: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(live_timeline, "_WAITING_ROWS", 64)
    monkeypatch.setattr(sentinel, "_BLOCK_ROWS", 64)
    short, long = (make_paper_run(tmp_path / str(each), kind, each) for each in (SHORT, LONG))
    with pieces_of(64):
        read(short)  # what is kept once: modules, compiled code
        grown = measure_peak(read, long) - measure_peak(read, short)
    rows = (LONG - SHORT) * len(make_slice(kind, 1))
    print(f"{kind} {read.__name__}: {grown / rows:.0f} bytes a row")
    assert grown < BYTES_PER_ROW_MAX * rows
