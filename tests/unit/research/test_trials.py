from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import DataError, StrategyError, TryAgain
from onetape.domain.events import DatasetPin
from onetape.domain.instrument import InstrumentId
from onetape.research import trials
from onetape.research.trials import (
    Study,
    Trial,
    TrialContext,
    TrialLedger,
    canonical_params,
    describe_context,
    measure_trial,
    trial_identity,
)
from onetape.strategy.library.sma_cross import SmaCross
from onetape.strategy.registry import load_strategy
from tests.support.strategies import make_source

REPO = Path(__file__).resolve().parents[3]
NAN = float("nan")
TS = 1_700_000_000_000_000_000


def make_study(**changes: object) -> Study:
    study = Study(
        strategy="sma_cross", class_name="SmaCross", instruments=("A.X", "B.X"), timeframe="1d"
    )
    return msgspec.structs.replace(study, **changes)


def make_trials_context(**changes: object) -> TrialContext:
    context = TrialContext(
        study=make_study(),
        strategy_version="1+0123456789ab",
        data_hash="d" * 64,
        ts_start=0,
        ts_end=86_400_000_000_000,
        config_hash="c" * 64,
        seed=7,
    )
    return msgspec.structs.replace(context, **changes)


def make_trial(fast: int, sharpe: float = 0.05) -> Trial:
    return Trial(params={"fast": fast, "slow": 50}, sharpe_ratio=sharpe, periods=365)


def make_pin(instrument: str, content: str = "aa", **changes: object) -> DatasetPin:
    pin = DatasetPin(
        instrument=InstrumentId(instrument), timeframe="1h", table_version=1, content_hash=content,
        rows=10, ts_first=100, ts_last=200,
    )  # fmt: skip
    return msgspec.structs.replace(pin, **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / trials.FILE_NAME


@pytest.fixture
def ledger(path: Path) -> Iterator[TrialLedger]:
    with closing(TrialLedger.open(path)) as ledger:
        yield ledger


def count(path: Path, study: Study | None = None) -> int:
    with closing(TrialLedger.open(path, create=False)) as ledger:
        return ledger.tally(study or make_study()).trials


# --- What counts together ----------------------------------------------------------------------


def test_context_names_family_dataset_and_what_was_read() -> None:
    pins = [
        make_pin("B.X", "bb", ts_first=50),
        make_pin("A.X", "aa", ts_last=300, table_version=4),
    ]
    context = describe_context("mine", SmaCross, pins, config_hash="c1", seed=3)
    assert context.study == Study(
        strategy="mine", class_name="SmaCross", instruments=("A.X", "B.X"), timeframe="1h"
    )
    assert (context.ts_start, context.ts_end) == (50, 300)
    assert (context.config_hash, context.seed) == ("c1", 3)
    assert context.strategy_version.startswith(f"{SmaCross.version}+")
    assert describe_context("mine", SmaCross, pins[::-1], config_hash="c1", seed=3) == context


def test_context_of_other_years_is_of_the_same_study_but_other_data() -> None:
    one = describe_context("s", SmaCross, [make_pin("A.X", "aa")], config_hash="c", seed=0)
    other = describe_context("s", SmaCross, [make_pin("A.X", "ab", ts_last=999)], config_hash="c",
                             seed=0)  # fmt: skip
    assert one.study == other.study
    assert one.data_hash != other.data_hash


def test_data_hash_tells_which_content_is_of_which_instrument() -> None:
    hashes = {
        describe_context("s", SmaCross, pins, config_hash="c", seed=0).data_hash
        for pins in (
            [make_pin("A.X", "aa"), make_pin("B.X", "bb")],
            [make_pin("A.X", "bb"), make_pin("B.X", "aa")],
            [make_pin("A.X", "aa")],
            [make_pin("A.X", "aa", adjustment="splits")],
        )
    }
    assert len(hashes) == 4


def test_context_without_pinned_data_says_what_to_do() -> None:
    with pytest.raises(DataError, match=r"not from a catalog.*import it into a catalog"):
        describe_context("s", SmaCross, [], config_hash="c", seed=0)


def test_family_survives_a_changed_and_a_moved_source(tmp_path: Path, ledger: TrialLedger) -> None:
    contexts = []
    for name, body in (("one.py", ""), ("one.py", "slower: int = param(3)"), ("two.py", "")):
        file = tmp_path / name
        file.write_text(make_source(body=body))
        strategy = load_strategy("mine", str(file))
        contexts.append(
            describe_context("mine", strategy, [make_pin("A.X")], config_hash="c", seed=0)
        )
    assert len({each.study for each in contexts}) == 1
    # The moved one is the same text, so the same trial; the changed one is a trial more.
    assert len({each.strategy_version for each in contexts}) == 2
    new = [ledger.append(each, [make_trial(5)], sweep="s", ts=TS) for each in contexts]
    assert new == [1, 1, 0]
    assert ledger.tally(contexts[0].study).trials == 2


# --- Identity ----------------------------------------------------------------------------------


def test_identity_is_stable() -> None:
    # A change here makes every trial of every ledger new: raise the version of the identity then.
    assert canonical_params({"slow": 50, "fast": 5, "on": True, "ä": "x", "q": 0.1}) == (
        '{"fast":5,"on":true,"q":0.1,"slow":50,"\\u00e4":"x"}'
    )
    assert trial_identity(make_trials_context(), {"fast": 5, "slow": 50}) == (
        "62316e7d15f05b3b2c25283c35dc272a4910e024a63b18fadb37739ae76b1990"
    )


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": -0.0}, {"a": 0}, True),
        ({"a": 1}, {"a": np.int64(1)}, True),
        ({"a": 0.1}, {"a": np.float64(0.1)}, True),
        ({"a": True}, {"a": np.True_}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": 0.1}, {"a": 0.2}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": float("inf")}, {"a": -float("inf")}, False),
    ],
)
def test_equal_params_are_the_same_text(one: dict, other: dict, equal: bool) -> None:
    assert (canonical_params(one) == canonical_params(other)) is equal
    context = make_trials_context()
    assert (trial_identity(context, one) == trial_identity(context, other)) is equal


