"""`onetape data universe`: who belongs to a universe at a moment."""

from __future__ import annotations

from typing import Annotated

import typer

from onetape.control.options import DEFAULT_CATALOG, CatalogOption, DebugOption, JsonOption
from onetape.control.terminal import print_json
from onetape.domain.errors import DataError
from onetape.domain.timestamps import from_iso


def universe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As its membership is stored.")],
    moment: Annotated[str, typer.Argument(metavar="TIME", help="ISO 8601, UTC unless told.")],
    *,
    sector: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only who is in this universe too.")
    ] = None,
    min_price: Annotated[float | None, typer.Option(help="Least last close.")] = None,
    min_turnover: Annotated[
        float | None, typer.Option(help="Least median of close x volume over the window.")
    ] = None,
    min_market_value: Annotated[
        float | None, typer.Option(help="Least last close x shares of the fundamentals.")
    ] = None,
    window: Annotated[int, typer.Option(min=1, help="Bars that turnover looks at.")] = 20,
    timeframe: Annotated[str, typer.Option(metavar="TF", help="Of the bars.")] = "1d",
    catalog: CatalogOption = DEFAULT_CATALOG,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """List the members of a universe at a moment, by what was known then."""
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.universe import Filters, Universe

    ts = from_iso(moment, "TIME", error=DataError)
    filters = Filters(
        sectors=tuple(sector or ()),
        min_price=min_price, min_turnover=min_turnover, min_market_value=min_market_value,
        window=window, timeframe=timeframe,
    )  # fmt: skip
    members = Universe(Catalog(catalog), name).select(ts, filters)
    if as_json:
        print_json(members)
        return
    for each in members:
        print(each)
