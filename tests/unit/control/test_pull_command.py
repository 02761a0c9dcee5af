"""`onetape data pull`, through the real clients, from servers on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.domain.timestamps import NS_PER_MS, from_iso
from tests.support.provider_servers import (
    HOUR_MS,
    KEY,
    SECRET,
    Provider,
    Reply,
    alpaca,
    binance,
    make_kline,
    make_perpetual,
    make_symbol,
    serve,
)

BEGIN_MS = from_iso("2024-01-01") // NS_PER_MS
HOURS = [make_kline(BEGIN_MS + hour * HOUR_MS) for hour in range(48)]
PULL = ("--timeframe", "1h", "--catalog", "cat", "--per-minute", "100000")
BTC = ("--instrument", "BTCUSDT.BINANCE")
SESSION = "hours:America/New_York:09:30-16:00"


@pytest.fixture(autouse=True)
def _in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    monkeypatch.delenv("APCA_API_SECRET_KEY", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", *arguments])


def pull(server: Provider, source: str, *arguments: str) -> Result:
    return run("pull", source, "--base-url", server.url, *PULL, *arguments)


def make_bars(dates: list[str]) -> dict[str, list[dict]]:
    prices = {"o": 10, "h": 12, "l": 9, "c": 11, "v": 100}
    return {"AAPL": [{"t": f"{date}T05:00:00Z", **prices} for date in dates]}


def test_pull_writes_what_is_there_and_then_what_is_new() -> None:
    with serve(binance({"1h": HOURS[:30], "1d": []}, [make_symbol("BTC", "USDT")])) as server:
        first = pull(server, "binance", *BTC, "--start", "2024-01-01", "--end", "2024-01-03")
    assert first.exit_code == 0, first.stderr
    assert first.stdout == (
        "BTCUSDT.BINANCE 1h: 30 bars written, 30 in all, source binance, adjustment none, "
        "version 0\n"
    )
    with serve(binance({"1h": HOURS, "1d": []}, [make_symbol("BTC", "USDT")])) as server:
        again = pull(server, "binance", *BTC, "--end", "2024-01-04")
    assert "18 bars written, 48 in all" in again.stdout
    with serve(binance({"1h": HOURS, "1d": []}, [make_symbol("BTC", "USDT")])) as server:
        third = pull(server, "binance", *BTC, "--end", "2024-01-04")
        assert server.asked == []
        replaced = pull(server, "binance", *BTC, "--end", "2024-01-04", "--replace")
    assert "nothing new, 48 in all" in third.stdout
    assert "nothing new, 48 in all" in replaced.stdout
    shown = json.loads(run("show", "BTCUSDT.BINANCE", "--json", "--catalog", "cat").stdout)
    assert shown["dataset"]["source"] == "binance"
    assert shown["instrument"]["base_currency"] == "BTC"


def test_pull_with_keys_by_reference_shows_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("secret").write_text(SECRET + "\n", encoding="utf-8")
    monkeypatch.setenv("MY_KEY", KEY)
    bars = make_bars(["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"])
    options = ("--instrument", "AAPL.XNAS", "--timeframe", "1d", "--calendar", SESSION,
               "--start", "2024-01-01", "--end", "2024-01-06")  # fmt: skip
    with serve(alpaca(bars)) as server:
        good = pull(server, "alpaca", *options, "--key", "env:MY_KEY", "--secret", "file:secret")
        bad = pull(server, "alpaca", *options, "--key", "env:MY_KEY", "--secret", "env:MY_KEY",
                   "--replace", "--debug")  # fmt: skip
    assert good.exit_code == 0, good.stderr
    assert "4 bars written" in good.stdout
    assert bad.exit_code == 2
    assert "error: AAPL: alpaca refuses access: 403 forbidden." in bad.stderr
    assert SECRET not in good.output + bad.output + bad.stderr
    assert KEY not in good.output + bad.output + bad.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--key", SECRET, "--secret", "env:B"), "a secret must be a reference, never the value"),
        (("--key", "env:NOT_SET", "--secret", "env:B"), "env:NOT_SET is not set or empty"),
        ((), "alpaca needs a key and a secret"),
    ],
)
def test_pull_without_usable_keys_is_one_clear_line(arguments: tuple[str, ...], said: str) -> None:
    result = run("pull", "alpaca", "--instrument", "AAPL.XNAS", *PULL, *arguments)
    assert (result.exit_code, said in result.stderr) == (2, True)
    assert SECRET not in result.stderr
    assert result.stderr.count("\n") == 1


def test_pull_of_several_goes_on_after_one_that_fails() -> None:
    symbols = [make_symbol("BTC", "USDT"), make_symbol("ETH", "USDT")]
    with serve(binance({"1h": HOURS, "1d": []}, symbols)) as server:
        result = pull(
            server, "binance", "--instrument", "DOGEUSDT.BINANCE", *BTC,
            "--instrument", "ETHUSDT.BINANCE", "--start", "2024-01-01", "--end", "2024-01-03",
        )  # fmt: skip
    assert result.exit_code == 2
    assert "DOGEUSDT.BINANCE: binance does not know the symbol 'DOGEUSDT'" in result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "BTCUSDT.BINANCE",
        "ETHUSDT.BINANCE",
    ]


def test_pull_that_is_not_served_says_try_again() -> None:
    with serve(binance({"1h": HOURS}, [make_symbol("BTC", "USDT")])) as server:
        server.faults += [Reply(429, {"code": -1003}, {"Retry-After": "3600"})]
        result = pull(server, "binance", *BTC, "--start", "2024-01-01")
    assert result.exit_code == 3
    assert "asks to wait 3,600 s" in result.stderr


def test_pull_of_nothing_asks_whether_the_symbol_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    with serve(alpaca({})) as server:
        result = pull(server, "alpaca", "--instrument", "APPL.XNAS", "--calendar", SESSION,
                      "--start", "2024-01-01")  # fmt: skip
    assert result.exit_code == 2
    assert "alpaca has no 1h bars of APPL.XNAS in this time (is the symbol right?" in result.stderr


@pytest.mark.parametrize(
    ("source", "module", "extra"),
    [("yahoo", "yfinance.data", "yahoo"), ("alpaca", "alpaca.common.rest", "alpaca"),
     ("binance", "ccxt", "crypto")],
)  # fmt: skip
def test_pull_without_its_extra_names_the_command(
    source: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    monkeypatch.setitem(sys.modules, module, None)
    result = run("pull", source, "--instrument", "A.B", *PULL, "--start", "2024-01-01")
    assert result.exit_code == 2
    assert f"pip install 'onetape[{extra}]'" in result.stderr
    assert result.stderr.count("\n") == 1


OWN = """\
import numpy as np
from onetape.marketdata.sources.port import SourcePage

