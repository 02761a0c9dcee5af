"""What a provider of bars must do, and what it is given to do it with.

A provider is one class in one file. It translates: our instrument to the provider's symbol, our
times to the provider's, its answers to columns, its errors to ours. It does not check rows, keep
state, or wait: the importer checks, the catalog remembers, the `Requester` paces and repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec
import numpy as np

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.nearest import nearest
from onetape.marketdata.bars import FloatArray, IntArray
from onetape.marketdata.corporate_actions import ActionRow
from onetape.marketdata.funding import FundingRow
from onetape.marketdata.record_kinds import RecordKind

if TYPE_CHECKING:
    from pydantic import SecretStr

    from onetape.marketdata.sources.requester import Requester

PRICES = ("open", "high", "low", "close")


class SourcePage(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Bars as one answer of a provider gave them, oldest first.

    `times` are the opens of the bars (ns UTC), or, when `by_date`, the dates of their sessions
    (days since 1970-01-01). `values` has `open`, `high`, `low`, `close`, `volume`, and
    `adjusted_close` where the prices are to be scaled to it; NaN stands for what was no number.
    """

    times: IntArray
    values: dict[str, FloatArray]
    by_date: bool = False


class SourceAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider is to be reached; `base_url` and `adjustment` empty: the provider's usual.

    The keys print as stars. `options` are the provider's own, such as Alpaca's `feed`.
    """

    requester: Requester
    symbol: str = ""
    base_url: str = ""
    adjustment: str = ""
    key: SecretStr | None = None
    secret: SecretStr | None = None
    options: Mapping[str, str] = {}

    def choose_adjustment(self, known: Mapping[str, str], usual: str, source: str) -> str:
        """The provider's word for the asked adjustment; `known` maps ours to it.

        Raises:
            ConfigError: The provider has no such adjustment.
        """
        asked = self.adjustment or usual
        if asked not in known:
            raise ConfigError(
                f"{source} has no prices of adjustment {asked!r}", remedy=nearest(asked, known)
            )
        return known[asked]

    def check_options(self, known: tuple[str, ...], source: str) -> None:
        """Raises `ConfigError` for an option that the provider does not know."""
        for name in self.options:
            if name not in known:
                raise ConfigError(
                    f"{source} has no option {name!r}",
                    remedy=nearest(name, known) if known else "leave it out",
                )


class BarSource(Protocol):
    """A provider of bars.

    `name` is recorded as the source of each row, `adjustment` as that of the dataset: `none` for
    prices as they were paid, else how they were changed.
    """

    @property
    def name(self) -> str:
        """Provenance, such as `yahoo` or `alpaca/iex`."""
        ...

    @property
    def adjustment(self) -> str:
        """How prices are adjusted: `none`, `splits`, `vendor` or another word."""
        ...

    @property
    def ts_server(self) -> int | None:
        """The provider's clock at its last answer, ns UTC; None when it has not said."""
        ...

    def define(self, instrument_id: InstrumentId) -> Instrument | None:
        """The instrument as the provider describes it; None when it does not."""
        ...

    def pages(
        self, instrument: Instrument, timeframe: str, start: int, end: int
    ) -> Iterator[SourcePage]:
        """The bars that open from `start` up to but not including `end`, oldest first.

        A page may hold bars outside of these times, and bars that are not over: they are left out
        later. No bar inside may be missing; a range without bars gives no page or empty ones.

        Raises:
            DataError: The provider does not know the symbol, or refuses this request.
            ConfigError: It refuses the key.
            SourceUnavailable: It can't be reached or refuses service, also after some tries.
        """
        ...


class EventAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Records of one kind as a provider gave them; `warnings` tell what was not taken."""

    rows: tuple[ActionRow | FundingRow, ...]
    warnings: tuple[str, ...] = ()


@runtime_checkable
class EventSource(Protocol):
    """A provider of bars that also gives corporate actions or funding."""

    @property
    def event_kinds(self) -> tuple[RecordKind, ...]:
        """Which of them."""
        ...

    def events(self, instrument: Instrument, kind: RecordKind, start: int, now: int) -> EventAnswer:
        """All records from `start` up to `now` (ns UTC), as they were: none restated by later ones.

        Others may come too: they are left out later.

        Raises:
            DataError, ConfigError, SourceUnavailable: As `BarSource.pages`.
        """
        ...


OpenSource = Callable[[SourceAccess], BarSource]
"""A provider's class."""


def find_timeframe(timeframe: str, known: Mapping[str, str], source: str) -> str:
    """The provider's word for a timeframe.

    Raises:
        ConfigError: It has no bars of this length.
    """
    if timeframe not in known:
        raise ConfigError(f"{source} has no bars of {timeframe}",
                          remedy=f"choose one of {', '.join(known)}")  # fmt: skip
    return known[timeframe]


def to_floats(cells: list[object]) -> FloatArray:
    """float64 of JSON numbers or numeric texts; NaN for anything else."""
    return np.array([_to_float(each) for each in cells], dtype=np.float64)


def _to_float(cell: object) -> float:
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return float("nan")
