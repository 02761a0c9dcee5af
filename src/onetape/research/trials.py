"""The trial ledger: remembers every set of parameters that was ever evaluated.

The best of many trials is good by luck alone, and how good depends on how many there were
(`overfitting.py`). A sweep does not know what was tried before it, so all of them are counted here,
in one SQLite file that only grows.

What counts together is a `Study`: a strategy family on a dataset.

| part    | is                                            | is not                         |
| ------- | --------------------------------------------- | ------------------------------ |
| family  | name and class of the strategy                | its version, params or file    |
| dataset | instruments (in any order) and length of bars | the period, content or catalog |

So a rerun over other or overlapping years, on mended data or with changed source is one more trial
of the same study; content hash, period and version are kept with it. Another name or class, one
instrument more or another length of bars begins a new study.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from onetape.domain.errors import DataError, StrategyError
from onetape.domain.events import DatasetPin
from onetape.portfolio import performance
from onetape.portfolio.performance import NAN, Floats
from onetape.research.overfitting import TrialTally, tally_sharpes
from onetape.strategy.registry import strategy_version
from onetape.strategy.sdk import Strategy
from onetape.tape.sqlite_file import SqliteWords, readable_errors

FILE_NAME = "trials.db"

LOCK_WAIT_SECONDS = 10.0
"""How long a sweep waits for another one that is appending; an append takes milliseconds."""

_APPLICATION = 0x4F545452
"""What SQLite's header says that the file is: OTTR."""
_FORMAT_VERSION = 1
_WORDS = SqliteWords(
    "trial ledger", "the trials are not counted", "move it away",
    "restore it from a copy, or move it away and count from zero",
)  # fmt: skip
_IDENTITY_VERSION = 1

_APPEND_ONLY = """
CREATE TRIGGER {table}_stays BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, 'the trial ledger only grows'); END;
CREATE TRIGGER {table}_is_kept BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, 'the trial ledger only grows'); END;
CREATE TRIGGER {table}_is_new BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE identity = NEW.identity)
BEGIN SELECT RAISE(IGNORE); END;
"""
"""A row that is there already is passed over, which keeps INSERT OR REPLACE from replacing it."""

_SCHEMA = f"""
CREATE TABLE context (
    id INTEGER PRIMARY KEY,
    identity BLOB NOT NULL UNIQUE,
    strategy TEXT NOT NULL,
    class TEXT NOT NULL,
    instruments TEXT NOT NULL,
    timeframe TEXT NOT NULL,
    strategy_version TEXT NOT NULL,
    data_hash TEXT NOT NULL,
    ts_start INTEGER NOT NULL,
    ts_end INTEGER NOT NULL,
    config_hash TEXT NOT NULL,
    seed INTEGER NOT NULL
);
CREATE TABLE trial (
    id INTEGER PRIMARY KEY,
    identity BLOB NOT NULL UNIQUE,
    context INTEGER NOT NULL REFERENCES context (id),
    params TEXT NOT NULL,
    sharpe_ratio REAL,
    periods INTEGER NOT NULL,
    sweep TEXT NOT NULL,
    ts INTEGER NOT NULL
);
CREATE INDEX trial_of_context ON trial (context);
{_APPEND_ONLY.format(table="context")}
{_APPEND_ONLY.format(table="trial")}
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_FORMAT_VERSION};
"""

_OF_STUDY = "strategy = ? AND class = ? AND instruments = ? AND timeframe = ?"


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """What trials are counted together: a strategy family on a dataset.

    Attributes:
        strategy: Name of the strategy in the configuration.
        class_name: Qualified name of its class, without the module: moving its file is no escape.
        instruments: Ids of the dataset, sorted.
        timeframe: Length of its bars.
    """

    strategy: str
    class_name: str
    instruments: tuple[str, ...]
    timeframe: str


class TrialContext(msgspec.Struct, frozen=True, kw_only=True):
    """What all trials of a sweep share; `describe_context` makes it.

    Attributes:
        study: What they count for.
        strategy_version: As the registry tells it, with the hash of the source.
        data_hash: Of the content of all bars, hex.
        ts_start: First time in the data, ns UTC; with `ts_end` for people, no part of the identity.
        ts_end: Last time in the data, ns UTC.
        config_hash: Of all else that decides (costs, risk, capital, clock), hex.
        seed: Of the session.
    """

    study: Study
    strategy_version: str
    data_hash: str
    ts_start: int
    ts_end: int
    config_hash: str
    seed: int


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluated set; `measure_trial` makes it.

    Attributes:
        params: Every param of the strategy, defaults included.
        sharpe_ratio: Of one period; NaN for a set that has none, such as one that never traded.
        periods: How many returns it was measured on.
    """

    params: Mapping[str, object]
    sharpe_ratio: float
    periods: int


class RecordedTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A trial as the ledger holds it: what, in which context, from which sweep, when (ns UTC)."""

    identity: str
    trial: Trial
    context: TrialContext
    sweep: str
    ts: int


