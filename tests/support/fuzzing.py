"""How many inputs a fuzzing test tries: few in a usual run, `ONETAPE_FUZZ` of them where it is set.

`make soak` sets it to 10,000.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def fuzzed(examples: int) -> settings:
    """Settings of a test that tries `examples` inputs in a usual run."""
    return settings(
        max_examples=int(os.environ.get("ONETAPE_FUZZ", examples)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
