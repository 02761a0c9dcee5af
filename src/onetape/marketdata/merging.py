"""How new bars of an instrument join those that are stored already."""

from __future__ import annotations

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.timestamps import to_iso
from onetape.marketdata.bars import BAR_COLUMNS, BarColumns, BoolArray


class MergePlan(msgspec.Struct, frozen=True, eq=False):
    """Which stored rows stay and which new rows are written."""

    keep: BoolArray
    take: BoolArray

    def merge(self, stored: BarColumns, new: BarColumns) -> BarColumns:
        """The rows afterwards, in time order."""
        both = {n: np.concatenate([stored[n][self.keep], new[n][self.take]]) for n in BAR_COLUMNS}
        order = np.argsort(both["ts_open"], kind="stable")
        return {name: column[order] for name, column in both.items()}


def plan_addition(stored: BarColumns, new: BarColumns, where: str) -> MergePlan:
    """New rows beside the stored ones; rows of the same time must be identical.

    Raises:
        DataError: New rows differ from stored ones of the same time. `where` names the data.
    """
    at = np.searchsorted(stored["ts_open"], new["ts_open"])
    at = np.minimum(at, len(stored["ts_open"]) - 1)
    same_time = stored["ts_open"][at] == new["ts_open"]
    differs = np.any([stored[name][at] != new[name] for name in BAR_COLUMNS], axis=0)
    conflict = new["ts_open"][same_time & differs]
    if len(conflict):
        raise DataError(
            f"{len(conflict)} rows from {to_iso(int(conflict[0]))} to {to_iso(int(conflict[-1]))} "
            "differ from those in the catalog, nothing was written", where=where,
            remedy="replace, to take the new ones",
        )  # fmt: skip
    return MergePlan(np.ones(len(stored["ts_open"]), dtype=np.bool_), ~same_time)


def plan_replacement(stored: BarColumns, new: BarColumns) -> MergePlan:
    """New rows instead of the stored ones from their first to their last; others stay."""
    at, first, last = stored["ts_open"], new["ts_open"][0], new["ts_open"][-1]
    return MergePlan((at < first) | (at > last), np.ones(len(new["ts_open"]), dtype=np.bool_))


def check_adjustment(
    plan: MergePlan, stored_adjustment: str, new_adjustment: str, where: str
) -> None:
    """Prices of one dataset stand on one footing.

    Adjusted prices change with every later split or dividend, so they may join stored ones only
    when rows of the same time prove that both were adjusted alike.

    Raises:
        DataError: Rows of another adjustment would stay beside the new ones, or adjusted rows
            would with no row in common. `where` names the data.
    """
    if not plan.keep.any():
        return
    if stored_adjustment != new_adjustment:
        raise DataError(
            f"stored prices have adjustment {stored_adjustment!r}, the new ones {new_adjustment!r}",
            where=where, remedy="nothing was written; replace with a file of the whole time",
        )  # fmt: skip
    proven = plan.keep.all() and not plan.take.all()
    if new_adjustment != "none" and not proven:
        raise DataError(
            "adjusted rows can't join stored ones without a row in common that is identical",
            where=where, remedy="nothing was written; replace with a file of the whole time",
        )  # fmt: skip
