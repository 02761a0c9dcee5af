"""A pull that is killed (-9) while its provider answers, and run again, loses and doubles nothing.

The client is the real one in a process of its own. Every commit in between is tried in
`tests/unit/marketdata/test_pulling.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from onetape.marketdata.bars import compute_content_hash
from onetape.marketdata.catalog import Catalog
from tests.support.provider_servers import KEY, SECRET, Provider, Reply, alpaca, serve

MINUTES = 600
BEGIN = datetime(2024, 3, 11, tzinfo=UTC)
BARS = {
    "BTC/USD": [
        {
            "t": f"{BEGIN + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}",
            "o": 10 + minute % 7, "h": 20, "l": 9, "c": 11 + minute % 5, "v": minute,
        }
        for minute in range(MINUTES)
    ]
}  # fmt: skip

PROGRAM = """
import random, sys, time
from decimal import Decimal
from pathlib import Path
from pydantic import SecretStr
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.timestamps import from_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.pulling import PullOptions, pull_bars
from onetape.marketdata.sources.alpaca import AlpacaSource
from onetape.marketdata.sources.port import SourceAccess
from onetape.marketdata.sources.requester import Pace, Requester
url, catalog, key, secret = sys.argv[1:]
ask = Requester(Pace(per_minute=1e6), clock=time.monotonic, sleep=time.sleep, chance=random.random)
source = AlpacaSource(SourceAccess(
    requester=ask, base_url=url, key=SecretStr(key), secret=SecretStr(secret)))
pair = Instrument(id=InstrumentId("BTCUSD.ALPACA"), kind=InstrumentKind.SPOT, quote_currency="USD",
                  base_currency="BTC", tick_size=Decimal("0.01"), lot_size=Decimal("0.0001"))
pull_bars(source, Catalog(Path(catalog)), pair, "1m",
          (from_iso("2024-03-11"), from_iso("2024-03-11T10:00:00Z")),
          PullOptions(window_bars=100), clock_ns=lambda: from_iso("2024-06-01"))
"""


def start(server: Provider, catalog: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM, server.url, str(catalog), KEY, SECRET]
    return subprocess.Popen(command, env=os.environ)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    catalog = tmp_path_factory.mktemp("whole")
    with serve(alpaca(BARS, page_rows=40)) as server:
        assert start(server, catalog).wait(60) == 0
    return digest(catalog)


def digest(catalog: Path) -> str:
    columns = Catalog(catalog).read_bars("BTCUSD.ALPACA", "1m")
    assert len(columns["ts_open"]) == MINUTES
    return compute_content_hash(columns)


@pytest.mark.parametrize("killed_at", [2, 11])
def test_killed_pull_run_again_ends_with_the_same_rows(
    tmp_path: Path, whole: str, killed_at: int
) -> None:
    reached, release = threading.Event(), threading.Event()
    with serve(alpaca(BARS, page_rows=40)) as server:
        true_answer, count = server.answer, [0]

        def answer(*question) -> Reply:
            count[0] += 1
            if count[0] == killed_at:
                reached.set()
                release.wait(60)
            return true_answer(*question)

        server.answer = answer
        victim = start(server, tmp_path)
        assert reached.wait(60)
        victim.kill()
        assert victim.wait(60) == -9
        release.set()
        before = len(server.asked)
        assert start(server, tmp_path).wait(60) == 0
        asked_again = len(server.asked) - before
    assert digest(tmp_path) == whole
    finished = (killed_at - 1) // 3  # windows: three pages each, plus their overlap
    assert asked_again <= 18 - 3 * finished + 3
