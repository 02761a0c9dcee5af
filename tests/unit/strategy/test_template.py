from __future__ import annotations

import pytest

from onetape.domain.errors import StrategyError
from onetape.strategy.registry import load_strategy
from onetape.strategy.template import render
from onetape.strategy.validator import check_source


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


@pytest.mark.parametrize(
    "name", ["", "Mine", "my-own", "1st", "my__own", "class", "my.own", "a/b", "my_", "äpfel"]
)
def test_name_that_can_not_be_a_file_is_refused(name):
    with pytest.raises(StrategyError, match=r"can't name a strategy .use lower-case"):
        render(name)
