"""Which column of a file holds the time, the prices and the volume."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.nearest import nearest

PRICE_ROLES = ("open", "high", "low", "close")
_DROP = "-"

_ALIASES = {
    "ts": {"date", "time", "timestamp", "ts", "datetime", "opentime", "tsopen"},
    "open": {"open", "o"},
    "high": {"high", "h"},
    "low": {"low", "l"},
    "close": {"close", "c"},
    "volume": {"volume", "vol", "v"},
}
_ADJUSTED_CLOSE = {"adjclose", "adjustedclose"}


class ColumnRoles(msgspec.Struct, frozen=True):
    """Column name by role (`ts`, `open`, `high`, `low`, `close`, and `volume` where there is one).

    `adjusted_close` names the column that prices are adjusted by; `adjustable_by` one that looks
    like it but is not used. Empty: none.
    """

    column: dict[str, str]
    adjusted_close: str
    adjustable_by: str


def find_column(name: str, names: Sequence[str], where: str) -> str:
    """The column called `name`, case ignored if need be; raises `DataError` with the nearest."""
    if name in names:
        return name
    same = [each for each in names if each.lower() == name.strip().lower()]
    if len(same) != 1:
        raise DataError(f"there is no column {name!r}", where=where, remedy=nearest(name, names))
    return same[0]


def resolve_roles(
    names: Sequence[str], column_map: Mapping[str, str], adjust_by: str | None, where: str
) -> ColumnRoles:
    """What each column is: as `column_map` says, else by its usual names, case ignored.

    Args:
        names: The header.
        column_map: Column name to role; the role `-` leaves a column out.
        adjust_by: The column with the adjusted close, if prices are to be adjusted.
        where: Names the file in errors.

    Raises:
        DataError: A mapped column or role is unknown, a role has no column, or more than one.
    """
    column = assign_columns(names, column_map, _ALIASES, ("volume",), where)
    mapped = [find_column(name, names, where) for name in column_map]
    free = [name for name in names if name not in mapped]
    spare = [name for name in free if _plain(name) in _ADJUSTED_CLOSE]
    return ColumnRoles(
        column=column,
        adjusted_close="" if adjust_by is None else find_column(adjust_by, names, where),
        adjustable_by=spare[0] if spare and adjust_by is None else "",
    )


def assign_columns(
    names: Sequence[str],
    column_map: Mapping[str, str],
    aliases: Mapping[str, Collection[str]],
    optional: Collection[str],
    where: str,
) -> dict[str, str]:
    """Column name by role: as `column_map` says, else by its usual names, case ignored.

    Args:
        names: The header.
        column_map: Column name to role; the role `-` leaves a column out.
        aliases: Usual names of each role, in small letters and digits.
        optional: Roles that need no column.
        where: Names the file in errors.

    Raises:
        DataError: A mapped column or role is unknown, a role has no column, or more than one.
    """
    mapped = {find_column(name, names, where): role for name, role in column_map.items()}
    for name, role in mapped.items():
        if role != _DROP and role not in aliases:
            raise DataError(
                f"column {name!r} is mapped to {role!r}", where=where,
                remedy=nearest(role, [*aliases, _DROP]),
            )  # fmt: skip
    free = [name for name in names if name not in mapped]
    column: dict[str, str] = {}
    for role, usual in aliases.items():
        found = [name for name, mapped_role in mapped.items() if mapped_role == role]
        found = found or [name for name in free if _plain(name) in usual]
        if len(found) > 1:
            join = "; a date and its time of day must be one column" if role == "ts" else ""
            raise DataError(
                f"columns {', '.join(map(repr, found))} all look like {role!r}", where=where,
                remedy=f"leave all but one out, like --map \"{found[1]}=-\"{join}",
            )  # fmt: skip
        if found:
            column[role] = found[0]
        elif role not in optional:
            taken = {each for known in aliases.values() for each in known}
            spare = [name for name in free if _plain(name) not in taken]
            words = [each for each in usual if len(each) > 2]
            likely = [name for name in spare if any(each in _plain(name) for each in words)]
            raise DataError(
                f"no column for {role!r} in the header {', '.join(map(repr, names))}", where=where,
                remedy=f"say which one, like --map \"{[*likely, *spare, names[-1]][0]}={role}\"",
            )  # fmt: skip
    return column


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
