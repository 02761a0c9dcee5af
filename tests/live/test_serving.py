"""A local venue as a whole: in a loop, in a thread, in a process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import struct
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import make_equity, make_spot
from onetape.domain.numbers import E8
from onetape.domain.orders import LiquiditySide
from onetape.execution.simulated.fee_rules import FeeSchedule, compute_order_fee
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.runtime.local_venues.faults import FaultKind, FaultRange
from onetape.runtime.local_venues.names import ACCOUNT, LOOPBACK, VenueName
from onetape.runtime.local_venues.serving import (
    LocalTerms,
    LocalVenue,
    ServingProgress,
    find_settling_time,
    make_venue_terms,
)
from tests.support.local_servers import serving, serving_in_process, serving_in_thread
from tests.support.timelines import closes, flat, make_columns

SHARE = make_equity("SPY.ARCX")
COIN = make_spot("BTCUSDT.BINANCE", base="BTC", quote="USDT", tick_size="0.01", lot_size="0.00001")
NAMES = list(VenueName)


def make_timeline(name: VenueName, rows: int = 20) -> Timeline:
    instrument = COIN if name is VenueName.BINANCE else SHARE
    columns = make_columns(flat(*np.linspace(100, 120, rows).round(2).tolist()))
    return build_timeline([(instrument, columns)], source="test", timeframe="1m")


def get(url: str) -> Any:
    """What an open question is answered; of Alpaca with the keys."""
    headers = {"APCA-API-KEY-ID": "local-key", "APCA-API-SECRET-KEY": "local-secret"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as got:
        return json.load(got)


def shake_hands(url: str) -> int:
    """The server version that a TWS tells whoever begins to speak its protocol."""
    port = int(url.rpartition(":")[2])
    with socket.create_connection((LOOPBACK, port), timeout=30) as wire:
        wire.sendall(b"API\0" + struct.pack(">I", 9) + b"v157..178")
        length = struct.unpack(">I", wire.recv(4))[0]
        return int(wire.recv(length).split(b"\0")[0])


PATHS = {VenueName.ALPACA: "/v2/account", VenueName.BINANCE: "/api/v3/time"}


def reach(name: VenueName, url: str) -> Any:
    """What a venue answers to whoever has not done anything."""
    return shake_hands(url) if name is VenueName.IBKR else get(url + PATHS[name])


@pytest.mark.parametrize("name", NAMES)
def test_venue_in_a_thread_answers_steps_and_tells_its_books(name: VenueName) -> None:
    with serving_in_thread(name, make_timeline(name)) as venue:
        assert reach(name, venue.url)
        assert venue.play_rows(3) == 3
        venue.play_until(closes(9))
        assert venue.venue.exchange.rows_played == 10
        currency = "USDT" if name is VenueName.BINANCE else "USD"
        assert venue.books().balances[currency].total == 100_000 * E8
        venue.restart(0.0)
        assert reach(name, venue.url)


@pytest.mark.parametrize("name", NAMES)
def test_venue_is_gone_when_it_is_closed(name: VenueName) -> None:
    with serving_in_thread(name, make_timeline(name)) as venue:
        url = venue.url
    with pytest.raises(OSError, match="refused"):
        reach(name, url)


def test_venue_in_the_loop_plays_to_the_end_and_returns() -> None:
    async def run() -> list[ServingProgress]:
        told: list[ServingProgress] = []
        terms = LocalTerms(balances={"USDT": 7 * E8})
        async with serving(VenueName.BINANCE, make_timeline(VenueName.BINANCE), terms) as venue:
            await venue.play(
                waits=False, ends=True, is_stop_asked=lambda: False, on_progress=told.append
            )
            assert venue.exchange.books(ACCOUNT).balances["USDT"].total == 7 * E8
        return told

    last = asyncio.run(run())[-1]
    assert (last.rows_played, last.rows_total, last.ts) == (20, 20, closes(19))
    assert (last.clients, last.orders, last.executions, last.faults) == (0, 0, 0, 0)


def test_venue_waits_for_its_first_client_until_it_is_asked_to_stop() -> None:
    async def run() -> int:
        asked = 0

        def stop() -> bool:
            nonlocal asked
            asked += 1
            return asked > 3

        async with serving(VenueName.ALPACA, make_timeline(VenueName.ALPACA)) as venue:
            await venue.play(waits=True, ends=True, is_stop_asked=stop, on_progress=lambda _: None)
            return venue.exchange.rows_played

    assert asyncio.run(run()) == 0


def test_port_that_is_taken_is_named() -> None:
    async def run() -> None:
        timeline = make_timeline(VenueName.ALPACA)
        async with serving(VenueName.ALPACA, timeline) as first:
            second = LocalVenue(VenueName.ALPACA, timeline)
            with pytest.raises(ConfigError, match=f"port {first.port} .*in use"):
                await second.start(first.port)
            await second.close()

    asyncio.run(run())


def test_faults_are_those_of_the_seed_and_end_before_the_data() -> None:
    timeline = make_timeline(VenueName.BINANCE, 100)
    plan = {FaultKind.SKEW: FaultRange(1_000, 1.0, 1.0)}
    seen: list[Any] = []
    for _ in range(2):
        terms = LocalTerms(seed=5, plan=plan)

        async def run(terms: LocalTerms = terms) -> None:
            async with serving(VenueName.BINANCE, timeline, terms) as venue:
                await venue.player.run()
                assert venue.faults is not None
                seen.append(venue.faults.decisions)
                assert venue.faults.skew_s == 0.0

        asyncio.run(run())
    assert seen[0] == seen[1]
    assert seen[0]
    assert max(each.ts for each in seen[0]) < find_settling_time(timeline) == closes(90)


def test_each_venue_charges_what_it_tells_of_a_fill() -> None:
    """Binance 10 bps; IB 0.005 a share; Alpaca nothing: it takes its fees at the day's end."""
    coins, shares = make_timeline(VenueName.BINANCE), make_timeline(VenueName.ALPACA)
    theirs = make_venue_terms(VenueName.BINANCE, coins).fees[COIN.id]
    assert (theirs.maker_e8, theirs.taker_e8) == ((100_000,), (100_000,))
    alpaca = make_venue_terms(VenueName.ALPACA, shares, 7)
    assert alpaca.fees[SHARE.id] == FeeSchedule()
    ibkr = make_venue_terms(VenueName.IBKR, shares).fees[SHARE.id]
    # 1,000 shares at 100: 5.00; 100 shares: a dollar at least. Source: IB's commissions, US stocks.
    assert compute_order_fee(ibkr, LiquiditySide.TAKER, 1_000, 100_000 * E8, 0) == 5 * E8
    assert compute_order_fee(ibkr, LiquiditySide.TAKER, 100, 10_000 * E8, 0) == E8
    assert alpaca.latency.mean_ns == 7_000_000


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of both instruments, 1m."""
    folder = tmp_path_factory.mktemp("venue") / "catalog"
    made = Catalog(folder)
    for name, instrument in ((VenueName.ALPACA, SHARE), (VenueName.BINANCE, COIN)):
        made.write_bars(
            instrument.id, "1m", make_timeline(name).columns, source="test", adjustment="none",
            ts_ingest=1, definition=instrument,
        )  # fmt: skip
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_process_serves_until_ctrl_c_and_says_what_happened(name: VenueName, catalog: Path) -> None:
    identity = COIN.id if name is VenueName.BINANCE else SHARE.id
    options = ["--instruments", identity, "--speed", "0", "--now", "--faults", "3"]
    with serving_in_process(name, catalog, *options) as venue:
        assert reach(name, venue.url)
        out, err, code = venue.stop(signal.SIGINT)
    assert (code, err.strip()) == (0, "stopping; once more to stop at once")
    assert "20 of 20 rows" in out
    assert "faults of seed 3" in out


def test_process_ends_with_the_data_when_told(catalog: Path) -> None:
    options = ["--instruments", SHARE.id, "--speed", "0", "--now", "--once", "--cash", "USD=12.5"]
    with serving_in_process(VenueName.ALPACA, catalog, *options) as venue:
        out, err, code = venue.wait()
    assert (code, err) == (0, "")
    assert "USD 12.50, of that held 0.00" in out
