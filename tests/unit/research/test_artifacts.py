from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import polars as pl
import pytest

from onetape.domain.errors import DataError, TryAgain
from onetape.domain.events import SessionStarted
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.timestamps import NS_PER_DAY, to_iso
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.timeline import load_timeline
from onetape.research.artifacts import (
    encode_metrics,
    load_pinned_timeline,
    load_run,
    write_artifacts,
)
from onetape.research.report import write_report
from onetape.research.run_summary import RunSummary
from onetape.tape.sqlite_store import SqliteTape
from tests.support.runs import MadeRun, make_run

FILES = ["equity.parquet", "executions.parquet", "exposures.parquet", "fills.parquet",
         "metrics.json", "orders.parquet", "report.html", "report.md",
         "round_trips.parquet"]  # fmt: skip

WRITE_ALL = """
import sys
from pathlib import Path
from onetape.research.artifacts import write_artifacts
from onetape.research.report import write_report
from tests.support.runs import make_run

run = make_run(strategies=("trend", "reversal"), bars=300, quarantined=True)
there = Path(sys.argv[1])
write_report(there, write_artifacts(there, run.timeline, run.events, digest="ab"))
"""


def digests(run_dir: Path) -> dict[str, str]:
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in run_dir.iterdir()}


def test_artifacts_of_two_processes_are_byte_identical(tmp_path: Path) -> None:
    found: list[dict[str, str]] = []
    for seed in ("1", "2"):
        there = tmp_path / seed
        there.mkdir()
        subprocess.run(
            [sys.executable, "-c", WRITE_ALL, str(there)],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        found.append(digests(there))
    assert sorted(found[0]) == FILES
    assert found[0] == found[1]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunSummary, MadeRun]:
    run = make_run(strategies=("trend", "reversal"))
    there = tmp_path_factory.mktemp("run")
    return there, write_artifacts(there, run.timeline, run.events, digest="ab" * 32), run


def test_metrics_file_is_canonical_json_of_the_summary(written) -> None:
    there, summary, _ = written
    text = (there / "metrics.json").read_text()
    metrics = json.loads(text)
    assert text.startswith('{\n  "account": {\n    "annual_return": ')
    assert list(metrics) == sorted(metrics)
    assert metrics["account"]["sharpe_ratio"] == summary.account.sharpe_ratio
    assert metrics["account"]["equity"] == float(summary.account.equity)
    assert metrics["strategies"].keys() == {"trend", "reversal"}


def test_equity_frame_ends_with_the_equity_of_the_metrics(written) -> None:
    there, summary, run = written
    frame = pl.read_parquet(there / "equity.parquet")
    account = frame.filter(pl.col("strategy").is_null())
    assert len(account) == run.timeline.slice_end.sum()
    assert frame.schema["ts"] == pl.Datetime("ns", "UTC")
    assert frame.schema["equity_minor"] == pl.Int64
    assert account["equity"][-1] == float(summary.account.equity)
    assert account["drawdown"].min() == summary.account.max_drawdown
    trend = frame.filter(pl.col("strategy") == "trend")
    assert trend["equity"][-1] == float(summary.strategies["trend"].equity)
    position = account["equity_minor"] - account["cash_minor"] - account["net_exposure_minor"]
    assert (position == 0).all()


def test_fill_and_order_frames_agree_to_the_last_unit(written) -> None:
    there, summary, run = written
    fills = pl.read_parquet(there / "fills.parquet")
    orders = pl.read_parquet(there / "orders.parquet")
    exact = fills["ticks"] * fills["lots"] * run.timeline.instruments[0].minor_per_tick_lot
    assert (fills["notional_minor"] == exact).all()
    assert fills["price"].to_list() == [ticks / 100 for ticks in fills["ticks"]]
    assert fills["fee"].sum() == pytest.approx(float(summary.account.fees))
    filled = fills.group_by("client_order_id").agg(pl.sum("lots", "fee_minor", "notional_minor"))
    joined = orders.join(filled, on="client_order_id", how="inner")
    assert (joined["filled_lots"] == joined["lots_right"]).all()
    assert (joined["fee_minor"] == joined["fee_minor_right"]).all()
    assert (joined["filled_notional_minor"] == joined["notional_minor"]).all()
    single = orders.filter(pl.col("status") == "filled").join(fills, on="client_order_id")
    assert (single["average_fill_price"] == single["price"]).all()
    denied = orders.filter(pl.col("status") == "denied")
    assert len(denied) == len(summary.projection.denied) > 0
    assert denied["client_order_id"].null_count() == len(denied)
    assert "against 0.4 of equity" in denied["reason"][0]


