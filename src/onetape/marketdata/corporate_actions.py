"""Corporate actions of a session: rows of the catalog or a CSV file, put in time among the bars.

| column           | is                                                                         |
| ---------------- | -------------------------------------------------------------------------- |
| `instrument`     | id, `SYMBOL.VENUE`                                                         |
| `kind`           | `split`, `stock_dividend`, `cash_dividend`, `spin_off`, `merger`,          |
|                  | `symbol_change` or `delisting`                                             |
| `ex_date`        | local date of the instrument: the action is at the open of its first bar   |
|                  | then or later; after its last bar at the beginning of that day             |
| `ts`             | instead of `ex_date`: the time, ISO 8601, UTC unless it has an offset      |
| `value`          | new shares for old ones, shares given for old ones, or currency a share    |
| `divisor`        | may be left out: a ratio is `value / divisor`                              |
| `pay_date`       | may be left out: when a cash dividend is paid, like `ex_date`              |
| `new_instrument` | what a spin-off, merger or change of symbol gives                          |
| `cash`           | currency a share that a merger pays                                        |
| `price`          | what a new share is worth, where its bars don't tell                       |
| `cost_ratio`     | may be left out: part of the cost that goes over to the new shares         |
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path

import msgspec
import numpy as np

from onetape.domain.corporate_actions import ActionTerms, compute_terms
from onetape.domain.errors import DataError
from onetape.domain.events import DatasetPin
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.nearest import nearest
from onetape.domain.numbers import to_decimal
from onetape.domain.timestamps import from_iso, to_iso
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.calendars import AroundTheClock, build_calendar
from onetape.marketdata.side_files import pin_rows
from onetape.marketdata.timezones import utc_to_local_days

ACTIONS = "actions"
"""`timeframe` of a pin of corporate actions."""

_NEEDED = ("instrument", "kind", "value")
_COLUMNS = (
    *_NEEDED, "ex_date", "ts", "divisor", "pay_date", "new_instrument", "cash", "price",
    "cost_ratio",
)  # fmt: skip
_KINDS = {
    each.value: each
    for each in CorporateActionKind
    if each is not CorporateActionKind.DIVIDEND_PAYMENT  # follows from a pay_date
}
_WITHOUT_VALUE = (CorporateActionKind.MERGER, CorporateActionKind.SYMBOL_CHANGE)
_EPOCH = date(1970, 1, 1)


class ActionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row: `day` (local, days since 1970) or `ts` (ns UTC). `where` is its place.

    `pay_day` is a day too; the rest is as `CorporateAction` has it.
    """

    where: str
    instrument: InstrumentId
    kind: CorporateActionKind
    day: int | None
    ts: int | None
    value: float
    divisor: float
    pay_day: int | None = None
    new_instrument: InstrumentId = InstrumentId("")
    cash: float = 0.0
    price: float | None = None
    cost_ratio: float | None = None