class Own:
    name, adjustment, ts_server = "own", "none", None

    def __init__(self, access): self.level = float(access.options["level"])
    def define(self, instrument_id): return None
    def pages(self, instrument, timeframe, start, end):
        times = np.arange(start // 3600 // 10**9, end // 3600 // 10**9) * 3600 * 10**9
        prices = np.full(len(times), self.level)
        names = ("open", "high", "low", "close", "volume")
        yield SourcePage(times=times, values=dict.fromkeys(names, prices))
"""


def test_pull_from_a_provider_in_a_file_of_the_users() -> None:
    Path("own.py").write_text(OWN, encoding="utf-8")
    arguments = ("--instrument", "A.OWN", *PULL, "--calendar", "24/7", "--start", "2024-01-01",
                 "--end", "2024-01-02", "--option", "level=7")  # fmt: skip
    result = run("pull", "own.py:Own", *arguments)
    assert result.stdout.startswith("A.OWN 1h: 24 bars written, 24 in all, source own")
    assert "there is no class 'Ow'" in run("pull", "own.py:Ow", *arguments).stderr
    assert "there is no such file" in run("pull", "no.py:Own", *arguments).stderr
    Path("bad.py").write_text("1 / 0", encoding="utf-8")
    assert "can't be imported: ZeroDivisionError" in run("pull", "bad.py:A", *arguments).stderr


def test_pull_shows_progress_on_a_terminal_and_its_result_on_stdout() -> None:
    pty = pytest.importorskip("pty")
    Path("own.py").write_text(OWN, encoding="utf-8")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from onetape.control.cli import main; main()", "data", "pull",
               "own.py:Own", "--instrument", "A.OWN", *PULL, "--calendar", "24/7", "--start",
               "2024-01-01", "--end", "2024-01-02", "--option", "level=7"]  # fmt: skip
    environ = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):
            while chunk := os.read(ours, 65_536):
                seen += chunk
        os.close(ours)
        stdout, _ = process.communicate(timeout=60)
    assert stdout.startswith(b"A.OWN 1h: 24 bars written")
    assert b"24 bars" in seen
    assert b"bars written" not in seen


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "has no 1h bars of A.B to go on from (add --start"),
        (("--start", "then"), "--start 'then' is not an ISO 8601 date"),
        (("--start", "2024-02-01", "--end", "2024-01-01"), "is not before the end"),
        (("--start", "2024-01-01", "--option", "level"), "--option 'level' is not KEY=VALUE"),
        (("--start", "2024-01-01", "--instrument", "C.D", "--symbol", "X"), "one instrument's"),
    ],
)
def test_pull_refuses_what_it_can_not_use(arguments: tuple[str, ...], said: str) -> None:
    Path("own.py").write_text(OWN, encoding="utf-8")
    result = run("pull", "own.py:Own", "--instrument", "A.B", *PULL, "--option", "level=7",
                 "--calendar", "24/7", *arguments)  # fmt: skip
    assert result.exit_code == 2
    assert said in result.stderr


KIND = ("--timeframe", "funding", "--option", "type=swap", "--instrument", "BTCUSDT.PERP",
        "--kind", "perpetual", "--base", "BTC", "--currency", "USDT", "--tick", "0.1",
        "--lot", "0.001", "--calendar", "24/7")  # fmt: skip


def test_pull_brings_funding_and_goes_on_from_it() -> None:
    paid = [{"symbol": "BTCUSDT", "fundingTime": BEGIN_MS + 8 * each * HOUR_MS,
             "fundingRate": "0.0001", "markPrice": "42000.5"} for each in range(5)]  # fmt: skip
    with serve(binance({}, [make_perpetual("BTC", "USDT")], paid)) as server:
        refused = pull(server, "binance", *KIND)
        first = pull(server, "binance", *KIND, "--start", "2024-01-01", "--end", "2024-01-02")
        again = pull(server, "binance", *KIND)
    assert refused.exit_code == 2
    assert "no funding of BTCUSDT.PERP to go on from" in refused.stderr
    assert first.exit_code == 0, first.stderr
    assert (
        first.stdout
        == "BTCUSDT.PERP funding: 3 rows written, 3 in all, source binance, version 0\n"
    )
    assert (
        again.stdout
        == "BTCUSDT.PERP funding: 2 rows written, 5 in all, source binance, version 1\n"
    )
    refused = pull(server, "binance", *KIND[2:], "--timeframe", "halts", "--start", "2024-01-01")
    assert refused.exit_code == 2
    assert "halts can't be pulled (bars, corporate_actions and funding can)" in refused.stderr


def test_pull_follows_the_symbols_of_a_file_through_a_rename(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    prices = {"o": 10, "h": 12, "l": 9, "c": 11, "v": 100}
    dates = ["2014-04-01", "2014-04-02", "2014-04-03", "2014-04-04"]
    bars = {
        symbol: [{"t": f"{date}T04:00:00Z", **prices, "c": close} for date in dates]
        for symbol, close in (("GOOG", 9.5), ("GOOGL", 11.5))
    }
    Path("symbols.csv").write_text(
        "instrument,symbol,start,end\nGOOGL.XNAS,GOOG,,2014-04-02\nGOOGL.XNAS,GOOGL,2014-04-03,\n",
        encoding="utf-8",
    )
    given = ("--timeframe", "1d", "--instrument", "GOOGL.XNAS", "--calendar", SESSION,
             "--start", "2014-04-01", "--end", "2014-04-05")  # fmt: skip
    with serve(alpaca(bars)) as server:
        more = ("--symbols", "symbols.csv", "--option", "asof=-")
        done = pull(server, "alpaca", *given, *more)
        both = pull(server, "alpaca", *given, *more, "--symbol", "GOOG")
    assert done.exit_code == 0, done.stderr
    shown = json.loads(run("show", "GOOGL.XNAS", "--catalog", "cat", "--json").stdout)
    assert [each["close"] for each in shown["head"]] == [9.5, 9.5, 11.5, 11.5]
    assert {(each["symbols"], each["asof"]) for each in server.asked} == {
        ("GOOG", "-"), ("GOOGL", "-"),
    }  # fmt: skip
    assert both.exit_code == 2
    assert "--symbol and --symbols both say" in both.stderr
