"""The seeds of `make fuzz`, and whatever it has found, do no harm."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS

KEPT = [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in sorted(SEEDS.glob("*/*"))]


@pytest.mark.parametrize("path", KEPT)
def test_what_was_kept_does_no_harm(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


def test_each_target_has_seeds() -> None:
    assert {path.name for path in SEEDS.iterdir() if any(path.iterdir())} == set(TARGETS)


@pytest.mark.parametrize("name", sorted(TARGETS))
@given(data=st.binary(max_size=512))
def test_any_bytes_do_no_harm(name: str, data: bytes) -> None:
    TARGETS[name](data)