VALUES = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False), st.text(max_size=5)
)


@given(
    st.dictionaries(st.text(max_size=4), VALUES, max_size=4),
    st.dictionaries(st.text(max_size=4), VALUES, max_size=4),
)
def test_params_are_the_same_text_only_when_they_are_equal(one: dict, other: dict) -> None:
    def typed(params: dict) -> dict:
        return {name: (isinstance(value, bool), value) for name, value in params.items()}

    assert (canonical_params(one) == canonical_params(other)) is (typed(one) == typed(other))


@pytest.mark.parametrize("value", [None, [1], object(), np.array([1, 2]), 1j])
def test_param_that_is_no_scalar_says_so(value: object) -> None:
    with pytest.raises(StrategyError, match=r"fast: .* is no value of a parameter"):
        canonical_params({"fast": value})


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"strategy_version": "1+ffffffffffff"}, False),
        ({"data_hash": "e" * 64}, False),
        ({"config_hash": "e" * 64}, False),
        ({"seed": 8}, False),
        ({"study": make_study(strategy="other")}, False),
        ({"study": make_study(class_name="Other")}, False),
        ({"study": make_study(instruments=("A.X",))}, False),
        ({"study": make_study(timeframe="1h")}, False),
        ({"ts_start": 1, "ts_end": 2}, True),
    ],
)
def test_identity_covers_what_decides_and_nothing_else(
    ledger: TrialLedger, changes: dict, same: bool
) -> None:
    base, changed = make_trials_context(), make_trials_context(**changes)
    params = make_trial(5).params
    assert (trial_identity(base, params) == trial_identity(changed, params)) is same
    assert ledger.append(base, [make_trial(5)], sweep="one", ts=TS) == 1
    assert ledger.append(changed, [make_trial(5)], sweep="two", ts=TS + 1) == (not same)


# --- Counting ----------------------------------------------------------------------------------


def test_sets_evaluated_again_are_no_new_trials(path: Path) -> None:
    context = make_trials_context()
    with closing(TrialLedger.open(path)) as ledger:
        first = [make_trial(fast) for fast in (5, 6, 5)]
        assert ledger.append(context, first, sweep="one", ts=TS) == 2
        # Resumed: one that is there, two that are new, and another figure does not replace the old.
        again = [make_trial(6, sharpe=9.0), make_trial(7), make_trial(8)]
        assert ledger.append(context, again, sweep="one", ts=TS + 1) == 2
    with closing(TrialLedger.open(path)) as ledger:
        assert ledger.append(context, first + again, sweep="two", ts=TS + 2) == 0
        assert ledger.append(make_trials_context(seed=1), [], sweep="three", ts=TS + 3) == 0
        recorded = list(ledger.trials(context.study))
    assert [each.trial.params["fast"] for each in recorded] == [5, 6, 7, 8]
    assert [each.sweep for each in recorded] == ["one"] * 4
    assert [each.ts for each in recorded] == [TS, TS, TS + 1, TS + 1]
    assert [each.trial.sharpe_ratio for each in recorded] == [0.05] * 4
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM context").fetchone() == (1,)


