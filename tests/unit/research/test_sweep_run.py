"""A whole sweep: its tables, whatever ran it and however often it was interrupted."""

from __future__ import annotations

import itertools
import json
import math
import resource
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError, DataError, StrategyError, TryAgain
from onetape.portfolio.performance_summary import PerformanceSummary
from onetape.research import sweep_run, sweep_store
from onetape.research.sweep_run import SweepInterrupted, SweepResult, run_sweep
from onetape.research.sweep_store import SweepStore
from onetape.research.trials import TrialLedger
from onetape.runtime import run_files
from onetape.runtime.set_outcome import SetOutcome
from tests.support.sweep_fakes import (
    NOW,
    FakeHost,
    Watcher,
    make_outcome,
    plan_wave,
    refuse_to_compile,
    run_fake,
)

FEW = settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)


pytestmark = pytest.mark.usefixtures("in_wave")


def tables(directory: Path) -> tuple[bytes, bytes]:
    return tuple((directory / f"{name}.parquet").read_bytes() for name in ("sets", "returns"))


def sets_of(result: SweepResult) -> pl.DataFrame:
    return pl.read_parquet(result.directory / "sets.parquet")


# What a sweep leaves behind.


def test_a_row_holds_params_every_figure_and_what_became_of_the_set() -> None:
    host = FakeHost(lambda params: make_outcome(params["fast"]))
    result = run_fake(plan_wave("fast=2:6:2", "quantity=0.5,1"), host.build)
    frame = sets_of(result)
    assert frame["set"].to_list() == list(range(6))
    assert frame["fast"].to_list() == [2, 2, 4, 4, 6, 6]
    assert frame["quantity"].to_list() == [0.5, 1.0] * 3
    row = frame.row(3, named=True)
    summary = make_outcome(4).summary
    for name in PerformanceSummary.__struct_fields__:
        value = getattr(summary, name)
        if name.startswith("ts_"):
            assert row[name] == datetime.fromtimestamp(value / 1e9, UTC)
        elif f"{name}_minor" in row:
            assert row[name] == (None if value is None else float(value))
            assert row[f"{name}_minor"] == (None if value is None else int(value * 10**8))
        elif isinstance(value, float) and math.isnan(value):
            assert math.isnan(row[name])
        else:
            assert row[name] == value
            assert type(row[name]) is type(value)
    assert (row["orders"], row["denied"], row["quarantined"], row["failed"]) == (7, 1, "", "")
    kept = pl.read_parquet(result.directory / "returns.parquet")
    assert kept["set"].to_list() == list(range(6))
    assert kept["returns"][3].to_numpy().tobytes() == make_outcome(4).returns.tobytes()


def test_the_directory_says_what_was_run() -> None:
    plan = plan_wave("fast=2:9:1", "slow=4:8:2", where="fast < 7", overrides=("seed=5",))
    result = run_fake(plan)
    assert result.directory.name == f"20240506T070809Z-sweep-sma_cross-{plan.hash[:8]}"
    assert {each.name for each in result.directory.iterdir()} == {
        "sweep.json", "config.json", "sets.parquet", "returns.parquet",
    }  # fmt: skip
    said = json.loads((result.directory / "sweep.json").read_text())
    assert said["grid"] == [
        {"name": "fast", "values": [2, 3, 4, 5, 6, 7, 8, 9]},
        {"name": "slow", "values": [4, 6, 8]},
    ]
    assert (said["where"], said["metric"], said["host"]) == ("fast < 7", "sharpe_ratio", "compiled")
    assert (said["seed"], said["strategy"]["name"]) == (5, "sma_cross")
    assert said["strategy"]["version"].startswith("1+")
    assert (said["combinations"], said["left_out"]) == (24, 9)
    assert said["sets"] == 24 - 9 - said["refused"] == len(sets_of(result)) == result.sets
    (pin,) = said["datasets"]
    assert (pin["instrument"], pin["rows"], len(pin["content_hash"])) == ("WAVE.SIM", 120, 64)
    pinned = json.loads((result.directory / "config.json").read_text())
    assert pinned["data"]["versions"] == {"WAVE.SIM": pin["table_version"]}


