from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import DataError
from onetape.tape import export
from onetape.tape.export import export_parquet
from onetape.tape.reader import SqliteTapeReader
from onetape.tape.render import event_to_json
from onetape.tape.sqlite_store import SqliteTape
from tests.support.tape_steps import make_session


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    path = tmp_path / "tape.db"
    with closing(SqliteTape.create(path)) as store:
        for step in make_session(orders=40):
            store.append(*step)
    return path


def test_export_holds_every_event_in_order(tape: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_BATCH_EVENTS", 7)
    with closing(SqliteTapeReader(tape)) as reader:
        events = [event_to_json(each) for each in reader.events()]
        count = export_parquet(reader, tape.with_name("events.parquet"))
    frame = pl.read_parquet(tape.with_name("events.parquet"))
    assert count == len(events) == frame.height == 162
    for row, event in zip(frame.rows(named=True), events, strict=True):
        event.pop("time")
        assert {**row, "payload": json.loads(row["payload"])} == event


def test_export_never_overwrites(tape: Path) -> None:
    file = tape.with_name("events.parquet")
    file.write_text("mine")
    with closing(SqliteTapeReader(tape)) as reader, pytest.raises(DataError, match="exists"):
        export_parquet(reader, file)
    assert file.read_text() == "mine"


def test_export_of_a_damaged_tape_leaves_nothing(tape: Path) -> None:
    import sqlite3

    with closing(sqlite3.connect(tape)) as file:
        file.execute("UPDATE block SET payload = x'93' WHERE number = 0")
        file.commit()
    before = sorted(tape.parent.iterdir())
    with closing(SqliteTapeReader(tape)) as reader, pytest.raises(DataError, match="fit together"):
        export_parquet(reader, tape.with_name("events.parquet"))
    assert sorted(tape.parent.iterdir()) == before


def test_export_command_writes_beside_the_tape_or_where_told(tape: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["tape", "export", str(tape.parent)])
    assert (result.exit_code, result.stdout) == (0, f"{tape.parent}/tape.parquet: 162 events\n")
    other = tmp_path / "other.parquet"
    result = CliRunner().invoke(app, ["tape", "export", str(tape), "--output", str(other)])
    assert result.exit_code == 0
    assert other.read_bytes() == (tape.parent / "tape.parquet").read_bytes()