def test_tally_is_of_one_study_over_all_its_sweeps_versions_and_years(ledger: TrialLedger) -> None:
    sharpes = [0.01, 0.05, NAN, -0.02, float("inf")]
    for at, sharpe in enumerate(sharpes):
        context = make_trials_context(data_hash=str(at), strategy_version=f"{at}")
        ledger.append(context, [make_trial(5, sharpe)], sweep=f"s{at}", ts=TS)
    others = [
        make_study(strategy="other"),
        make_study(class_name="Other"),
        make_study(instruments=("A.X",)),
        make_study(timeframe="1h"),
    ]
    for at, study in enumerate(others):
        batch = [make_trial(fast, 0.5) for fast in range(at + 1)]
        ledger.append(make_trials_context(study=study), batch, sweep="x", ts=TS)
    tally = ledger.tally(make_study())
    assert (tally.trials, tally.measured) == (5, 3)
    assert tally.variance_of_sharpes == pytest.approx(np.var([0.01, 0.05, -0.02], ddof=1))
    assert [ledger.tally(study).trials for study in others] == [1, 2, 3, 4]
    unknown = ledger.tally(make_study(strategy="never"))
    assert (unknown.trials, unknown.measured) == (0, 0)
    assert np.isnan(unknown.variance_of_sharpes)


def test_studies_are_listed_with_their_counts(ledger: TrialLedger) -> None:
    assert ledger.studies() == []
    later = make_trials_context(data_hash="later")
    hourly = make_trials_context(study=make_study(timeframe="1h"))
    ledger.append(make_trials_context(), [make_trial(5, 0.1), make_trial(6, NAN)], sweep="a", ts=TS)
    without_end = make_trial(7, float("inf"))
    ledger.append(later, [make_trial(5, 0.3), without_end], sweep="b", ts=TS + 5)
    ledger.append(hourly, [make_trial(5, NAN)], sweep="c", ts=TS + 9)
    daily, other = ledger.studies()
    assert other.study == hourly.study
    assert (other.trials, other.sweeps) == (1, 1)
    assert np.isnan(other.best_sharpe_ratio)
    assert daily == trials.StudySummary(
        study=make_study(), trials=4, sweeps=2, best_sharpe_ratio=0.3, ts_first=TS, ts_last=TS + 5
    )


def test_recorded_trial_holds_all_that_was_told(ledger: TrialLedger) -> None:
    context = make_trials_context(seed=2**63 - 1)
    trial = Trial(params={"a": 1, "b": 0.1, "c": True, "d": "x"}, sharpe_ratio=1 / 3, periods=250)
    ledger.append(context, [trial], sweep="sweep", ts=TS)
    assert list(ledger.trials(context.study)) == [
        trials.RecordedTrial(
            identity=trial_identity(context, trial.params), trial=trial, context=context,
            sweep="sweep", ts=TS,
        )
    ]  # fmt: skip


def test_trial_is_measured_on_the_returns_that_are_known() -> None:
    returns = np.array([NAN, 0.01, 0.02, 0.06])
    trial = measure_trial({"fast": 5}, returns)
    assert trial.sharpe_ratio == pytest.approx(0.03 / np.std([0.01, 0.02, 0.06], ddof=1))
    assert trial.periods == 3
    assert np.isnan(measure_trial({}, np.zeros(5)).sharpe_ratio)


# --- The file ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trial SET sharpe_ratio = 1.0",
        "DELETE FROM trial",
        "UPDATE context SET data_hash = 'x'",
        "DELETE FROM context",
    ],
)
def test_ledger_only_grows(ledger: TrialLedger, path: Path, statement: str) -> None:
    ledger.append(make_trials_context(), [make_trial(5)], sweep="s", ts=TS)
    before = list(ledger.trials(make_study()))
    with (
        closing(sqlite3.connect(path)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="the trial ledger only grows"),
    ):
        connection.execute(statement)
    assert list(ledger.trials(make_study())) == before