def test_a_param_with_the_name_of_a_figure_gets_a_prefix() -> None:
    Path("named.py").write_text(
        "from onetape.strategy.sdk import Strategy, param\n\n\n"
        "class Named(Strategy):\n"
        "    fees: float = param(1.0)\n"
        "    set: int = param(1)\n"
        "    mood: str = param('calm')\n"
        "    short: bool = param(False)\n"
    )
    plan = plan_wave(
        "fees=1,2", "set=3", "mood=calm,wild", "short=true,false",
        overrides=("strategies.0={name: named, path: named.py, capital: 1}",),
    )  # fmt: skip
    frame = sets_of(run_fake(plan, FakeHost(lambda _: make_outcome()).build))
    assert frame["param_fees"].to_list() == [1.0] * 4 + [2.0] * 4
    assert frame["param_set"].to_list() == [3] * 8
    assert frame["mood"].to_list() == ["calm", "calm", "wild", "wild"] * 2
    assert frame["short"].to_list() == [True, False] * 4
    assert frame["fees"].to_list() == [12.00000001] * 8


def test_money_beyond_int64_keeps_its_float() -> None:
    from decimal import Decimal

    host = FakeHost(lambda _: make_outcome(traded_notional=Decimal("123456789012.5")))
    row = sets_of(run_fake(plan_wave("fast=2"), host.build)).row(0, named=True)
    assert (row["traded_notional_minor"], row["traded_notional"]) == (None, 123456789012.5)


# The best sets.


def ranked(*values: float, metric: str = "sharpe", **marks: Any) -> list[int]:
    """Numbers of the best sets of a sweep whose sets have these values."""
    field = {"sharpe": "sharpe_ratio"}.get(metric, metric)

    def outcome(params: Mapping[str, Any]) -> SetOutcome:
        at = params["fast"] - 2
        if at in marks.get("failed", ()):
            raise DataError("not this one")
        made = make_outcome(at, **{field: values[at]})
        quarantined = "on_bar: no" if at in marks.get("quarantined", ()) else ""
        return SetOutcome(
            summary=made.summary, returns=made.returns, orders=0, denied=0, quarantined=quarantined
        )

    plan = plan_wave(
        f"fast=2:{len(values) + 1}:1", metric=metric, overrides=("strategies.0.params.slow=99",)
    )
    return run_fake(plan, FakeHost(outcome).build).best["set"].to_list()


NAN = float("nan")


def test_best_sets_come_first_ties_by_grid_order_undefined_last() -> None:
    assert ranked(1.0, NAN, 3.0, 3.0, -1.0, 2.0) == [2, 3, 5, 0, 4, 1]


def test_the_way_that_is_better_is_that_of_the_metric() -> None:
    assert ranked(0.3, 0.1, 0.2, metric="annual_volatility") == [1, 2, 0]
    assert ranked(-0.3, -0.1, -0.2, metric="max_drawdown") == [1, 2, 0]


def test_sets_in_which_the_strategy_raised_or_that_failed_are_never_best() -> None:
    best = ranked(9.0, 8.0, 1.0, NAN, failed=[0], quarantined=[1])
    assert best == [2, 1, 3, 0]


def test_ten_sets_are_best() -> None:
    assert ranked(*map(float, range(25))) == list(range(24, 14, -1))


def test_progress_tells_the_best_so_far() -> None:
    watcher = Watcher()
    values = {2: 1.0, 3: 5.0, 4: 3.0}
    host = FakeHost(lambda params: make_outcome(sharpe_ratio=values[params["fast"]]))
    run_fake(plan_wave("fast=2:4:1"), host.build, watcher=watcher)
    first, last = watcher.progress[0], watcher.progress[-1]
    assert (first.done, first.total, math.isnan(first.best)) == (0, 3, True)
    assert (last.done, last.total, last.best) == (3, 3, 5.0)


# The same tables, always.


