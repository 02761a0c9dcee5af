"""One table: what was tampered with, what `tape audit` says of it, and what `verify` says.

The run has several blocks and snapshots; its tape is sealed and signed. Each row changes a copy.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.tape import store
from onetape.tape.reader import SqliteTapeReader
from onetape.tape.seal import seal_path
from onetape.tape.signature import signature_path
from onetape.tape.snapshot import make_snapshot
from onetape.tape.sqlite_store import SqliteTape
from tests.support.killed_runs import BLOCK_EVENTS, write_run
from tests.support.sealed_tapes import next_digit, rewrite

TAPE = Path("run/tape.db")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "BLOCK_EVENTS", BLOCK_EVENTS)
        config = write_run(folder, days=150)
        add_files(config)
        done = run("backtest", str(config), "--quiet")
        assert done.exit_code == 0, done.stderr
        Path(done.stdout.strip()).rename("run")
        assert run("tape", "keygen", "key").exit_code == 0
        assert run("tape", "seal", "run", "--sign", "key").exit_code == 0
        with closing(SqliteTapeReader(TAPE)) as reader:
            assert reader.audit().blocks > 8
            assert sum(1 for _ in reader.snapshots()) > 2
    return folder


FILES = {
    "corporate_actions": "instrument,kind,ex_date,value\nWAVE.SIM,cash_dividend,2024-02-01,0.5\n",
    "funding": "instrument,ts,rate\nPERP.SIM,2024-02-03T08:00:00Z,0.0001\n",
    "fundamentals": "instrument,item,period_end,ts_known,value\n"
    "WAVE.SIM,eps,2023-12-31,2024-02-15,1.25\n",
    "halts": "instrument,ts,status,reason\n"
    "WAVE.SIM,2024-03-04,halted,T1\nWAVE.SIM,2024-03-07,resumed,\n",
}
"""What lies beside the catalog, by key of `data`."""


def add_files(config: Path) -> None:
    """A perpetual beside the share, and a file of every kind."""
    arguments = ["wave.csv", "--instrument", "PERP.SIM", "--timeframe", "1d", "--tz", "UTC"]
    more = ["--calendar", "24/7", "--kind", "perpetual", "--base", "WAVE", "--tick", "0.01"]
    assert run("data", "import", *arguments, *more, "--lot", "1").exit_code == 0
    settings = json.loads(config.read_bytes())
    settings["data"]["instruments"].append("PERP.SIM")
    settings["strategies"][0]["instruments"] = ["WAVE.SIM"]
    settings["execution"]["margin"] = {"model": "fixed", "initial_pct": 10, "maintenance_pct": 5}
    for key, text in FILES.items():
        Path(f"{key}.csv").write_text(text, encoding="utf-8")
        settings["data"][key] = f"{key}.csv"
    config.write_text(json.dumps(settings))


@pytest.fixture(autouse=True)
def _copy(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    for each in (TAPE, seal_path(TAPE), signature_path(TAPE)):
        (tmp_path / each).chmod(0o644)
    monkeypatch.chdir(tmp_path)


# Ways to tamper.


def change(*statements: str, values: tuple[Any, ...] = ()) -> None:
    with closing(sqlite3.connect(TAPE)) as file:
        for each in statements:
            file.execute(each, values)
        file.commit()


def nothing() -> None:
    pass


def flip_record() -> None:
    """One bit of the second record of block 3."""
    with closing(sqlite3.connect(TAPE)) as file:
        query = "SELECT payload, lengths FROM block WHERE number = 3"
        payload, lengths = file.execute(query).fetchone()
    (first,) = struct.unpack_from("<I", lengths)
    flipped = bytes([payload[first + 5] ^ 1])
    changed = payload[: first + 5] + flipped + payload[first + 6 :]
    change("UPDATE block SET payload = ? WHERE number = 3", values=(changed,))


def delete_record() -> None:
    """The first record of block 3, with everything that the block says about it."""
    with closing(SqliteTapeReader(TAPE)) as reader:
        block = next(each for each in reader.blocks() if each.number == 3)
        second = list(reader.records(block.first_seq))[1]
    (first,) = struct.unpack_from("<I", block.lengths)
    change(
        "UPDATE block SET first_seq = ?, ts_first = ?, records = ?, lengths = ?, digests = ?, "
        "payload = ? WHERE number = 3",
        values=(second.first_seq, second.ts, block.records - 1, block.lengths[4:],
                block.digests[32:], block.payload[first:]),
    )  # fmt: skip


def delete_block() -> None:
    change("DELETE FROM block WHERE number = 3")


def delete_block_and_close_the_gap() -> None:
    delete_block()
    change("UPDATE block SET number = number - 1 WHERE number > 3")


def swap_blocks() -> None:
    change("UPDATE block SET number = -1 WHERE number = 3",
           "UPDATE block SET number = 3 WHERE number = 5",
           "UPDATE block SET number = 5 WHERE number = -1")  # fmt: skip


def swap_records() -> None:
    """The first two records of block 3, with their digests, as if they had come so."""
    with closing(SqliteTapeReader(TAPE)) as reader:
        block = next(each for each in reader.blocks() if each.number == 3)
    one, two = struct.unpack_from("<II", block.lengths)
    payload = block.payload[one : one + two] + block.payload[:one] + block.payload[one + two :]
    lengths = struct.pack("<II", two, one) + block.lengths[8:]
    digests = block.digests[32:64] + block.digests[:32] + block.digests[64:]
    change("UPDATE block SET payload = ?, lengths = ?, digests = ? WHERE number = 3",
           values=(payload, lengths, digests))  # fmt: skip


def truncate() -> None:
    change("DELETE FROM block WHERE number = (SELECT max(number) FROM block)",
           "DELETE FROM snapshot WHERE blocks > (SELECT count(*) FROM block)")  # fmt: skip


def cut_file() -> None:
    TAPE.write_bytes(TAPE.read_bytes()[:50_000])


def cut_last_page() -> None:
    TAPE.write_bytes(TAPE.read_bytes()[:-16_384])


def flip_file_header() -> None:
    content = TAPE.read_bytes()
    TAPE.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def snapshot_row(number: int) -> list[Any]:
    with closing(sqlite3.connect(TAPE)) as file:
        query = "SELECT * FROM snapshot WHERE number = ?"
        return list(file.execute(query, (number,)).fetchone())


def flip_snapshot_state() -> None:
    state = snapshot_row(1)[6]
    middle = len(state) // 2
    changed = state[:middle] + bytes([state[middle] ^ 1]) + state[middle + 1 :]
    change("UPDATE snapshot SET state = ? WHERE number = 1", values=(changed,))


def flip_snapshot_digest() -> None:
    digest = snapshot_row(1)[7]
    changed = bytes([digest[0] ^ 1]) + digest[1:]
    change("UPDATE snapshot SET digest = ? WHERE number = 1", values=(changed,))


def move_snapshot() -> None:
    change("UPDATE snapshot SET rows = rows + 1 WHERE number = 1")


def forge_snapshot() -> None:
    """Another state, with a digest of its own that fits; but behind a record of another tape."""
    number, blocks, events, rows, ts, _, state, _ = snapshot_row(1)
    forged = make_snapshot(number, blocks, events, rows, ts, b"\1" * 32, state[:-1] + b"\0")
    change("UPDATE snapshot SET chain = ?, state = ?, digest = ? WHERE number = 1",
           values=(forged.chain, forged.state, forged.digest))  # fmt: skip


def swap_snapshots() -> None:
    change("UPDATE snapshot SET number = -1 WHERE number = 0",
           "UPDATE snapshot SET number = 0 WHERE number = 1",
           "UPDATE snapshot SET number = 1 WHERE number = -1")  # fmt: skip


def delete_snapshot() -> None:
    change("DELETE FROM snapshot WHERE number = 1")


def replace_snapshot_state_by_text() -> None:
    change("UPDATE snapshot SET state = 'text' WHERE number = 1")


def delete_all_snapshots() -> None:
    """A tape proves the same without them; a run that goes on begins at its start then."""
    change("DELETE FROM snapshot")


def bars_of_share() -> Path:
    (path,) = (each for each in Path("data/catalog/bars").rglob("*.parquet") if "WAVE" in str(each))
    return path


def flip_price() -> None:
    """One bit of one close in the catalog."""
    path = bars_of_share()
    bars = pl.read_parquet(path, hive_partitioning=False)
    close = bars["close"].to_list()
    close[70] = struct.unpack("<d", struct.pack("<Q", struct.unpack("<Q", struct.pack(
        "<d", close[70]))[0] ^ 1))[0]  # fmt: skip
    bars.with_columns(pl.Series("close", close)).write_parquet(path)


def flip_page_header() -> None:
    """The number of values of a page becomes negative, for which polars ends the process."""
    path = bars_of_share()
    data = path.read_bytes()
    varint = rb"[\x80-\xff]{0,4}[\x00-\x7f]"
    header = re.search(rb"\x15\x00\x15%b\x15%b\x2c\x15" % (varint, varint), data)
    assert header is not None
    at = header.end()
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def drop_data_version() -> None:
    shutil.rmtree("data/catalog/bars")


def change_action() -> None:
    replace_byte(Path("corporate_actions.csv"), b"0.5", b"0.6")


def change_funding() -> None:
    replace_byte(Path("funding.csv"), b"0.0001", b"0.0002")


def change_figure() -> None:
    replace_byte(Path("fundamentals.csv"), b"1.25", b"1.35")


def change_halt() -> None:
    replace_byte(Path("halts.csv"), b"03-07", b"03-06")


def change_reason_of_halt() -> None:
    replace_byte(Path("halts.csv"), b"T1", b"T2")


def break_halts() -> None:
    replace_byte(Path("halts.csv"), b"resumed", b"resume_")


def delete_funding() -> None:
    Path("funding.csv").unlink()


def add_later_rows() -> None:
    """After the end of the run: rows that it never read."""
    later = {"funding": "PERP.SIM,2031-01-01T08:00:00Z,0.0001\n",
             "fundamentals": "WAVE.SIM,eps,2030-12-31,2031-02-15,2\n",
             "halts": "WAVE.SIM,2031-01-01,halted,T1\n"}  # fmt: skip
    for key, row in later.items():
        with Path(f"{key}.csv").open("a", encoding="utf-8") as file:
            file.write(row)


def change_config() -> None:
    replace_byte(Path("run/config.json"), b'"capital":"100000"', b'"capital":"100001"')


def change_code() -> None:
    replace_byte(Path("busy.py"), b"self.bars % 7 == 0", b"self.bars % 9 == 0")


def change_comment() -> None:
    replace_byte(Path("busy.py"), b"of every kind", b"of Every kind")


def replace_byte(path: Path, old: bytes, new: bytes) -> None:
    text = path.read_bytes()
    assert text.count(old) == 1
    assert sum(a != b for a, b in zip(old, new, strict=True)) == 1
    path.write_bytes(text.replace(old, new))


def alter_seal_digest() -> None:
    rewrite(seal_path(TAPE), digest=next_digit)


def alter_seal_count() -> None:
    rewrite(seal_path(TAPE), events=1)


def break_seal() -> None:
    seal_path(TAPE).write_text("{}")


def delete_seal() -> None:
    seal_path(TAPE).unlink()


def alter_signature() -> None:
    rewrite(signature_path(TAPE), signature=next_digit)


def delete_signature() -> None:
    signature_path(TAPE).unlink()


def forge_everything() -> None:
    """The whole tape written anew with a chain of its own, and seal and metrics with its digest."""
    with closing(SqliteTapeReader(TAPE)) as reader:
        records = list(reader.records())
    TAPE.unlink()
    with closing(SqliteTape.create(TAPE)) as tape:
        for each in records:
            events = [(more_fees(payload), *ids) for payload, *ids in each.events]
            tape.append(each.first_seq, each.ts, each.market_index, events)
    for path, key in ((seal_path(TAPE), "digest"), (Path("run/metrics.json"), "tape_digest")):
        rewrite(path, **{key: tape.digest})


def more_fees(payload: Any) -> Any:
    is_fill = type(payload).__name__ == "OrderFilled"
    return msgspec.structs.replace(payload, fee=payload.fee + 1) if is_fill else payload


# fmt: off
TABLE: list[tuple[Callable[[], None], str, int, str, int]] = [
    # tampered with                  audit (with the public key)   verify
    #                                kind          exit code       verdict        exit code
    (nothing,                        "",           0,              "identical",   0),
    (flip_record,                    "altered",    4,              "tape",        4),
    (delete_record,                  "altered",    4,              "tape",        4),
    (delete_block,                   "missing",    4,              "tape",        4),
    (delete_block_and_close_the_gap, "altered",    4,              "tape",        4),
    (swap_blocks,                    "reordered",  4,              "tape",        4),
    (swap_records,                   "reordered",  4,              "tape",        4),
    (truncate,                       "missing",    4,              "tape",        4),
    (cut_file,                       "error",      4,              "error",       4),
    (cut_last_page,                  "error",      4,              "error",       4),
    (flip_file_header,               "error",      2,              "error",       2),
    (flip_snapshot_state,            "snapshot",   4,              "tape",        4),
    (flip_snapshot_digest,           "snapshot",   4,              "tape",        4),
    (move_snapshot,                  "snapshot",   4,              "tape",        4),
    (forge_snapshot,                 "snapshot",   4,              "tape",        4),
    (swap_snapshots,                 "snapshot",   4,              "tape",        4),
    (delete_snapshot,                "snapshot",   4,              "tape",        4),
    (replace_snapshot_state_by_text, "snapshot",   4,              "tape",        4),
    (delete_all_snapshots,           "",           0,              "identical",   0),
    (flip_price,                     "",           0,              "data",        2),
    (flip_page_header,               "",           0,              "data",        2),
    (drop_data_version,              "",           0,              "data",        2),
    (change_action,                  "",           0,              "data",        2),
    (change_funding,                 "",           0,              "data",        2),
    (change_figure,                  "",           0,              "data",        2),
    (change_halt,                    "",           0,              "data",        2),
    (change_reason_of_halt,          "",           0,              "data",        2),
    (break_halts,                    "",           0,              "data",        2),
    (delete_funding,                 "",           0,              "data",        2),
    (add_later_rows,                 "",           0,              "identical",   0),
    (change_config,                  "",           0,              "config",      2),
    (change_code,                    "",           0,              "code",        2),
    (change_comment,                 "",           0,              "code",        2),
    (alter_seal_digest,              "signature",  4,              "tape",        4),
    (alter_seal_count,               "signature",  4,              "tape",        4),
    (break_seal,                     "error",      2,              "error",       2),
    (delete_seal,                    "signature",  4,              "identical",   0),
    (alter_signature,                "signature",  4,              "identical",   0),
    (delete_signature,               "signature",  4,              "identical",   0),
    (forge_everything,               "signature",  4,              "code",        2),
]
# fmt: on


@pytest.mark.parametrize(
    ("tamper", "kind", "audit_code", "verdict", "verify_code"),
    TABLE,
    ids=[row[0].__name__ for row in TABLE],
)
def test_tampering_is_found_and_classed(
    tamper: Callable[[], None], kind: str, audit_code: int, verdict: str, verify_code: int
) -> None:
    tamper()
    before = contents()

    result = run("tape", "audit", "run", "--public-key", "key.pub", "--json")
    assert result.exit_code == audit_code, result.output
    if kind == "error":
        assert len(result.stderr.splitlines()) == 1
    else:
        damage = json.loads(result.stdout)["damage"]
        assert (damage["kind"] if damage else "") == kind
        text = run("tape", "audit", "run", "--public-key", "key.pub").stdout
        assert len(text.splitlines()) == (2 if audit_code == 0 else 1)

    result = run("verify", "run", "--json")
    assert result.exit_code == verify_code, result.output
    if verdict == "error":
        assert len(result.stderr.splitlines()) == 1
    else:
        assert json.loads(result.stdout)["verdict"] == verdict

    assert contents() == before


def contents() -> dict[str, bytes]:
    return {
        str(each): each.read_bytes()
        for each in sorted(Path().rglob("*"))
        if each.is_file() and "__pycache__" not in each.parts
    }


@pytest.mark.parametrize("tamper", [flip_record, delete_record, swap_records, delete_block])
def test_damage_is_located_at_its_record(tamper: Callable[[], None]) -> None:
    """All of these begin in block 3; only the flipped record is its second one."""
    with closing(SqliteTapeReader(TAPE)) as reader:
        before = sum(each.records for each in reader.blocks() if each.number < 3)
    tamper()
    found = json.loads(run("tape", "audit", "run", "--json").stdout)["damage"]
    assert found["block"] == 3
    assert found["record"] == before + (tamper is flip_record)


@pytest.mark.parametrize("tamper", [flip_snapshot_state, move_snapshot, forge_snapshot])
def test_damaged_snapshot_is_named_and_nothing_goes_on_from_it(
    tamper: Callable[[], None],
) -> None:
    tamper()
    truncated = "DELETE FROM block WHERE number = (SELECT max(number) FROM block)"
    seal_path(TAPE).unlink()
    Path("run/metrics.json").unlink()
    change(truncated, "DELETE FROM snapshot WHERE blocks > (SELECT count(*) FROM block)")
    before = contents()
    result = run("backtest", "--resume", "run", "--quiet")
    assert result.exit_code == 4
    assert "the tape is damaged: snapshot at record " in result.stderr
    assert "snapshot 1 does not match its digest or its place" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert contents() == before
