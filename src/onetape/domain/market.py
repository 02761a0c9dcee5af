"""Market events: what the world tells us.

In memory bars live in columns (`BarBlock`), and a `Bar` is one row of a block: building one costs
three references, and only the fields that somebody reads are ever turned into Python numbers.
A live bar is a row of a block of one. Trade prints live in columns too (`TradeBlock`); strategies
hear them as `TradeTick`, and the venue meets each as a bar of one price and one nanosecond.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, IntEnum, IntFlag
from itertools import repeat
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.instrument import InstrumentId


class Quality(IntFlag):
    """What is known to be doubtful about a market event; zero is good."""

    GOOD = 0
    REPAIRED = 1
    SUSPECT = 2
    GAP_BEFORE = 4
    LATE = 8


BAR_INT_COLUMNS = ("ts_open", "ts_close", "ts_known", "session_close", "quality")
BAR_FLOAT_COLUMNS = ("open", "high", "low", "close", "volume")
TRADE_INT_COLUMNS = ("ts_event", "ts_known", "session_close", "aggressor")
TRADE_FLOAT_COLUMNS = ("price", "size")
QUOTE_INT_COLUMNS = ("ts_event", "ts_known", "session_close")
QUOTE_FLOAT_COLUMNS = ("bid", "ask", "bid_size", "ask_size")
DELTA_INT_COLUMNS = ("ts_event", "ts_known", "session_close", "is_bid", "update_id")
DELTA_FLOAT_COLUMNS = ("price", "size")
TICK_INT_COLUMNS = (
    "ts_event", "ts_known", "session_close", "what", "side", "update_id", "is_whole",
)  # fmt: skip
TICK_FLOAT_COLUMNS = ("price", "size", "bid", "ask", "bid_size", "ask_size")

TRADES = "trades"
"""What stands for the timeframe where the rows are trade prints."""

QUOTES = "quotes"
"""What stands for the timeframe where the rows are quotes, or quotes and trade prints."""

BOOK = "book"
"""What stands for it where the rows are changes of the depth, or those and trade prints."""


class BarBlock:
    """Columns of consecutive bars in the order of the timeline.

    Args:
        instruments: Instrument of each row, or the one instrument of all rows.
        columns: `ts_open`, `ts_close`, `ts_known`, `session_close` (int64 ns UTC), `quality`
            (int64 flags), `open`, `high`, `low`, `close`, `volume` (float64), all of shape (rows,).
            `session_close` is the end of the trading session that the bar belongs to.
        source: Where the data came from (provenance).
        timeframe: Text such as `1m` or `1d`.

    Each column is also an attribute: a list of Python numbers, made on first use.
    """

    ts_open: list[int]
    ts_close: list[int]
    ts_known: list[int]
    session_close: list[int]
    quality: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]

    _listed: ClassVar[frozenset[str]] = frozenset(BAR_INT_COLUMNS + BAR_FLOAT_COLUMNS)

    def __init__(
        self,
        instruments: InstrumentId | Sequence[InstrumentId],
        columns: dict[str, npt.NDArray[Any]],
        source: str,
        timeframe: str,
    ) -> None:
        self.instruments = instruments
        self.columns = columns
        self.source = source
        self.timeframe = timeframe

    def __getattr__(self, name: str) -> list[Any]:
        if name not in self._listed:
            raise AttributeError(name)
        values = self.columns[name].tolist()
        setattr(self, name, values)
        return values

    def __len__(self) -> int:
        return len(self.columns["ts_known"])

    def bar(self, row: int) -> Bar:
        """The bar at `row`."""
        instruments = self.instruments
        if not isinstance(instruments, str):
            instruments = instruments[row]
        return Bar(InstrumentId(instruments), self, row)

    def event(self, row: int) -> RowEvent:
        """What strategies hear of `row`."""
        return self.bar(row)

    def bars(self, start: int = 0) -> Iterator[Bar]:
        """The bars from `start` on."""
        return map(Bar, self._owners(start), repeat(self), range(start, len(self)))

    def events(self, start: int = 0) -> Iterator[RowEvent]:
        """What strategies hear of the rows from `start` on."""
        return self.bars(start)

    def _owners(self, start: int) -> Iterable[InstrumentId]:
        """Instrument of each row from `start` on."""
        instruments = self.instruments
        if isinstance(instruments, str):
            return repeat(InstrumentId(instruments))
        return instruments[start:]


class TradeBlock(BarBlock):
    """Columns of consecutive trade prints in the order of the timeline.

    A row is heard as a `TradeTick`; its `bar` has one price and lasts the nanosecond that ends at
    the print.

    Args:
        instruments: Instrument of each row, or the one instrument of all rows.
        columns: `TRADE_INT_COLUMNS` (int64), `TRADE_FLOAT_COLUMNS` (float64), and those of the
            bars that the prints are matched as; all of shape (rows,). `quality` (int64 flags) where
            any print has one.
        source: Where the data came from (provenance).
        timeframe: `TRADES`.
    """

    ts_event: list[int]
    aggressor: list[int]
    price: list[float]
    size: list[float]

    _listed = BarBlock._listed.union(TRADE_INT_COLUMNS, TRADE_FLOAT_COLUMNS)

    def event(self, row: int) -> TradeTick:
        """The print at `row`."""
        instruments = self.instruments
        if not isinstance(instruments, str):
            instruments = instruments[row]
        return TradeTick(
            InstrumentId(instruments), self.ts_event[row], self.ts_known[row], self.price[row],
            self.size[row], _AGGRESSORS[self.aggressor[row]], source=self.source,
            quality=self.quality[row] if "quality" in self.columns else 0,
        )  # fmt: skip

    def events(self, start: int = 0) -> Iterator[TradeTick]:
        """The prints from `start` on."""
        if "quality" in self.columns:
            return map(self.event, range(start, len(self)))
        return map(
            TradeTick, self._owners(start), self.ts_event[start:], self.ts_known[start:],
            self.price[start:], self.size[start:],
            map(_AGGRESSORS.__getitem__, self.aggressor[start:]), repeat(""), repeat(self.source),
        )  # fmt: skip


class TickKind(IntEnum):
    """What a row of a `TickBlock` is."""

    QUOTE = 0
    PRINT = 1
    DELTA = 2


_QUOTE, _PRINT = TickKind.QUOTE.value, TickKind.PRINT.value


class TickBlock(BarBlock):
    """Columns of consecutive quotes or changes of the depth, with the prints between them.

    A row is heard as a `QuoteTick`, `BookDelta` or `TradeTick`. The best bid and ask that stand
    behind it are columns of every row, as they were behind the last whole update: 0.0 with size 0.0
    where a side is empty.

    Args:
        instruments: Instrument of each row, or the one instrument of all rows.
        columns: `TICK_INT_COLUMNS` (int64), `TICK_FLOAT_COLUMNS` (float64) and those of a bar that
            lasts the nanosecond before the row, at its mark; all of shape (rows,). `what` is a
            `TickKind`; `side` the aggressor of a print, 1 for a bid and -1 for an ask of a change;
            `is_whole` 0 where more of the same update follows. `quality` (int64 flags) where any
            row has one.
        source: Where the data came from (provenance).
        timeframe: `QUOTES` or `BOOK`.
    """

    ts_event: list[int]
    what: list[int]
    side: list[int]
    update_id: list[int]
    is_whole: list[int]
    price: list[float]
    size: list[float]
    bid: list[float]
    ask: list[float]
    bid_size: list[float]
    ask_size: list[float]

    _listed = BarBlock._listed.union(TICK_INT_COLUMNS, TICK_FLOAT_COLUMNS)

    def event(self, row: int) -> QuoteTick | TradeTick | BookDelta:
        """The quote, print or change at `row`."""
        event = self._make(row)
        if "quality" in self.columns:
            return msgspec.structs.replace(event, quality=self.quality[row])
        return event

    def _make(self, row: int) -> QuoteTick | TradeTick | BookDelta:
        """The event without its flags."""
        instruments = self.instruments
        if not isinstance(instruments, str):
            instruments = instruments[row]
        instrument = InstrumentId(instruments)
        ts_event, ts_known = self.ts_event[row], self.ts_known[row]
        what = self.what[row]
        if what == _QUOTE:
            return QuoteTick(
                instrument=instrument, ts_event=ts_event, ts_known=ts_known, bid=self.bid[row],
                ask=self.ask[row], bid_size=self.bid_size[row], ask_size=self.ask_size[row],
                source=self.source,
            )  # fmt: skip
        if what == _PRINT:
            return TradeTick(
                instrument, ts_event, ts_known, self.price[row], self.size[row],
                _AGGRESSORS[self.side[row]], source=self.source,
            )  # fmt: skip
        return BookDelta(
            instrument=instrument, ts_event=ts_event, ts_known=ts_known,
            is_bid=self.side[row] > 0, price=self.price[row], size=self.size[row],
            update_id=self.update_id[row], source=self.source,
        )  # fmt: skip

    def events(self, start: int = 0) -> Iterator[QuoteTick | TradeTick | BookDelta]:
        """The quotes, prints and changes from `start` on."""
        make = self.event if "quality" in self.columns else self._make
        return map(make, range(start, len(self)))


class Bar(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Open, high, low, close and volume of `[ts_open, ts_close)`. Prices float64 in currency."""

    instrument: InstrumentId
    _block: BarBlock
    _row: int

    @property
    def ts_open(self) -> int:
        """Start of the interval, ns UTC."""
        return self._block.ts_open[self._row]

    @property
    def ts_close(self) -> int:
        """End of the interval (exclusive), ns UTC."""
        return self._block.ts_close[self._row]

    @property
    def ts_event(self) -> int:
        """When it became true at its source: the close, ns UTC."""
        return self._block.ts_close[self._row]

    @property
    def ts_known(self) -> int:
        """When this system could know it, ns UTC."""
        return self._block.ts_known[self._row]

    @property
    def session_close(self) -> int:
        """End of the trading session this bar belongs to, ns UTC."""
        return self._block.session_close[self._row]

    @property
    def open(self) -> float:
        """First price."""
        return self._block.open[self._row]

    @property
    def high(self) -> float:
        """Highest price."""
        return self._block.high[self._row]

    @property
    def low(self) -> float:
        """Lowest price."""
        return self._block.low[self._row]

    @property
    def close(self) -> float:
        """Last price."""
        return self._block.close[self._row]

    @property
    def volume(self) -> float:
        """Traded quantity, in units of the instrument."""
        return self._block.volume[self._row]

    @property
    def vwap(self) -> float:
        """Volume-weighted price; NaN where the data has none."""
        column = self._block.columns.get("vwap")
        return math.nan if column is None else column.item(self._row)

    @property
    def quality(self) -> Quality:
        """What is doubtful about it."""
        return Quality(self._block.quality[self._row])

    @property
    def source(self) -> str:
        """Where it came from."""
        return self._block.source

    @property
    def timeframe(self) -> str:
        """Length of the interval as text, such as `1m`."""
        return self._block.timeframe

    def values(self) -> tuple[int, int, int, float, float, float, float, float]:
        """(ts_open, ts_close, session_close, open, high, low, close, volume).

        Taken one by one, which is cheaper than the properties where few bars of a block are read.
        """
        columns, row = self._block.columns, self._row
        return (
            columns["ts_open"].item(row), columns["ts_close"].item(row),
            columns["session_close"].item(row), columns["open"].item(row),
            columns["high"].item(row), columns["low"].item(row), columns["close"].item(row),
            columns["volume"].item(row),
        )  # fmt: skip

    def reach(self) -> tuple[int, float, float, float]:
        """(ts_open, open, high, low), as `values`: all that tells whether a limit is reached."""
        columns, row = self._block.columns, self._row
        return (
            columns["ts_open"].item(row), columns["open"].item(row), columns["high"].item(row),
            columns["low"].item(row),
        )  # fmt: skip

    def read(self, column: str) -> Any:
        """One value of a further column of its block, as a Python number."""
        return self._block.columns[column].item(self._row)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Bar)
            and self.instrument == other.instrument
            and self.values() == other.values()
        )

    def __hash__(self) -> int:
        return hash((self.instrument, self.values()))

    def __repr__(self) -> str:
        return f"Bar{(self.instrument, *self.values())!r}"