@FEW
@given(data=st.data())
def test_tables_do_not_depend_on_workers_or_interruptions(
    data: st.DataObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree("runs", ignore_errors=True)
    block = data.draw(st.sampled_from([1, 5, 7, 16, 1024]), "block")
    monkeypatch.setattr(sweep_store, "BLOCK_SETS", block)
    monkeypatch.setattr(
        sweep_store, "RETURNS_SETS_MAX", data.draw(st.sampled_from([3, 20, 10_000]))
    )
    plan = plan_wave("fast=2:9:1", "slow=4:12:2", "quantity=1,2", where="fast + slow != 9")
    wanted = tables(run_fake(plan).directory)

    # Drawn at once: how often a run is interrupted hangs on the timing of its threads.
    runs = data.draw(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 60)), max_size=6), "runs")
    directory: Path | None = None
    for workers, interrupt_at in runs:
        host = FakeHost(interrupt_at=interrupt_at)
        try:
            run_fake(plan, host.build, workers=workers, resume=directory)
        except SweepInterrupted as error:
            directory = error.directory
        except KeyboardInterrupt:
            assert not list(Path("runs").glob("*sweep*/parts/*.parquet")) or directory is not None
        else:
            break
    result = run_fake(plan, resume=directory)
    assert tables(result.directory) == wanted
    assert not (result.directory / "parts").exists()


def test_a_resumed_sweep_runs_only_what_is_missing() -> None:
    plan = plan_wave()
    host = FakeHost(interrupt_at=10)
    with pytest.raises(SweepInterrupted) as caught:
        run_fake(plan, host.build)
    directory = caught.value.directory
    kept = sum(pl.read_parquet(part).height for part in (directory / "parts").iterdir())
    assert f"{kept} of {plan.counts.sets} sets are kept in {directory}" in str(caught.value)
    rest, watcher = FakeHost(), Watcher()
    result = run_fake(plan, rest.build, resume=directory, watcher=watcher)
    assert len(rest.asked) == plan.counts.sets - kept == result.ran
    assert watcher.progress[0].done == kept
    assert watcher.progress[-1].done == plan.counts.sets
    again = FakeHost()
    finished = run_fake(plan, again.build, resume=directory)
    assert (again.asked, finished.ran, finished.sets) == ([], 0, plan.counts.sets)
    assert finished.best.equals(result.best, null_equal=True)


def test_what_waits_to_be_written_is_bounded_by_number_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_run, "FLUSH_SECONDS", 1e9)
    monkeypatch.setattr(sweep_run, "FLUSH_SETS", 16)
    monkeypatch.setattr(sweep_run, "_TELL_SECONDS", -1.0)
    waiting: list[int] = []

    def look(now: sweep_run.SweepProgress) -> None:
        parts = Path("runs").glob("*sweep*/parts/[0-9]*.parquet")
        waiting.append(now.done - sum(pl.read_parquet(part).height for part in parts))

    plan = plan_wave("fast=2:98:1", overrides=("strategies.0.params.slow=99",))
    watch = sweep_run.SweepWatch(on_progress=look)
    run_sweep(plan, now=NOW, workers=1, compile_host=FakeHost().build, watch=watch)
    assert len(waiting) > 97
    assert max(waiting) == 16


def test_an_interruption_before_the_first_set_leaves_nothing() -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        run_fake(plan_wave(), FakeHost(interrupt_at=1).build)
    assert not isinstance(caught.value, SweepInterrupted)
    assert list(Path("runs").glob("*sweep*")) == []


def test_of_many_sets_every_nth_and_the_best_keep_their_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweep_store, "BLOCK_SETS", 16)
    monkeypatch.setattr(sweep_store, "RETURNS_SETS_MAX", 10)
    plan = plan_wave("fast=2:98:1", overrides=("strategies.0.params.slow=99",))
    result = run_fake(plan, FakeHost(lambda params: make_outcome(params["fast"])).build)
    kept = pl.read_parquet(result.directory / "returns.parquet")["set"].to_list()
    assert kept == sorted({*range(0, 97, 10), *result.best["set"].to_list()})
    assert len(sets_of(result)) == 97


