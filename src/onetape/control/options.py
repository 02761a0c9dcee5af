"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onetape.control.boundary import remember_debug
from onetape.domain.errors import ConfigError

DebugOption = Annotated[
    bool,
    typer.Option("--debug", callback=remember_debug, help="Show the traceback of an error."),
]

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a configuration value, e.g. strategies.0.params.fast=20. May be repeated.",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

OpenOption = Annotated[bool, typer.Option("--open", help="Open the report in a browser.")]

CatalogNowOption = Annotated[
    Path | None,
    typer.Option("--catalog", metavar="DIR", help="Where the catalog is now, if it has moved."),
]

CatalogOption = Annotated[
    Path, typer.Option("--catalog", metavar="DIR", help="Directory of the catalog.")
]
DEFAULT_CATALOG = Path("data/catalog")


def parse_pairs(text: str, option: str) -> dict[str, str]:
    """`A=x,B=y` as a mapping; a column may have no name, or hold `=`, but no comma."""
    pairs: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        column, sign, value = part.rpartition("=")
        if not sign or not value:
            raise ConfigError(f"{option} {part!r} is not COLUMN=VALUE",
                              remedy='write it like "Date=ts,Adj Close=-"')  # fmt: skip
        pairs[column] = value
    return pairs