class StudySummary(msgspec.Struct, frozen=True, kw_only=True):
    """A study in one line; `best_sharpe_ratio` is of one period, times are ns UTC."""

    study: Study
    trials: int
    sweeps: int
    best_sharpe_ratio: float
    ts_first: int
    ts_last: int


def describe_context(
    name: str,
    strategy: type[Strategy],
    datasets: Sequence[DatasetPin],
    *,
    config_hash: str,
    seed: int,
) -> TrialContext:
    """What the trials of a sweep share.

    Args:
        name: Name of the strategy in the configuration.
        strategy: Its class.
        datasets: The pins of the timeline, those of its bars first.
        config_hash: Of the configuration without the params of this strategy, which each trial has
            of its own: with them, the same set would count anew for each base configuration.
        seed: Of the session.

    Raises:
        DataError: The timeline pins no data, so that nobody could tell what was tried on what.
    """
    if not datasets:
        raise DataError(
            "the market data is not from a catalog, so its trials can't be counted",
            remedy="import it into a catalog",
        )
    contents = sorted(
        f"{pin.instrument}:{pin.timeframe}:{pin.adjustment}:{pin.content_hash}" for pin in datasets
    )
    return TrialContext(
        study=Study(
            strategy=name,
            class_name=strategy.__qualname__,
            instruments=tuple(sorted({pin.instrument for pin in datasets})),
            timeframe=datasets[0].timeframe,
        ),
        strategy_version=strategy_version(strategy),
        data_hash=hashlib.sha256("\n".join(contents).encode()).hexdigest(),
        ts_start=min(pin.ts_first for pin in datasets),
        ts_end=max(pin.ts_last for pin in datasets),
        config_hash=config_hash,
        seed=seed,
    )


def measure_trial(params: Mapping[str, object], returns: Floats) -> Trial:
    """A trial from the returns of its periods, shape (periods,); NaN ones are left out."""
    return Trial(
        params=params,
        sharpe_ratio=performance.sharpe_ratio(returns, periods_per_year=1.0),
        periods=int(np.count_nonzero(np.isfinite(returns))),
    )


def trial_identity(context: TrialContext, params: Mapping[str, object]) -> str:
    """SHA-256 (hex) of what makes a trial the same one: equal here, equal result.

    It covers study, strategy version, content of the data, configuration, seed and params; not when
    and by which sweep it was run. It is stable: canonical JSON, names sorted, a float without a
    fraction like the integer that it equals.

    Raises:
        StrategyError: A param is no number, bool or text.
    """
    return _trial_hash(_context_hash(context), canonical_params(params)).hex()


def canonical_params(params: Mapping[str, object]) -> str:
    """Params as JSON, the same text for equal params; NumPy scalars count as what they hold.

    Raises:
        StrategyError: A param is no number, bool or text.
    """
    return _canonical({name: _plain(name, params[name]) for name in params})


