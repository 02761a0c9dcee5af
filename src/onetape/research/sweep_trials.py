"""The sets of a sweep in the trial ledger, and how much of its best result is luck."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onetape.domain.errors import OnetapeError
from onetape.domain.timestamps import from_iso
from onetape.research.overfitting import OverfittingVerdict, TrialTally, judge, tally_sharpes
from onetape.research.sweep_frame import NUMBER, RETURNS
from onetape.research.sweep_plan import SweepPlan
from onetape.research.sweep_pool import NumberedSet
from onetape.research.sweep_worker import SetResult
from onetape.research.trials import FILE_NAME, Trial, TrialLedger, describe_context, measure_trial
from onetape.runtime.config import decision_json

if TYPE_CHECKING:
    import polars as pl

    from onetape.domain.events import DatasetPin
    from onetape.research.sweep_store import SweepStore

COMPARED_SETS_MAX = 2_000
"""Sets that the probability of backtest overfitting is computed from: every n-th of the grid."""


class SweepTrials:
    """Counts the sets of a sweep in the ledger of its output directory.

    A ledger that can't be used is told about once, and the sweep goes on without it.

    Args:
        plan: What is run.
        datasets: The data that it runs on.
        sweep: Name of the sweep's directory.
        now: When it is run.
        on_note: Told what is wrong with the ledger.
    """

    def __init__(
        self,
        plan: SweepPlan,
        datasets: tuple[DatasetPin, ...],
        sweep: str,
        now: datetime,
        on_note: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._sweep = sweep
        self._ts = from_iso(now.isoformat())
        self._on_note = on_note
        self._waiting: list[Trial] = []
        self._ledger: TrialLedger | None = None
        self._context = describe_context(
            plan.strategy.name,
            plan.kind,
            datasets,
            config_hash=_hash_without_params(plan),
            seed=plan.config.seed,
        )
        try:
            self._ledger = TrialLedger.open(Path(plan.config.output.path) / FILE_NAME)
        except OnetapeError as error:
            self._give_up(error)

    def add(self, each: NumberedSet, result: SetResult) -> None:
        """Take the result of a set; one that could not be run is no trial."""
        if self._ledger is not None and not isinstance(result, str):
            self._waiting.append(measure_trial(self._plan.params(each.values), result.returns))

    def flush(self) -> None:
        """Write what is new into the ledger."""
        if self._ledger is None:
            return
        try:
            self._ledger.append(self._context, self._waiting, sweep=self._sweep, ts=self._ts)
        except OnetapeError as error:
            self._give_up(error)
        self._waiting.clear()

    def tally(self) -> TrialTally | None:
        """All trials of this strategy on these instruments, those of earlier sweeps included.

        None without a ledger.
        """
        if self._ledger is None:
            return None
        try:
            return self._ledger.tally(self._context.study)
        except OnetapeError as error:
            self._give_up(error)
            return None

    def close(self) -> None:
        """Close the ledger."""
        if self._ledger is not None:
            self._ledger.close()

    def _give_up(self, error: OnetapeError) -> None:
        self.close()
        self._ledger = None
        self._on_note(f"the sets of this sweep are not counted in the trial ledger: {error}")


def judge_best(
    store: SweepStore, best: pl.DataFrame, tally: TrialTally | None
) -> OverfittingVerdict:
    """Weigh the best set of a finished sweep against all that were tried.

    Args:
        store: The tables of the sweep.
        best: Its best sets, best first.
        tally: Of the ledger; None: this sweep alone counts.
    """
    import polars as pl

    first = best.row(0, named=True)
    kept = pl.scan_parquet(store.returns_path)
    count = int(kept.select(pl.len()).collect().item())
    step = store.stride * -(-count // COMPARED_SETS_MAX)
    shown = kept.filter((pl.col(NUMBER) % step == 0) | (pl.col(NUMBER) == first[NUMBER])).collect()
    returns = np.stack([each.to_numpy() for each in shown[RETURNS]], axis=1)
    at = shown[NUMBER].to_list().index(first[NUMBER])
    if tally is None:
        evaluated = pl.scan_parquet(store.sets_path).filter(pl.col("failed") == "")
        sharpes = evaluated.select("sharpe_ratio").collect()["sharpe_ratio"].to_numpy()
        tally = tally_sharpes(sharpes / np.sqrt(first["periods_per_year"]))
    return judge(returns[:, at], tally, returns, periods_per_year=first["periods_per_year"])


def _hash_without_params(plan: SweepPlan) -> str:
    """SHA-256 of what decides besides the params and the content of the data."""
    values: dict[str, Any] = json.loads(decision_json(plan.config))
    values["strategies"] = [values["strategies"][plan.position]]
    del values["strategies"][0]["params"], values["data"]["versions"]
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
