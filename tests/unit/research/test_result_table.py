from __future__ import annotations

import pytest

from onetape.domain.instrument import make_equity, make_spot
from onetape.research.result_table import alarms, result_rows, tell_fees, tell_fills
from onetape.research.run_summary import summarize_run
from tests.support.contracts import make_future
from tests.support.runs import make_run


def test_result_rows_of_a_complete_run_hold_period_figures_and_denials() -> None:
    run = make_run()
    summary = summarize_run(run.timeline, run.events, digest="")
    rows = {row.label: row for row in result_rows(summary)}
    assert rows["Period"].value == "2010-01-04 to 2013-11-13"
    assert rows["Denied orders"].value == str(len(summary.projection.denied))
    assert rows["Total return"].tone == (1 if summary.account.total_return > 0 else -1)
    assert rows["Round trips"].value.startswith(str(summary.account.round_trips))
    assert alarms(summary) == []


def test_result_rows_of_a_broken_run_begin_with_the_alarms() -> None:
    run = make_run(complete=False, quarantined=True)
    summary = summarize_run(run.timeline, run.events, digest="")
    first, second = result_rows(summary)[:2]
    assert (first.label, first.tone) == ("INCOMPLETE", -1)
    assert second.label == "QUARANTINED"
    assert "ZeroDivisionError" in second.value


def test_fills_that_choose_for_us_are_alarms() -> None:
    others = [{"market": "same_close", "path": None}, {"market": None, "path": "optimistic"}]
    fill = {"market": "vwap", "path": "pessimistic", "overrides": others}
    told = tell_fills({"execution": {"fill": fill}}, ("open", "close"))
    assert [each.word for each in told] == ["SAME CLOSE", "OPTIMISTIC FILLS", "NO VWAP"]
    assert not list(tell_fills({"execution": {"fill": {"market": "vwap"}}}, ("vwap",)))
    execution = {"fill": {}, "overrides": [{"fill": None}, *({"fill": each} for each in others)]}
    told = tell_fills({"execution": execution}, ())
    assert [each.word for each in told] == ["SAME CLOSE", "OPTIMISTIC FILLS"]


@pytest.mark.parametrize(
    ("fees", "told"),
    [
        ({"model": "ibkr_us_fixed"}, "ESH4.XCME, BTC-USD.BINANCE, SAP.XETR paid the fees of US sh"),
        ({"model": "per_order", "amount": "1", "sales": {"rates": "us_equity"}},
         "ESH4.XCME, BTC-USD.BINANCE, SAP.XETR paid the fees of US shares"),
        ({"model": "binance_spot"}, "AAPL.XNAS, ESH4.XCME, SAP.XETR paid the fees of Binance spot"),
        ({"model": "per_share", "rate": "1"}, ""),
        ({"model": "none"}, ""),
    ],
)  # fmt: skip
def test_fees_of_other_instruments_are_alarms(fees: dict[str, object], told: str) -> None:
    instruments = [
        make_equity("AAPL.XNAS"), make_future(10**18),
        make_spot("BTC-USD.BINANCE", base="BTC", quote="USD", tick_size="1", lot_size="1"),
        make_equity("SAP.XETR", currency="EUR"),
    ]  # fmt: skip
    found = list(tell_fees({"execution": {"fees": fees, "seed": 1}}, instruments))
    assert [each.word for each in found] == ["FEES"] * bool(told)
    assert not told or found[0].story.startswith(told)
    own = {"instruments": ["*.*"], "fees": {"model": "bps", "maker_bps": "1", "taker_bps": "1"}}
    assert not list(tell_fees({"execution": {"fees": fees, "overrides": [own]}}, instruments))
    assert not list(tell_fees({}, instruments))
    older = {"execution": {"fees": {"model": "per_share", "rate": "1", "maximum_pct": "1"}}}
    assert not list(tell_fees(older, instruments))
