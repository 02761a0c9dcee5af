from __future__ import annotations

import numpy as np
import pytest

from onetape.domain.errors import StrategyError
from onetape.marketdata.timeline import build_timeline
from onetape.strategy.registry import load_strategy
from onetape.strategy.template import render
from onetape.strategy.validator import check_source
from tests.support.session_runs import run_session
from tests.support.strategies import EQUITY


def test_template_passes_the_check_and_loads(tmp_path):
    text = render("my_first_one")
    assert check_source(text, "my_first_one.py") == []
    path = tmp_path / "my_first_one.py"
    path.write_text(text)
    strategy = load_strategy("my_first_one", str(path))
    assert strategy.__name__ == "MyFirstOne"
    assert list(strategy().features()) == ["average", "rsi"]
    with pytest.raises(StrategyError, match=r"MyFirstOne: recovery 20.0 is not above setback 30.0"):
        strategy(recovery=20.0)


def test_template_trades_in_a_session(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(render("mine"))
    count = 1500
    ts = np.arange(1, count + 1, dtype=np.int64) * 86_400 * 10**9
    steps = np.random.default_rng(1).normal(0.0005, 0.01, count)
    price = np.round(100 * np.exp(np.cumsum(steps)), 2)
    columns = {"ts_open": ts - 10**9, "ts_close": ts, "ts_known": ts, "session_close": ts,
               "quality": np.zeros(count, dtype=np.int64)}  # fmt: skip
    columns |= dict.fromkeys(("open", "high", "low", "close", "volume"), price)
    timeline = build_timeline([(EQUITY, columns)], source="made", timeframe="1d")
    run = run_session(timeline, load_strategy("mine", str(path))())
    assert run.quarantined == []
    assert len(run.fills) > 20


@pytest.mark.parametrize(
    "name", ["", "Mine", "my-own", "1st", "my__own", "class", "my.own", "a/b", "my_", "äpfel"]
)
def test_name_that_can_not_be_a_file_is_refused(name):
    with pytest.raises(StrategyError, match=r"can't name a strategy .use lower-case"):
        render(name)
