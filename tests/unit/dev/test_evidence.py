"""What `make credentials` searches for passwords finds them in whichever form they are carried."""

import base64
import secrets
import urllib.parse
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.cluster.controlplane import ControlPlane
from tests.credentials.evidence import LEAST, Evidence, forms

NO_PLANE = cast(ControlPlane, None)
PASSWORDS = st.text(min_size=LEAST, max_size=40)


@given(before=st.binary(max_size=7), password=PASSWORDS, after=st.binary(max_size=7))
def test_a_password_is_found_within_whatever_was_encoded_with_it(before: bytes, password: str, after: bytes) -> None:
    text = before + password.encode() + after
    for carried in (
        text,
        base64.b64encode(text),
        base64.urlsafe_b64encode(text),
        text.hex().encode(),
        urllib.parse.quote(password, safe="").encode(),
    ):
        assert any(form in carried for form in forms(password))


@given(password=PASSWORDS)
def test_each_form_is_long_enough_to_say_something(password: str) -> None:
    assert min(map(len, forms(password))) >= LEAST


def test_what_was_planted_is_found_by_its_name_and_not_repeated(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path, NO_PLANE)
    password, other = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    evidence.plant("the password", password)
    evidence.plant("another", other)
    evidence.keep("log", f"nothing of it: {password[:-1]}\n")
    assert evidence.found() == []
    evidence.keep("log", base64.b64encode(f"user:{password}".encode()))
    assert evidence.found() == ["the password in log"]
    assert evidence.size() > len(password)


def test_a_password_that_is_found_anywhere_cannot_be_planted(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too short"):
        Evidence(tmp_path, NO_PLANE).plant("the password", "secret")
