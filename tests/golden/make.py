"""Writes golden runs: `python -m tests.golden.make NAME` makes `tests/golden/NAME`, once.

With names of runs behind it only those: a set need not have all.

To be run by hand for each new version of the format, and before payloads get new fields. What is
there is never written again: later versions of onetape must read and verify it as it is.

| run           | what is in it                                                                  |
| ------------- | ------------------------------------------------------------------------------ |
| `orders`      | one instrument; orders of every type without conditions; a strategy that is    |
|               | quarantined; the kill switch on and off                                        |
| `portfolio`   | three instruments, of which one has gaps and one begins late; two strategies   |
| `killed`      | orders, killed with SIGKILL behind its second snapshot                         |
| `conditional` | if-touched and trailing orders, auctions, groups and brackets, part fills      |
| `contracts`   | a share, a future, options, a perpetual: funding, marks, settlements, expiry,  |
|               | exercise, margin and liquidation; trading halts and what they reject           |
| `shares`      | corporate actions, transfers, T+N settlement, limits that shrink, breakers,    |
|               | drift of a feature                                                             |
| `emulated`    | orders that the venue lacks: held, released, canceled and changed              |
| `currencies`  | foreign cash that is held, borrowed and converted                              |
| `splits`      | options on a share that splits 2 for 1 and 3 for 16                            |

Each has the catalog that it pins, its strategies, the run, and expected.json: the numbers that the
onetape which wrote it has folded: money in minor units, positions in lots.

The runs in `v1-first` are by the onetape before snapshots, before instruments' definitions stood on
the tape, and before orders had conditions; those in `v1-conditions` have all three. `v1-contracts`
has the two runs of what came after them, `v1-currencies` the one of held cash, `v1-splits` that of
adjusted options, `v1-emulated` that of held orders.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

import onetape
from onetape.control.cli import app
from onetape.domain.events import (
    CapitalDeposited,
    CashPosted,
    Event,
    KillSwitchSet,
    PositionAdjusted,
    PositionChanged,
    PositionSettled,
    SessionStarted,
)
from onetape.domain.instrument import InstrumentId
from onetape.research.artifacts import load_run
from onetape.runtime.config import SessionConfig
from onetape.runtime.sessions.backtest import BacktestSession
from onetape.runtime.sessions.backtest_run import run_backtest
from onetape.runtime.verification import verify_tape
from onetape.tape import store
from onetape.tape.reader import SqliteTapeReader
from onetape.tape.sqlite_store import SqliteTape
from onetape.telemetry.run_projection import project_run

HERE = Path(__file__).parent
STRATEGIES = HERE / "strategies"
BEGIN = date(2024, 1, 1)
BLOCK_EVENTS = 60
"""Small blocks, so that short tapes have several."""

_CONTROLS = [
    (datetime(2024, 3, 1, 12, tzinfo=UTC), KillSwitchSet(active=True, reason="operator: halt")),
    (datetime(2024, 3, 8, 12, tzinfo=UTC), KillSwitchSet(active=False, reason="operator: go on")),
]
_DYING_BLOCK = 5

Line = tuple[date, float, float, float, float, int]


def wave(day: int, *, phase: float, center: float) -> float:
    """A close, on the grid of cents."""
    return round(center + center / 5 * math.sin(phase + day / 5) + day % 3 * 0.25, 2)


def make_lines(days: range, *, phase: float = 0.0, center: float = 100.0) -> list[Line]:
    """Daily bars with a volume that is at times too small for an order."""
    lines: list[Line] = []
    for day in days:
        open_ = wave(day - 1, phase=phase, center=center)
        close = wave(day, phase=phase, center=center)
        high, low = max(open_, close) + 0.75, min(open_, close) - 0.75
        volume = 1_000 + day * 137 % 700
        lines.append((BEGIN + timedelta(days=day), open_, high, low, close, volume))
    return lines


def import_bars(symbol: str, lines: list[Line], *kind: str) -> None:
    """Put the bars into the catalog of the working directory; `kind` defines what they are of."""
    rows = [f"{day},{o:.2f},{h:.2f},{low:.2f},{c:.2f},{v}" for day, o, h, low, c, v in lines]
    file = Path("bars.csv")
    file.write_text("\n".join(["Date,Open,High,Low,Close,Volume", *rows]) + "\n")
    arguments = ["data", "import", "bars.csv", "--instrument", symbol, "--timeframe", "1d"]
    arguments += ["--calendar", "24/7", "--tz", "UTC", "--catalog", "catalog"]
    done = CliRunner().invoke(app, [*arguments, *kind])
    if done.exit_code:
        raise SystemExit(done.output)
    file.unlink()


def configure(instruments: list[str], strategies: list[dict[str, Any]], **more: Any) -> None:
    """Write the configuration of the run that is to be made."""
    document: dict[str, Any] = {
        "mode": "backtest",
        "seed": 7,
        "clock": {"type": "historical", "start": "2024-01-01", "end": "2025-01-01"},
        "data": {"instruments": instruments, "timeframe": "1d", "path": "catalog"},
        "strategies": strategies,
    }
    document["data"] |= more.pop("data", {})
    Path("asked.json").write_text(json.dumps(document | more))


def make_orders() -> None:
    """Every order and every event."""
    shutil.copy(STRATEGIES / "every_order.py", ".")
    shutil.copy(STRATEGIES / "fragile.py", ".")
    import_bars("WAVE.SIM", make_lines(range(96)))
    configure(
        ["WAVE.SIM"],
        [
            {"name": "every", "path": "every_order.py", "capital": 100_000},
            {"name": "fragile", "path": "fragile.py", "capital": 10_000},
        ],
        execution={
            "latency": {"mean_ms": 40_000, "std_ms": 30_000},
            "fees": {"model": "per_share", "rate": 0.01, "minimum": 1},
            "slippage": {"model": "fixed", "bps": 2},
            "max_volume_ratio": 0.1,
        },
        risk={"max_leverage": 2, "max_order_quantity": 50_000},
        output={"snapshot_events": 200},
    )
    apart(run_with_controls)


def make_portfolio() -> None:
    """Several instruments and strategies."""
    shutil.copy(STRATEGIES / "rotation.py", ".")
    lines = make_lines(range(60))
    import_bars("ALFA.SIM", lines)
    import_bars("BRAVO.SIM", lines[:20] + lines[31:45] + lines[46:])
    import_bars("COCOA.SIM", make_lines(range(17, 60), phase=2.0, center=40.0))
    names = ["ALFA.SIM", "BRAVO.SIM", "COCOA.SIM"]
    configure(
        names,
        [
            {"name": "rotation", "path": "rotation.py:Rotation", "capital": 50_000},
            {"name": "dipper", "path": "rotation.py:Dipper", "capital": 20_000,
             "instruments": names[1:]},
        ],
        execution={
            "fees": {"model": "per_share", "rate": 0.005, "minimum": 0.5},
            "slippage": {"model": "volume", "base_bps": 1, "volume_factor": 0.1},
            "limit_fill": "touch",
        },
        risk={"max_leverage": 1, "max_drawdown_pct": 80, "max_concentration_pct": 75},
    )  # fmt: skip
    apart(run)


def make_conditional() -> None:
    """Orders with conditions; an order of 400 fills in parts."""
    shutil.copy(STRATEGIES / "conditional.py", ".")
    import_bars("WAVE.SIM", make_lines(range(64)))
    configure(
        ["WAVE.SIM"],
        [{"name": "conditional", "path": "conditional.py", "capital": 100_000}],
        execution={
            "latency": {"mean_ms": 40_000, "std_ms": 30_000},
            "slippage": {"model": "fixed", "bps": 2},
            "max_volume_ratio": 0.1,
        },
        risk={"max_leverage": 2},
        output={"snapshot_events": 100},
    )
    apart(run)


def make_killed() -> None:
    """A run without an end."""
    shutil.copy(STRATEGIES / "every_order.py", ".")
    import_bars("WAVE.SIM", make_lines(range(96)))
    configure(
        ["WAVE.SIM"],
        [{"name": "every", "path": "every_order.py", "capital": 100_000}],
        execution={
            "latency": {"mean_ms": 40_000, "std_ms": 30_000},
            "slippage": {"model": "fixed", "bps": 2},
            "max_volume_ratio": 0.1,
        },
        risk={"max_leverage": 2},
        output={"snapshot_events": 100},
    )
    apart(run_and_die, -signal.SIGKILL)
    with closing(sqlite3.connect("run/tape.db")) as file:  # one file, without its WAL
        file.execute("PRAGMA journal_mode = DELETE")
    apart(run_whole)


def make_contracts() -> None:
    """Everything that happens to contracts, and halts."""
    shutil.copy(STRATEGIES / "contracts.py", ".")
    days = range(64)
    grid = ["--tick", "0.01", "--lot", "1"]
    import_bars("ALFA.SIM", make_lines(days))
    future = ["--kind", "future", "--underlying", "ALFA", "--multiplier", "5", *grid]
    import_bars("FUTURE.SIM", make_lines(range(40), phase=0.1), *future, "--expiry", "2024-02-10")
    option = ["--kind", "option", "--underlying", "ALFA.SIM", "--strike", "100", *grid]
    option += ["--multiplier", "10", "--exercise", "american", "--expiry", "2024-01-30"]
    option += ["--settlement", "physical"]
    import_bars("CALL.SIM", make_lines(range(29), center=9.0), *option, "--right", "call")
    import_bars("PUT.SIM", make_lines(range(29), phase=3.0, center=9.0), *option, "--right", "put")
    perpetual = ["--kind", "perpetual", "--base", "ALFA", *grid]
    import_bars("PERP.SIM", make_lines(days, phase=0.2), *perpetual)
    Path("funding.csv").write_text(
        "instrument,ts,rate,mark\nPERP.SIM,2024-01-12,0.0005,\nPERP.SIM,2024-01-20,-0.0002,96.5\n"
    )
    Path("halts.csv").write_text(
        "instrument,ts,status,reason\nALFA.SIM,2024-01-16T12:00:00Z,halted,T1\n"
        "ALFA.SIM,2024-01-23T06:00:00Z,resumed,\nALFA.SIM,2024-02-20,halted,\n"
        "ALFA.SIM,2024-02-21,resumed,\n"
    )
    names = ["ALFA.SIM", "FUTURE.SIM", "CALL.SIM", "PUT.SIM", "PERP.SIM"]
    configure(
        names,
        [
            {"name": "contracts", "path": "contracts.py:Contracts", "capital": 20_000},
            {"name": "gambler", "path": "contracts.py:Gambler", "capital": 1_000,
             "instruments": names[4:]},
        ],
        data={"funding": "funding.csv", "halts": "halts.csv"},
        execution={
            "fees": {"model": "per_share", "rate": 0.01, "minimum": 1},
            "margin": {"model": "fixed", "initial_pct": 20, "maintenance_pct": 10,
                       "liquidation_fee_bps": 50},
        },
        output={"snapshot_events": 100},
    )  # fmt: skip
    apart(run)


def make_shares() -> None:
    """Actions of shares, and what moves money and limits beside orders."""
    shutil.copy(STRATEGIES / "shares.py", ".")
    later = make_lines(range(80, 160), center=150.0)
    import_bars("ALFA.SIM", make_lines(range(80)) + later)
    import_bars("BRAVO.SIM", make_lines(range(160), phase=2.0, center=40.0))
    Path("actions.csv").write_text(
        "instrument,kind,ex_date,value,divisor,pay_date\n"
        "ALFA.SIM,cash_dividend,2024-01-10,0.5,,2024-01-15\n"
        "BRAVO.SIM,stock_dividend,2024-02-01,0.03,,\nBRAVO.SIM,cash_dividend,2024-02-20,0.1,,\n"
    )
    breaker = {"type": "drawdown", "pct": 2, "action": "pause"}
    configure(
        ["ALFA.SIM", "BRAVO.SIM"],
        [
            {"name": "trader", "path": "shares.py:Trader", "capital": 20_000,
             "instruments": ["ALFA.SIM"]},
            {"name": "holder", "path": "shares.py:Holder", "capital": 5_000,
             "instruments": ["BRAVO.SIM"]},
        ],
        data={"corporate_actions": "actions.csv"},
        execution={
            "settlement_days": 2,
            "transfers": [
                {"at": "2024-02-05", "from": "trader", "to": "holder", "amount": 1_500},
                {"at": "2024-02-06", "from": "holder", "to": "trader", "amount": 99_000},
            ],
        },
        risk={
            "max_position_pct": 40, "shrink": ["position_ratio"],
            "breakers": [{**breaker, "cooldown_minutes": 12_000}],
        },
        drift={"reference": 40, "recent": 20, "every": 5, "level": 0.3},
        output={"snapshot_events": 100},
    )  # fmt: skip
    apart(run)


def make_emulated() -> None:
    """The orders of `conditional` at a venue that has few of them."""
    shutil.copy(STRATEGIES / "conditional.py", ".")
    import_bars("WAVE.SIM", make_lines(range(64)))
    configure(
        ["WAVE.SIM"],
        [{"name": "conditional", "path": "conditional.py", "capital": 100_000}],
        execution={
            "latency": {"mean_ms": 40_000, "std_ms": 30_000},
            "slippage": {"model": "fixed", "bps": 2},
            "max_volume_ratio": 0.1,
            "capabilities": "alpaca",
        },
        risk={"max_leverage": 2},
        output={"snapshot_events": 100},
    )
    apart(run)


def make_currencies() -> None:
    """Shares in three currencies, and the pairs between."""
    shutil.copy(STRATEGIES / "currencies.py", ".")
    days = range(64)
    pair = ["--kind", "fx", "--lot", "1000", "--tick", "0.01", "--base"]
    import_bars("EURUSD.SIM", make_lines(days, center=1.25), *pair, "EUR")
    import_bars("USDJPY.SIM", make_lines(days, phase=1.0, center=120.0), *pair, "USD", "--currency",
                "JPY")  # fmt: skip
    import_bars("EURO.SIM", make_lines(days, phase=2.0, center=40.0), "--currency", "EUR")
    import_bars("YEN.SIM", make_lines(days, phase=3.0, center=90.0), "--currency", "JPY")
    configure(
        ["EURUSD.SIM", "USDJPY.SIM", "EURO.SIM", "YEN.SIM"],
        [{"name": "currencies", "path": "currencies.py", "capital": 20_000}],
        execution={
            "fees": {"model": "per_share", "rate": 0.01, "minimum": 1},
            "currencies": {"foreign_cash": "hold", "spread_bps": 0.2, "minimum": 2},
            "carrying": {"borrow_pct": 3, "margin_interest_pct": 7, "credit_interest_pct": 1,
                         "margin_interest_pct_of": {"JPY": 2}},
        },
        risk={"max_leverage": 2},
        output={"snapshot_events": 100},
    )  # fmt: skip
    apart(run)


def make_splits() -> None:
    """A share of 120, 60 and then 320, with a call and a put on ten of it."""
    shutil.copy(STRATEGIES / "splits.py", ".")
    share = make_lines(range(10), center=120.0) + make_lines(range(10, 20), center=60.0)
    import_bars("ALFA.SIM", share + make_lines(range(20, 40), center=320.0))
    option = ["--kind", "option", "--underlying", "ALFA.SIM", "--tick", "0.01", "--lot", "1"]
    option += ["--multiplier", "10", "--exercise", "american", "--expiry", "2024-01-30"]
    option += ["--settlement", "physical"]
    import_bars("CALL.SIM", make_lines(range(29), center=9.0), *option, "--right", "call",
                "--strike", "100")  # fmt: skip
    import_bars("PUT.SIM", make_lines(range(29), phase=3.0, center=9.0), *option, "--right", "put",
                "--strike", "150")  # fmt: skip
    Path("actions.csv").write_text(
        "instrument,kind,ex_date,value,divisor\n"
        "ALFA.SIM,split,2024-01-11,2,\nALFA.SIM,split,2024-01-21,3,16\n"
    )
    configure(
        ["ALFA.SIM", "CALL.SIM", "PUT.SIM"],
        [{"name": "splits", "path": "splits.py", "capital": 20_000}],
        data={"corporate_actions": "actions.csv"},
        execution={
            "fees": {"model": "per_share", "rate": 0.01, "minimum": 1},
            "margin": {"model": "reg_t"},
        },
        output={"snapshot_events": 20},
    )
    apart(run)


def run(name: str = "run") -> None:
    """The session that was asked for, in a process of its own."""
    store.BLOCK_EVENTS = BLOCK_EVENTS
    config = SessionConfig.model_validate_json(Path("asked.json").read_bytes())
    folder = Path(name)
    folder.mkdir()
    run_backtest(config, folder)
    for each in folder.glob("performance.*"):
        each.unlink()


def run_whole() -> None:
    """The run that was killed, without that; what is left of it are its numbers."""
    run("whole")
    Path("whole.json").write_text(json.dumps(describe(Path("whole"))))
    shutil.rmtree("whole")


def run_with_controls() -> None:
    """The same, with an operator who stops it for a week."""
    controls = [(int(when.timestamp()) * 1_000_000_000, event) for when, event in _CONTROLS]
    without = BacktestSession.run

    def with_controls(session: BacktestSession, *args: Any, **options: Any) -> None:
        without(session, *args, **options, controls=controls)

    BacktestSession.run = with_controls
    run()


def run_and_die() -> None:
    """The same, killed behind a block."""
    without = SqliteTape._store

    def dying(tape: SqliteTape, block: Any) -> None:
        without(tape, block)
        if block.number == _DYING_BLOCK:
            os.kill(os.getpid(), signal.SIGKILL)

    SqliteTape._store = dying  # type: ignore[method-assign]
    run()


def apart(target: Callable[[], None], exit_code: int = 0) -> None:
    """Run `target` in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=target)
    process.start()
    process.join()
    if process.exitcode != exit_code:
        raise SystemExit(f"{target.__name__} ended with {process.exitcode}")


