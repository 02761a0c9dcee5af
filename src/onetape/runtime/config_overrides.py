"""The `execution.overrides` section: other costs and fills of some instruments.

The most specific entry that gives a key counts: one with the instrument's id before one with a
pattern, then venue and kind together, venue, kind; of equally specific ones the last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.nearest import nearest
from onetape.runtime.config_fees import Fees
from onetape.runtime.config_fills import FillChoice
from onetape.runtime.config_section import Section
from onetape.runtime.config_slippage import Slippage
from onetape.runtime.config_values import Factor, RefusedError
from onetape.runtime.config_values import Instrument as InstrumentName

Kind = Literal["equity", "spot", "perpetual", "future", "option", "fx", "index"]
VolumeShare = Annotated[Factor, Field(gt=0, le=1)]

_ID, _PATTERN, _VENUE, _KIND = 8, 4, 2, 1


class ExecutionOverride(Section):
    """Other costs and fills of some instruments; null: as in execution."""

    instruments: tuple[InstrumentName, ...] = ()
    """Ids `SYMBOL.VENUE` that this is for; `*` stands for any characters: `ES*.XCME`."""
    venues: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Venues whose instruments this is for; with kinds: those of its kinds."""
    kinds: tuple[Kind, ...] = ()
    """Kinds of instruments that this is for."""
    fees: Fees | None = None
    """See execution.fees."""
    slippage: Slippage | None = None
    """See execution.slippage."""
    max_volume_ratio: VolumeShare | Literal["none"] | None = None
    """See execution.max_volume_ratio; `none`: no cap."""
    fill: FillChoice | None = None
    """See execution.fill, key by key."""

    @model_validator(mode="after")
    def _is_for_something(self) -> ExecutionOverride:
        if not (self.instruments or self.venues or self.kinds):
            raise RefusedError("is for no instrument", "give instruments, venues or kinds")
        if self.instruments and (self.venues or self.kinds):
            raise RefusedError("names ids beside venues or kinds",
                               "an id says it all: give it an entry of its own")  # fmt: skip
        if all(each is None for each in (self.fees, self.slippage, self.max_volume_ratio,
                                         self.fill)):  # fmt: skip
            raise RefusedError("changes nothing",
                               "give fees, slippage, max_volume_ratio or fill")  # fmt: skip
        return self

    def closeness_to(self, instrument: Instrument) -> int:
        """How specifically it names an instrument; 0 where it is not for it."""
        if instrument.id in self.instruments:
            return _ID
        if any(_is_like(instrument.id, each) for each in self.instruments):
            return _PATTERN
        is_there = not self.venues or instrument.venue in self.venues
        is_such = not self.kinds or instrument.kind.value in self.kinds
        if self.instruments or not (is_there and is_such):
            return 0
        return _VENUE * bool(self.venues) + _KIND * bool(self.kinds)


Overrides = tuple[ExecutionOverride, ...]


def list_fitting(overrides: Overrides, instrument: Instrument) -> list[ExecutionOverride]:
    """Those for an instrument, the one that counts before the others last."""
    fitting = [each for each in overrides if each.closeness_to(instrument)]
    return sorted(fitting, key=lambda each: each.closeness_to(instrument))


class Unmatched(NamedTuple):
    """A name in an override that no instrument has: where, and what there is."""

    at: tuple[str | int, ...]
    name: str
    known: Sequence[str]


def list_unmatched(overrides: Overrides, ids: Sequence[InstrumentId]) -> Iterator[Unmatched]:
    """Ids, patterns and venues that are those of no instrument."""
    venues = list(dict.fromkeys(each.rpartition(".")[2] for each in ids))
    for number, override in enumerate(overrides):
        for place, name in enumerate(override.instruments):
            if not any(_is_like(each, name) for each in ids):
                yield Unmatched((number, "instruments", place), name, ids)
        for place, name in enumerate(override.venues):
            if name not in venues:
                yield Unmatched((number, "venues", place), name, venues)


def check_overrides(overrides: Overrides, instruments: Sequence[Instrument]) -> None:
    """Every name in the overrides is that of an instrument.

    Raises:
        ConfigError: One is not, or no instrument of a venue has a kind.
    """
    for at, name, known in list_unmatched(overrides, [each.id for each in instruments]):
        raise ConfigError(f"{name!r} is of no instrument of the session",
                          where=_dotted(at), remedy=nearest(name, known))  # fmt: skip
    for number, override in enumerate(overrides):
        for place, kind in enumerate(override.kinds):
            alone = override.model_copy(update={"kinds": (kind,)})
            if not any(alone.closeness_to(each) for each in instruments):
                among = [
                    each for each in instruments
                    if not override.venues or each.venue in override.venues
                ]  # fmt: skip
                known = dict.fromkeys(each.kind.value for each in among)
                where = f" of {' and '.join(override.venues)}" if override.venues else ""
                raise ConfigError(
                    f"no instrument{where} in the session is of kind {kind!r}",
                    where=_dotted((number, "kinds", place)), remedy=nearest(kind, known),
                )  # fmt: skip


def read_fill_overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """An execution section in which `fill.overrides`, as of before, stand in `overrides`.

    There an entry was for all that it named, and the last that fitted counted.
    """
    fill = dict(given["fill"])
    overrides, named = list[dict[str, Any]](), list[str]()
    for old in fill.pop("overrides"):
        choice = {key: each for key, each in old.items() if key not in ("instruments", "venues")}
        ids, venues = list(old.get("instruments", ())), list(old.get("venues", ()))
        ids += [each for each in named if each.rpartition(".")[2] in venues]
        named += ids
        overrides += [
            {selector: names, "fill": choice}
            for selector, names in (("instruments", ids), ("venues", venues))
            if names
        ]
    return {**given, "fill": fill, "overrides": [*overrides, *given.get("overrides", ())]}


def tell_no_overrides(execution: dict[str, Any]) -> None:
    """Where there are none, say so where they stood before: the hash of a configuration stays."""
    fill = execution.get("fill")
    if execution.get("overrides") == [] and isinstance(fill, dict):
        del execution["overrides"]
        fill["overrides"] = []


def _is_like(identity: InstrumentId, pattern: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), identity) is not None


def _dotted(at: tuple[str | int, ...]) -> str:
    return ".".join(map(str, ("execution", "overrides", *at)))
