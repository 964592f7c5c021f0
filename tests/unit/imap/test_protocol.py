"""The conversation without a network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.imap import commands
from mailpush.imap.commands import Command
from mailpush.imap.errors import ImapProtocolError
from mailpush.imap.protocol import MAX_REPLY, ImapProtocol, State
from mailpush.imap.responses import Fetch
from tests.unit.imap import grammar

GREETING = b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN STARTTLS] ready\r\n"


@pytest.fixture
def core() -> ImapProtocol:
    core = ImapProtocol()
    core.receive(GREETING)
    return core


def send(core: ImapProtocol, command: Command) -> bytes:
    core.start(command)
    return core.outgoing()


def selected(core: ImapProtocol) -> ImapProtocol:
    send(core, commands.select("INBOX"))
    core.receive(b"* 3 EXISTS\r\n* OK [UIDVALIDITY 77] v\r\n* OK [UIDNEXT 9] n\r\nM1 OK [READ-WRITE] done\r\n")
    return core


def test_the_greeting_tells_the_capabilities(core: ImapProtocol) -> None:
    assert core.state is State.NOT_AUTHENTICATED
    assert "SASL-IR" in core.capabilities


def test_a_password_that_cannot_be_quoted_goes_as_a_literal(core: ImapProtocol) -> None:
    assert send(core, commands.login("a", 'q"\\ü')) == b'M1 LOGIN "a" {5}\r\n'
    core.receive(b"+ go on\r\n")
    assert core.outgoing() == 'q"\\ü\r\n'.encode()
    core.receive(b"M1 OK [CAPABILITY METADATA] in\r\n")
    assert core.state is State.AUTHENTICATED
    assert core.capabilities == {"METADATA"}


def test_a_refused_literal_ends_the_command(core: ImapProtocol) -> None:
    send(core, commands.login("a", "ü"))
    core.receive(b"M1 NO too long\r\n")
    assert core.reply is not None
    assert core.reply.status.kind == "NO"
    assert core.outgoing() == b""


def test_a_master_user_logs_in_by_plain_with_the_users_name_first(core: ImapProtocol) -> None:
    plain = commands.authenticate_plain("master1", "pw", "u3", initial_response=True)
    assert send(core, plain) == b"M1 AUTHENTICATE PLAIN dTMAbWFzdGVyMQBwdw==\r\n"


def test_without_sasl_ir_plain_waits_for_the_server(core: ImapProtocol) -> None:
    plain = commands.authenticate_plain("u", "pw", None, initial_response=False)
    assert send(core, plain) == b"M1 AUTHENTICATE PLAIN\r\n"
    core.receive(b"+ \r\n")
    assert core.outgoing() == b"AHUAcHc=\r\n"


def test_a_further_challenge_is_cancelled(core: ImapProtocol) -> None:
    send(core, commands.authenticate_plain("u", "pw", None, initial_response=True))
    core.receive(b"+ more\r\n")
    assert core.outgoing() == b"*\r\n"
    with pytest.raises(ImapProtocolError):
        core.receive(b"+ more\r\n")


def test_select_tells_the_state_of_the_mailbox(core: ImapProtocol) -> None:
    mailbox = selected(core).mailbox
    assert mailbox is not None
    assert (mailbox.exists, mailbox.uidvalidity, mailbox.uidnext) == (3, 77, 9)
    assert not core.grown


def test_a_failed_select_leaves_no_mailbox_selected(core: ImapProtocol) -> None:
    selected(core)
    send(core, commands.select("x"))
    core.receive(b"M2 NO no such mailbox\r\n")
    assert core.mailbox is None
    assert core.state is State.AUTHENTICATED


def test_a_mail_that_came_before_idle_is_not_forgotten(core: ImapProtocol) -> None:
    selected(core)
    core.receive(b"* 4 EXISTS\r\n")
    assert core.take_grown()
    assert not core.take_grown()


def test_an_expunge_and_a_flag_are_no_growth(core: ImapProtocol) -> None:
    selected(core)
    core.receive(b"* 1 EXPUNGE\r\n* 2 EXISTS\r\n* 2 FETCH (FLAGS (\\Seen))\r\n")
    assert not core.take_grown()
    core.receive(b"* 3 EXISTS\r\n")
    assert core.take_grown()


def test_a_mail_that_comes_while_the_mailbox_is_examined_is_not_forgotten(core: ImapProtocol) -> None:
    send(core, commands.examine("INBOX"))
    core.receive(b"* 3 EXISTS\r\n* OK [UIDVALIDITY 77] v\r\n* OK [UIDNEXT 9] n\r\n* 4 EXISTS\r\nM1 OK done\r\n")
    assert core.mailbox is not None
    assert core.mailbox.exists == 4
    assert core.take_grown()


def test_what_was_said_of_the_mailbox_before_is_not_taken_for_the_next_one(core: ImapProtocol) -> None:
    selected(core)
    send(core, commands.examine("x"))
    core.receive(b"* 4 EXISTS\r\n* OK [CLOSED] next\r\n* 7 EXISTS\r\nM2 OK done\r\n")
    assert core.mailbox is not None
    assert (core.mailbox.exists, core.mailbox.uidnext, core.grown) == (7, None, False)


def test_a_number_that_cannot_be_one_is_as_if_it_had_not_been_said(core: ImapProtocol) -> None:
    send(core, commands.examine("x"))
    core.receive(b"* 1 EXISTS\r\n* OK [UIDNEXT 4294967296] x\r\n* OK [UIDVALIDITY 0] x\r\nM1 OK done\r\n")
    assert core.mailbox is not None
    assert (core.mailbox.uidvalidity, core.mailbox.uidnext) == (None, None)


def test_data_of_one_message_may_come_in_several_responses(core: ImapProtocol) -> None:
    selected(core)
    assert send(core, commands.fetch_headers([9, 11, 10, 13])).startswith(
        b"M2 UID FETCH 9:11,13 (UID FLAGS INTERNALDATE BODY"
    )
    core.receive(b"* 4 FETCH (UID 9 FLAGS ())\r\n* 1 FETCH (UID 3 FLAGS (\\Seen))\r\n")
    core.receive(
        b"* 4 FETCH (UID 9 BODY[HEADER.FIELDS (FROM SUBJECT)]<0> {3}\r\na:b)\r\n* 4 FETCH (UID 9 FLAGS (x))\r\n"
    )
    core.receive(b"M2 OK done\r\n")
    assert core.reply is not None
    assert core.reply.messages == {9: Fetch(9, frozenset({"x"}), b"a:b")}


@pytest.mark.parametrize("answer", [b"OK in\r\n", b"m1 OK in\r\n", b"ok\r\n"])
def test_an_answer_without_its_tag_is_the_answer_to_the_one_command_that_runs(
    core: ImapProtocol, answer: bytes
) -> None:
    send(core, commands.login("a", "b"))
    core.receive(answer)
    assert core.reply is not None
    assert core.state is State.AUTHENTICATED


def test_an_answer_that_comes_twice_and_a_second_go_on_to_idle_are_left_out(core: ImapProtocol) -> None:
    selected(core)
    core.receive(b"M1 OK [READ-WRITE] done\r\n\r\n")
    send(core, commands.simple("IDLE"))
    core.receive(b"M1 OK done\r\n+ idling\r\n+ still\r\n")
    assert core.idling


def test_idle_is_on_only_after_the_servers_word(core: ImapProtocol) -> None:
    selected(core)
    assert send(core, commands.simple("IDLE")) == b"M2 IDLE\r\n"
    assert not core.idling
    core.receive(b"+ idling\r\n")
    assert core.idling
    core.done()
    assert core.outgoing() == b"DONE\r\n"
    core.receive(b"M2 OK done\r\n")
    assert not core.busy


@pytest.mark.parametrize("answer", [b"M9 OK what\r\n", b"M1 BYE what\r\n", b"+ go on\r\n", b"M99999999999 OK\r\n"])
def test_an_answer_to_nothing_is_refused(core: ImapProtocol, answer: bytes) -> None:
    send(core, commands.simple("NOOP"))
    with pytest.raises(ImapProtocolError):
        core.receive(answer)


def test_ok_to_half_a_command_is_refused(core: ImapProtocol) -> None:
    send(core, commands.login("a", "ü"))
    with pytest.raises(ImapProtocolError):
        core.receive(b"M1 OK in\r\n")


@pytest.mark.parametrize("injected", [b"* CAPAB", b"* OK [CAPABILITY AUTH=PLAIN] x\r\n", b"\r\n"])
def test_clear_text_behind_the_answer_to_starttls_is_refused(core: ImapProtocol, injected: bytes) -> None:
    send(core, commands.simple("STARTTLS"))
    with pytest.raises(ImapProtocolError, match="in between"):
        core.receive(b"M1 OK begin\r\n" + injected)


def test_clear_text_after_the_answer_to_starttls_is_refused(core: ImapProtocol) -> None:
    send(core, commands.simple("STARTTLS"))
    core.receive(b"M1 OK begin\r\n")
    with pytest.raises(ImapProtocolError, match="in between"):
        core.receive(b"*")


def test_starttls_forgets_what_was_said_in_clear_text(core: ImapProtocol) -> None:
    send(core, commands.simple("STARTTLS"))
    core.receive(b"M1 OK begin\r\n")
    core.starting_tls()
    assert core.capabilities == frozenset()
    core.receive(b"* CAPABILITY METADATA\r\n")
    assert core.capabilities == {"METADATA"}


def test_a_nul_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="NUL"):
        commands.login("a", "b\0c")
    with pytest.raises(ValueError, match="NUL"):
        commands.authenticate_plain("a", "b\0c", None, initial_response=True)


def test_a_line_break_cannot_smuggle_a_command_in() -> None:
    command = commands.set_metadata("/private/x", b"a\r\nM9 LOGOUT")
    assert command.parts == (b'SETMETADATA "" ("/private/x" {12}', b"a\r\nM9 LOGOUT)")


def test_no_repr_shows_a_credential() -> None:
    command = commands.login("a", "s3cret")
    core = ImapProtocol()
    core.receive(GREETING)
    core.start(command)
    assert "s3cret" not in repr(command) + repr(core) + repr(core._pending)
    core.receive(b"M1 NO [ALERT] s3cret\r\n")
    assert core.reply is not None
    assert "s3cret" not in repr(core.reply.status), "the server's words are not even kept"


WORDS = st.sampled_from(
    [
        b"* 1 EXISTS\r\n",
        b"* 1 EXPUNGE\r\n",
        b"+ \r\n",
        b"M1 OK x\r\n",
        b"M1 NO x\r\n",
        b"* BYE x\r\n",
        b"* OK [UIDNEXT x] x",
        b"\r\n",
        b"* METADATA ",
        b'"" (a {2}\r\n',
        b"xy)",
        b"* 1 FETCH (UID 1)\r\n",
        b"* OK [UIDVALIDITY 5] x\r\n",
    ]
)
STARTED = st.sampled_from(
    [commands.select("x"), commands.login("a", "ü"), commands.simple("IDLE"), commands.get_metadata("/private/x")]
)


@given(STARTED, st.lists(WORDS | st.binary(max_size=6), max_size=20))
def test_whatever_a_server_says_is_taken_or_refused_as_protocol_error(command: Command, said: list[bytes]) -> None:
    core = ImapProtocol()
    core.receive(GREETING)
    core.start(command)
    try:
        for data in said:
            core.receive(data)
    except ImapProtocolError:
        pass


COMMANDS = st.sampled_from(
    [
        commands.examine("INBOX"),
        commands.simple("IDLE"),
        commands.fetch_headers([9]),
        commands.status("INBOX", ("UIDNEXT",)),
        commands.get_metadata("/private/x"),
        commands.simple("NOOP"),
    ]
)
ANSWERS = {
    "EXAMINE": b"* 3 EXISTS\r\n* OK [UIDVALIDITY 77] v\r\n* OK [UIDNEXT 9] n\r\n",
    "FETCH": b'* 4 FETCH (UID 9 FLAGS ([todo) BODY[HEADER.FIELDS ("FROM" "SUBJECT")]<0> {3}\r\na:b)\r\n',
    "STATUS": b"* STATUS INBOX (UIDNEXT 9)\r\n",
    "GETMETADATA": b'* METADATA "" (/private/x {1}\r\ny)\r\n',
}
LEGAL = st.lists(grammar.untagged, max_size=6).map(b"".join)


@given(COMMANDS, LEGAL, LEGAL, st.integers(1, 50))
def test_no_legal_response_ends_a_conversation_or_hides_an_answer(
    command: Command, before: bytes, after: bytes, step: int
) -> None:
    core = ImapProtocol()
    core.receive(GREETING)
    selected(core)
    send(core, command)
    stream = before + ANSWERS.get(command.name, b"") + b"M2 OK done\r\n" + after
    for start in range(0, len(stream), step):
        core.receive(stream[start : start + step])
    assert core.reply is not None
    assert not core.busy
    match command.name:
        case "EXAMINE":
            assert core.mailbox is not None
            assert core.mailbox.uidnext is not None
        case "FETCH":
            assert 9 in core.reply.messages
        case "STATUS":
            assert "UIDNEXT" in core.reply.items
        case "GETMETADATA":
            assert "/private/x" in core.reply.entries


def flood(core: ImapProtocol, response: bytes) -> tuple[int, int]:
    """Until the protocol has had enough: bytes that it took, and the most that it held."""
    taken = held = 0
    chunk = response * max(1, 65536 // len(response))
    while taken <= 4 * MAX_REPLY:
        try:
            core.receive(chunk)
        except ImapProtocolError:
            break
        taken += len(chunk)
        held = max(held, core.held)
    return taken, held


FLOODS = {
    "fetches of other mails": b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (FROM SUBJECT)]<0> {65536}\r\n"
    + b"x" * 65536
    + b")\r\n",
    "fetches of this mail": b"* 1 FETCH (UID 9 BODY[HEADER.FIELDS (FROM SUBJECT)]<0> {65536}\r\n"
    + b"x" * 65536
    + b")\r\n",
    "annotations": b'* METADATA "" (/private/y {65536}\r\n' + b"x" * 65536 + b")\r\n",
    "still here": b"* OK still here\r\n",
    "a line without an end": b"x" * 65536,
    "a literal of 9 GB": b"* 1 FETCH (BODY[] {9999999999}\r\n",
    "blank lines": b"\r\n",
    "mails": b"* 1 EXISTS\r\n",
}


HEADERS, LAST, IDLE = commands.fetch_headers([9]), commands.fetch_last_uid(), commands.simple("IDLE")


@pytest.mark.parametrize(
    ("command", "said"),
    [(HEADERS, said) for said in FLOODS.values()] + [(LAST, FLOODS["a literal of 9 GB"]), (IDLE, FLOODS["mails"])],
    ids=[*FLOODS, "the last UID", "mails to IDLE"],
)
def test_whatever_a_server_says_to_one_command_is_bounded_in_bytes(
    core: ImapProtocol, command: Command, said: bytes
) -> None:
    selected(core)
    send(core, command)
    taken, held = flood(core, said)
    assert taken <= MAX_REPLY
    assert held <= 1024 * 1024


@pytest.mark.parametrize(
    ("date", "arrived"),
    [
        ('"17-Jul-1996 02:44:25 -0700"', 837596665.0),
        ('" 1-Nov-2026 18:42:25 +0100"', 1793554945.0),
        ('"yesterday"', None),
        ('"99-Xyz-9999999999999 99:99:99 +9999"', None),
        ("NIL", None),
        ("(1 2)", None),
        ('""', None),
    ],
)
def test_the_date_of_arrival_is_read_where_it_is_one(core: ImapProtocol, date: str, arrived: float | None) -> None:
    selected(core)
    send(core, commands.fetch_flags([9]))
    core.receive(f"* 4 FETCH (UID 9 FLAGS () INTERNALDATE {date})\r\nM2 OK done\r\n".encode())
    assert core.reply is not None
    assert core.reply.messages[9].arrived == arrived
