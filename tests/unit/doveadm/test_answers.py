"""Requests and answers of doveadm's HTTP API, byte for byte as Dovecot has sent them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.doveadm.answers import NOT_TOLD, Command, Failed, parse, request

KEY = "/private/vendor/vendor.dovecot/http-notify"


def test_a_request_names_each_command_by_its_place() -> None:
    commands = [Command("mailboxMetadataGet", "ü", {"key": KEY}), Command("mailboxMetadataUnset", "u2", {"key": KEY})]
    assert json.loads(request(commands)) == [
        ["mailboxMetadataGet", {"user": "ü", "key": KEY}, "0"],
        ["mailboxMetadataUnset", {"user": "u2", "key": KEY}, "1"],
    ]


@pytest.mark.parametrize(
    ("body", "outcomes"),
    [
        (b'[["doveadmResponse",[{"value":"user=1@1"}],"0"]]', [[{"value": "user=1@1"}]]),
        (b'[["doveadmResponse",[],"0"],["doveadmResponse",[{"value":""}],"1"]]', [[], [{"value": ""}]]),
        (
            b'[["doveadmResponse",[{"value":"x"}],"0"],["error",{"type":"exitCode", "exitCode":67},"1"],'
            b'["doveadmResponse",[{"value":""}],"2"]]',
            [[{"value": "x"}], Failed("exitCode", 67), [{"value": ""}]],
        ),
        # 2.3 leaves the comma out.
        (
            b'[["doveadmResponse",[],"0"]["error",{"type":"unknownMethod", "exitCode":0},"1"]]',
            [[], Failed("unknownMethod", 0)],
        ),
        (
            b'[["error",{"type":"invalidRequest", "exitCode":0},"0"]["doveadmResponse",[{"value":"a"}],"1"]]',
            [Failed("invalidRequest", 0), [{"value": "a"}]],
        ),
        (b'[["doveadmResponse",[{"value":"a\\"b\\\\\xc3\xbc\\t"}],"0"]]', [[{"value": 'a"b\\ü\t'}]]),
        (b'[["doveadmResponse",[{"value":"]["}],"1"],["doveadmResponse",[],"0"]]', [[], [{"value": "]["}]]),
        (b"[]", [NOT_TOLD]),
        (b'[["doveadmResponse",[],"7"]]', [NOT_TOLD]),
    ],
)
def test_what_dovecot_says_of_each_command(body: bytes, outcomes: list[object]) -> None:
    assert parse(body, len(outcomes)) == outcomes


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[",
        b"[1]",
        b'[["doveadmResponse",[],0]]',
        b'[["doveadmResponse",{},"0"]]',
        b'[["error",[],"0"]]',
        b'[["doveadmResponse",[],"\xd9\xa3"]]',
        b'[["doveadmResponse",[{"value":"x"}]',
        b"\xff",
        b"[" * 100_000 + b"]" * 100_000,
        b"<html>[]</html>",
    ],
)
def test_what_is_no_answer_is_told_as_such(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - it has no text that counts
        parse(body, 1)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_whatever_comes_is_an_answer_or_none(body: bytes, commands: int) -> None:
    try:
        assert len(parse(b"[" + body + b"]", commands)) == commands
    except ValueError:
        pass
