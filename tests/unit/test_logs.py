"""Which level the environment asks for."""

import logging

import pytest

from mailpush import logs


@pytest.mark.parametrize(
    ("value", "level"),
    [
        ("debug", logging.DEBUG),
        (" Warning ", logging.WARNING),
        ("error", logging.ERROR),
        ("", logging.INFO),
        ("loud", logging.INFO),
    ],
)
def test_a_level_that_there_is_not_counts_as_info(value: str, level: int) -> None:
    assert logs.level_of({logs.LEVEL_VARIABLE: value}) == level
    assert logs.level_of({}) == logging.INFO
