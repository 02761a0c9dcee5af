"""Reads one table of an HDF5 file into columns without interpreting it.

| layout                                   | columns                                         |
| ---------------------------------------- | ----------------------------------------------- |
| a group of one-dimensional datasets      | one for each dataset                            |
| a dataset of records                     | one for each field                              |
| pandas, `format="fixed"`                 | the index and the numeric columns               |
| pandas, `format="table"` with            | the index and the columns; without it pandas    |
| `data_columns=True`                      | keeps their names pickled: refused              |

Nothing is unpickled: a pickle in a file from elsewhere could run anything. Text columns that
pandas' fixed format pickles are therefore left out. Source: HDF5 by h5py; pandas, `io/pytables.py`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from onetape.domain.errors import ConfigError, DataError

if TYPE_CHECKING:
    import h5py
    import polars as pl

_KIND = re.compile(r"^datetime64(?:\[(ns|us|ms|s)\b.*)?$")
_PICKLED_ZONE = re.compile(rb"^(?:s?V|s?S')tz'?$", re.MULTILINE)
"""The key `tz` in a pickle of protocol 0, which is lines of text."""


def read_hdf5(path: Path, dataset: str) -> pl.DataFrame:
    """The table called `dataset` (like `prices/AAPL`); the only one when empty.

    Raises:
        ConfigError: The extra is not installed.
        DataError: The file is no HDF5, has no such table or several, or one that can't be read.
    """
    try:
        import h5py
    except ImportError:
        raise ConfigError("HDF5 files need an extra",
                          remedy="pip install 'onetape[hdf5]'") from None  # fmt: skip
    try:
        with h5py.File(path, "r") as file:
            return _read_table(file, dataset.strip("/"), str(path))
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise DataError(f"is not readable HDF5: {error}", where=str(path)) from None


def _read_table(file: h5py.File, wanted: str, where: str) -> pl.DataFrame:
    found = {name.strip("/"): each for name, each in _find_tables(file, "")}
    if not wanted and len(found) == 1:
        wanted = next(iter(found))
    if wanted not in found:
        what = f"has no table {wanted!r}" if wanted else f"has {len(found)} tables"
        names = ", ".join(sorted(found)[:10]) or "none"
        raise DataError(f"{what}; there are: {names}", where=where,
                        remedy="choose one with --dataset NAME")  # fmt: skip
    return _read_node(found[wanted], where)


def _find_tables(node: h5py.Group, name: str) -> list[tuple[str, Any]]:
    """The tables below a group, by name; what is inside a table is none itself."""
    import h5py

    if _text(node.attrs.get("pandas_type")) in ("frame", "frame_table"):
        return [(name, node)]
    children = list(node.items())
    datasets = [each for _, each in children if isinstance(each, h5py.Dataset)]
    if datasets and all(each.ndim == 1 and each.dtype.names is None for each in datasets):
        return [(name, node)]
    found: list[tuple[str, Any]] = []
    for key, each in children:
        if isinstance(each, h5py.Group):
            found += _find_tables(each, f"{name}/{key}")
        elif isinstance(each, h5py.Dataset) and each.dtype.names is not None:
            found.append((f"{name}/{key}", each))
    return found


def _read_node(node: Any, where: str) -> pl.DataFrame:
    import h5py
    import polars as pl

    kind = _text(node.attrs.get("pandas_type"))
    if kind == "frame":
        return _read_fixed(node)
    if kind == "frame_table":
        return _read_pandas_table(node, where)
    if isinstance(node, h5py.Dataset):
        records = node[:]
        names = cast(tuple[str, ...], node.dtype.names)
        return pl.DataFrame([_column(name, records[name]) for name in names])
    columns = [_column(name, each[:]) for name, each in node.items()]
    if len({len(each) for each in columns}) > 1:
        raise DataError("columns have different lengths", where=f"{where} {node.name}")
    return pl.DataFrame(columns)


def _read_fixed(node: h5py.Group) -> pl.DataFrame:
    """Pandas' fixed format: blocks of columns of one type, and the index as `axis1`."""
    import polars as pl

    axis = cast("h5py.Dataset", node["axis1"])
    zone = axis.attrs.get("tz") is not None
    columns = [_index(axis[:], _text(axis.attrs.get("kind")), utc=zone)]
    for number in range(int(cast(int, node.attrs["nblocks"]))):
        values = cast("h5py.Dataset", node[f"block{number}_values"])
        if values.dtype == object:
            continue
        block = values[:]
        for place, name in enumerate(cast("h5py.Dataset", node[f"block{number}_items"])[:]):
            columns.append(_column(_text(name), block[:, place]))
    return pl.DataFrame(columns)


def _read_pandas_table(node: h5py.Group, where: str) -> pl.DataFrame:
    import polars as pl

    table = cast("h5py.Dataset", node["table"])
    names = cast(tuple[str, ...], table.dtype.names)
    if any(name.startswith("values_block_") for name in names):
        raise DataError(
            "pandas has pickled the names of this table's columns", where=f"{where} {node.name}",
            remedy='store it with format="fixed", or with data_columns=True',
        )  # fmt: skip
    records = table[:]
    # The zone of an aware index is pickled too; its values are UTC.
    zone = _PICKLED_ZONE.search(_bytes(node.attrs.get("info"))) is not None
    index = _index(records["index"], _text(table.attrs.get("index_kind")), utc=zone)
    rest = [_column(name, records[name]) for name in names if name != "index"]
    return pl.DataFrame([index, *rest])


def _index(values: Any, kind: str, *, utc: bool) -> pl.Series:
    """The index as the column `date`; plain numbers stay what they are."""
    import polars as pl

    match = _KIND.match(kind)
    if match is None:
        return pl.Series("date", values)
    unit = match[1] or "ns"
    if unit == "s":
        values, unit = values * 1000, "ms"
    return pl.Series("date", values).cast(
        pl.Datetime(cast(Literal["ns", "us", "ms"], unit), "UTC" if utc else None)
    )


def _column(name: str, values: Any) -> pl.Series:
    """Numbers as they are, byte strings as text."""
    import polars as pl

    if values.dtype.kind in "SO":
        return pl.Series(name, [_text(each) for each in values.tolist()], pl.String)
    return pl.Series(name, values)


def _text(value: object) -> str:
    return (
        value.decode("utf-8") if isinstance(value, bytes) else "" if value is None else str(value)
    )


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
