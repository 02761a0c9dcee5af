"""The flags of stored ticks reach the strategy with the tick; without flags nothing is carried."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onetape.domain.events import SignalRecorded
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.market import BookDelta, Quality, QuoteTick, TradeTick
from onetape.domain.timestamps import NS_PER_SECOND, from_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.loading import load_market_data
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.timeline import Timeline
from onetape.research.perturbation import Change, Perturbation, Perturber
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from tests.support.session_runs import run_session

T0 = from_iso("2024-01-02T15:00:00Z")
ROWS = 20
LATE, GAP = int(Quality.LATE), int(Quality.GAP_BEFORE)


class Hears(Strategy):
    def on_trade(self, trade: TradeTick, ctx: Context) -> None:
        ctx.signal("trade", float(trade.quality))

    def on_quote(self, quote: QuoteTick, ctx: Context) -> None:
        ctx.signal("quote", float(quote.quality))

    def on_book(self, delta: BookDelta, ctx: Context) -> None:
        ctx.signal("book", float(delta.quality))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Prints of which each third, and quotes and changes of which each fifth, has a flag."""
    made = Catalog(tmp_path_factory.mktemp("flags"))
    ts_event = T0 + np.arange(ROWS, dtype=np.int64) * NS_PER_SECOND
    price, size = np.full(ROWS, 100.0), np.full(ROWS, 5.0)
    number = np.arange(ROWS)
    of_kind = {
        RecordKind.TRADES: {"price": price, "size": size, "quality": (number % 3 == 0) * LATE},
        RecordKind.QUOTES: {
            "bid": price - 1, "ask": price + 1, "bid_size": size, "ask_size": size,
            "quality": (number % 5 == 0) * GAP,
        },
        RecordKind.BOOK: {
            "is_bid": number % 2, "price": price - number % 2, "size": size + number,
            "quality": (number % 5 == 0) * GAP,
        },
    }  # fmt: skip
    for name, after in (("A.X", 0), ("B.X", 7)):
        made.write_instrument(make_equity(InstrumentId(name), calendar="24/7"))
        for kind, columns in of_kind.items():
            made.records.write(kind, name, {**columns, "ts_event": ts_event + after}, source="s",
                               ts_ingest=1)  # fmt: skip
    return made


def load(catalog: Catalog, what: str) -> Timeline:
    return load_market_data(catalog, ["A.X", "B.X"], what, T0 - 1, T0 + 60 * NS_PER_SECOND)


def naive(what: str) -> list[tuple[str, float]]:
    """Prints come before the rest of their instrument at one time, and A before B."""
    heard: list[tuple[str, float]] = []
    for at in range(ROWS):
        for _ in ("A", "B"):
            if "trades" in what:
                heard.append(("trade", float(LATE if at % 3 == 0 else 0)))
            if what != "trades":
                kind = what.partition("+")[0].removesuffix("s")
                heard.append((kind, float(GAP if at % 5 == 0 else 0)))
    return heard


@pytest.mark.parametrize("what", ["trades", "quotes", "book", "quotes+trades", "book+trades"])
def test_strategy_hears_each_tick_with_its_flags(catalog: Catalog, what: str) -> None:
    timeline = load(catalog, what)
    run = run_session(timeline, Hears())
    assert not run.quarantined
    told = [(each.name, each.value) for each in run.of_type(SignalRecorded)]
    assert told == naive(what)
    block = next(timeline.blocks(len(timeline)))
    assert [each.quality for each in block.events()] == [value for _, value in naive(what)]
    assert block.event(0).quality == naive(what)[0][1]


def test_flags_stay_with_their_rows_when_others_are_missing(catalog: Catalog) -> None:
    timeline = load(catalog, "quotes+trades")
    whole = timeline.columns["quality"]
    for change in Change:
        changed = Perturber(timeline).apply(Perturbation(change), 30)
        assert changed.columns["quality"][:30].tolist() == whole[:30].tolist()
    assert len(whole) == 4 * ROWS


def test_ticks_without_flags_carry_no_column_of_them(tmp_path: Path) -> None:
    made = Catalog(tmp_path)
    made.write_instrument(make_equity(InstrumentId("A.X")))
    columns = {"ts_event": np.array([T0]), "price": np.array([1.0]), "size": np.array([1.0])}
    made.records.write(RecordKind.TRADES, "A.X", columns, source="s", ts_ingest=1)
    timeline = load_market_data(made, ["A.X"], "trades", T0, T0 + 1)
    assert "quality" not in timeline.columns
    assert next(timeline.blocks(1)).event(0).quality == 0
