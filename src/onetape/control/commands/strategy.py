"""`onetape strategy`: start, list and check strategies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.control.options import DebugOption, JsonOption
from onetape.control.terminal import print_json, print_table
from onetape.domain.errors import StrategyError

if TYPE_CHECKING:
    from onetape.strategy.declaration import Param

app = typer.Typer(help="Start, list and check strategies.", no_args_is_help=True)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Like my_idea: the file's name.")],
    *,
    directory: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Where to put the file.")
    ] = Path(),
    _debug: DebugOption = False,
) -> None:
    """Write the file of a new strategy."""
    from onetape.strategy.template import render

    path = directory / f"{name}.py"
    text = render(name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise StrategyError("the file exists", where=str(path),
                            remedy="choose another name") from None  # fmt: skip
    print(f"{path} written; next: onetape strategy check {path}")


@app.command("list")
def list_(*, as_json: JsonOption = False, _debug: DebugOption = False) -> None:
    """List the strategies that a configuration can name."""
    from onetape.strategy.registry import list_strategies

    known = list_strategies()
    if as_json:
        print_json(known)
        return
    rows = [
        (
            each.name,
            each.version,
            "\n".join(_describe_param(name, param) for name, param in each.params.items()),
            each.summary,
        )
        for each in known
    ]
    print_table(("name", "version", "params", "what it does"), rows)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The .py file of a strategy.")],
    *,
    _debug: DebugOption = False,
) -> None:
    """List what would make a strategy unreliable, by line."""
    from onetape.strategy.validator import check_file

    findings = check_file(str(path))
    for each in findings:
        print(f"{path}:{each.line}: {each.code} {each.message} ({each.remedy})")
    if findings:
        raise typer.Exit(StrategyError.exit_code)
    print(f"{path}: ok")


def _describe_param(name: str, param: Param) -> str:
    constraint = param.constraint()
    return f"{name} = {param.default!r}" + (f" ({constraint})" if constraint else "")
