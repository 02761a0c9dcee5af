"""A process that runs sets in the Python host, and the other end of its pipe.

A process of its own rather than one of `multiprocessing`: it never imports the user's script again,
and it ends when its input ends, so a sweep that is killed leaves no process behind.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from onetape.domain.errors import (
    DataError,
    FixInput,
    InvariantBroken,
    OnetapeError,
    StrategyError,
)
from onetape.domain.events import DatasetPin
from onetape.runtime.sessions.python_host import PythonHost
from onetape.runtime.set_outcome import SetOutcome

SetResult = SetOutcome | str
"""The figures of a set, or why it could not be run."""

Params = Mapping[str, Any]

_SECONDS_TO_END = 5.0


class SetHost(Protocol):
    """What runs one set after the other: the compiled host, or the Python host."""

    def run(self, params: Params, /) -> SetOutcome:
        """The figures of one set; `params` holds every param of the strategy.

        Raises:
            OnetapeError: The set can't be run.
        """
        ...


class WorkerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker runs: a resolved configuration (JSON), which strategy of it, which data."""

    config: str
    position: int
    version: str
    datasets: tuple[DatasetPin, ...]
    action_pins: tuple[DatasetPin, ...] = ()
    universe: DatasetPin | None = None


class WorkerLost(Exception):
    """The process ended before it answered; `str` says how."""


def attempt(host: SetHost, params: Params) -> SetResult:
    """Run one set; what is wrong with it stays with it."""
    try:
        return host.run(params)
    except OnetapeError as error:
        return str(error)


class Worker:
    """Runs batches of sets in a process that is started when it is needed, and again when lost.

    Args:
        setup: What it runs.

    Attributes:
        process: The process; None before the first batch, and when it was lost.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self.process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def run(self, batch: Sequence[Params]) -> list[SetResult]:
        """The results of a batch, in order.

        Raises:
            WorkerLost: The process ended; the next batch gets a new one.
            FixInput: The process can't do with what it was given.
            InvariantBroken: Code of ours raised there.
        """
        process = self.process or self._start()
        results: list[SetResult] | str = self._ask(process, batch)
        if isinstance(results, str):
            raise InvariantBroken(f"a worker process broke down: {results}")
        return results

    def close(self) -> None:
        """End the process, whatever it does, also from another thread."""
        self._closed = True
        if self.process is not None:
            _end(self.process)

    def _start(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise WorkerLost("the sweep has ended")
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,  # Ctrl-C is for the sweep, which ends its workers
        )
        self.process = process
        if self._closed:
            _end(process)
        refusal = self._ask(process, self._setup)
        if refusal:
            raise FixInput(f"a worker process can't start: {refusal}")
        return process

    def _ask(self, process: subprocess.Popen[bytes], question: object) -> Any:
        try:
            _send(process.stdin, question)
            return _receive(process.stdout)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            self.process = None
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_TO_END)  # its pipe is closed, so it is on its way
            _end(process)
            code = process.returncode
            how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise WorkerLost(how) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()
    process.wait()


def main() -> None:
    """The process: a setup, an answer; then batches and answers, until the input ends."""
    questions = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody prints into the answers
    setup: WorkerSetup = _receive(questions)
    try:
        host = _build_host(setup)
    except OnetapeError as error:
        _send(answers, str(error))
        return
    _send(answers, "")
    while True:
        try:
            batch: list[Params] = _receive(questions)
        except EOFError:
            return
        _send(answers, _run(host, batch))


def _run(host: PythonHost, batch: Sequence[Params]) -> list[SetResult] | str:
    """The results of a batch; or what is wrong with our code."""
    try:
        return [attempt(host, params) for params in batch]
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - the edge of a process: told to the other one
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"


def _build_host(setup: WorkerSetup) -> PythonHost:
    """The host on the very data and code that the sweep began with.

    Raises:
        DataError: The catalog holds other bars by now.
        StrategyError: The strategy's source has changed.
    """
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.loading import load_market_data
    from onetape.marketdata.side_files import pinned_versions
    from onetape.runtime.config import HistoricalClock, SessionConfig
    from onetape.runtime.sessions.backtest import build_spec, build_terms

    config = SessionConfig.model_validate_json(setup.config)
    clock = config.clock
    if not isinstance(clock, HistoricalClock):
        raise FixInput("a sweep needs a historical clock", where="clock.type")
    spec = build_spec(config.strategies[setup.position])
    if spec.version != setup.version:
        raise StrategyError("its source has changed since the sweep began", where=spec.name,
                            remedy="begin a new sweep")  # fmt: skip
    timeline = load_market_data(
        Catalog(Path(config.data.path)),
        [pin.instrument for pin in setup.datasets],
        config.data.timeframe,
        clock.ts_start,
        clock.ts_end,
        {
            pin.instrument: pin.table_version
            for pin in (*setup.datasets, *([setup.universe] if setup.universe else []))
        }
        | pinned_versions(setup.action_pins, config.data.files),
        config.data.files,
        config.data.reading,
    )
    if timeline.datasets != setup.datasets:
        raise DataError("the catalog holds other bars than the sweep began with",
                        where=config.data.path, remedy="begin a new sweep")  # fmt: skip
    universe = timeline.universe.pin if timeline.universe is not None else None
    if universe != setup.universe:
        raise DataError("the universe has other members than the sweep began with",
                        where=config.data.path, remedy="begin a new sweep")  # fmt: skip
    if timeline.action_pins != setup.action_pins:
        raise DataError(
            "the files beside the catalog hold other rows than the sweep began with",
            where=", ".join(str(each) for each in config.data.files if each is not None),
            remedy="begin a new sweep",
        )
    terms = build_terms(config.execution, config.seed, timeline.instruments)
    return PythonHost(timeline, spec, terms, config.risk.limits())


def _send(pipe: IO[bytes] | None, message: object) -> None:
    if pipe is None:
        raise EOFError
    pickle.dump(message, pipe)
    pipe.flush()


def _receive(pipe: IO[bytes] | None) -> Any:
    if pipe is None:
        raise EOFError
    return pickle.load(pipe)