def test_insert_or_replace_does_not_replace(ledger: TrialLedger, path: Path) -> None:
    ledger.append(make_trials_context(), [make_trial(5)], sweep="s", ts=TS)
    before = list(ledger.trials(make_study()))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT OR REPLACE INTO trial (identity, context, params, periods, sweep, ts)"
            " SELECT identity, context, params, 1, 'forged', 0 FROM trial"
        )
    assert list(ledger.trials(make_study())) == before


def test_batch_is_taken_whole_or_not_at_all(ledger: TrialLedger) -> None:
    bad = Trial(params={"fast": None}, sharpe_ratio=0.1, periods=3)
    with pytest.raises(StrategyError):
        ledger.append(make_trials_context(), [make_trial(5), bad], sweep="s", ts=TS)
    unmeasured = msgspec.structs.replace(make_trial(6), periods=None)
    with pytest.raises(DataError, match="can't be used: NOT NULL constraint failed"):
        ledger.append(make_trials_context(), [make_trial(5), unmeasured], sweep="s", ts=TS)
    assert ledger.studies() == []
    assert ledger.append(make_trials_context(), [make_trial(5)], sweep="s", ts=TS) == 1


def test_closed_ledger_is_one_file(path: Path) -> None:
    with closing(TrialLedger.open(path)) as ledger:
        ledger.append(make_trials_context(), [make_trial(5)], sweep="s", ts=TS)
        ledger.close()
    assert [each.name for each in path.parent.iterdir()] == ["trials.db"]
    assert count(path) == 1


def test_ledger_is_read_while_another_program_appends(ledger: TrialLedger, path: Path) -> None:
    ledger.append(make_trials_context(), [make_trial(5), make_trial(6)], sweep="s", ts=TS)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        other.execute("BEGIN IMMEDIATE")
        assert ledger.tally(make_study()).trials == 2