def test_round_trip_frame_holds_the_net_profit(written) -> None:
    there, summary, _ = written
    frame = pl.read_parquet(there / "round_trips.parquet")
    assert frame["pnl_net_minor"].sum() == int(summary.account.net_profit.scaleb(8))
    assert frame["is_open"].sum() == summary.account.open_round_trips
    assert frame.schema["duration_ns"] == pl.Int64


def test_frames_of_a_run_without_orders_keep_their_columns_and_types(written, tmp_path) -> None:
    there, _, run = written
    events = [each for each in run.events if each.type.startswith(("session", "account"))]
    write_report(tmp_path, write_artifacts(tmp_path, run.timeline, events, digest=""))
    for name in ("orders", "fills", "round_trips"):
        empty = pl.read_parquet(tmp_path / f"{name}.parquet")
        assert empty.schema == pl.read_parquet(there / f"{name}.parquet").schema
        assert len(empty) == 0


def test_write_that_fails_leaves_nothing_half_written(written, tmp_path: Path) -> None:
    _, _, run = written
    (tmp_path / "metrics.json").mkdir()
    (tmp_path / "metrics.json" / "in the way").touch()
    with pytest.raises(TryAgain, match=r"metrics\.json: can't write"):
        write_artifacts(tmp_path, run.timeline, run.events, digest="")
    assert not [each.name for each in tmp_path.iterdir() if each.name.startswith(".")]


def put_bars(catalog: Catalog, columns: BarColumns) -> None:
    catalog.write_bars(
        InstrumentId("A.X"), "1d", columns, source="made", adjustment="none", ts_ingest=0,
        replace=True,
    )  # fmt: skip


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, Catalog, MadeRun]:
    """A run directory with the tape of a run on bars of a catalog."""
    run = make_run(symbols=("A.X",), bars=40)
    catalog = Catalog(tmp_path / "catalog")
    catalog.write_instrument(make_equity("A.X"))
    put_bars(catalog, run.timeline.columns)
    start, end = (int(run.timeline.columns["ts_known"][at]) for at in (0, -1))
    clock = {"start": to_iso(start - NS_PER_DAY), "end": to_iso(end)}
    timeline = load_timeline(catalog, ["A.X"], "1d", start - NS_PER_DAY, end)
    header = run.events[0].payload
    assert isinstance(header, SessionStarted)
    config = json.dumps({"name": "made", "clock": clock})
    (tmp_path / "config.json").write_text(json.dumps({"data": {"path": str(catalog.path)}}))
    header = msgspec.structs.replace(header, config=config, datasets=list(timeline.datasets))
    run.events[0] = msgspec.structs.replace(run.events[0], payload=header)
    tape = SqliteTape.create(tmp_path / "tape.db")
    for event in run.events:
        tape.append(event.seq, event.ts_event, -1, [(event.payload, 0, 0)])
    tape.commit()
    tape.close()
    return tmp_path, catalog, MadeRun(timeline, run.events)


def test_run_loaded_from_tape_and_catalog_is_the_run_that_was_measured(stored, tmp_path) -> None:
    run_dir, _, run = stored
    loaded = load_run(run_dir)
    measured = write_artifacts(tmp_path, run.timeline, run.events, digest=loaded.digest)
    assert encode_metrics(loaded.metrics()) == encode_metrics(measured.metrics())
    assert len(loaded.digest) == 64


def test_run_stays_readable_when_its_catalog_goes_on(stored) -> None:
    run_dir, catalog, run = stored
    columns = {name: column.copy() for name, column in run.timeline.columns.items()}
    for name in ("open", "high", "low", "close"):
        columns[name] *= 2
    put_bars(catalog, columns)
    assert load_run(run_dir).account.slices == 40


def test_run_whose_bars_have_changed_is_refused(stored) -> None:
    _, catalog, run = stored
    header = run.events[0].payload
    pin = msgspec.structs.replace(header.datasets[0], content_hash="0" * 64)
    with pytest.raises(DataError, match=r"A\.X 1d version \d+ holds other bars"):
        load_pinned_timeline(msgspec.structs.replace(header, datasets=[pin]), catalog.path)


def test_run_without_tape_catalog_or_pins_is_one_clear_error(stored, tmp_path: Path) -> None:
    run_dir, catalog, run = stored
    with pytest.raises(DataError, match="there is no tape here"):
        load_run(tmp_path / "nowhere")
    header = run.events[0].payload
    with pytest.raises(DataError, match="pins no market data"):
        load_pinned_timeline(msgspec.structs.replace(header, config="{}"), catalog.path)
    catalog.path.rename(tmp_path / "moved")
    with pytest.raises(DataError, match="no catalog"):
        load_run(run_dir)
    assert load_run(run_dir, tmp_path / "moved").account.slices == 40
    (run_dir / "config.json").unlink()
    with pytest.raises(DataError, match="does not say where the catalog is"):
        load_run(run_dir)