@pytest.mark.parametrize("count", [50, 60])
def test_a_part_holds_no_more_returns_than_may_be_needed(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_store, "BLOCK_SETS", 60)
    monkeypatch.setattr(sweep_store, "RETURNS_SETS_MAX", 10)
    plan = plan_wave("fast=2:98:1", overrides=("strategies.0.params.slow=99",))
    Path("here").mkdir()
    store = SweepStore(Path("here"), plan, plan.describe([]), 40)
    store.begin("{}")
    for each in itertools.islice(store.missing(), count):
        store.add(each, make_outcome(each.number))
        if each.number == 20:
            store.flush()
    store.flush()
    frame = pl.read_parquet("here/parts/000000000.parquet")
    assert frame["set"].to_list() == list(range(count))
    needed = {*range(0, count, 10), *frame.sort("sharpe_ratio")["set"].tail(10).to_list()}
    assert set(frame.filter(pl.col("returns").is_not_null())["set"].to_list()) == needed
    assert len(needed) <= 16


def test_the_returns_that_are_kept_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_store, "RETURNS_CELLS_MAX", 4 * 120)
    plan = plan_wave("fast=2:41:1", overrides=("strategies.0.params.slow=99",))
    result = run_fake(plan)  # 120 daily bars: four sets
    kept = pl.read_parquet(result.directory / "returns.parquet")["set"].to_list()
    assert kept == sorted({0, 10, 20, 30, *result.best["set"].to_list()})


# Resuming the wrong thing.


def interrupted(*params: str, **how: Any) -> Path:
    with pytest.raises(SweepInterrupted) as caught:
        run_fake(plan_wave(*params, **how), FakeHost(interrupt_at=10).build)
    return caught.value.directory


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"where": "fast < 9"}, 'begun with where "", and now it is "fast < 9"'),
        ({"metric": "calmar"}, 'begun with metric "sharpe_ratio", and now it is "calmar_ratio"'),
        ({"overrides": ("seed=3",)}, "begun with config.seed 0, and now it is 3"),
        (
            {"overrides": ("execution.fees={model: per_order, amount: 1}",)},
            'begun with config.execution.fees.model "none", and now it is "per_order"',
        ),
        ({"params": ("fast=2:9:1", "slow=4:20:2")}, "begun with grid.0.values ["),
        ({"params": ("fast=2:10:1", "slow=4:18:2", "quantity=1")}, "begun with grid ["),
    ],
)
def test_resuming_another_sweep_says_what_differs(changed: dict[str, Any], part: str) -> None:
    directory = interrupted()
    params = changed.pop("params", ())
    with pytest.raises(ConfigError) as caught:
        run_fake(plan_wave(*params, **changed), resume=directory)
    assert part in str(caught.value)
    assert f"{directory}/sweep.json" in str(caught.value)


def test_resuming_with_a_changed_strategy_says_so() -> None:
    source = Path(__file__).parents[3] / "src/onetape/strategy/library/sma_cross.py"
    Path("mine.py").write_text(source.read_text())
    mine = ("strategies.0.path=mine.py",)
    directory = interrupted(overrides=mine)
    Path("mine.py").write_text(source.read_text() + "\n\nMORE = 1\n")
    with pytest.raises(ConfigError, match=r"begun with strategy.version \"1\+[0-9a-f]+\""):
        run_fake(plan_wave(overrides=mine), resume=directory)


def test_resuming_on_other_data_says_so() -> None:
    directory = interrupted()
    said = json.loads((directory / "sweep.json").read_text())
    said["datasets"][0]["content_hash"] = "0" * 64
    (directory / "sweep.json").write_text(json.dumps(said))
    with pytest.raises(ConfigError, match=r"begun with datasets.0.content_hash \"000000"):
        run_fake(plan_wave(), resume=directory)


def test_the_version_of_a_table_may_differ_when_its_bars_do_not() -> None:
    directory = interrupted()
    said = json.loads((directory / "sweep.json").read_text())
    said["datasets"][0]["table_version"] += 7
    (directory / "sweep.json").write_text(json.dumps(said))
    assert run_fake(plan_wave(), resume=directory).sets > 0


def test_resuming_what_is_no_sweep_says_so() -> None:
    with pytest.raises(ConfigError, match="there is no sweep to resume"):
        run_fake(plan_wave(), resume=Path("data"))