def make_bar(
    instrument: str,
    *,
    ts_open: int,
    ts_close: int,
    open: float,  # noqa: A002
    high: float,
    low: float,
    close: float,
    volume: float,
    ts_known: int | None = None,
    session_close: int | None = None,
    quality: Quality = Quality.GOOD,
    source: str = "",
    timeframe: str = "",
) -> Bar:
    """One bar on its own, as a live feed delivers it."""
    ints = (ts_open, ts_close, ts_close if ts_known is None else ts_known,
            ts_close if session_close is None else session_close, int(quality))  # fmt: skip
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.array([value], dtype=np.int64)
        for name, value in zip(BAR_INT_COLUMNS, ints, strict=True)
    }
    for name, value in zip(BAR_FLOAT_COLUMNS, (open, high, low, close, volume), strict=True):
        columns[name] = np.array([value], dtype=np.float64)
    identity = InstrumentId(instrument)
    return Bar(identity, BarBlock(identity, columns, source, timeframe), 0)


class TimeSlice(msgspec.Struct, frozen=True):
    """All bars of one close time have arrived. `bars` is in the order of the timeline."""

    ts_known: int
    bars: tuple[Bar, ...]


class QuoteTick(
    msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True, tag="market.quote"
):
    """Best bid and ask with sizes in units of the instrument."""

    instrument: InstrumentId
    ts_event: int
    ts_known: int
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    source: str = ""
    ts_ingest: int = 0
    quality: int = 0


