"""Logging in with an OAuth 2.0 access token, and what a server says of one that it does not take."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.imap import commands
from mailpush.imap.client import (
    ImapAuthError,
    ImapLogin,
    ImapRefused,
    ImapTokenError,
    ImapUnavailable,
    Way,
    connect,
)
from mailpush.imap.commands import INITIAL_LINE_MAX, MAX_TOKEN
from mailpush.imap.errors import ImapError, ImapNoMechanism, ImapProtocolError
from mailpush.imap.login import TOKEN_WAYS
from mailpush.imap.protocol import ImapProtocol
from mailpush.imap.server import TokenMechanism
from mailpush.imap.token_errors import problem_of
from tests.unit.imap.script import TIMEOUT, Script, fails, served

TOKEN = "eyJh.t0ken-_~+/=="
LOGIN = ImapLogin.with_token("u3", TOKEN)
BYE = "* BYE\n{tag} OK"


def greeting(*mechanisms: str, more: str = "SASL-IR") -> str:
    return f"* OK [CAPABILITY IMAP4rev1 {more} {' '.join(f'AUTH={name}' for name in mechanisms)}] ready"


BOTH = greeting("PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER")
XOAUTH2 = greeting("PLAIN", "XOAUTH2")


def challenge(**answer: object) -> str:
    return b64encode(json.dumps(answer).encode()).decode()


@pytest.mark.parametrize(
    ("mechanism", "offered", "way"),
    [
        ("auto", BOTH, Way.OAUTHBEARER),
        ("auto", XOAUTH2, Way.XOAUTH2),
        ("XOAUTH2", BOTH, Way.XOAUTH2),
        ("OAUTHBEARER", BOTH, Way.OAUTHBEARER),
    ],
)
async def test_the_mechanism_is_the_one_that_is_set_or_the_better_one_that_is_offered(
    mechanism: TokenMechanism, offered: str, way: Way
) -> None:
    script = Script("{tag} OK in", BYE, greeting=offered)
    async with served(script) as server, connect(server, TIMEOUT) as client:
        assert await client.login(ImapLogin.with_token("u3", TOKEN, mechanism)) is way
    *name, message = script.lines[0].split(" ")
    assert name == ["M1", *way.value.split(" ")]
    expected = (
        f"user=u3\1auth=Bearer {TOKEN}\1\1"
        if way is Way.XOAUTH2
        else f"n,a=u3,\1host=127.0.0.1\1port={server.port}\1auth=Bearer {TOKEN}\1\1"
    )
    assert b64decode(message).decode() == expected


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_without_sasl_ir_the_token_waits_for_the_servers_word(mechanism: TokenMechanism) -> None:
    script = Script("+ ", "{last} OK in", BYE, greeting=greeting(mechanism, more="IDLE"))
    async with served(script) as server, connect(server, TIMEOUT) as client:
        await client.login(ImapLogin.with_token("u3", TOKEN, mechanism))
    assert script.lines[0] == f"M1 AUTHENTICATE {mechanism}"
    assert TOKEN in b64decode(script.lines[1]).decode()


async def test_a_token_too_long_for_a_line_waits_as_well() -> None:
    long = "t" * MAX_TOKEN
    script = Script("+ ", "{last} OK in", BYE, greeting=BOTH)
    async with served(script) as server, connect(server, TIMEOUT) as client:
        await client.login(ImapLogin.with_token("u3", long))
    assert script.lines[0] == "M1 AUTHENTICATE OAUTHBEARER"
    assert long in b64decode(script.lines[1]).decode()


@given(st.integers(1, MAX_TOKEN), st.sampled_from(TOKEN_WAYS))
def test_no_line_with_a_command_is_longer_than_servers_take(length: int, way: Way) -> None:
    login = ImapLogin.with_token("u3", "t" * length)
    make = commands.authenticate_xoauth2 if way is Way.XOAUTH2 else bearer
    command = make(login.user, login.password, initial_response=True)
    assert len(b"M1 " + command.parts[0] + b"\r\n") <= 8192
    assert len(command.parts) == 1 or len(command.parts[1]) > INITIAL_LINE_MAX - 50, "one line where it fits"


def bearer(user: str, token: str, *, initial_response: bool) -> commands.Command:
    return commands.authenticate_oauthbearer(user, token, "imap.example", 993, initial_response=initial_response)


@pytest.mark.parametrize(("mechanism", "closing"), [("XOAUTH2", ""), ("OAUTHBEARER", "AQ==")])
@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        ({"status": "invalid_token"}, ImapTokenError, "not valid, has ended, or is not for this mailbox"),
        ({"status": "401", "schemes": "bearer", "scope": "mail"}, ImapTokenError, "not valid"),
        ({"status": 400, "schemes": "Bearer"}, ImapTokenError, "not valid"),
        ({"status": "insufficient_scope", "scope": "mail"}, ImapTokenError, "lacks a scope"),
        ({"status": "invalid_request"}, ImapRefused, "malformed"),
        ({"status": "internal_failure"}, ImapUnavailable, "may be down"),
        ({"status": "500"}, ImapUnavailable, "may be down"),
        ({"status": "what"}, ImapTokenError, "not valid"),
        ({"nothing": 1}, ImapTokenError, "not valid"),
    ],
)
async def test_the_servers_error_is_answered_and_told(
    mechanism: TokenMechanism, closing: str, answer: dict[str, object], kind: type[ImapRefused], text: str
) -> None:
    script = Script(
        f"+ {challenge(**answer)}", "{last} NO [AUTHENTICATIONFAILED] no", greeting=greeting("PLAIN", mechanism)
    )
    failure = await fails(script, lambda client: client.login(LOGIN))
    assert script.lines[1:] == [closing]
    assert type(failure) is kind
    assert text in str(failure)
    assert isinstance(failure, ImapRefused)
    assert failure.code == "AUTHENTICATIONFAILED"
    if isinstance(failure, ImapTokenError):
        assert failure.scope_missing == ("scope" in str(failure))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("NO [AUTHENTICATIONFAILED] no", ImapTokenError),
        ("NO no", ImapTokenError),
        ("NO [UNAVAILABLE] later", ImapUnavailable),
        ("NO [LIMIT] later", ImapUnavailable),
        ("NO [ALERT] what", ImapRefused),
        ("NO [X-OF-ITS-OWN] what", ImapRefused),
    ],
)
async def test_a_refused_token_is_sent_once_and_never_as_a_password(answer: str, kind: type[ImapRefused]) -> None:
    script = Script(f"{{tag}} {answer}", greeting=BOTH)
    assert type(await fails(script, lambda client: client.login(LOGIN))) is kind
    assert [line.split(" ")[1:3] for line in script.lines] == [["AUTHENTICATE", "OAUTHBEARER"]]


async def test_the_other_mechanism_is_tried_where_the_first_does_not_work_at_all() -> None:
    script = Script("{tag} BAD what", "{tag} OK in", BYE, greeting=BOTH)
    async with served(script) as server, connect(server, TIMEOUT) as client:
        assert await client.login(LOGIN) is Way.XOAUTH2


@pytest.mark.parametrize(
    ("mechanism", "offered", "said"),
    [
        ("auto", greeting("PLAIN", "LOGIN"), "neither OAUTHBEARER nor XOAUTH2 on this connection, but PLAIN, LOGIN;"),
        ("XOAUTH2", greeting("OAUTHBEARER", "PLAIN"), "offers no XOAUTH2 on this connection, but OAUTHBEARER, PLAIN;"),
        ("auto", greeting("X-OWN"), "but no SASL mechanism that is known;"),
    ],
)
async def test_a_server_without_the_mechanism_is_told_with_what_it_offers(
    mechanism: TokenMechanism, offered: str, said: str
) -> None:
    script = Script(greeting=offered)
    failure = await fails(script, lambda client: client.login(ImapLogin.with_token("u3", TOKEN, mechanism)))
    assert isinstance(failure, ImapNoMechanism)
    assert said in str(failure)
    assert not script.lines


@pytest.mark.parametrize("mechanism", ["auto", "XOAUTH2"])
@pytest.mark.parametrize(
    ("user", "token"),
    [("u3", "a\1b"), ("u3", "a b"), ("u3", ""), ("u3", "a\r\nb"), ("u3", "t" * (MAX_TOKEN + 1)), ("u\1x", TOKEN)],
)
async def test_what_is_no_token_is_not_sent(mechanism: TokenMechanism, user: str, token: str) -> None:
    script = Script(greeting=BOTH)
    failure = await fails(script, lambda client: client.login(ImapLogin.with_token(user, token, mechanism)))
    assert isinstance(failure, ImapAuthError)
    assert not script.lines
    assert not token or token not in str(failure)


def test_a_user_name_cannot_end_its_own_field() -> None:
    command = commands.authenticate_oauthbearer("a=b,c", TOKEN, "imap.example", 993, initial_response=False)
    assert b64decode(command.parts[1]).startswith(b"n,a=a=3Db=2Cc,\1host=imap.example\1port=993\1")


async def test_a_server_that_repeats_the_token_does_not_bring_it_into_our_texts() -> None:
    said = b64encode(f'{{"status":"{TOKEN}","scope":"{TOKEN}"}}'.encode()).decode()
    script = Script(f"+ {said}", f"{{last}} NO [{TOKEN}] {TOKEN}", greeting=BOTH)
    failure = await fails(script, lambda client: client.login(LOGIN))
    assert TOKEN not in str(failure) + repr(failure) + repr(LOGIN) + str(LOGIN)
    assert failure.__context__ is None or TOKEN not in str(failure.__context__)


def test_no_repr_shows_a_token_or_what_the_server_says_of_it() -> None:
    core = ImapProtocol()
    core.receive(b"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR] ready\r\n")
    command = commands.authenticate_xoauth2("u3", TOKEN, initial_response=True)
    core.start(command)
    core.receive(f"+ {TOKEN}\r\n".encode())
    assert TOKEN not in repr(command) + repr(core) + repr(core._pending)
    core.receive(b"M1 NO no\r\n")
    assert core.reply is not None
    assert core.reply.challenge == TOKEN.encode()
    assert TOKEN not in repr(core.reply)


async def test_a_second_challenge_ends_the_conversation() -> None:
    script = Script("+ ", "+ ", greeting=BOTH)
    failure = await fails(script, lambda client: client.login(LOGIN))
    assert isinstance(failure, ImapProtocolError)


SAID = st.sampled_from(
    ["+ ", "+", f"+ {challenge(status='invalid_token')}", "+ e30=", "{last} NO no", "{last} BAD x", "{last} OK in", "x"]
)


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode) | st.binary(max_size=200).map(b64encode))
def test_whatever_stands_in_a_challenge_is_read_or_left(text: bytes) -> None:
    problem_of(text)


def test_a_challenge_as_deep_as_a_line_is_left() -> None:
    assert problem_of(b64encode(b'{"status":' + b"[" * 6000)) is None


@given(st.lists(SAID, max_size=4), st.sampled_from(["auto", "XOAUTH2"]))
def test_whatever_a_server_says_to_a_token_leaves_a_login_an_imap_error_or_a_wait(
    said: list[str], mechanism: TokenMechanism
) -> None:
    core = ImapProtocol()
    core.receive(f"{BOTH}\r\n".encode())
    make = commands.authenticate_xoauth2 if mechanism == "XOAUTH2" else bearer
    core.start(make("u3", TOKEN, initial_response=True))
    sent = [core.outgoing()]
    try:
        for line in said:
            core.receive(f"{line.format(last='M1')}\r\n".encode())
            sent.append(core.outgoing())
    except ImapError:
        pass
    assert sum(TOKEN.encode() in part or len(part) > 60 for part in sent) == 1, "the token goes out once"
