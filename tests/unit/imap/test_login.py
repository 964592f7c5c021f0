"""Logging in where a server refuses, and what it then says."""

from __future__ import annotations

import pytest

from mailpush.imap.client import (
    ImapAuthError,
    ImapConnectionError,
    ImapLogin,
    ImapProtocolError,
    ImapRefused,
    ImapUnavailable,
    Way,
    connect,
)
from tests.unit.imap.script import LOGIN, TIMEOUT, Script, fails, served

PLAIN_ONLY = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN LOGINDISABLED] ready"


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        ("{tag} NO [AUTHENTICATIONFAILED] no", ImapAuthError, "AUTHENTICATIONFAILED"),
        ("{tag} NO [AUTHORIZATIONFAILED] no", ImapAuthError, "AUTHORIZATIONFAILED"),
        ("{tag} NO [EXPIRED] no", ImapAuthError, "EXPIRED"),
        ("{tag} NO no", ImapAuthError, None),
        ("{tag} NO [UNAVAILABLE] later", ImapUnavailable, "UNAVAILABLE"),
        ("{tag} NO [LIMIT] too many", ImapUnavailable, "LIMIT"),
        ("{tag} NO [CONTACTADMIN] locked", ImapUnavailable, "CONTACTADMIN"),
        ("{tag} NO [THROTTLED] slow down", ImapUnavailable, "THROTTLED"),
        ("{tag} NO [ALERT] log in at the web site first", ImapRefused, "ALERT"),
        ("{tag} NO [NONEXISTENT] no such thing", ImapRefused, "NONEXISTENT"),
        ("{tag} NO [X-OF-ITS-OWN] what", ImapRefused, "OTHER"),
        ("{tag} NO [CAPABILITY IMAP4rev1] no", ImapAuthError, "CAPABILITY"),
        ("{tag} BAD what", ImapRefused, None),
        ("{tag} BAD [AUTHENTICATIONFAILED] what", ImapRefused, "AUTHENTICATIONFAILED"),
    ],
)
async def test_a_refused_login_says_whether_it_is_about_the_credentials(
    answer: str, kind: type[ImapRefused], code: str | None
) -> None:
    failure = await fails(Script(answer, greeting=PLAIN_ONLY), lambda client: client.login(LOGIN))
    assert type(failure) is kind
    assert isinstance(failure, ImapRefused)
    assert failure.code == code


async def test_a_server_that_repeats_the_credentials_does_not_bring_them_into_our_texts() -> None:
    encoded = "AHUAczNjcmV0"
    for kind in ("NO", "BAD"):
        script = Script(f"{{tag}} {kind} what is s3cret or {encoded}", greeting=PLAIN_ONLY)
        failure = await fails(script, lambda client: client.login(LOGIN))
        assert script.lines == [f"M1 AUTHENTICATE PLAIN {encoded}"]
        assert "s3cret" not in str(failure)
        assert encoded not in str(failure)
        assert failure.__context__ is None or "s3cret" not in str(failure.__context__)


async def test_a_bye_to_a_login_is_a_connection_error() -> None:
    failure = await fails(Script("* BYE [UNAVAILABLE] restarting", hang_up=True), lambda client: client.login(LOGIN))
    assert isinstance(failure, ImapConnectionError)
    assert "BYE [UNAVAILABLE]" in str(failure)


async def test_no_login_is_tried_where_none_is_offered() -> None:
    script = Script(greeting="* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] ready")
    failure = await fails(script, lambda client: client.login(LOGIN))
    assert isinstance(failure, ImapRefused)
    assert failure.code == "PRIVACYREQUIRED", "the connection is without TLS"
    assert script.lines == []


async def test_login_has_the_master_user_behind_the_separator() -> None:
    script = Script("{tag} OK in", "* BYE\n{tag} OK", greeting="* OK [CAPABILITY IMAP4rev1] ready")
    async with served(script) as server, connect(server, TIMEOUT) as client:
        await client.login(ImapLogin("master1", "s3cret", authzid="u3"))
    assert script.lines == ['M1 LOGIN "u3*master1" "s3cret"', "M2 LOGOUT"]


