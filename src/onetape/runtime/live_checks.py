"""What `onetape live` asks before it begins: limits, and a backtest that proves itself."""

from __future__ import annotations

from pathlib import Path

from onetape.domain.errors import ConfigError, OnetapeError
from onetape.runtime.config import SessionConfig
from onetape.runtime.config_live import Connection, LiveConfig
from onetape.runtime.sessions.backtest import build_spec
from onetape.runtime.verification import Verdict, verify_tape
from onetape.tape.opening import open_tape, tape_path

_SIZES = ("max_order_quantity", "max_order_notional", "max_position_quantity", "max_position_pct")
_LOSSES = ("max_daily_loss_pct", "max_drawdown_pct")


def check_live(config: SessionConfig, *, is_confirmed: bool, is_resumed: bool = False) -> None:
    """Refuse to begin without limits, a verified backtest, or a yes to real money.

    A session that goes on is not asked for its backtest again: it began with one, it must be the
    same one, and it may hold positions that nobody watches meanwhile.

    Raises:
        ConfigError: One of them is missing; it says which.
    """
    for keys, what in ((_SIZES, "the size of an order or position"), (_LOSSES, "losses")):
        if all(getattr(config.risk, key) is None for key in keys):
            raise ConfigError(f"live has no limit on {what}", where="risk",
                              remedy=f"set one of {', '.join(keys)}")  # fmt: skip
    connection = config.execution.connection or Connection()
    if connection.endpoint == "live" and not is_confirmed:
        raise ConfigError("this trades with real money", where="execution.connection.endpoint",
                          remedy="say --confirm, or use endpoint: paper")  # fmt: skip
    live = config.live or LiveConfig()
    if not live.without_backtest and not is_resumed:
        find_backtest(config)


def find_backtest(config: SessionConfig) -> Path:
    """The directory of a complete backtest of the same strategies that `verify` finds identical.

    The versions of the strategies and their parameters must be the same.

    Raises:
        ConfigError: There is none in `output.path`.
    """
    wanted = {each.name: each for each in config.enabled_strategies}
    versions = {name: build_spec(each).version for name, each in wanted.items()}
    tried: list[str] = []
    for run_dir in sorted(Path(config.output.path).glob("*/"), reverse=True):
        file = tape_path(run_dir)
        if not file.exists():
            continue
        try:
            if not _is_of(file, config, versions):
                continue
            found = verify_tape(file)
        except OnetapeError as error:
            tried.append(f"{file.parent}: {error}")
            continue
        if found.verdict is Verdict.IDENTICAL:
            return file.parent
        tried.append(f"{file.parent}: {found.what}")
    what = "there is no verified backtest of these strategies with these parameters"
    if tried:
        what += f" ({tried[0]})"
    raise ConfigError(what, where=config.output.path,
                      remedy="run onetape backtest with them first, or set "
                      "live.without_backtest: true")  # fmt: skip


def _is_of(file: Path, config: SessionConfig, versions: dict[str, str]) -> bool:
    """Whether a tape is a complete backtest of these versions and parameters."""
    reader = open_tape(file)
    try:
        header = reader.header
        if header.mode != "backtest" or not reader.is_complete:
            return False
        recorded = SessionConfig.model_validate_json(header.config)
    finally:
        reader.close()
    params = {each.name: each.params for each in recorded.enabled_strategies}
    return all(
        header.strategy_versions.get(each.name) == versions[each.name]
        and params.get(each.name) == each.params
        for each in config.enabled_strategies
    )