class AggressorSide(IntEnum):
    """Who crossed the spread in a public print."""

    BUYER = 1
    SELLER = -1
    UNKNOWN = 0


_AGGRESSORS = {each.value: each for each in AggressorSide}


class TradeTick(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="market.trade"):
    """A public print.

    Price in currency, size in units of the instrument.
    """

    instrument: InstrumentId
    ts_event: int
    ts_known: int
    price: float
    size: float
    aggressor: AggressorSide = AggressorSide.UNKNOWN
    trade_id: str = ""
    source: str = ""
    ts_ingest: int = 0
    quality: int = 0


class BookDelta(
    msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True, tag="market.book"
):
    """New size of one price level; zero removes it. `update_id` is the venue's sequence."""

    instrument: InstrumentId
    ts_event: int
    ts_known: int
    is_bid: bool
    price: float
    size: float
    update_id: int = 0
    source: str = ""
    ts_ingest: int = 0
    quality: int = 0


FUNDING_RATE_MAX = 0.09
"""Below it a funding rate stays; venues cap theirs at a few percent."""


RowEvent = Bar | QuoteTick | TradeTick | BookDelta
"""What strategies hear of a row of a timeline."""


class FundingRate(
    msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True, tag="market.funding"
):
    """Funding paid by longs to shorts at `ts_event`, as a fraction of notional.

    `mark` is the venue's price for the notional; 0: the newest mark.
    """

    instrument: InstrumentId
    ts_event: int
    ts_known: int
    rate: float
    source: str = ""
    ts_ingest: int = 0
    quality: int = 0
    mark: float = 0.0


