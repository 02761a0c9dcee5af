"""Sessions that the compiled host does not carry are refused by name, before anything compiles."""

from __future__ import annotations

import pytest

from onetape.domain.errors import ConfigError
from onetape.execution.alpaca.translation import CAPABILITIES as ALPACA
from onetape.execution.gateway import Capabilities
from onetape.execution.simulated.fill_terms import BarPath, FillTerms, MarketPrice
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.timeline import Timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.strategy.library.sma_cross import SmaCross
from tests.support.halts import make_status, with_halts
from tests.support.session_runs import make_terms
from tests.support.ticks import make_quote_timeline
from tests.support.timelines import closes, flat, make_timeline

BARS = make_timeline(flat(100.0, 101.0))


@pytest.mark.parametrize(
    ("timeline", "fill", "message"),
    [
        (BARS, ALPACA, "the session emulates orders that its venue lacks"),
        (BARS, FillTerms(market=MarketPrice.SAME_CLOSE), "AAPL.XNAS fills with market same_close"),
        (BARS, FillTerms(path=BarPath.OPTIMISTIC), "AAPL.XNAS fills with path optimistic"),
        (with_halts(BARS, [make_status(closes(0))]), None, "the session has trading halts"),
        (make_quote_timeline([(99.0, 101.0)]), None, "the session runs on quotes"),
    ],
)
def test_session_that_is_not_carried_is_refused(
    timeline: Timeline, fill: FillTerms | Capabilities | None, message: str
) -> None:
    spec = StrategySpec(name="cross", strategy=SmaCross(), capital=1_000_000)
    if isinstance(fill, Capabilities):
        terms = make_terms(timeline, capabilities=fill)
    else:
        terms = make_terms(timeline, fill=fill)
    with pytest.raises(ConfigError, match=message):
        CompiledHost(timeline, spec, terms, RiskLimits())


@pytest.mark.parametrize(
    ("terms", "where"),
    [
        (make_terms(BARS, has_legs=True), "execution.position_mode"),
        (make_terms(BARS, marks_closing_side=True), "execution.marks"),
    ],
)
def test_books_that_are_not_carried_are_refused(terms: VenueTerms, where: str) -> None:
    spec = StrategySpec(name="cross", strategy=SmaCross(), capital=1_000_000)
    with pytest.raises(ConfigError, match="which the compiled host does not carry") as refused:
        CompiledHost(BARS, spec, terms, RiskLimits())
    assert refused.value.where == where
