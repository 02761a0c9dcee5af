"""Sets on several cores: every set once, whatever is slow, and whoever is killed."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import DataError, TryAgain
from onetape.research import sweep_pool
from onetape.research.sweep_pool import (
    HostRunner,
    NumberedSet,
    ProcessRunner,
    in_tiles,
    run_sets,
)
from onetape.research.sweep_worker import Params, SetResult, WorkerLost, WorkerSetup
from onetape.runtime.set_outcome import SetOutcome
from tests.support.sweep_fakes import FakeHost, make_outcome

SETUP = WorkerSetup(config="{}", position=0, version="1", datasets=())


def numbered(count: int) -> Iterator[NumberedSet]:
    return (NumberedSet(number, (number,)) for number in range(count))


def params_of(values: tuple[Any, ...]) -> dict[str, Any]:
    return {"p": values[0]}


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_every_set_is_run_once_and_keeps_its_result(workers: int) -> None:
    host = FakeHost(lambda params: make_outcome(params["p"], round_trips=params["p"]))
    found = list(run_sets(HostRunner(host), numbered(500), params_of, workers))
    assert sorted(each.number for each, _ in found) == list(range(500))
    for each, result in found:
        assert isinstance(result, SetOutcome)
        assert result.summary.round_trips == each.number
    assert sorted(asked["p"] for asked in host.asked) == list(range(500))


def test_a_set_that_cannot_be_run_says_why_and_the_others_go_on() -> None:
    def outcome(params: Params) -> SetOutcome:
        if params["p"] == 3:
            raise DataError("no such thing", where="here")
        return make_outcome()

    found = dict(run_sets(HostRunner(FakeHost(outcome)), numbered(6), params_of, 2))
    by_number = {each.number: result for each, result in found.items()}
    assert by_number.pop(3) == "here: no such thing"
    assert all(isinstance(result, SetOutcome) for result in by_number.values())


def test_a_bug_of_the_host_comes_out_and_ends_the_sweep() -> None:
    def outcome(params: Params) -> SetOutcome:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(run_sets(HostRunner(FakeHost(outcome)), numbered(6), params_of, 2))


def test_sets_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def watched() -> Iterator[NumberedSet]:
        for each in numbered(10**9):
            taken.append(each.number)
            yield each

    results = run_sets(HostRunner(FakeHost()), watched(), params_of, 2)
    assert next(results)[0].number < 4
    results.close()
    assert len(taken) < 2_000


def test_no_set_runs_far_ahead_of_one_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_pool, "SETS_AHEAD_MAX", 50)
    may_end = threading.Event()
    newest = 0

    def outcome(params: Params) -> SetOutcome:
        nonlocal newest
        if params["p"] == 5:
            may_end.wait(10)
        newest = max(newest, params["p"])
        return make_outcome()

    results = run_sets(HostRunner(FakeHost(outcome)), numbered(100_000), params_of, 3)
    seen = []
    for each, _ in results:
        seen.append(each.number)
        if len(seen) > 40 and not may_end.is_set():
            assert 5 not in seen
            may_end.set()
        if len(seen) > 1_000:
            results.close()
            break
    assert newest < 5 + 50 + 1_000 + 4 * sweep_pool.BATCH_SETS_MAX
    assert 5 in seen


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(1, 40))
def test_tiles_hold_every_set_once_and_stay_near_its_place(lengths: list[int], span: int) -> None:
    grid = itertools.product(*map(range, lengths))
    sets = [NumberedSet(number, values) for number, values in enumerate(grid)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep_pool, "TILED_SETS", span)
        found = list(in_tiles(iter(sets)))
    assert sorted(found) == sets
    assert all(at // span == each.number // span for at, each in enumerate(found))


def test_tiles_need_few_feature_columns_at_a_time() -> None:
    def computed(sets: Iterable[NumberedSet], kept: int = 20) -> int:
        """How often a host that keeps the newest columns computes one."""
        columns: OrderedDict[tuple[int, Any], None] = OrderedDict()
        count = 0
        for each in sets:
            for column in enumerate(each.values):
                count += column not in columns
                columns[column] = None
                columns.move_to_end(column)
                if len(columns) > kept:
                    columns.popitem(last=False)
        return count

    grid = itertools.product(range(32), range(32))
    sets = [NumberedSet(number, values) for number, values in enumerate(grid)]
    assert computed(sets) > 1_000
    assert computed(in_tiles(iter(sets))) < 250


class Mortal:
    """A worker that is lost at some questions."""

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.closed = False

    def run(self, batch: Sequence[Params]) -> list[SetResult]:
        if self.losses:
            self.losses -= 1
            raise WorkerLost("killed by signal 9")
        return [make_outcome(params["p"]) for params in batch]

    def close(self) -> None:
        self.closed = True


def make_runner(
    workers: list[Mortal], notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> ProcessRunner:
    waiting = iter(workers)
    monkeypatch.setattr(sweep_pool, "Worker", lambda _: next(waiting))
    return ProcessRunner(SETUP, len(workers), notes.append)


def test_the_sets_of_a_lost_worker_are_run_again_and_that_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workers, notes = [Mortal(2), Mortal(1)], []
    runner = make_runner(workers, notes, monkeypatch)
    found = list(run_sets(runner, numbered(50), params_of, 2))
    assert sorted(each.number for each, _ in found) == list(range(50))
    assert all(isinstance(result, SetOutcome) for _, result in found)
    (note,) = notes
    assert "a worker process was lost (killed by signal 9); its set is run again in a new" in note
    assert all(worker.closed for worker in workers)


def test_a_batch_that_loses_one_worker_after_the_other_ends_the_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner = make_runner([Mortal(99)], [], monkeypatch)
    with pytest.raises(TryAgain, match=r"3 worker processes in a row were lost .* at p=0"):
        list(run_sets(runner, numbered(5), params_of, 1))