def test_a_damaged_part_is_named() -> None:
    directory = interrupted()
    (part,) = (directory / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"parts/000000000.parquet: it can't be read"):
        run_fake(plan_wave(), resume=directory)
    part.unlink()
    assert run_fake(plan_wave(), resume=directory).sets == plan_wave().counts.sets


# What goes wrong.


def test_a_full_disk_is_told_and_what_is_done_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_store, "BLOCK_SETS", 4)
    monkeypatch.setattr("onetape.research.sweep_run.FLUSH_SECONDS", 0.0)
    write, written = run_files.write_whole, []

    def fill_up(path: Path, data: bytes) -> None:
        if path.parent.name == "parts":
            written.append(path)
            if len(written) > 9:
                raise TryAgain("can't write: No space left on device", where=str(path))
        write(path, data)

    monkeypatch.setattr(sweep_store, "write_whole", fill_up)
    plan = plan_wave()
    with pytest.raises(TryAgain) as caught:
        run_fake(plan)
    monkeypatch.setattr(sweep_store, "write_whole", write)
    (directory,) = Path("runs").glob("*sweep*")
    assert "No space left on device" in str(caught.value)
    assert f"make room, then go on with --resume {directory}" in str(caught.value)
    rest = FakeHost()
    result = run_fake(plan, rest.build, resume=directory)
    assert 0 < len(rest.asked) < plan.counts.sets
    assert tables(result.directory) == tables(run_fake(plan).directory)


