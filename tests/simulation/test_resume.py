"""A backtest that is killed anywhere goes on, and ends as if nothing had happened."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from onetape.domain.errors import DataError, TryAgain
from onetape.runtime.sessions.resume import resume_backtest
from onetape.tape.reader import SqliteTapeReader
from tests.support.killed_runs import make_processes, resume, run, write_run

KILLS = int(os.environ.get("ONETAPE_KILLS", "60"))
DAYS = 400


def contents(run_dir: Path) -> dict[str, bytes]:
    """Every file of a run but the tape, whose digest stands in metrics.json, and what it took."""
    return {
        each.name: each.read_bytes()
        for each in run_dir.iterdir()
        if each.name != "tape.db" and "performance" not in each.name
    }


def wait(process: Any, seconds: float = 60.0) -> int:
    process.join(seconds)
    assert process.exitcode is not None, "it hangs"
    return int(process.exitcode)


class Whole(NamedTuple):
    """A run that was not killed, and how to make others."""

    folder: Path
    config: str
    processes: Any
    files: dict[str, bytes]
    records: list[bytes]
    snapshots: int
    begins: float
    seconds: float

    def start(self, target: Callable[..., None], *args: object) -> Any:
        process = self.processes.Process(target=target, args=args)
        process.start()
        return process

    def check(self, run_dir: Path, place: str) -> None:
        """A run that has come to its end is this one."""
        assert contents(run_dir) == self.files, place
        reader = SqliteTapeReader(run_dir / "tape.db")
        assert list(reader.encoded_records()) == self.records, place
        assert sum(1 for _ in reader.snapshots()) == self.snapshots, place
        assert reader.audit().damage is None, place
        reader.close()

    def go_on(self, run_dir: Path, *, die: tuple[int, bool] | None = None) -> Any:
        """A process that resumes a run, or begins it where nothing was written yet."""
        if (run_dir / "config.json").exists():
            return self.start(resume, str(run_dir), die)
        return self.start(run, self.config, str(run_dir), die)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        config = str(write_run(folder, DAYS))
        processes = make_processes()
        begins = seconds = 0.0
        for name in ("warm", "whole"):
            (folder / name).mkdir()
            begun = time.monotonic()
            process = processes.Process(target=run, args=(config, str(folder / name)))
            process.start()
            while not (folder / name / "config.json").exists():
                time.sleep(0.001)
            begins = time.monotonic() - begun
            assert wait(process) == 0
            seconds = time.monotonic() - begun
    reader = SqliteTapeReader(folder / "whole" / "tape.db")
    records = list(reader.encoded_records())
    snapshots = sum(1 for _ in reader.snapshots())
    reader.close()
    assert len(records) > 300
    assert snapshots > 5
    files = contents(folder / "whole")
    return Whole(folder, config, processes, files, records, snapshots, begins, seconds)


@pytest.fixture(autouse=True)
def in_the_folder(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(whole.folder)


def test_run_killed_at_random_ends_like_one_that_was_not(whole: Whole) -> None:
    seed = int(os.environ.get("ONETAPE_KILL_SEED", "1"))
    chance = random.Random(seed)
    kills = resumed = 0
    earliest, latest = 0.9 * whole.begins, whole.seconds
    for number in count():
        run_dir = whole.folder / f"run-{number}"
        run_dir.mkdir()
        for _ in range(chance.randint(1, 4)):
            resumed += (run_dir / "config.json").exists()
            process = whole.go_on(run_dir)
            time.sleep(chance.uniform(earliest, latest))
            process.kill()
            is_killed = wait(process) != 0
            kills += is_killed
            pace = 1.0  # the machine may have become faster since it was measured, or slower
            if not is_killed:
                pace = 0.8
            elif not (run_dir / "config.json").exists():
                pace = 1.1
            earliest, latest = pace * earliest, pace * latest
        place = f"seed {seed}, {kills} kills so far, {run_dir}"
        assert wait(whole.go_on(run_dir)) == 0, place
        whole.check(run_dir, place)
        if kills >= KILLS:
            break
    assert resumed > kills // 4


@pytest.mark.parametrize("after", [False, True])
def test_run_killed_at_a_write_ends_like_one_that_was_not(whole: Whole, after: bool) -> None:
    """Before or after a block or snapshot is stored; what goes on is killed at its second write."""
    for number in count(step=4):
        run_dir = whole.folder / f"write-{number}-{after}"
        run_dir.mkdir()
        if wait(whole.go_on(run_dir, die=(number, after))) == 0:
            whole.check(run_dir, f"write {number}")
            break
        wait(whole.go_on(run_dir, die=(1, not after)))
        assert wait(whole.go_on(run_dir)) == 0, f"write {number}"
        whole.check(run_dir, f"write {number}")
    assert number > 10


def test_run_that_another_process_writes_is_refused(whole: Whole) -> None:
    run_dir = whole.folder / "taken"
    run_dir.mkdir()
    assert wait(whole.go_on(run_dir, die=(4, True))) != 0
    tape = run_dir / "tape.db"
    with tape.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = tape.read_bytes()
        with pytest.raises(TryAgain, match="another process writes this tape"):
            resume_backtest(run_dir)
    assert tape.read_bytes() == before
    assert wait(whole.go_on(run_dir)) == 0
    whole.check(run_dir, "after the other process has gone")


def test_tape_that_was_killed_while_it_left_its_wal_becomes_one_file(whole: Whole) -> None:
    """The WAL is gone, and the header still says that there is one."""
    run_dir = whole.folder / "leaving"
    shutil.copytree(whole.folder / "whole", run_dir)
    connection = sqlite3.connect(run_dir / "tape.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert not (run_dir / "tape.db-wal").exists()
    assert wait(whole.go_on(run_dir)) == 0
    whole.check(run_dir, "after it left its WAL")


def test_run_whose_tape_is_damaged_is_refused(whole: Whole) -> None:
    run_dir = whole.folder / "damaged"
    run_dir.mkdir()
    assert wait(whole.go_on(run_dir, die=(6, True))) != 0
    connection = sqlite3.connect(run_dir / "tape.db")
    connection.execute("UPDATE snapshot SET state = zeroblob(length(state)) WHERE number = 0")
    connection.commit()
    connection.close()
    with pytest.raises(DataError, match="the tape is damaged: snapshot"):
        resume_backtest(run_dir)
