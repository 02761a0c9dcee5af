"""`onetape config`: check, show and describe configurations."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from onetape.control.boundary import print_error
from onetape.control.options import DebugOption, JsonOption, SetOption
from onetape.control.terminal import print_json
from onetape.domain.errors import ConfigError

app = typer.Typer(help="Check, show and describe configurations.", no_args_is_help=True)

ConfigArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A YAML or JSON file.")]


@app.command()
def check(file: ConfigArgument, *, set_: SetOption = None, _debug: DebugOption = False) -> None:
    """List everything that is wrong with a configuration and the strategies it names."""
    from onetape.runtime.config import compose_document, config_hash, validate_document
    from onetape.runtime.config_limits import check_limits, tell_idle
    from onetape.runtime.config_strategies import check_strategies

    document = compose_document(file, set_ or [], os.environ)
    config, invalid = validate_document(document)
    problems = (
        [*check_strategies(config, document), *check_limits(config, document)]
        if config is not None
        else invalid
    )
    for problem in problems:
        print_error(str(problem))
    if problems or config is None:
        raise typer.Exit(ConfigError.exit_code)
    for each in tell_idle(config.risk, config.data.instruments):
        print(f"warning: {each}", file=sys.stderr)
    print(f"{file}: ok (session {config.name}, hash {config_hash(config)[:8]})")


@app.command()
def show(
    file: ConfigArgument,
    *,
    set_: SetOption = None,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Print the resolved configuration: defaults, environment and --set included."""
    from onetape.runtime.config import load_config

    resolved = load_config(file, set_ or [], os.environ).model_dump(mode="json", by_alias=True)
    if as_json:
        print_json(resolved)
        return
    import yaml

    print(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), end="")


@app.command()
def schema(*, _debug: DebugOption = False) -> None:
    """Print the JSON schema of configurations (for editors)."""
    from onetape.runtime.config import SessionConfig

    print_json(SessionConfig.model_json_schema())
