"""`onetape`: the command line. Commands import what they need when they run, so --help is fast."""

from __future__ import annotations

import typer

from onetape.control.boundary import ErrorBoundary
from onetape.control.commands import config, data, features, risk, strategy, tape
from onetape.control.commands.backtest import backtest
from onetape.control.commands.live import live, paper
from onetape.control.commands.lookahead import lookahead
from onetape.control.commands.operate import actions, flatten, kill, pause, resume, status, stop
from onetape.control.commands.parity import parity
from onetape.control.commands.replay import replay
from onetape.control.commands.report import report
from onetape.control.commands.statement import statement
from onetape.control.commands.sweep import sweep
from onetape.control.commands.venue import venue
from onetape.control.commands.verify import verify
from onetape.control.commands.version import options, version
from onetape.control.commands.warmup import warmup
from onetape.control.commands.why import why
from onetape.control.terminal import make_streams_safe

app = typer.Typer(
    cls=ErrorBoundary,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.callback()(options)
app.command()(backtest)
app.command()(paper)
app.command()(live)
app.command()(status)
app.command()(stop)
app.command()(pause)
app.command()(resume)
app.command()(flatten)
app.command()(actions)
app.command()(kill)
app.command()(sweep)
app.command()(lookahead)
app.command()(warmup)
app.command()(report)
app.command()(statement)
app.command()(verify)
app.command()(parity)
app.command()(replay)
app.command()(why)
app.command()(venue)
app.add_typer(data.app, name="data")
app.add_typer(strategy.app, name="strategy")
app.add_typer(features.app, name="features")
app.add_typer(tape.app, name="tape")
app.add_typer(risk.app, name="risk")
app.add_typer(config.app, name="config")
app.command()(version)


def main() -> None:
    """Entry point of the `onetape` command."""
    make_streams_safe()
    app()