@contextmanager
def files_up_to(size: int) -> Generator[None]:
    """No file can grow beyond `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("size", "file"), [(30_000, "parts/0000000"), (90_000, "returns.par")])
def test_a_file_that_finds_no_room_is_named_and_can_be_written_later(
    size: int, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_store, "BLOCK_SETS", 100)
    plan = plan_wave("fast=2:401:1", overrides=("strategies.0.params.slow=999",))
    TrialLedger.open(Path("runs/trials.db")).close()
    wanted = tables(run_fake(plan).directory)
    shutil.rmtree("runs")
    with files_up_to(size), pytest.raises(TryAgain) as caught:
        run_fake(plan)
    (directory,) = Path("runs").glob("*sweep*")
    assert "File too large" in str(caught.value)
    assert f"{directory}/{file}" in str(caught.value)
    assert f"make room, then go on with --resume {directory}" in str(caught.value)
    assert list(directory.glob(".*")) == list((directory / "parts").glob(".*")) == []
    assert tables(run_fake(plan, resume=directory).directory) == wanted


def test_a_disk_full_from_the_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise TryAgain("can't write: No space left on device", where=str(path))

    monkeypatch.setattr(sweep_store, "write_whole", full)
    with pytest.raises(TryAgain, match="No space left on device"):
        run_fake(plan_wave())
    assert list(Path("runs").glob("*sweep*")) == []


def test_a_sweep_in_which_no_set_can_run_is_an_error() -> None:
    def outcome(params: Mapping[str, Any]) -> SetOutcome:
        raise DataError("no tick can hold it")

    with pytest.raises(StrategyError, match="none of the 9 sets could be run: no tick can hold it"):
        run_fake(plan_wave("fast=2:4:1", "quantity=1,2,3"), FakeHost(outcome).build)


def test_what_does_not_compile_goes_on_in_the_python_host_and_says_so_once() -> None:
    watcher = Watcher()
    plan = plan_wave("fast=2,4")
    result = run_fake(plan, refuse_to_compile, watcher=watcher)
    assert result.host == "python"
    (note,) = watcher.notes
    assert note.startswith("mine.py:12: Mine does not compile: a dict (use params); the sweep goes")
    assert len(sets_of(result)) == 2


def test_what_does_not_compile_is_an_error_where_the_compiled_host_is_asked_for() -> None:
    with pytest.raises(StrategyError, match=r"mine.py:12: Mine does not compile"):
        run_fake(plan_wave(), refuse_to_compile, host="compiled")
    assert list(Path("runs").glob("*sweep*")) == []


# Trials.


def test_every_set_is_counted_once_in_the_ledger_of_the_output_directory() -> None:
    directory = interrupted()
    run_fake(plan_wave(), resume=directory)
    more = plan_wave("fast=2:12:1", "slow=4:20:2")
    result = run_fake(more)
    ledger = TrialLedger.open(Path("runs/trials.db"), create=False)
    (study,) = ledger.studies()
    assert study.trials == more.counts.sets == result.verdict.trials
    assert study.sweeps == 2
    ledger.close()


def test_a_set_is_the_same_trial_whatever_the_configuration_has_in_its_place() -> None:
    run_fake(plan_wave("fast=2:6:1"))
    result = run_fake(plan_wave("fast=2:6:1", overrides=("strategies.0.params.fast=5",)))
    assert result.verdict.trials == 5
    dearer = plan_wave("fast=2:6:1", overrides=("execution.fees={model: per_order, amount: 1}",))
    assert run_fake(dearer).verdict.trials == 10


def test_a_set_that_could_not_be_run_is_no_trial() -> None:
    def outcome(params: Mapping[str, Any]) -> SetOutcome:
        if params["fast"] == 3:
            raise DataError("not this one")
        return make_outcome(params["fast"])

    for _ in range(2):
        result = run_fake(plan_wave("fast=2:7:1"), FakeHost(outcome).build)
        assert (result.sets, result.failed, result.verdict.trials) == (6, 1, 5)
        Path("runs/trials.db").write_text("no ledger" * 99)


def test_without_a_ledger_the_sweep_goes_on_and_says_so_once() -> None:
    Path("runs").mkdir()
    Path("runs/trials.db").write_text("this is no database, and longer than a header would be" * 9)
    watcher = Watcher()
    result = run_fake(plan_wave(), watcher=watcher)
    (note,) = watcher.notes
    assert "are not counted in the trial ledger" in note
    assert result.verdict.trials == result.sets
    assert math.isfinite(result.verdict.dsr)


# The Python host.


def test_the_python_host_gives_the_figures_of_a_backtest() -> None:
    from typer.testing import CliRunner

    from onetape.control.cli import app

    plan = plan_wave("fast=2,4", "slow=8,20", overrides=("execution.latency={mean_ms: 5}",))
    result = run_sweep(plan, now=NOW, host="python", workers=2, watch=Watcher().watch)
    for row in sets_of(result).iter_rows(named=True):
        values = {name: row[name] for name in plan.grid.names}
        overrides = ["execution.latency={mean_ms: 5}", *plan.overrides(values)]
        given = [part for each in overrides for part in ("--set", each)]
        run = CliRunner().invoke(app, ["backtest", "run.yaml", "--json", *given])
        metrics = json.loads(run.stdout)["metrics"]
        assert row["fills"] > 0
        for name in PerformanceSummary.__struct_fields__:
            if name.startswith("ts_"):
                wanted = metrics["account"]["time_" + name[3:]]
                assert row[name].strftime("%Y-%m-%dT%H:%M:%SZ") == wanted
                continue
            value = None if row[name] != row[name] else row[name]
            assert value == metrics["account"][name], name
        assert row["orders"] == sum(metrics["orders"].values())
        assert row["denied"] == sum(group["count"] for group in metrics["denied"])


def test_a_set_in_which_the_strategy_raises_is_marked_and_the_others_go_on() -> None:
    Path("raises.py").write_text(
        "from onetape.domain.market import Bar\n"
        "from onetape.strategy.context import Context\n"
        "from onetape.strategy.sdk import Strategy, param\n\n\n"
        "class Raises(Strategy):\n"
        "    at: int = param(0)\n\n"
        "    def on_bar(self, bar: Bar, ctx: Context) -> None:\n"
        "        if self.at == 3:\n"
        "            raise ValueError('no more')\n"
        "        ctx.buy(bar.instrument, 1)\n"
    )
    plan = plan_wave(
        "at=1:4:1", overrides=("strategies.0={name: raises, path: raises.py, capital: 5000}",)
    )
    result = run_sweep(plan, now=NOW, host="python", workers=1, watch=Watcher().watch)
    frame = sets_of(result)
    assert frame["quarantined"].to_list() == [
        "", "", "on_bar: ValueError: no more (raises.py:11)", "",
    ]  # fmt: skip
    assert (result.quarantined, result.failed) == (1, 0)
    assert result.best["set"].to_list()[-1] == 2