class MarkPrice(
    msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True, tag="market.mark"
):
    """The venue's own valuation price."""

    instrument: InstrumentId
    ts_event: int
    ts_known: int
    price: float
    source: str = ""
    ts_ingest: int = 0
    quality: int = 0


class CorporateActionKind(Enum):
    """What happened to a listing."""

    SPLIT = "split"
    CASH_DIVIDEND = "cash_dividend"
    SYMBOL_CHANGE = "symbol_change"
    DELISTING = "delisting"
    STOCK_DIVIDEND = "stock_dividend"
    SPIN_OFF = "spin_off"
    MERGER = "merger"
    DIVIDEND_PAYMENT = "dividend_payment"

    @property
    def scales(self) -> bool:
        """Whether it turns a number of lots into another one of the same instrument."""
        return self in (CorporateActionKind.SPLIT, CorporateActionKind.STOCK_DIVIDEND)

    @property
    def is_cash(self) -> bool:
        """Whether it moves cash alone, and leaves orders as they are."""
        return self in (CorporateActionKind.CASH_DIVIDEND, CorporateActionKind.DIVIDEND_PAYMENT)

    @property
    def ends(self) -> bool:
        """Whether the instrument is gone behind it."""
        return self in _ENDINGS


_ENDINGS = (
    CorporateActionKind.DELISTING, CorporateActionKind.MERGER, CorporateActionKind.SYMBOL_CHANGE,
)  # fmt: skip