class CashPlaces:
    """Where the cash of an event belongs: its strategy, with the currency where it is foreign."""

    def __init__(self, events: list[Event]) -> None:
        headers = [each.payload for each in events if isinstance(each.payload, SessionStarted)]
        given = [each.payload for each in events if isinstance(each.payload, CapitalDeposited)]
        self._quotes = {each.id: each.settlement_currency for each in headers[0].instruments}
        self._homes = {each.strategy: each.currency for each in given}

    def name(self, strategy: str, currency: str) -> str:
        """Of cash in a currency."""
        return strategy if currency == self._homes[strategy] else f"{strategy} {currency}"

    def of(self, strategy: str, instrument: InstrumentId) -> str:
        """Of what a position moves; tapes of old don't define instruments and have one currency."""
        return self.name(strategy, self._quotes.get(instrument, self._homes[strategy]))


def find_ends(events: list[Event]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Cash of each strategy and lots of each of its positions, as the tape told them last.

    Foreign cash stands under the strategy and the currency.
    """
    cash: dict[str, int] = {}
    place = CashPlaces(events)
    positions: dict[str, dict[str, int]] = {}
    for each in events:
        match each.payload:
            case PositionChanged() | PositionAdjusted() | PositionSettled() as change:
                positions.setdefault(change.strategy, {})[change.instrument] = change.lots
                cash[place.of(change.strategy, change.instrument)] = change.cash
            case CashPosted() as posted:
                cash[place.name(posted.strategy, posted.currency)] = posted.cash
            case _:
                pass
    return cash, positions


def describe(folder: Path) -> dict[str, Any]:
    """What the tape of a run says, folded by this onetape."""
    with closing(SqliteTapeReader(folder / "tape.db")) as reader:
        events = list(reader.events())
        projection = project_run(events)
        audit = reader.audit()
        snapshots = sum(1 for _ in reader.snapshots())
    summary = load_run(folder)
    cash, positions = find_ends(events)
    return {
        "onetape": onetape.__version__,
        "session": projection.header.session,
        "complete": audit.complete,
        "digest": audit.digest,
        "records": audit.records,
        "events": audit.events,
        "snapshots": snapshots,
        "equity": int(summary.curves.account.equity[-1]),
        "cash": cash,
        "positions": positions,
        "types": dict(sorted(projection.counts.items())),
    }


def make(folder: Path, write: Callable[[], None]) -> None:
    """One golden run in a new folder."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    write()
    Path("asked.json").unlink()
    found = describe(Path("run"))
    whole = Path("whole.json")
    if whole.exists():
        found["whole"] = json.loads(whole.read_bytes())
        whole.unlink()
    verdict = verify_tape(Path("run/tape.db")).verdict.value
    if verdict != ("identical" if found["complete"] else "incomplete"):
        raise SystemExit(f"{folder}: {verdict}")
    Path("expected.json").write_text(json.dumps(found, indent=2) + "\n")
    print(f"{folder.relative_to(HERE)}: {found['events']} events, {found['snapshots']} snapshots")


def main(name: str, *runs: str) -> None:
    """All of them, or those of these names."""
    folder = HERE / name
    if folder.exists():
        raise SystemExit(f"{folder} is there, and golden runs are never written again")
    every = (
        make_orders, make_portfolio, make_killed, make_conditional, make_contracts, make_shares,
        make_currencies, make_splits, make_emulated,
    )  # fmt: skip
    for write in every:
        run_name = write.__name__.removeprefix("make_")
        if not runs or run_name in runs:
            make(folder / run_name, write)


if __name__ == "__main__":
    main(*sys.argv[1:])
