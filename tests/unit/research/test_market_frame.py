"""`onetape.data`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import onetape
from onetape.domain.errors import DataError
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.record_kinds import RecordKind
from tests.support.cli_data import import_wave

ACTIONS = """\
instrument,kind,ex_date,value
WAVE.SIM,split,2024-02-10,2
WAVE.SIM,cash_dividend,2024-03-01,1
"""


@pytest.fixture(autouse=True)
def _in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    import_wave(90)
    Path("actions.csv").write_text(ACTIONS)


def test_data_gives_the_bars_of_the_catalog() -> None:
    frame = onetape.data("WAVE.SIM")
    stored = Catalog(Path("data/catalog")).read_bars("WAVE.SIM", "1d")

    assert frame["close"].to_list() == stored["close"].tolist()
    assert frame["ts_open"].dtype == pl.Datetime("ns", "UTC")
    assert str(frame["ts_close"][0]) == "2024-01-02 00:00:00+00:00"
    assert onetape.data("WAVE.SIM", knowledge="then").equals(frame)


def test_data_as_of_a_moment_knows_no_later_row_and_no_later_action() -> None:
    raw = onetape.data("WAVE.SIM")["close"].to_numpy()
    before = onetape.data("WAVE.SIM", as_of="2024-02-05", adjust="split", actions="actions.csv")
    between = onetape.data("WAVE.SIM", as_of="2024-02-20", adjust="split", actions="actions.csv")
    whole = onetape.data("WAVE.SIM", adjust="total_return", actions="actions.csv")

    assert before["close"].to_list() == raw[:35].tolist()
    assert between["close"].to_list() == [*(raw[:40] / 2).tolist(), *raw[40:50].tolist()]
    factor = 1 - 1 / raw[59]
    np.testing.assert_allclose(whole["close"][:40], raw[:40] * factor / 2, rtol=1e-14)
    np.testing.assert_allclose(whole["close"][40:60], raw[40:60] * factor, rtol=1e-14)
    assert whole["close"][60:].to_list() == raw[60:].tolist()


def test_data_gives_records() -> None:
    ts = np.array([1_704_186_000_000_000_000], dtype=np.int64)
    Catalog(Path("data/catalog")).records.write(
        RecordKind.FUNDING, "WAVE.SIM", {"ts_event": ts, "rate": np.array([1e-4])},
        source="s", ts_ingest=1,
    )  # fmt: skip
    assert onetape.data("WAVE.SIM", "funding")["rate"].to_list() == [1e-4]
    assert onetape.data("WAVE.SIM", "funding", as_of="2020-01-01").is_empty()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adjust": "splits"}, "did you mean 'split'"),
        ({"adjust": "split"}, "needs corporate actions"),
        ({"as_of": "soon"}, "as_of 'soon' is not"),
        ({"timeframe": "trades", "adjust": "split"}, "neither adjusted"),
        ({"version": 7}, "there is no version 7: the newest is 0"),
    ],
)
def test_data_with_a_wrong_argument_says_which(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        onetape.data("WAVE.SIM", **options)


def test_module_has_nothing_else() -> None:
    with pytest.raises(AttributeError, match="no attribute 'dato'"):
        _ = onetape.dato  # type: ignore[attr-defined]
