"""Ids in limits that a session does not have."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.instrument import InstrumentId
from onetape.runtime.config import RiskConfig, compose_document, validate_document
from onetape.runtime.config_limits import check_limits, tell_idle

CONFIG = """\
clock: {type: historical, start: 2023-01-01, end: 2024-01-01}
data: {instruments: [MSFT.ALPACA, AAPL.ALPACA], timeframe: 1d}
strategies: [{name: buy_and_hold, capital: 100}]
risk:
"""
HAS = (InstrumentId("MSFT.ALPACA"), InstrumentId("AAPL.ALPACA"))


@pytest.fixture(autouse=True)
def _in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problems(risk: str) -> list[str]:
    Path("run.yaml").write_text(f"{CONFIG}  {risk}\n")
    document = compose_document(Path("run.yaml"), [], {})
    config, invalid = validate_document(document)
    assert config is not None, invalid
    return [str(each) for each in check_limits(config, document)]


def test_limits_that_allow_nothing_of_the_session_are_refused() -> None:
    assert problems("{allowed_instruments: [GME.X, MFST.ALPACA]}") == [
        "run.yaml:5: risk.allowed_instruments names none of data.instruments, so nothing may be "
        "traded (did you mean 'MSFT.ALPACA'?)"
    ]
    assert problems("{allowed_instruments: []}")
    assert not problems("{allowed_instruments: [GME.X, AAPL.ALPACA]}")
    assert not problems("{forbidden_instruments: [MSFT.ALPACA, AAPL.ALPACA]}")
    assert not problems("{}")


IDLE = [
    ({"forbidden_instruments": ["MSFT.ALPACA"]}, []),
    ({"allowed_instruments": ["AAPL.ALPACA", "MSFT.ALPACA"]}, []),
    # One of another venue, or one letter off: near first.
    ({"forbidden_instruments": ["GME.ALPACA", "MSFT.XNAS", "APPL.ALPACA"]}, [
        "forbidden_instruments names what the session does not trade, and which does nothing there:"
        " MSFT.XNAS (did you mean 'MSFT.ALPACA'?), APPL.ALPACA (did you mean 'AAPL.ALPACA'?), "
        "GME.ALPACA"]),
    # What the list has too was not meant.
    ({"forbidden_instruments": ["APPL.ALPACA", "AAPL.ALPACA"]}, [
        "forbidden_instruments names what the session does not trade, and which does nothing there:"
        " APPL.ALPACA"]),
    ({"allowed_instruments": ["AAPL.ALPACA", *(f"X{at}.Y" for at in range(500))]}, [
        "allowed_instruments names what the session does not trade, and which does nothing there: "
        "X0.Y, X1.Y, X2.Y and 497 more"]),
]  # fmt: skip


@pytest.mark.parametrize(("risk", "told"), IDLE)
def test_what_a_session_does_not_trade_is_told(risk: dict[str, list[str]], told: list[str]) -> None:
    found = tell_idle(RiskConfig.model_validate(risk), HAS)
    assert found == [f"risk.{each}" for each in told]
    assert tell_idle(RiskConfig.model_validate(risk), ()) == []  # a universe says what it trades


def test_config_check_warns_and_goes_on() -> None:
    Path("run.yaml").write_text(f"{CONFIG}  {{forbidden_instruments: [MSFT.ALPACCA]}}\n")
    done = CliRunner().invoke(app, ["config", "check", "run.yaml"])
    assert done.exit_code == 0
    assert "run.yaml: ok" in done.stdout
    assert done.stderr == (
        "warning: risk.forbidden_instruments names what the session does not trade, and which does "
        "nothing there: MSFT.ALPACCA (did you mean 'MSFT.ALPACA'?)\n"
    )
