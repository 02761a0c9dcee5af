"""Whatever is killed, client or server: a tape on PostgreSQL is sound up to its last block."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from onetape.domain.errors import CallAPerson, TryAgain
from onetape.tape.audit import Audit
from onetape.tape.opening import open_tape, tape_path
from onetape.tape.postgres_store import PostgresTape
from onetape.tape.sqlite_store import Durability
from onetape.tape.store import MemoryTape
from tests.support.killed_runs import make_processes, resume, run, write_run
from tests.support.postgres_server import PostgresServer, run_server
from tests.support.tape_steps import make_session

REPO = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("ONETAPE_KILL_SEED", "1"))
ORDERS = 2000
SESSION = make_session(ORDERS)


@pytest.fixture(scope="module")
def digest() -> str:
    tape = MemoryTape()
    for step in SESSION:
        tape.append(*step)
    return tape.digest


def audit(path: Path) -> Audit:
    with closing(open_tape(path)) as reader:
        return reader.audit()


# The client.

WRITE = f"""
import sys
from pathlib import Path
from onetape.tape.pointer import TapeServer
from onetape.tape.postgres_store import PostgresTape
from tests.support.tape_steps import make_session
tape = PostgresTape.create(Path(sys.argv[1]), TapeServer(url=sys.argv[2]))
for number, step in enumerate(make_session({ORDERS}), 1):
    tape.append(*step)
    tape.commit()
    if number % 10 == 0:
        print(number, flush=True)
"""


def test_client_that_is_killed_leaves_all_that_was_committed_and_another_goes_on(
    postgres: PostgresServer, tmp_path: Path, digest: str
) -> None:
    chance = random.Random(SEED)
    for number in range(3):
        path = tmp_path / f"{number}.json"
        command = [sys.executable, "-c", WRITE, str(path), postgres.server.url]
        with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randint(1, 60)):
                committed = int(writer.stdout.readline())
            time.sleep(chance.uniform(0, 0.003))
            writer.send_signal(signal.SIGKILL)
        found = audit(path)
        assert (found.damage, found.complete) == (None, False), f"seed {SEED}, kill {number}"
        assert committed <= found.records < len(SESSION)
        with closing(PostgresTape.reopen(path, found)) as tape:
            for step in SESSION[found.records :]:
                tape.append(*step)
        assert (audit(path).digest, audit(path).complete) == (digest, True)


# The server.


@pytest.fixture
def mortal() -> Iterator[PostgresServer]:
    """A server that a test kills and starts again."""
    with run_server() as server:
        yield server


def crash(server: PostgresServer) -> None:
    """End the server while the test goes on, at whatever it is doing then, and nothing is saved."""
    pid = int((server.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGQUIT)


def test_server_that_crashes_loses_nothing_that_is_to_survive_power_loss(
    mortal: PostgresServer, tmp_path: Path, digest: str
) -> None:
    chance = random.Random(SEED)
    path = tmp_path / "tape.json"
    committed = losses = 0
    with closing(PostgresTape.create(path, mortal.server, Durability.POWER_LOSS)) as tape:
        crash_at = chance.randrange(10, 1300)
        for number, step in enumerate(SESSION):
            if number == crash_at:
                crash(mortal)
            tape.append(*step)
            try:
                tape.commit()
            except TryAgain:
                losses += 1
                wait_for_the_end(mortal)
                mortal.start()
                assert committed <= audit(path).records <= committed + 1, f"seed {SEED}"
                tape.commit()
            committed += 1
    assert losses == 1
    found = audit(path)
    assert (found.damage, found.complete, found.digest) == (None, True, digest)


def test_server_that_crashes_without_that_leaves_a_sound_tape_to_go_on_with(
    mortal: PostgresServer, tmp_path: Path
) -> None:
    """Commits of the last moments may be gone: then this writer stops, and never leaves a hole."""
    path = tmp_path / "tape.json"
    tape = PostgresTape.create(path, mortal.server, Durability.PROCESS_END)
    written = write_until_lost(tape, mortal)
    wait_for_the_end(mortal)
    mortal.start()
    found = audit(path)
    assert found.damage is None
    assert 0 < found.records <= written + 1
    if found.records < written:
        with pytest.raises(CallAPerson, match="the server has lost"):
            tape.close()
    else:
        tape.close()
    found = audit(path)
    assert found.damage is None


def write_until_lost(tape: PostgresTape, server: PostgresServer) -> int:
    """Commit step by step while the server crashes; how many commits were confirmed."""
    for written, step in enumerate(SESSION * 20):
        if written == 500:
            crash(server)
        tape.append(*step)
        try:
            tape.commit()
        except TryAgain:
            return written
    raise AssertionError("the server has not crashed")


def wait_for_the_end(server: PostgresServer) -> None:
    """Of a server that crashes; then it can be started again."""
    deadline = time.monotonic() + 30
    while (server.folder / "data" / "postmaster.pid").exists():
        assert time.monotonic() < deadline, "it does not end"
        time.sleep(0.01)


# Sessions.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_run(folder, days=80)
        yield folder


def records(run_dir: Path) -> tuple[list[bytes], list[int]]:
    with closing(open_tape(tape_path(run_dir))) as reader:
        return list(reader.encoded_records()), [each.rows for each in reader.snapshots()]


def wait(process: Any) -> int:
    process.join(60)
    assert process.exitcode is not None, "it hangs"
    return int(process.exitcode)


def test_session_that_is_killed_at_its_writes_goes_on_to_the_same_bytes(
    postgres: PostgresServer, folder: Path
) -> None:
    local = folder / "busy.json"
    settings = json.loads(local.read_text())
    settings["output"]["tape"] = postgres.server.url
    remote = folder / "remote.json"
    remote.write_text(json.dumps(settings))
    processes = make_processes()

    def start(target: Any, *args: Any) -> int:
        process = processes.Process(target=target, args=args)
        process.start()
        return wait(process)

    (folder / "whole").mkdir()
    assert start(run, str(local), str(folder / "whole")) == 0
    whole = records(folder / "whole")
    assert len(whole[0]) > 60
    figures = (folder / "whole" / "metrics.json").read_bytes()
    for number, deaths in enumerate([(0, True), (3, False)]):
        run_dir = folder / f"run-{number}"
        run_dir.mkdir()
        assert start(run, str(remote), str(run_dir), deaths) == -signal.SIGKILL
        assert audit(tape_path(run_dir)).damage is None
        if number:
            assert start(resume, str(run_dir), (1, False)) == -signal.SIGKILL
        assert start(resume, str(run_dir)) == 0
        assert records(run_dir) == whole, f"killed at write {deaths}"
        assert (run_dir / "metrics.json").read_bytes() == figures
        assert not (run_dir / "tape.db").exists()


def test_session_whose_server_can_not_be_reached_is_try_again(folder: Path) -> None:
    from onetape.runtime.config import SessionConfig
    from onetape.runtime.sessions.backtest_run import run_backtest

    settings = json.loads((folder / "busy.json").read_text())
    settings["output"]["tape"] = "postgresql://nobody@127.0.0.1:1/tapes"
    config = SessionConfig.model_validate_json(json.dumps(settings))
    (folder / "nowhere").mkdir()
    with pytest.raises(TryAgain, match="the server can't be reached"):
        run_backtest(config, folder / "nowhere")
    assert not tape_path(folder / "nowhere").exists()