class CorporateAction(
    msgspec.Struct, frozen=True, array_like=True, kw_only=True, tag="market.corporate_action"
):
    """A change of a listing, effective at `ts_event`. `value`: new/old shares, or cash a share.

    New/old shares are `value / divisor`, so that 1 for 7 is exact too; else `divisor` is 1. A stock
    dividend, a spin-off and a merger give so many shares for (or on top of) an old one: the last
    two of `new_instrument`, as a change of symbol does one for one. A merger pays `cash` a share.
    `price` is what a share of `new_instrument` is worth where it has no mark, `cost_ratio` the part
    of the cost that goes over to it; None: by value. `ts_pay` (ns UTC) is when a dividend is paid,
    0: at once; the payment is an action of its own at that time.
    """

    instrument: InstrumentId
    kind: CorporateActionKind
    ts_event: int
    ts_known: int
    value: float
    source: str = ""
    ts_ingest: int = 0
    quality: int = 0
    divisor: float = 1.0
    ts_pay: int = 0
    new_instrument: InstrumentId = InstrumentId("")
    cash: float = 0.0
    price: float | None = None
    cost_ratio: float | None = None


class SessionSettlement(
    msgspec.Struct, frozen=True, array_like=True, kw_only=True, tag="market.settlement"
):
    """The end of a trading session of a future: what a position has gained moves to cash."""

    instrument: InstrumentId
    ts_event: int
    ts_known: int
    source: str = ""


class ContractExpiry(
    msgspec.Struct, frozen=True, array_like=True, kw_only=True, tag="market.expiry"
):
    """A future or an option ends."""

    instrument: InstrumentId
    ts_event: int
    ts_known: int
    source: str = ""


class TradingStatus(
    msgspec.Struct, frozen=True, array_like=True, kw_only=True, tag="market.status"
):
    """From `ts_event` on an instrument is halted at its venue, or trades again.

    `reason` is the venue's, for people.
    """

    instrument: InstrumentId
    ts_event: int
    ts_known: int
    is_halted: bool
    reason: str = ""
    source: str = ""


ContractStep = FundingRate | MarkPrice | SessionSettlement | ContractExpiry | TradingStatus
"""What happens to an instrument at a time of its own, between the rows of a timeline.

All but a trading status are of contracts.
"""

MarketEvent = (
    Bar
    | TimeSlice
    | QuoteTick
    | TradeTick
    | BookDelta
    | FundingRate
    | MarkPrice
    | SessionSettlement
    | ContractExpiry
    | TradingStatus
    | CorporateAction
)
