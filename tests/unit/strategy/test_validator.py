from __future__ import annotations

from pathlib import Path

import pytest

import onetape.strategy.library
from onetape.domain.errors import StrategyError
from onetape.strategy.checks.finding import Finding
from onetape.strategy.validator import check_file, check_source
from tests.support.strategies import make_source

LIBRARY = sorted(Path(onetape.strategy.library.__path__[0]).glob("[a-z]*.py"))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_shipped_strategy_has_no_findings(path):
    assert check_file(str(path)) == []


def test_findings_come_in_the_order_of_lines():
    source = make_source(top="import os\nimport time", on_bar="self.x = 1\nself.y = 2")
    assert [each.line for each in check_source(source, "mine.py")] == [3, 4, 8, 9]


def test_finding_reads_as_one_sentence_with_line_remedy_and_code():
    assert str(Finding(7, "clock", "use of x", "pass y")) == "line 7: use of x (pass y) [clock]"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("x = 1\nclass Mine(:\n", 2, "not Python: "),
        ("x = '\0'", 1, "not Python: "),
        ("x = 1\nreturn x\n", 2, "not Python: 'return' outside function"),
    ],
)
def test_text_that_is_not_python_is_one_finding(text, line, message):
    (finding,) = check_source(text, "mine.py")
    assert (finding.line, finding.code) == (line, "syntax")
    assert finding.message.startswith(message)


def test_deeply_nested_source_is_read_like_any_other():
    terms = " + ".join(["1"] * 3000)
    assert (
        check_source(make_source(on_bar=f"x = ctx{'.a' * 500}\ny = [{terms[:2000]}1]"), "m") == []
    )


def test_missing_file_is_refused_with_place_and_remedy(tmp_path):
    with pytest.raises(StrategyError, match=r"gone\.py: the strategy file can't be read: No such"):
        check_file(str(tmp_path / "gone.py"))


def test_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "binary.py"
    path.write_bytes(b"\xff\xfe\x00class")
    with pytest.raises(StrategyError, match="it is not a Python text file"):
        check_file(str(path))
