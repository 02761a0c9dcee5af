"""A recorded session with other code or another configuration, on the same pinned market data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from onetape.domain.errors import ConfigError
from onetape.domain.events import KillSwitchSet, SessionStarted
from onetape.domain.nearest import nearest
from onetape.runtime.config import SessionConfig, validate_document
from onetape.runtime.config_document import ConfigDocument, apply_overrides
from onetape.runtime.config_strategies import check_strategies
from onetape.runtime.sessions.backtest import (
    BLOCK_ROWS,
    OnProgress,
    Progress,
    build_spec,
    build_terms,
)
from onetape.runtime.sessions.recorded import RecordedSession, RecordFile, read_records
from onetape.tape.block import Record, decode_record

_SAME = {
    "mode": "the mode",
    "clock": "the time span",
    "data": "the market data",
}
"""Sections that have to stay: with other inputs there are no decisions to compare."""


class Other(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be other than recorded.

    Attributes:
        strategy: `FILE.py` or `FILE.py:Class` to run instead of a recorded strategy; None: none.
        replace: Which strategy that is; None: the only one.
        overrides: `key=value` each, over the recorded configuration.
    """

    strategy: str | None = None
    replace: str | None = None
    overrides: tuple[str, ...] = ()


def build_other(recorded: RecordedSession, other: Other) -> RecordedSession:
    """The session with what is to be other.

    Its header stays that of the tape, so that ids are made of the same parts on both sides.

    Raises:
        ConfigError: An override is wrong, or changes what has to stay; no or no single strategy is
            meant.
        StrategyError: The strategy can't be loaded, or refuses its params.
    """
    config = _compose(recorded.header, other)
    specs = tuple(build_spec(each) for each in config.enabled_strategies)
    return RecordedSession(
        header=recorded.header,
        config=config,
        specs=specs,
        read_market=lambda: recorded.timeline,
        terms=build_terms(config.execution, config.seed, recorded.timeline.instruments),
    )


def _compose(header: SessionStarted, other: Other) -> SessionConfig:
    values: dict[str, Any] = json.loads(header.config)
    document = ConfigDocument(values, {(): "the configuration on the tape"})
    if other.strategy is not None:
        index = _find_replaced(values["strategies"], other.replace)
        place = f"--strategy {other.strategy}"
        document.override(["strategies", str(index), "path"], json.dumps(other.strategy), place)
        document.override(["strategies", str(index), "version"], "null", place)
    elif other.replace is not None:
        raise ConfigError("--replace names the strategy that --strategy takes the place of",
                          remedy="give --strategy FILE.py too")  # fmt: skip
    for override in other.overrides:
        _check_override(override)
    apply_overrides(document, other.overrides)
    config, problems = validate_document(document)
    if config is None:
        raise problems[0]
    names = [each.name for each in config.strategies]
    recorded = [each["name"] for each in values["strategies"]]
    before = [each["name"] for each in json.loads(header.config)["strategies"]]
    if names != before or recorded != before:
        raise ConfigError(
            "decisions are compared strategy by strategy, so their names have to stay",
            where="strategies",
            remedy="run another one in its place with --strategy FILE.py",
        )
    for problem in check_strategies(config, document):
        raise problem
    return config


def _find_replaced(strategies: Sequence[dict[str, Any]], name: str | None) -> int:
    enabled = {each["name"]: at for at, each in enumerate(strategies) if each["enabled"]}
    if name is None:
        if len(enabled) > 1:
            raise ConfigError(f"the session has {len(enabled)} strategies: {', '.join(enabled)}",
                              remedy="say with --replace NAME which one is meant")  # fmt: skip
        return next(iter(enabled.values()))
    if name not in enabled:
        raise ConfigError(f"the session has no strategy {name!r}", where="--replace",
                          remedy=nearest(name, enabled))  # fmt: skip
    return enabled[name]


def _check_override(override: str) -> None:
    section = override.partition("=")[0].strip().partition(".")[0]
    if section in _SAME:
        raise ConfigError(
            f"--set {override!r} would change {_SAME[section]}, and decisions can only be compared "
            "on the same inputs",
            remedy="run `onetape backtest` with it; --until compares a part of the session",
        )
    if section in ("output", "name"):
        raise ConfigError(f"--set {override!r} decides nothing", remedy="leave it out")


def run_other(
    session: RecordedSession,
    ts_end: int,
    file: Path,
    controls: Sequence[tuple[int, KillSwitchSet]],
    on_progress: OnProgress | None = None,
) -> None:
    """Run a session into a file of records, up to the slice behind `ts_end` (ns UTC) at the least.

    `controls` are the operators' commands of the tape: inputs, as the bars are.

    Raises:
        InvariantBroken: A promise of ours does not hold.
    """
    tape = RecordFile(file)
    try:
        running = session.open(tape)
        running.expect(controls)
        ts_known = session.timeline.columns["ts_known"]
        total = len(ts_known)
        stop = int(np.searchsorted(ts_known, ts_end, side="right"))
        with session.watching():
            running.start()
            for _, end in running.cut_blocks(BLOCK_ROWS):
                running.advance(end)
                if on_progress is not None:
                    equity = 0
                    for runner in running.runners.values():
                        runner.valuation.refresh()
                        equity += runner.valuation.equity
                    on_progress(Progress(end, total, int(ts_known[end - 1]), equity))
                if end > stop:
                    break
            else:
                running.finish()
    finally:
        tape.close()


def stored_records(file: Path) -> Iterator[Record]:
    """What `run_other` has written."""
    return map(decode_record, read_records(file))