def test_ledger_is_opened_while_another_program_appends(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TrialLedger.open(path).close()
    monkeypatch.setattr(trials, "LOCK_WAIT_SECONDS", 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert count(path) == 0


def test_ledger_that_is_made_while_another_program_makes_it_is_the_same(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor() as pool:
            opening = pool.submit(lambda: TrialLedger.open(path).close())
            time.sleep(0.2)  # it has seen an empty file by now, and waits for the lock
            for statement in trials._split_statements(trials._SCHEMA):
                other.execute(statement)
            other.execute("COMMIT")
            opening.result()
    assert count(path) == 0


def test_ledger_that_others_read_gets_its_wal_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "LOCK_WAIT_SECONDS", 0.01)
    TrialLedger.open(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        assert reader.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM trial").fetchone()
        assert count(path) == 0
    with closing(TrialLedger.open(path)) as ledger:
        assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


APPEND = """
import sys
from contextlib import closing
from pathlib import Path
from onetape.research.trials import TrialLedger
from tests.unit.research.test_trials import TS, make_trial, make_trials_context
path, start, stop, step = Path(sys.argv[1]), *map(int, sys.argv[2:])
print("ready", flush=True)
sys.stdin.readline()
new = 0
for first in range(start, stop, step):
    batch = [make_trial(fast) for fast in range(first, min(first + step, stop))]
    with closing(TrialLedger.open(path)) as ledger:
        new += ledger.append(make_trials_context(), batch, sweep=f"s{start}", ts=TS)
    print(new, flush=True)
"""


def start_appending(path: Path, start: int, stop: int, step: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", APPEND, str(path), *map(str, (start, stop, step))]
    process = subprocess.Popen(
        command, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_sweeps_at_once_lose_nothing_and_count_each_set_once(path: Path) -> None:
    # All make the ledger at the same moment; their sets overlap.
    writers = [start_appending(path, 40 * at, 40 * at + 120, 3) for at in range(4)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    outputs = [writer.communicate()[0].split() for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4
    assert sum(int(output[-1]) for output in outputs) == 240
    assert count(path) == 240


def test_ledger_of_a_killed_sweep_holds_its_batches(path: Path) -> None:
    writer = start_appending(path, 0, 1_000_000, 100)
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write("go\n")
    writer.stdin.flush()
    for _ in range(5):
        done = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    found = count(path)
    assert found >= done
    assert found % 100 == 0


def test_missing_ledger_is_an_error_only_where_none_is_made(path: Path) -> None:
    with pytest.raises(DataError, match=r"trials\.db: there is no trial ledger.*sweep makes one"):
        TrialLedger.open(path, create=False)
    assert not path.parent.exists()


def test_directory_that_can_not_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(DataError, match=r"runs: the directory .* can't be used.*output\.path"):
        TrialLedger.open(tmp_path / "runs" / "trials.db")


def test_file_that_is_no_ledger_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"time,open,high,low,close\n" * 100)
    with pytest.raises(DataError, match=r"trials\.db: not a trial ledger \(no SQLite file\)"):
        TrialLedger.open(path)
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE mine (x)")
    before = path.read_bytes()
    with pytest.raises(DataError, match="not a trial ledger, but another SQLite file"):
        TrialLedger.open(path)
    assert path.read_bytes() == before


def test_ledger_of_a_newer_onetape_is_refused(path: Path) -> None:
    TrialLedger.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(DataError, match="has format 2, and this onetape reads 1"):
        TrialLedger.open(path)


@pytest.mark.parametrize("cut", ["middle", "end"])
def test_damaged_ledger_says_so(path: Path, cut: str) -> None:
    with closing(TrialLedger.open(path)) as ledger:
        batch = [make_trial(fast) for fast in range(3000)]
        ledger.append(make_trials_context(), batch, sweep="s", ts=TS)
    data = path.read_bytes()
    if cut == "end":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.write_bytes(data[:8192] + bytes(len(data) - 16_384) + data[-8192:])
    with pytest.raises(DataError, match=r"trials\.db: the trial ledger is damaged.*from a copy"):
        count(path)


def test_ledger_with_damaged_names_says_so(path: Path) -> None:
    TrialLedger.open(path).close()
    data = path.read_bytes().replace(b"trial_of_context", b"\xff" * 16)
    path.write_bytes(data.replace(b"CREATE INDEX", b"CREATE INDEY"))
    with pytest.raises(DataError, match=r"trials\.db: the trial ledger is damaged.*from a copy"):
        TrialLedger.open(path)


def test_full_disk_says_so_and_takes_nothing_of_the_batch(ledger: TrialLedger) -> None:
    context = make_trials_context()
    ledger.append(context, [make_trial(5)], sweep="s", ts=TS)
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    batch = [make_trial(fast) for fast in range(5000)]
    with pytest.raises(TryAgain, match=r"trials\.db: the disk is full; the trials are not counted"):
        ledger.append(context, batch, sweep="s", ts=TS)
    assert ledger.tally(make_study()).trials == 1
    ledger._connection.execute("PRAGMA max_page_count = 1000000")
    assert ledger.append(context, batch, sweep="s", ts=TS) == 4999


def test_locked_ledger_says_so_and_can_be_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "LOCK_WAIT_SECONDS", 0.01)
    with closing(TrialLedger.open(path)) as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(TryAgain, match="ledger is locked by another program"):
                ledger.append(make_trials_context(), [make_trial(5)], sweep="s", ts=TS)
        assert ledger.append(make_trials_context(), [make_trial(5)], sweep="s", ts=TS) == 1


@contextmanager
def unprivileged() -> Iterator[Path]:
    """A directory of a user whom the permissions of files bind, as they don't bind root."""
    nobody = 65534
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = Path(name)
        am_root = os.geteuid() == 0
        if am_root:
            os.chown(directory, nobody, nobody)
            os.seteuid(nobody)
        try:
            yield directory
        finally:
            if am_root:
                os.seteuid(0)
            directory.chmod(0o700)


def test_directory_that_must_not_be_written_says_so() -> None:
    with unprivileged() as directory:
        directory.chmod(0o500)
        with pytest.raises(DataError, match=r"trials\.db: .*can't be used: .*permissions"):
            TrialLedger.open(directory / "trials.db")
        with pytest.raises(DataError, match="directory of the trial ledger can't be used: Perm"):
            TrialLedger.open(directory / "runs" / "trials.db")


def test_ledger_that_must_not_be_written_says_so_and_loses_nothing() -> None:
    with unprivileged() as directory:
        path = directory / "trials.db"
        with closing(TrialLedger.open(path)) as ledger:
            ledger.append(make_trials_context(), [make_trial(5)], sweep="s", ts=TS)
        path.chmod(0o400)
        directory.chmod(0o500)
        with (
            pytest.raises(DataError, match=r"trials\.db: .*can't be used: .*permissions"),
            closing(TrialLedger.open(path)) as ledger,
        ):
            ledger.append(make_trials_context(), [make_trial(6)], sweep="s", ts=TS)
        directory.chmod(0o700)
        path.chmod(0o600)
        assert count(path) == 1


def test_directory_in_place_of_the_file_says_so(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(DataError, match=r"trials\.db: .*can't be used"):
        TrialLedger.open(path)
