"""The names that a condition on a replay may use.

| name                                        | what it is                                        |
| ------------------------------------------- | ------------------------------------------------- |
| `type`, `strategy`, `client_order_id`       | of the event; empty where it has none, and at the |
|                                             | end of a slice                                    |
| `instrument`                                | that the event, or the bar, is of                 |
| `seq`, `time`                               | of the event or bar; time as ISO 8601 text        |
| `open` `high` `low` `close` `volume`        | newest bar of the instrument                      |
| `position`                                  | units of the instrument, all strategies together  |
| `equity`, `cash`                            | of the account, in currency                       |
| `orders`                                    | how many are open                                 |
| `features.NAME`                             | for the newest bar of the instrument              |
| `state.NAME`                                | declared state                                    |
| `close["AAPL.XNAS"]`, `position["..."]`, ...| the same of one instrument                        |
| `equity["NAME"]`, `cash["NAME"]`            | the same of one strategy                          |
| `features["NAME"].x`, `state["NAME"].x`     | of one strategy, needed where several have it     |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from onetape.domain.events import Event
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import BAR_FLOAT_COLUMNS
from onetape.domain.numbers import minor_to_float
from onetape.runtime.replay.condition import Kind, Term
from onetape.runtime.replay.standing import Standing, Surroundings, Value
from onetape.tape.envelope import TYPES

EVENT_NAMES = frozenset({"type", "strategy", "client_order_id"})
"""Names that only an event gives a value to."""

Read = Callable[["Place"], Any]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a condition is looked at: an event, or (None) a bar at the end of its slice.

    `strategy` is that of the event, or of the order it is about.
    """

    standing: Standing
    instrument: InstrumentId
    event: Event | None = None
    strategy: str = ""


def build_vocabulary(around: Surroundings) -> dict[str, Term[Place]]:
    """Every name that there is in a session; see the table above."""
    instruments = tuple(around.instruments)
    terms: dict[str, Term[Place]] = {
        "type": Term(
            Kind.TEXT,
            lambda place: place.event.type if place.event else "",
            ("", *sorted(set(TYPES.values()))),
        ),
        "strategy": Term(Kind.TEXT, lambda place: place.strategy, ("", *around.strategies)),
        "client_order_id": Term(Kind.TEXT, _order_id),
        "instrument": Term(Kind.TEXT, lambda place: place.instrument, instruments),
        "seq": Term(
            Kind.NUMBER,
            lambda place: place.event.seq if place.event else place.standing.seq,
        ),
        "time": Term(Kind.TIME, lambda place: place.standing.ts),
        "orders": Term(Kind.NUMBER, lambda place: len(place.standing.orders)),
        "position": Term(
            Kind.NUMBER, lambda place: around.position(place.standing, place.instrument)
        ),
        "equity": Term(Kind.NUMBER, lambda place: minor_to_float(around.equity(place.standing))),
        "cash": Term(
            Kind.NUMBER,
            lambda place: minor_to_float(
                sum(each.cash for each in place.standing.ledgers.values())
            ),
        ),
    }
    for name in BAR_FLOAT_COLUMNS:
        terms[name] = Term(Kind.NUMBER, _market(around, name, None))
    for identity in instruments:
        for name in BAR_FLOAT_COLUMNS:
            terms[f"{name}[{identity}]"] = Term(Kind.NUMBER, _market(around, name, identity))
        terms[f"position[{identity}]"] = Term(Kind.NUMBER, _position(around, identity))
    for strategy in around.strategies:
        terms[f"equity[{strategy}]"] = Term(Kind.NUMBER, _equity(around, strategy))
        terms[f"cash[{strategy}]"] = Term(Kind.NUMBER, _cash(strategy))
    return terms | _features(around) | _state(around)


def _features(around: Surroundings) -> dict[str, Term[Place]]:
    terms: dict[str, Term[Place]] = {}
    owners = [(name, strategy) for strategy in around.strategies
              for name in around.features[strategy]]  # fmt: skip
    for name, strategy in owners:
        term = Term[Place](Kind.NUMBER, _feature(around, strategy, name))
        terms[f"features[{strategy}].{name}"] = term
        if [each for each, _ in owners].count(name) == 1:
            terms[f"features.{name}"] = term
    return terms


def _state(around: Surroundings) -> dict[str, Term[Place]]:
    terms: dict[str, Term[Place]] = {}
    owners = [(name, strategy, kind) for strategy in around.strategies
              for name, kind in around.declared[strategy].items()]  # fmt: skip
    for name, strategy, kind in owners:
        term = Term[Place](_KINDS[kind], _value(strategy, name))
        terms[f"state[{strategy}].{name}"] = term
        if [each for each, _, _ in owners].count(name) == 1:
            terms[f"state.{name}"] = term
    return terms


_KINDS = {"bool": Kind.TRUTH, "int": Kind.NUMBER, "float": Kind.NUMBER, "str": Kind.TEXT}


def _order_id(place: Place) -> str:
    return getattr(place.event.payload, "client_order_id", "") if place.event else ""


def _market(around: Surroundings, name: str, instrument: InstrumentId | None) -> Read:
    return lambda place: around.column_at(name, instrument or place.instrument, place.standing.row)


def _position(around: Surroundings, instrument: InstrumentId) -> Read:
    return lambda place: around.position(place.standing, instrument)


def _equity(around: Surroundings, strategy: str) -> Read:
    return lambda place: minor_to_float(around.equity(place.standing, strategy))


def _cash(strategy: str) -> Read:
    return lambda place: minor_to_float(place.standing.ledgers[strategy].cash)


def _feature(around: Surroundings, strategy: str, name: str) -> Read:
    column = around.features[strategy][name]

    def read(place: Place) -> float:
        row = around.newest_row(place.instrument, place.standing.row)
        return float(column[row]) if row >= 0 else float("nan")

    return read


def _value(strategy: str, name: str) -> Callable[[Place], Value]:
    return lambda place: place.standing.state[strategy][name]
