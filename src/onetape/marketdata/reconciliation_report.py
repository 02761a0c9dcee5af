"""What a reconciliation found: tables for people, a struct for programs, a page for a browser."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import msgspec
import numpy as np

from onetape.domain.market import BAR_FLOAT_COLUMNS
from onetape.domain.timestamps import to_iso
from onetape.marketdata.reconciliation import Reconciled


class Table(msgspec.Struct, frozen=True):
    """Cells as text; a header that starts with `>` aligns its column to the right."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


class ProviderCount(msgspec.Struct, frozen=True):
    """A provider's bars, those that only it has, and how many values of each field it gave."""

    name: str
    bars: int
    alone: int
    taken: dict[str, int]


class Disagreement(msgspec.Struct, frozen=True):
    """A value that providers differ on: what each said (null: nothing) and whose was taken."""

    time: str
    field: str
    said: dict[str, float | None]
    taken_from: str
    resolved: bool


class ReconciliationReport(msgspec.Struct, frozen=True):
    """All that was found; `disagreements` in the order of time."""

    title: str
    bars: int
    taken_whole: int
    dropped: int
    providers: list[ProviderCount]
    disagreements: list[Disagreement]

    @property
    def summary(self) -> str:
        """One line."""
        open_ones = sum(not each.resolved for each in self.disagreements)
        return (
            f"{self.title}: {self.bars:,} bars from {len(self.providers)} providers, "
            f"{len(self.disagreements):,} values disagree ({open_ones:,} without a quorum), "
            f"{self.taken_whole:,} bars taken whole, {self.dropped:,} left out"
        )

    def tables(self, rows: int | None = None) -> list[Table]:
        """Providers, and the first `rows` disagreements (default: all)."""
        found = [Table(
            "Providers",
            ("provider", ">bars", ">only here", *(f">{f} from" for f in BAR_FLOAT_COLUMNS)),
            [(each.name, f"{each.bars:,}", f"{each.alone:,}",
              *(f"{each.taken[field]:,}" for field in BAR_FLOAT_COLUMNS))
             for each in self.providers],
        )]  # fmt: skip
        shown = self.disagreements[:rows]
        if shown:
            names = [each.name for each in self.providers]
            more = len(self.disagreements) - len(shown)
            title = f"Disagreements{f', {more:,} more not shown' if more else ''}"
            found.append(Table(
                title,
                ("open time, UTC", "field", *(f">{name}" for name in names), "taken from"),
                [(each.time.rstrip("Z").replace("T", " "), each.field,
                  *(_cell(each.said[name]) for name in names),
                  each.taken_from if each.resolved else f"{each.taken_from} (no quorum)")
                 for each in shown],
            ))  # fmt: skip
        return found


def build_report(title: str, result: Reconciled) -> ReconciliationReport:
    """The counts and disagreements of a reconciliation."""
    there = ~np.isnan(result.values["close"])
    alone = there.sum(axis=0) == 1
    providers = [
        ProviderCount(
            name,
            int(there[place].sum()),
            int((there[place] & alone).sum()),
            {field: int((result.chosen[field] == place).sum()) for field in BAR_FLOAT_COLUMNS},
        )
        for place, name in enumerate(result.names)
    ]
    doubtful = {
        field: result.disagrees[field] | result.unresolved[field] for field in BAR_FLOAT_COLUMNS
    }
    times = result.columns["ts_open"]
    disagreements = [
        Disagreement(
            to_iso(int(times[row])),
            field,
            {name: _number(float(result.values[field][place, row]))
             for place, name in enumerate(result.names)},
            result.names[result.chosen[field][row]],
            not bool(result.unresolved[field][row]),
        )
        for row in np.flatnonzero(np.any(list(doubtful.values()), axis=0)).tolist()
        for field in BAR_FLOAT_COLUMNS
        if doubtful[field][row]
    ]  # fmt: skip
    return ReconciliationReport(
        title, len(times), int(result.taken_whole.sum()), result.dropped, providers, disagreements
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:,.10g}"


_STYLE = """\
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}
table{border-collapse:collapse;margin:0 0 2rem}
td,th{padding:.25rem .75rem;border-bottom:1px solid #8884;text-align:left}
.right{text-align:right;font-variant-numeric:tabular-nums}
@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}
"""


def render_html(report: ReconciliationReport) -> str:
    """The report as one page that needs nothing else."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Reconciliation</h1><p>{escape(report.summary)}</p>",
    ]
    for table in report.tables():
        aligned = [" class='right'" if each.startswith(">") else "" for each in table.headers]
        heads = "".join(
            f"<th{side}>{escape(each.lstrip('>'))}</th>"
            for side, each in zip(aligned, table.headers, strict=True)
        )
        parts.append(f"<h2>{escape(table.title)}</h2><table><tr>{heads}</tr>")
        for row in table.rows:
            cells = zip(aligned, row, strict=True)
            parts.append(
                "<tr>" + "".join(f"<td{side}>{escape(c)}</td>" for side, c in cells) + "</tr>"
            )
        parts.append("</table>")
    return "\n".join([*parts, "</body></html>\n"])
