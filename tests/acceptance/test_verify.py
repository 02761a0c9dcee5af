"""`onetape verify` finds one changed byte, wherever it is, and says what and where."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.tape.block import Record
from onetape.tape.reader import SqliteTapeReader
from onetape.tape.sqlite_store import SqliteTape
from tests.support.cli_data import import_wave
from tests.support.older_writers import older_record

STRATEGY = """\
from onetape.domain.market import Bar
from onetape.features import FeatureMap, Sma
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param


class Cross(Strategy):
    fast: int = param(3, ge=2)
    slow: int = param(8, ge=3)

    def features(self) -> FeatureMap:
        return {"fast": Sma(self.fast), "slow": Sma(self.slow)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        f, held = ctx.features, ctx.position(bar.instrument)
        if f.fast > f.slow and held == 0:  # false while NaN
            ctx.buy(bar.instrument, 10)
        elif f.fast < f.slow and held > 0:
            ctx.sell(bar.instrument, held)
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def verify(run_dir: Path, *arguments: str) -> dict[str, Any]:
    """The JSON of `verify`; its exit code is that of the verdict."""
    result = run("verify", str(run_dir), "--json", *arguments)
    found = json.loads(result.stdout)
    assert result.exit_code == found["exit_code"]
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder with cross.py, WAVE.SIM and a run with a latency, and the run's place in it."""
    folder = tmp_path_factory.mktemp("made")
    with contextlib.chdir(folder):
        import_wave()
        Path("cross.py").write_text(STRATEGY)
        return folder, backtest("cross.py")


@pytest.fixture
def run_dir(made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run, in a copy of its folder, which is the working directory."""
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return made[1]


def backtest(path: str, *overrides: str) -> Path:
    strategy = f"strategies.0={{name: mine, path: {path}, capital: 10000}}"
    settings = [strategy, "execution.latency.mean_ms=20", "execution.latency.std_ms=7", *overrides]
    arguments = [part for each in settings for part in ("--set", each)]
    result = run("backtest", "run.yaml", "--quiet", *arguments)
    assert result.exit_code == 0, result.stderr
    return Path(result.stdout.strip())


def replace_once(path: Path, old: bytes, new: bytes) -> None:
    """Change one byte of a file."""
    assert len(old) == len(new)
    assert sum(a != b for a, b in zip(old, new, strict=True)) == 1
    text = path.read_bytes()
    assert text.count(old) == 1
    path.write_bytes(text.replace(old, new))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(each): each.read_bytes()
        for each in sorted(folder.rglob("*"))
        if each.is_file() and "__pycache__" not in each.parts
    }


def test_verify_of_an_untouched_run_is_identical_and_writes_nothing(run_dir: Path) -> None:
    before = snapshot(Path())
    found = verify(run_dir)
    with closing(SqliteTapeReader(run_dir / "tape.db")) as reader:
        events = list(reader.events())
        audit = reader.audit()
    assert (found["verdict"], found["exit_code"]) == ("identical", 0)
    assert (found["events"], found["records"]) == (len(events), audit.records)
    assert found["decisions"] == sum(each.type.startswith("intent.") for each in events) > 5
    assert found["digest"] == audit.digest
    said = run("verify", str(run_dir / "tape.db"))
    assert said.stdout == (
        f"identical, {found['decisions']} decisions, {len(events)} events, digest {audit.digest}\n"
    )
    assert snapshot(Path()) == before


# One byte in the strategy; the last column is what verify says beyond the new version.
# fmt: off
CODE: list[tuple[str, bytes, bytes, str]] = [
    ("another comparison", b"f.fast > f.slow",     b"f.fast < f.slow",     "the re-run parts"),
    ("another quantity",   b"instrument, 10)",     b"instrument, 11)",     "the re-run parts"),
    ("another default",    b"param(8, ge=3)",      b"param(4, ge=3)",      "the re-run parts"),
    ("a bug",              b"f.slow and held > 0", b"f.slaw and held > 0", "the re-run parts"),
    ("a comment",          b"# false while NaN",   b"# False while NaN",   "same decisions"),
    ("no Python any more", b"class Cross(Str",     b"class Cross;Str",     "can't be run any more"),
    ("a hidden attribute", b"ctx.position(",       b"ctx._osition(",       "can't be run any more"),
]
# fmt: on


@pytest.mark.parametrize(
    ("old", "new", "outcome"), [row[1:] for row in CODE], ids=[row[0] for row in CODE]
)
def test_verify_after_one_byte_of_code(run_dir: Path, old: bytes, new: bytes, outcome: str) -> None:
    replace_once(Path("cross.py"), old, new)
    found = verify(run_dir)
    assert (found["verdict"], found["exit_code"]) == ("code", 2)
    assert "strategy mine" in found["changes"][0]["what"]
    assert "cross.py" in found["what"]
    assert outcome in found["what"]
    assert (found["difference"] is not None) == (outcome == "the re-run parts")


def test_verify_shows_both_sides_and_the_chain_of_each(run_dir: Path) -> None:
    replace_once(Path("cross.py"), b"instrument, 10)", b"instrument, 12)")
    difference = verify(run_dir)["difference"]
    first = next(each for each in read_events(run_dir) if each["type"] == "intent.order")
    assert difference["tape"] == first
    assert difference["tape"]["payload"]["amount"] == 10
    assert difference["rerun"]["payload"]["amount"] == 12
    assert difference["rerun"]["seq"] == first["seq"]
    kinds = [each["kind"] for each in difference["tape_chain"]]
    assert kinds == [
        "market", "features", "intent.order", "risk.approved", "order.submitted",
        "order.accepted", "market", "order.filled", "position.opened",
    ]  # fmt: skip
    assert [each["kind"] for each in difference["rerun_chain"]] == kinds[:5]
    text = run("verify", str(run_dir)).stdout
    assert re.search(r"^tape, event \d+:$", text, re.MULTILINE)
    assert re.search(r"^re-run, event \d+:$", text, re.MULTILINE)
    assert re.search(r"^> .* intent.order .* BUY 12 WAVE.SIM", text, re.MULTILINE)


def test_verify_names_the_features_that_the_decision_was_made_on(run_dir: Path) -> None:
    replace_once(Path("cross.py"), b"instrument, 10)", b"instrument, 12)")
    difference = verify(run_dir)["difference"]
    bar, known = difference["tape_chain"][:2]
    closes = [float(row.split(",")[4]) for row in Path("wave.csv").read_text().split()[1:]]
    row = bar["row"]
    assert f"close {closes[row]!r}" in bar["text"]
    fast, slow = map(float, re.findall(r"[fs]\w+ ([\d.]+)", known["text"].partition("knows")[2]))
    assert fast == pytest.approx(sum(closes[row - 2 : row + 1]) / 3)
    assert slow == pytest.approx(sum(closes[row - 7 : row + 1]) / 8)


# One byte in config.json; the last column is the key that is named.
# fmt: off
CONFIG: list[tuple[str, bytes, bytes, str]] = [
    ("capital",       b'"capital":"10000"', b'"capital":"10001"', "strategies.0.capital"),
    ("seed",          b'"seed":0',          b'"seed":1',          "seed"),
    ("end",           b'"end":"2025',       b'"end":"2024',       "clock.end"),
    ("name of a key", b'"allow_short"',     b'"allow_shirt"',     "risk.allow_shirt"),
    ("no JSON",       b'"seed":0',          b'"seed";0',          "can't be read"),
]
# fmt: on


@pytest.mark.parametrize(
    ("old", "new", "named"), [row[1:] for row in CONFIG], ids=[row[0] for row in CONFIG]
)
def test_verify_after_one_byte_of_config(run_dir: Path, old: bytes, new: bytes, named: str) -> None:
    replace_once(run_dir / "config.json", old, new)
    found = verify(run_dir)
    assert (found["verdict"], found["exit_code"]) == ("config", 2)
    assert named in found["changes"][0]["what"]
    assert "config.json" in found["changes"][0]["what"]
    assert found["difference"] is None


def test_verify_takes_a_config_key_that_decides_nothing_as_it_is(run_dir: Path) -> None:
    replace_once(run_dir / "config.json", b'"path":"runs"', b'"path":"rums"')
    assert verify(run_dir)["verdict"] == "identical"


# The bars: a row that says otherwise under the same version, and files that are broken.


def data_file() -> Path:
    (path,) = Path("data/catalog/bars").rglob("*.parquet")
    return path


def flip_price(column: str, row: int, byte: int) -> None:
    """Flip a bit of one stored float64 in the data file."""
    bars = pl.read_parquet(data_file(), hive_partitioning=False)
    bars.write_parquet(data_file(), compression="uncompressed", statistics=False)
    text = data_file().read_bytes()
    value = struct.pack("<d", bars[column][row])
    assert text.count(value) == 2  # the open of a bar is the close of the one before
    at = (text.rindex(value) if column == "close" else text.index(value)) + byte
    data_file().write_bytes(text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :])


@pytest.mark.parametrize(
    ("column", "row", "byte", "parts"),
    [("close", 60, 0, False), ("open", 60, 0, False), ("close", 8, 6, True)],
)
def test_verify_after_one_byte_of_a_price(
    run_dir: Path, column: str, row: int, byte: int, parts: bool
) -> None:
    flip_price(column, row, byte)
    found = verify(run_dir)
    (change,) = found["changes"]
    assert (found["verdict"], found["exit_code"]) == ("data", 2)
    assert change["what"].startswith("WAVE.SIM 1d version 0 in data/catalog holds 120 bars")
    assert change["recorded"] == pin_of(run_dir)["content_hash"] != change["found"]
    assert (found["difference"] is not None) == parts
    if parts:
        assert found["difference"]["tape"] != found["difference"]["rerun"]
        assert "the re-run parts from the tape at event" in found["what"]


@pytest.mark.parametrize("at", [-1, -5])
def test_verify_after_one_byte_of_a_data_file_that_makes_it_unreadable(
    run_dir: Path, at: int
) -> None:
    text = bytearray(data_file().read_bytes())
    text[at] ^= 128
    data_file().write_bytes(text)
    found = verify(run_dir)
    assert (found["verdict"], found["exit_code"]) == ("data", 2)
    assert "WAVE.SIM at version 0" in found["what"]


# Corporate actions.

ACTIONS = """\
instrument,kind,ex_date,value,divisor
WAVE.SIM,cash_dividend,2024-01-20,0.25,
WAVE.SIM,split,2024-02-10,2,
WAVE.SIM,cash_dividend,2024-03-01,0.1,
"""


@pytest.fixture
def run_with_actions(run_dir: Path) -> Path:
    """A run with dividends and a split, whose file lies in the working directory."""
    Path("actions.csv").write_text(ACTIONS)
    return backtest("cross.py", "data.corporate_actions=actions.csv")


def test_verify_of_a_run_with_corporate_actions(run_with_actions: Path) -> None:
    assert verify(run_with_actions)["verdict"] == "identical"
    with closing(SqliteTapeReader(run_with_actions / "tape.db")) as reader:
        pins = reader.header.datasets
        types = [each.type for each in reader.events()]
        assert "corporate_actions" not in reader.header.config
    assert [(each.instrument, each.timeframe, each.rows) for each in pins][1:] == [
        ("WAVE.SIM", "actions", 3)
    ]
    assert types.count("market.corporate_action") == 3
    assert types.count("position.adjusted") > 0
    summary = json.loads((run_with_actions / "metrics.json").read_bytes())
    assert summary["corporate_actions"]["account"]["dividends"] > 0
    frame = pl.read_parquet(run_with_actions / "adjustments.parquet")
    assert len(frame) == types.count("position.adjusted")
    assert "Dividends" in (run_with_actions / "report.html").read_text()


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b"2024-01-20", b"2024-01-21", "actions.csv holds 3 corporate actions of WAVE.SIM"),
        (b"split,2024-02-10,2", b"split,2024-02-10,3", "and the session read 3 with"),
        (b"0.25", b"0.26", "actions.csv holds 3"),
        (b"2024-03-01", b"2034-03-01", "actions.csv holds 2"),
        (b"0.25", b"0x25", "actions.csv:2: value '0x25' is not a number"),
    ],
)
def test_verify_finds_a_changed_action(
    run_with_actions: Path, old: bytes, new: bytes, what: str
) -> None:
    path = Path("actions.csv")
    path.write_bytes(path.read_bytes().replace(old, new))
    found = verify(run_with_actions)
    assert (found["verdict"], found["exit_code"]) == ("data", 2)
    assert what in found["what"]


def test_verify_after_the_actions_are_gone(run_with_actions: Path) -> None:
    Path("actions.csv").unlink()
    assert "there is no such file of corporate actions" in verify(run_with_actions)["what"]
    (run_with_actions / "config.json").unlink()
    found = verify(run_with_actions)
    assert found["verdict"] == "data"
    assert "config.json names no file of them" in found["what"]


def test_where_the_actions_are_decides_nothing(run_with_actions: Path) -> None:
    Path("actions.csv").rename("elsewhere.csv")
    config = run_with_actions / "config.json"
    config.write_bytes(config.read_bytes().replace(b"actions.csv", b"elsewhere.csv"))
    assert verify(run_with_actions)["verdict"] == "identical"
    again = backtest("cross.py", "data.corporate_actions=elsewhere.csv")
    with (
        closing(SqliteTapeReader(again / "tape.db")) as one,
        closing(SqliteTapeReader(run_with_actions / "tape.db")) as other,
    ):
        assert one.audit().digest == other.audit().digest


# The tape.


def test_verify_after_one_byte_of_the_tape_names_the_record(run_dir: Path) -> None:
    tape = run_dir / "tape.db"
    with closing(sqlite3.connect(tape)) as file:
        (payload,) = file.execute("SELECT payload FROM block WHERE number = 1").fetchone()
        (lengths,) = file.execute("SELECT lengths FROM block WHERE number = 1").fetchone()
    sizes = [int.from_bytes(lengths[at : at + 4], "little") for at in range(0, len(lengths), 4)]
    start = 0
    for record, size in enumerate(sizes, 1):
        at = start + size // 2
        write_payload(tape, payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :])
        found = verify(run_dir)
        assert (found["verdict"], found["exit_code"]) == ("tape", 4)
        assert found["damage"]["record"] == record
        assert f"at record {record} " in found["what"]
        start += size
    assert len(sizes) > 10
    write_payload(tape, payload)
    assert verify(run_dir)["verdict"] == "identical"


def write_payload(tape: Path, payload: bytes) -> None:
    with closing(sqlite3.connect(tape)) as file:
        file.execute("UPDATE block SET payload = ? WHERE number = 1", (payload,))
        file.commit()


def forge(run_dir: Path, change: Any, finish: Any = None) -> None:
    """Write the tape anew, with a chain of its own, and some event changed or added."""
    tape = run_dir / "tape.db"
    with closing(SqliteTapeReader(tape)) as reader:
        records = list(reader.records())
    tape.unlink()
    with closing(SqliteTape.create(tape)) as store:
        for record in records:
            events = [(change(payload), *ids) for payload, *ids in record.events]
            store.append(record.first_seq, record.ts, record.market_index, events)
        if finish is not None:
            finish(store, records)


def more_lots(payload: Any) -> Any:
    """The first position of ten becomes eleven."""
    if type(payload).__name__ == "PositionOpened":
        return msgspec.structs.replace(payload, lots=payload.lots + 1)
    return payload


def test_verify_of_a_forged_tape_is_caught_by_the_digest_in_metrics(run_dir: Path) -> None:
    forge(run_dir, more_lots)
    found = verify(run_dir)
    assert (found["verdict"], found["exit_code"]) == ("tape", 4)
    assert "metrics.json" in found["what"]


def test_verify_of_a_forged_tape_without_a_witness_is_caught_by_the_rerun(run_dir: Path) -> None:
    forge(run_dir, more_lots)
    (run_dir / "metrics.json").unlink()
    found = verify(run_dir)
    assert (found["verdict"], found["exit_code"]) == ("code", 2)
    assert found["difference"]["tape"]["type"] == "position.opened"
    assert found["difference"]["tape"]["payload"]["lots"] == 11
    assert found["difference"]["rerun"]["payload"]["lots"] == 10


def test_verify_of_a_tape_that_goes_on_after_the_session_is_caught(run_dir: Path) -> None:
    def goes_on(store: SqliteTape, records: list[Record]) -> None:
        last = records[-1]
        store.append(last.last_seq + 1, last.ts, -1, last.events)

    forge(run_dir, lambda payload: payload, goes_on)
    (run_dir / "metrics.json").unlink()
    found = verify(run_dir)
    assert found["verdict"] == "code"
    assert found["difference"]["rerun"] is None
    assert found["difference"]["tape"]["type"] == "session.stopped"
    assert "\nre-run: comes to its end before\n" in run("verify", str(run_dir)).stdout


def test_verify_blames_the_data_when_the_config_has_changed_too(run_dir: Path) -> None:
    flip_price("close", 8, 6)
    replace_once(run_dir / "config.json", b'"seed":0', b'"seed":1')
    found = verify(run_dir)
    assert found["verdict"] == "data"
    assert [each["kind"] for each in found["changes"]] == ["data", "config"]
    assert "(and 1 more)" in found["what"]


def test_verify_names_the_library_that_is_another_one(run_dir: Path) -> None:
    forge(run_dir, more_lots)
    (run_dir / "metrics.json").unlink()
    versions = json.loads((run_dir / "versions.json").read_bytes())
    versions["libraries"]["numpy"] = "1.0.0"
    (run_dir / "versions.json").write_text(json.dumps(versions))
    assert "numpy was 1.0.0 and is " in verify(run_dir)["what"]


# A tape by an onetape whose payloads had fewer fields.


def rewrite(run_dir: Path, change: Any) -> bool:
    """Write the tape anew, record by record; whether any has other bytes now."""
    tape = run_dir / "tape.db"
    with closing(SqliteTapeReader(tape)) as reader:
        records = list(reader.encoded_records())
    tape.unlink()
    (run_dir / "metrics.json").unlink()
    changed = [change(each) for each in records]
    with closing(SqliteTape.create(tape)) as store:
        for each in changed:
            store.append(*msgspec.msgpack.decode(each))
    return changed != records


def test_verify_of_a_tape_by_an_older_writer_is_identical(run_dir: Path) -> None:
    new = verify(run_dir)
    assert rewrite(run_dir, older_record)
    found = verify(run_dir)
    with closing(SqliteTapeReader(run_dir / "tape.db")) as reader:
        assert found["digest"] == reader.digest != new["digest"]
    assert (found["verdict"], found["exit_code"]) == ("identical", 0)
    assert found["what"].endswith(f"digest {found['digest']}")
    assert (found["events"], found["records"]) == (new["events"], new["records"])


def test_verify_of_a_tape_by_an_older_writer_finds_what_has_another_meaning(run_dir: Path) -> None:
    def dearer(data: bytes) -> bytes:
        first_seq, ts, row, events = msgspec.msgpack.decode(older_record(data))
        for payload, *_ in events:
            if payload[0] == "position.opened":
                payload[4] += 1
        return msgspec.msgpack.encode([first_seq, ts, row, events])

    assert rewrite(run_dir, dearer)
    found = verify(run_dir)
    assert (found["verdict"], found["exit_code"]) == ("code", 2)
    assert found["difference"]["tape"]["type"] == "position.opened"
    sides = [found["difference"][side]["payload"]["cost"] for side in ("tape", "rerun")]
    assert sides[0] == sides[1] + 1


# Nondeterminism: the order of a set of text changes with the hash seed of the process.

MOODY = """\
from onetape.domain.events import OrderEvent, OrderFilled
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


def mood() -> int:
    return 1 + "abcdefghij".index(str(set("abcdefghij"))[2])


class Moody(Strategy):
{body}
"""
BODIES = {
    "on_bar": """\
    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if ctx.position(bar.instrument) == 0:
            ctx.buy(bar.instrument, mood())
""",
    "on_order_update": """\
    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if ctx.position(bar.instrument) == 0:
            ctx.buy(bar.instrument, 1)

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        if isinstance(update, OrderFilled) and ctx.position(ctx.instruments[0]) == 1:
            ctx.buy(ctx.instruments[0], mood())
""",
    "on_timer": """\
    def on_start(self, ctx: Context) -> None:
        ctx.set_timer("later", ctx.now + 10 * 86_400_000_000_000)

    def on_timer(self, name: str, ctx: Context) -> None:
        ctx.buy(ctx.instruments[0], mood())
""",
}


def run_apart(hash_seed: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("onetape")), *arguments],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("callback", BODIES)
def test_verify_of_a_strategy_that_is_not_deterministic_names_its_callback(
    run_dir: Path, callback: str
) -> None:
    Path("moody.py").write_text(MOODY.format(body=BODIES[callback]))
    strategy = "strategies.0={name: moody, path: moody.py, capital: 100000}"
    done = run_apart(2, "backtest", "run.yaml", "--quiet", "--set", strategy)
    assert done.returncode == 0, done.stderr
    moody = done.stdout.strip()
    assert run_apart(2, "verify", moody).returncode == 0
    found = run_apart(3, "verify", moody)
    assert found.returncode == 4, found.stdout
    assert found.stdout.startswith("nondeterminism: re-runs differ from one another at event ")
    assert f": {callback} of strategy moody; " in found.stdout


# What can't be verified: one line, and nothing is touched.


def drop_data(run_dir: Path) -> None:
    shutil.rmtree("data/catalog/bars")


def drop_version(run_dir: Path) -> None:
    config = run("tape", "show", str(run_dir), "--limit", "1", "--json").stdout
    assert json.loads(config)[0]["payload"]["datasets"][0]["table_version"] == 0
    (Path("data/catalog/bars/_delta_log") / f"{0:020}.json").unlink()


def drop_strategy(run_dir: Path) -> None:
    Path("cross.py").unlink()


def set_tape_version(run_dir: Path) -> None:
    with closing(sqlite3.connect(run_dir / "tape.db")) as file:
        file.execute("UPDATE meta SET version = 2")
        file.commit()


def drop_tape(run_dir: Path) -> None:
    (run_dir / "tape.db").unlink()


def cut_tape(run_dir: Path) -> None:
    (run_dir / "metrics.json").unlink()
    with closing(sqlite3.connect(run_dir / "tape.db")) as file:
        file.execute("DELETE FROM block WHERE number = (SELECT max(number) FROM block)")
        file.commit()


# fmt: off
REFUSED: list[tuple[Any, str, int]] = [
    (drop_data,        "data changed: the pinned bars (WAVE.SIM at version 0) can't be read", 2),
    (drop_version,     "data changed: the pinned bars (WAVE.SIM at version 0) can't be read", 2),
    (drop_strategy,    "code changed: strategy mine can't be run any more: cross.py: ",       2),
    (set_tape_version, "error: {tape}: tape version 2, and this onetape reads 1",             2),
    (drop_tape,        "error: {tape}: there is no tape here",                                2),
    (cut_tape,         "the tape is incomplete: it ends at ",                                 2),
]
# fmt: on


@pytest.mark.parametrize(
    ("harm", "told", "code"), REFUSED, ids=[row[0].__name__ for row in REFUSED]
)
def test_verify_of_what_is_not_whole_is_one_line_and_touches_nothing(
    run_dir: Path, harm: Any, told: str, code: int
) -> None:
    harm(run_dir)
    before = snapshot(Path())
    result = run("verify", str(run_dir))
    printed = result.stdout + result.stderr
    assert printed.startswith(told.format(tape=run_dir / "tape.db"))
    assert len(printed.splitlines()) == 1
    assert result.exit_code == code
    assert snapshot(Path()) == before


def test_verify_of_a_cut_tape_that_metrics_knows_as_complete_is_damage(run_dir: Path) -> None:
    metrics = (run_dir / "metrics.json").read_bytes()
    cut_tape(run_dir)
    (run_dir / "metrics.json").write_bytes(metrics)
    found = verify(run_dir)
    assert (found["verdict"], found["exit_code"]) == ("tape", 4)
    assert "cut off here: metrics.json knows the tape as complete" in found["what"]


def test_verify_finds_the_catalog_where_it_has_moved(run_dir: Path) -> None:
    Path("data/catalog").rename("elsewhere")
    assert verify(run_dir)["verdict"] == "data"
    assert verify(run_dir, "--catalog", "elsewhere")["verdict"] == "identical"


def test_verify_of_a_tape_alone_needs_nothing_else_of_the_run(run_dir: Path) -> None:
    shutil.copy(run_dir / "tape.db", "alone.db")
    assert verify(Path("alone.db"))["verdict"] == "identical"


def read_events(run_dir: Path) -> list[dict[str, Any]]:
    return json.loads(run("tape", "show", str(run_dir), "--limit", "0", "--json").stdout)


def pin_of(run_dir: Path) -> dict[str, Any]:
    return read_events(run_dir)[0]["payload"]["datasets"][0]
