"""A provider of bars of an instrument whose symbol has changed: each symbol for its own days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.timestamps import NS_PER_DAY
from onetape.marketdata.bars import IntArray
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.corporate_actions import ActionRow
from onetape.marketdata.funding import FundingRow
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.sources.port import (
    BarSource,
    EventAnswer,
    EventSource,
    OpenSource,
    SourceAccess,
    SourcePage,
)
from onetape.marketdata.symbol_map import SymbolSpan
from onetape.marketdata.timezones import utc_to_local_days


class RenamedSource:
    """One provider under several symbols, one after the other.

    Args:
        provider: Its class.
        access: How it is reached; `symbol` is put in.
        spans: Which symbol stood for the instrument on which local days, in order; as the provider
            writes it. Days of none have no bars.
    """

    def __init__(
        self, provider: OpenSource, access: SourceAccess, spans: Sequence[SymbolSpan]
    ) -> None:
        self._parts = [
            (span, provider(msgspec.structs.replace(access, symbol=span.symbol))) for span in spans
        ]
        self._asked: BarSource = self._parts[-1][1]
        self.name = self._asked.name
        self.adjustment = self._asked.adjustment

    @property
    def ts_server(self) -> int | None:
        """The provider's clock at its last answer."""
        return self._asked.ts_server

    @property
    def event_kinds(self) -> tuple[RecordKind, ...]:
        """Kinds of records that the provider gives beside bars."""
        return self._asked.event_kinds if isinstance(self._asked, EventSource) else ()

    def define(self, instrument_id: InstrumentId) -> Instrument | None:
        """As the provider describes it under its newest symbol."""
        return self._parts[-1][1].define(instrument_id)

    def pages(
        self, instrument: Instrument, timeframe: str, start: int, end: int
    ) -> Iterator[SourcePage]:
        """The pages of each symbol, with the bars of its days only."""
        zone = build_calendar(instrument.calendar).timezone
        for span, source in self._parts:
            begin, stop = _cut(span, start, end)
            if begin >= stop:
                continue
            self._asked = source
            for page in source.pages(instrument, timeframe, begin, stop):
                days = page.times if page.by_date else _days(page.times, zone)
                own = span.holds(days)
                yield SourcePage(
                    times=page.times[own],
                    values={name: column[own] for name, column in page.values.items()},
                    by_date=page.by_date,
                )

    def events(self, instrument: Instrument, kind: RecordKind, start: int, now: int) -> EventAnswer:
        """The records of each symbol, those of its days only."""
        zone = build_calendar(instrument.calendar).timezone
        rows: list[ActionRow | FundingRow] = []
        warnings: list[str] = []
        for span, source in self._parts:
            begin, stop = _cut(span, start, now)
            if begin >= stop:
                continue
            if not isinstance(source, EventSource):
                raise ConfigError(f"{source.name} gives no {kind.value}")
            self._asked = source
            answer = source.events(instrument, kind, begin, now)
            rows += [each for each in answer.rows if span.first <= _day_of(each, zone) <= span.last]
            warnings += answer.warnings
        return EventAnswer(rows=tuple(rows), warnings=tuple(dict.fromkeys(warnings)))


def _cut(span: SymbolSpan, start: int, end: int) -> tuple[int, int]:
    """The part of a time that the days of a span can lie in, in any time zone."""
    return (
        max(start, (span.first - 1) * NS_PER_DAY),
        min(end, (span.last + 2) * NS_PER_DAY),
    )


def _days(times: IntArray, zone: str) -> IntArray:
    return utc_to_local_days(times, zone)


def _day_of(row: ActionRow | FundingRow, zone: str) -> int:
    import numpy as np

    if isinstance(row, ActionRow) and row.day is not None:
        return row.day
    return int(_days(np.array([row.ts or 0], dtype=np.int64), zone)[0])