async def test_credentials_that_cannot_be_sent_are_an_auth_error() -> None:
    failure = await fails(Script(), lambda client: client.login(ImapLogin("u", "a\0b")))
    assert isinstance(failure, ImapAuthError)
    failure = await fails(Script(), lambda client: client.login(ImapLogin("u", "s3cr\udcfft")))
    assert isinstance(failure, ImapAuthError)
    assert "udcff" not in str(failure)


BOTH = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready"


@pytest.mark.parametrize(
    "refusal", ["NO", "BAD", "NO [CANNOT] not in this way", "BAD [CLIENTBUG] what", "NO [CAPABILITY IMAP4rev1] no"]
)
async def test_login_is_tried_where_plain_is_refused_though_it_was_offered(refusal: str) -> None:
    script = Script(f"{{tag}} {refusal}", "{tag} OK in", "* BYE\n{tag} OK", greeting=BOTH)
    async with served(script) as server, connect(server, TIMEOUT) as client:
        assert await client.login(LOGIN) is Way.LOGIN
    assert [line.split(" ")[1] for line in script.lines] == ["AUTHENTICATE", "LOGIN", "LOGOUT"]


@pytest.mark.parametrize("refusal", ["AUTHENTICATIONFAILED", "EXPIRED", "UNAVAILABLE", "LIMIT", "ALERT", "X-Y"])
async def test_no_other_way_is_tried_where_it_would_be_one_more_failed_login(refusal: str) -> None:
    script = Script(f"{{tag}} NO [{refusal}] no", greeting=BOTH)
    await fails(script, lambda client: client.login(LOGIN))
    assert len(script.lines) == 1


async def test_a_login_that_was_refused_before_is_tried_in_one_way_and_each_in_turn() -> None:
    tried = []
    for refused_before in range(1, 5):
        script = Script("{tag} NO", "{tag} NO", greeting=BOTH)
        failure = await fails(script, lambda client: client.login(LOGIN, refused_before=refused_before))  # noqa: B023
        assert isinstance(failure, ImapAuthError)
        tried += [line.split(" ")[1] for line in script.lines]
    assert tried == ["LOGIN", "AUTHENTICATE", "LOGIN", "AUTHENTICATE"]


async def test_the_way_that_was_let_in_last_is_tried_first() -> None:
    script = Script("{tag} OK in", "* BYE\n{tag} OK", greeting=BOTH)
    async with served(script) as server, connect(server, TIMEOUT) as client:
        assert await client.login(LOGIN, first=Way.LOGIN) is Way.LOGIN


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (["{tag} BAD", "{tag} NO [AUTHENTICATIONFAILED]"], ImapAuthError),
        (["{tag} NO", "{tag} BAD"], ImapAuthError),
        (["{tag} BAD", "{tag} NO [ALERT] no"], ImapRefused),
    ],
)
async def test_of_two_refusals_the_one_about_the_credentials_is_reported(
    answers: list[str], kind: type[ImapRefused]
) -> None:
    assert type(await fails(Script(*answers, greeting=BOTH), lambda client: client.login(LOGIN))) is kind


async def test_a_server_that_has_logged_somebody_in_by_itself_is_named() -> None:
    script = Script(greeting="* PREAUTH [CAPABILITY IMAP4rev1] welcome")
    failure = await fails(script, lambda client: client.login(LOGIN))
    assert isinstance(failure, ImapProtocolError)
    assert "whose mailbox it shows is not known" in str(failure)
    assert script.lines == []


async def test_a_blank_line_and_an_answer_without_its_tag_do_not_hinder_a_login() -> None:
    script = Script("\nOK in", "\n\n* BYE\nOK", greeting=f"\r\n{BOTH}")
    async with served(script) as server, connect(server, TIMEOUT) as client:
        await client.login(LOGIN)
