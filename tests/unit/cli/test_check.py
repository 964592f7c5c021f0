"""What `helm test` goes by."""

from typing import Any

import pytest

from mailpush.cli.check import verdict


def config(status: str | None, observed: int = 3) -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "reason": "R", "message": "why", "observedGeneration": observed}
    other = {"type": "ConfigurationValid", "status": "True", "observedGeneration": 3}
    return {
        "metadata": {"name": "main", "generation": 3},
        "status": {"conditions": [other, condition]} if status else {},
    }


@pytest.mark.parametrize(
    ("status", "observed", "ready", "said"),
    [
        ("True", 3, True, "Ready=True R: why"),
        ("False", 3, False, "Ready=False R: why"),
        ("Unknown", 3, False, "Ready=Unknown R: why"),
        ("True", 2, False, "the operator has not looked at it yet"),
        (None, 3, False, "the operator has not looked at it yet"),
    ],
)
def test_only_a_ready_of_the_spec_as_it_is_counts(status: str | None, observed: int, ready: bool, said: str) -> None:
    assert verdict(config(status, observed)) == (ready, said)