def read_actions(path: Path, known: Collection[str]) -> list[ActionRow]:
    """The rows of a file in their order.

    Args:
        path: The file.
        known: Every instrument that there is; others are errors.

    Raises:
        DataError: There is no such file, its header is another one, or a row is wrong; file and
            line are told.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _check_header(path, reader.fieldnames or [])
            rows: list[ActionRow] = []
            seen: dict[ActionRow, str] = {}
            for record in reader:
                where = f"{path}:{reader.line_num}"
                row = to_action_row(record, where, known)
                identity = msgspec.structs.replace(row, where="")
                if identity in seen:
                    raise DataError(f"the same action stands at {seen[identity]}", where=where)
                seen[identity] = where
                rows.append(row)
    except FileNotFoundError:
        raise DataError("there is no such file of corporate actions", where=str(path)) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"can't be read: {error}", where=str(path)) from None
    return rows


def _check_header(path: Path, names: Sequence[str]) -> None:
    where = f"{path}:1"
    for name in names:
        if name not in _COLUMNS:
            raise DataError(f"column {name!r} is unknown", where=where,
                            remedy=nearest(name, _COLUMNS))  # fmt: skip
        if names.count(name) > 1:
            raise DataError(f"column {name!r} comes twice", where=where)
    missing = [name for name in _NEEDED if name not in names]
    if missing or not {"ex_date", "ts"} & set(names):
        what = f"column {missing[0]!r}" if missing else "a column 'ex_date' or 'ts'"
        raise DataError(f"{what} is missing", where=where, remedy=f"columns: {', '.join(_COLUMNS)}")


def to_action_row(
    record: Mapping[str | None, object], where: str, known: Collection[str] | None
) -> ActionRow:
    """The action that the text of a row tells; `known` None: of any instrument.

    Raises:
        DataError: A field is wrong.
    """
    if None in record or None in record.values():
        raise DataError("has not as many fields as the header", where=where)
    fields = {name: str(value).strip() for name, value in record.items()}
    if known is not None and fields["instrument"] not in known:
        raise DataError(f"instrument {fields['instrument']!r} is unknown", where=where,
                        remedy=nearest(fields["instrument"], known))  # fmt: skip
    kind = _KINDS.get(fields["kind"])
    if kind is None:
        raise DataError(f"kind {fields['kind']!r} is unknown", where=where,
                        remedy=nearest(fields["kind"], _KINDS))  # fmt: skip
    new = fields.get("new_instrument", "")
    if new and known is not None and new not in known:
        raise DataError(f"new_instrument {new!r} is unknown", where=where,
                        remedy=nearest(new, known))  # fmt: skip
    day, ts = fields.get("ex_date", ""), fields.get("ts", "")
    if bool(day) == bool(ts):
        raise DataError(f"{'both' if day else 'neither'} of ex_date and ts", where=where,
                        remedy="give one of them")  # fmt: skip
    empty = "0" if kind in _WITHOUT_VALUE else ""
    pay = fields.get("pay_date", "")
    try:
        return ActionRow(
            where=where,
            instrument=InstrumentId(fields["instrument"]),
            kind=kind,
            day=_read_day(day, "ex_date") if day else None,
            ts=from_iso(ts, "ts", error=DataError) if ts else None,
            value=_read_number(fields["value"] or empty, "value"),
            divisor=_read_number(fields.get("divisor") or "1", "divisor"),
            pay_day=_read_day(pay, "pay_date") if pay else None,
            new_instrument=InstrumentId(new),
            cash=_read_number(fields.get("cash") or "0", "cash"),
            price=_read_optional(fields.get("price"), "price"),
            cost_ratio=_read_optional(fields.get("cost_ratio"), "cost_ratio"),
        )
    except DataError as error:
        raise DataError(error.what, where=where, remedy=error.remedy) from None


def _read_number(text: str, name: str) -> float:
    return float(to_decimal(text, name, error=DataError))


def _read_optional(text: str | None, name: str) -> float | None:
    return _read_number(text, name) if text else None


def _read_day(text: str, name: str) -> int:
    try:
        return (date.fromisoformat(text) - _EPOCH).days
    except ValueError:
        raise DataError(
            f"{name} {text!r} is not an ISO 8601 date", remedy="write it like 2024-01-31"
        ) from None


def place_rows(
    rows: Sequence[ActionRow], series: Sequence[tuple[Instrument, BarColumns]], ts_end: int
) -> list[CorporateAction]:
    """The actions of a session, in the order of the rows.

    A dividend with a pay date comes with its payment. Left out are rows of other instruments, those
    from before an instrument's first bar, which
    nobody can hold then, and those at or after `ts_end` (ns UTC).

    Raises:
        DataError: A row is no action of its instrument; file and line are told.
    """
    bars = {instrument.id: (instrument, columns) for instrument, columns in series}
    dated = [row for row in rows if row.day is not None or row.pay_day is not None]
    zones = {
        name: _zone_of(bars[name][0])
        for name in dict.fromkeys(row.instrument for row in dated)
        if name in bars
    }
    days = {name: utc_to_local_days(bars[name][1]["ts_open"], zones[name]) for name in zones}

    def begin_of(row: ActionRow, day: int) -> int:
        """The open of the first bar of a day or later, else the beginning of the day."""
        own = days[row.instrument]
        at = int(np.searchsorted(own, day))
        if at < len(own):
            return int(bars[row.instrument][1]["ts_open"][at])
        return _midnight(row, day, zones[row.instrument])

    placed: list[CorporateAction] = []
    for row in rows:
        if row.instrument not in bars:
            continue
        instrument, columns = bars[row.instrument]
        if row.day is not None and row.day < days[row.instrument][0]:
            continue
        ts = row.ts if row.day is None else begin_of(row, row.day)
        if ts is None or not columns["ts_open"][0] <= ts < ts_end:
            continue
        ts_pay = 0 if row.pay_day is None else begin_of(row, row.pay_day)
        action = CorporateAction(
            instrument=row.instrument, kind=row.kind, ts_event=ts, ts_known=ts, value=row.value,
            divisor=row.divisor, source="file", ts_pay=ts_pay, new_instrument=row.new_instrument,
            cash=row.cash, price=row.price, cost_ratio=row.cost_ratio,
        )  # fmt: skip
        own = [(instrument, columns)]
        if row.new_instrument in bars and row.new_instrument != row.instrument:
            own.append(bars[row.new_instrument])
        try:
            placed += order_actions([action], own)
        except DataError as error:
            raise DataError(error.what, where=row.where, remedy=error.remedy) from None
        payment = pay_dividend(action)
        if 0 < ts_pay < ts_end and payment not in placed:
            placed.append(payment)
    return placed


def pay_dividend(dividend: CorporateAction) -> CorporateAction:
    """The payment of what is due at the `ts_pay` of a dividend."""
    return msgspec.structs.replace(
        dividend, kind=CorporateActionKind.DIVIDEND_PAYMENT, ts_event=dividend.ts_pay,
        ts_known=dividend.ts_pay,
    )  # fmt: skip


def _zone_of(instrument: Instrument) -> str:
    return build_calendar(instrument.calendar).timezone


def _midnight(row: ActionRow, day: int, zone: str) -> int:
    bounds = AroundTheClock(zone).bounds(np.array([day], dtype=np.int64))
    if not bounds.known[0]:
        raise DataError(f"the day does not begin at midnight in {zone}", where=row.where,
                        remedy="give its ts")  # fmt: skip
    return int(bounds.opens[0])


def order_actions(
    actions: Sequence[CorporateAction], series: Sequence[tuple[Instrument, BarColumns]]
) -> tuple[CorporateAction, ...]:
    """The actions in the order in which a session meets them, each with the time when it does.

    That is their own time, or a nanosecond after the newest bar that had closed by then is known,
    if that is later. At one time the order is that of the instruments, then that given.

    Raises:
        DataError: An action is of another instrument, not carried, inside a bar, between two bars
            that were known at once, after one that ended its instrument, paid before it is due, or
            gives shares of which nobody knows what they are worth.
    """
    index = {instrument.id: at for at, (instrument, _) in enumerate(series)}
    known: list[CorporateAction] = []
    for action in actions:
        if action.instrument not in index:
            raise DataError(
                f"there is a corporate action of {action.instrument}, which has no bars",
                remedy=nearest(action.instrument, index),
            )
        instrument, columns = series[index[action.instrument]]
        ts_known = _find_time(action, columns)
        at = index.get(action.new_instrument)
        terms = compute_terms(action, instrument, None if at is None else series[at][0])
        if at is not None:
            ts_known = _find_shared_time(action, ts_known, columns, series[at][1])
            _check_worth(action, terms, columns, series[at][1])
        if action.ts_pay and action.ts_pay < action.ts_event:
            raise DataError(f"{_tell(action)} is paid before, at {to_iso(action.ts_pay)}")
        known.append(msgspec.structs.replace(action, ts_known=ts_known))
    known.sort(key=lambda each: (each.ts_known, index[each.instrument]))
    gone: dict[InstrumentId, CorporateAction] = {}
    for action in known:
        ended = gone.get(action.instrument) or gone.get(action.new_instrument)
        if ended is not None and action.kind is not CorporateActionKind.DIVIDEND_PAYMENT:
            raise DataError(f"{_tell(action)} comes after its {ended.kind.value}")
        if action.kind.ends:
            gone[action.instrument] = action
    return tuple(known)


def _find_shared_time(
    action: CorporateAction, ts_known: int, old: BarColumns, new: BarColumns
) -> int:
    """When an action of two instruments is met: after what had closed of either by then."""
    ts = max(ts_known, _find_time(action, new))
    for columns in (old, new):
        following = int(np.searchsorted(columns["ts_close"], action.ts_event, side="right"))
        if following < len(columns["ts_known"]) and columns["ts_known"][following] < ts:
            raise DataError(
                f"{_tell(action)} falls between bars of {action.instrument} and "
                f"{action.new_instrument} of which the later one is known first"
            )
    return ts


def _check_worth(
    action: CorporateAction, terms: ActionTerms, old: BarColumns, new: BarColumns
) -> None:
    """That it is known what new shares are worth, and that it is less than what spins them off."""
    closes = [
        float(columns["close"][closed - 1]) if closed else None
        for columns in (old, new)
        for closed in (int(np.searchsorted(columns["ts_close"], action.ts_event, side="right")),)
    ]
    price = closes[1] if closes[1] is not None else action.price
    if action.kind is CorporateActionKind.SYMBOL_CHANGE:
        return
    if price is None:
        raise DataError(
            f"{_tell(action)}: {action.new_instrument} has not traded before, so nobody knows what "
            "a fraction of it is worth",
            remedy="give its price",
        )
    given = price * terms.top / terms.bottom
    if (
        action.kind is CorporateActionKind.SPIN_OFF
        and closes[0] is not None
        and (given >= closes[0])
    ):
        raise DataError(
            f"{_tell(action)} gives away {given:,.10g} a lot, and the last close is {closes[0]}",
            remedy="look at its value, divisor and price",
        )


def _find_time(action: CorporateAction, columns: BarColumns) -> int:
    ts = action.ts_event
    ts_open, ts_close, ts_known = (columns[n] for n in ("ts_open", "ts_close", "ts_known"))
    closed = int(np.searchsorted(ts_close, ts, side="right"))
    if closed < len(ts_open) and ts_open[closed] < ts:
        raise DataError(
            f"{_tell(action)} falls into the bar from {to_iso(int(ts_open[closed]))} to "
            f"{to_iso(int(ts_close[closed]))}",
            remedy="give the time at which the bar opens or closes",
        )
    if not closed:
        return ts
    if closed < len(ts_open) and ts_known[closed] == ts_known[closed - 1]:
        raise DataError(f"{_tell(action)} falls between two bars that were known at once")
    return max(ts, int(ts_known[closed - 1]) + 1)


def _tell(action: CorporateAction) -> str:
    return f"the {action.kind.value} of {action.instrument} at {to_iso(action.ts_event)}"


def pin_actions(actions: Sequence[CorporateAction]) -> tuple[DatasetPin, ...]:
    """One pin for each instrument that has actions; the hash is over time, kind and numbers."""
    return pin_rows(
        ACTIONS,
        (
            (a.instrument, a.ts_event,
             f"{a.ts_event} {a.kind.value} {a.value!r} {a.divisor!r}{_more(a)}")
            for a in actions
        ),
    )  # fmt: skip


def _more(action: CorporateAction) -> str:
    """What only some kinds have; empty where an action has nothing of it."""
    more = (action.ts_pay, action.new_instrument, action.cash, action.price, action.cost_ratio)
    return "" if more == (0, "", 0.0, None, None) else f" {more!r}"