class TrialLedger:
    """The ledger in the file at `path`, by default `trials.db` in the configured output directory.

    Several sweeps may append at once. No error of the ledger says anything about the results of a
    sweep: the caller prints it and goes on, with `tally_sharpes` of the sweep alone in its place.
    One object belongs to the thread that opened it.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> TrialLedger:
        """The ledger at `path`; a new, empty one (and its directory) where there is none.

        Args:
            path: The file.
            create: False: a missing file is an error.

        Raises:
            DataError: The file is no ledger, is damaged, or of an unknown version; or it can't be
                made or read there.
            TryAgain: The disk is full, or another program holds a lock.
        """
        try:
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            elif not path.exists():
                raise DataError("there is no trial ledger", where=str(path),
                                remedy="a sweep makes one in its output directory")  # fmt: skip
        except OSError as error:
            raise DataError(
                f"the directory of the trial ledger can't be used: {error.strerror}",
                where=str(path.parent),
                remedy="choose another output.path",
            ) from error
        with readable_errors(path, _WORDS):
            connection = sqlite3.connect(path, timeout=LOCK_WAIT_SECONDS, isolation_level=None)
            try:
                _prepare(connection, path)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    def close(self) -> None:
        """Close the file. Closing twice does no harm."""
        self._connection.close()

    def append(self, context: TrialContext, trials: Iterable[Trial], *, sweep: str, ts: int) -> int:
        """Add trials, all of them or none; those that the ledger has already are passed over.

        Args:
            context: What they share.
            trials: Any number of them, as they are done.
            sweep: Id of the sweep that ran them.
            ts: When, ns UTC.

        Returns:
            How many were new.

        Raises:
            StrategyError: A param is no number, bool or text.
            TryAgain: The disk is full, or another program holds a lock for too long.
            DataError: The file is damaged or may not be written.
        """
        identity = _context_hash(context)
        rows = [
            (
                _trial_hash(identity, params),
                identity,
                params,
                each.sharpe_ratio if math.isfinite(each.sharpe_ratio) else None,
                each.periods,
                sweep,
                ts,
            )
            for each in trials
            for params in [canonical_params(each.params)]
        ]
        if not rows:
            return 0
        with readable_errors(self.path, _WORDS), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(
                "INSERT INTO context (identity, strategy, class, instruments, timeframe,"
                " strategy_version, data_hash, ts_start, ts_end, config_hash, seed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    identity,
                    *_key(context.study),
                    context.strategy_version,
                    context.data_hash,
                    context.ts_start,
                    context.ts_end,
                    context.config_hash,
                    context.seed,
                ),
            )
            return self._connection.executemany(
                "INSERT INTO trial (identity, context, params, sharpe_ratio, periods, sweep, ts)"
                " VALUES (?, (SELECT id FROM context WHERE identity = ?), ?, ?, ?, ?, ?)",
                rows,
            ).rowcount

    def tally(self, study: Study) -> TrialTally:
        """How many trials of a study there are, and the variance of their Sharpe ratios.

        Raises:
            DataError: The file is damaged.
            TryAgain: Another program holds a lock for too long.
        """
        with readable_errors(self.path, _WORDS):
            found = self._connection.execute(
                "SELECT sharpe_ratio FROM trial JOIN context ON context.id = context"
                f" WHERE {_OF_STUDY} ORDER BY trial.id",
                _key(study),
            ).fetchall()
        return tally_sharpes(np.array([NAN if each is None else each for (each,) in found]))

    def studies(self) -> list[StudySummary]:
        """Every study, by name; raises like `tally`."""
        with readable_errors(self.path, _WORDS):
            found = self._connection.execute(
                "SELECT strategy, class, instruments, timeframe, count(*), count(DISTINCT sweep),"
                " max(sharpe_ratio), min(ts), max(ts)"
                " FROM trial JOIN context ON context.id = context"
                " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
            ).fetchall()
        return [
            StudySummary(
                study=_study(*key),
                trials=trials,
                sweeps=sweeps,
                best_sharpe_ratio=NAN if best is None else best,
                ts_first=first,
                ts_last=last,
            )
            for *key, trials, sweeps, best, first, last in found
        ]

    def trials(self, study: Study) -> Iterator[RecordedTrial]:
        """The trials of a study in the order in which they came; raises like `tally`."""
        with readable_errors(self.path, _WORDS):
            for row in self._connection.execute(
                "SELECT hex(trial.identity), params, sharpe_ratio, periods, sweep, ts,"
                " strategy_version, data_hash, ts_start, ts_end, config_hash, seed"
                " FROM trial JOIN context ON context.id = context"
                f" WHERE {_OF_STUDY} ORDER BY trial.id",
                _key(study),
            ):
                identity, params, sharpe, periods, sweep, ts, version, data, *rest = row
                ts_start, ts_end, config_hash, seed = rest
                yield RecordedTrial(
                    identity=identity.lower(),
                    trial=Trial(
                        params=json.loads(params),
                        sharpe_ratio=NAN if sharpe is None else sharpe,
                        periods=periods,
                    ),
                    context=TrialContext(
                        study=study,
                        strategy_version=version,
                        data_hash=data,
                        ts_start=ts_start,
                        ts_end=ts_end,
                        config_hash=config_hash,
                        seed=seed,
                    ),
                    sweep=sweep,
                    ts=ts,
                )


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in an empty file; two programs may both try."""
    if _is_empty(connection):
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if _is_empty(connection):
                for statement in _split_statements(_SCHEMA):
                    connection.execute(statement)
    application, version = (
        connection.execute(f"PRAGMA {each}").fetchone()[0]
        for each in ("application_id", "user_version")
    )
    if application != _APPLICATION:
        raise DataError("not a trial ledger, but another SQLite file", where=str(path),
                        remedy="move it away")  # fmt: skip
    if version != _FORMAT_VERSION:
        raise DataError(
            f"the trial ledger has format {version}, and this onetape reads {_FORMAT_VERSION}",
            where=str(path),
            remedy="use the onetape that wrote it",
        )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        # Another program is at it; whoever opens the ledger alone next changes the mode.
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise


def _is_empty(connection: sqlite3.Connection) -> bool:
    return not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _split_statements(script: str) -> Iterator[str]:
    """The statements of a script: `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _key(study: Study) -> tuple[str, str, str, str]:
    return study.strategy, study.class_name, _canonical(study.instruments), study.timeframe


def _study(strategy: str, class_name: str, instruments: str, timeframe: str) -> Study:
    return Study(
        strategy=strategy,
        class_name=class_name,
        instruments=tuple(json.loads(instruments)),
        timeframe=timeframe,
    )


def _context_hash(context: TrialContext) -> bytes:
    parts = (
        _IDENTITY_VERSION,
        *_key(context.study),
        context.strategy_version,
        context.data_hash,
        context.config_hash,
        context.seed,
    )
    return hashlib.sha256(_canonical(parts).encode()).digest()


def _trial_hash(context: bytes, params: str) -> bytes:
    return hashlib.sha256(context + params.encode()).digest()


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _plain(name: str, value: object) -> bool | int | float | str:
    scalar: object = value.item() if isinstance(value, np.generic) else value
    if isinstance(scalar, float) and scalar.is_integer():
        return int(scalar)
    if isinstance(scalar, bool | int | float | str):
        return scalar
    raise StrategyError(
        f"{scalar!r} is no value of a parameter", where=name, remedy="give a number, bool or text"
    )
