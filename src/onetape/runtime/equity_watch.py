"""Peak equity and the equity at the start of the trading session, for the loss gates.

Positions only change at fills, so equity between two fills is a function of the closes alone. The
watch is brought forward when somebody asks (a gate) or when the books are about to change (a fill),
and then looks at every row it has not seen yet: exact, and free for rows without decisions.
"""

from __future__ import annotations

from itertools import accumulate, compress
from operator import mul

from onetape.domain.instrument import InstrumentId
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.ledger import Ledger
from onetape.runtime.market_state import MarketState


class EquityWatch:
    """Equity of one sub-ledger followed row by row.

    Attributes:
        peak: Highest equity so far, in minor units, at any slice end.
        session_start: Equity at the last row before the current trading session.
    """

    __slots__ = (
        "_equity",
        "_index",
        "_ledger",
        "_market",
        "_row",
        "_rows_index",
        "_slice_end",
        "peak",
        "session_start",
    )  # fmt: skip

    def __init__(
        self,
        ledger: Ledger,
        market: MarketState,
        index: dict[InstrumentId, int],
        timeline: Timeline,
    ) -> None:
        """Start flat, with the ledger's cash.

        Args:
            ledger: The books to follow.
            market: Where the marks come from.
            index: Position of each instrument in the timeline.
            timeline: Equity counts on the last row of each time alone, because between two bars
                of one time some marks are old and some are new.
        """
        self._ledger = ledger
        self._market = market
        self._index = index
        self._rows_index = timeline.instrument_index
        self._slice_end: list[bool] = timeline.slice_end.tolist()
        self._row = -1
        self._equity = ledger.cash
        self.peak = ledger.cash
        self.session_start = ledger.cash

    def advance(self) -> None:
        """Look at every row up to the market's current one, with the positions held now.

        Called before the books change, so each row is seen with the books that stood at it.
        """
        row = self._market.row
        if row <= self._row:
            return
        if len(self._index) > 1:
            self._advance_many(row)
        elif self._ledger.held:
            self._advance_one(row)
        else:
            self._advance_flat(row)
        self._row = row

    def _advance_flat(self, row: int) -> None:
        cash = self._ledger.cash
        start = self._market.session_start_between(self._row, row)
        if start >= 0:
            self.session_start = cash if start > self._row + 1 else self._equity
        self._equity = cash
        self.peak = max(self.peak, cash)

    def _advance_one(self, row: int) -> None:
        ticks = self._market.close_ticks
        (position,) = self._ledger.held.values()
        each = position.lots * position.factor
        cash = self._ledger.cash
        start = self._market.session_start_between(self._row, row)
        if start >= 0:
            known = start > self._row + 1
            self.session_start = cash + each * ticks[start - 1] if known else self._equity
        seen = ticks[self._row + 1 : row + 1]
        self.peak = max(self.peak, cash + each * (max(seen) if each > 0 else min(seen)))
        self._equity = cash + each * ticks[row]

    def _advance_many(self, row: int) -> None:
        market = self._market
        first = self._row + 1
        rows = slice(first, row + 1)
        ends = self._slice_end[rows]
        if True not in ends and market.session_start_between(self._row, row + 1) < 0:
            return  # nothing to remember of rows amid a slice
        weights = [0] * len(self._index)
        now = self._ledger.cash
        for name, position in self._ledger.held.items():
            index = self._index[name]
            weights[index] = each = position.lots * position.factor
            now += each * market.mark_ticks(index)
        held = map(weights.__getitem__, self._rows_index[rows].tolist())
        moves = map(mul, held, market.mark_changes[rows].tolist())
        moved = list(accumulate(moves, initial=0))  # since `first`, before each row and at the end
        before = now - moved[-1]
        start = market.session_start_between(self._row, row)
        if start >= 0:
            known = start > first
            self.session_start = before + moved[start - first] if known else self._equity
        at_ends = list(compress(moved[1:], ends))
        if at_ends:
            self.peak = max(self.peak, before + max(at_ends))
        self._equity = now
