from __future__ import annotations

from onetape.research.result_table import alarms, result_rows, tell_fills
from onetape.research.run_summary import summarize_run
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
