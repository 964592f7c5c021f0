"""The framing and the tokens of IMAP, with good and with any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.imap.errors import ImapProtocolError
from mailpush.imap.mailboxes import decode_mailbox, encode_mailbox
from mailpush.imap.parser import MAX_DEPTH, MAX_LINE, MAX_LITERAL, MAX_RESPONSE, Atom, Framer, Value, parse_values
from mailpush.imap.responses import (
    Capability,
    Continuation,
    Exists,
    Expunge,
    Fetch,
    MailboxStatus,
    Metadata,
    Other,
    Response,
    Status,
    parse_response,
)

NOTIFY = "/private/vendor/vendor.dovecot/http-notify"


def frames(data: bytes) -> list[tuple[bytes, ...]]:
    framer = Framer()
    framer.feed(data)
    found = []
    while (pieces := framer.next()) is not None:
        found.append(pieces)
    return found


def asked_for(data: bytes) -> str | None:
    """The command that asks for such data."""
    asking = {b"FETCH": "FETCH", b"METADATA": "GETMETADATA", b"STATUS": "STATUS"}
    return next((command for word, command in asking.items() if word in data.split(b"(")[0]), None)


def parse(data: bytes) -> Response:
    (pieces,) = frames(data)
    return parse_response(pieces, asked_for(data))


HEADER = b"Subject: a)\r\n\r\n"

RESPONSES = [
    (b"* OK [CAPABILITY IMAP4rev1 idle] ready\r\n", Status("", "OK", "CAPABILITY", "IMAP4rev1 idle")),
    (b"* BYE\r\n", Status("", "BYE")),
    (b"M1 NO [AUTHENTICATIONFAILED] wrong\r\n", Status("M1", "NO", "AUTHENTICATIONFAILED")),
    (b"m1 ok done\r\n", Status("M1", "OK")),
    (b"OK done\r\n", Status(None, "OK")),
    (b"M1 OK text that ends like a literal {5}\r\n", Status("M1", "OK")),
    (b"* OK [UIDNEXT 4] next\r\n", Status("", "OK", "UIDNEXT", "4")),
    (b"* OK [broken\r\n", Status("", "OK")),
    (b"+ idling\r\n", Continuation()),
    (b"+\r\n", Continuation()),
    (b"* CAPABILITY IMAP4rev1 idle\r\n", Capability(frozenset({"IMAP4REV1", "IDLE"}))),
    (b"* 23 EXISTS\r\n", Exists(23)),
    (b"* 44 expunge\r\n", Expunge(44)),
    (b"* 0 RECENT\r\n", Other()),
    (b"* FLAGS (\\Seen [todo)\r\n", Other()),
    (b'M1 NO [BADCHARSET ({5}\r\nUTF-8 "x{3}")] not that\r\n', Status("M1", "NO")),
    (b"* STATUS inbox (UIDNEXT 5 UNSEEN 1)\n", MailboxStatus({"UIDNEXT": 5, "UNSEEN": 1})),
    (b"* STATUS x (MAILBOXID (F1) APPENDLIMIT NIL UIDNEXT 5)\r\n", MailboxStatus({"UIDNEXT": 5})),
    (f'* METADATA "" ({NOTIFY} NIL)\r\n'.encode(), Metadata("", {NOTIFY: None})),
    (f'* METADATA "" ({NOTIFY} {{8}}\r\nuser=3@1)\r\n'.encode(), Metadata("", {NOTIFY: b"user=3@1"})),
    (f'* METADATA "" ({NOTIFY} ~{{0}}\r\n)\r\n'.encode(), Metadata("", {NOTIFY: b""})),
    (f'* METADATA "" ({NOTIFY} "a\\"b\\\\")\r\n'.encode(), Metadata("", {NOTIFY: b'a"b\\'})),
    (f'* METADATA "" ({NOTIFY} "NIL")\r\n'.encode(), Metadata("", {NOTIFY: b"NIL"})),
    (f'* METADATA "" {NOTIFY}\r\n'.encode(), Other()),
    (
        b"* 7 FETCH (UID 12 FLAGS (\\Seen $x) BODY[HEADER.FIELDS (FROM SUBJECT)]<0> {15}\r\n" + HEADER + b")\r\n",
        Fetch(12, frozenset({"\\Seen", "$x"}), HEADER),
    ),
    (b"* 7 FETCH (UID 12 BODY[HEADER.FIELDS (FROM SUBJECT)]<0> NIL)\r\n", Fetch(12, None, b"")),
    (b"* 7 FETCH (FLAGS ())\r\n", Other()),
    # RFC 3501: a keyword is an atom, and an atom may hold any of these.
    (
        b"* 7 FETCH (UID 12 FLAGS ([todo a[b [[ BODY[x {a}))\r\n",
        Fetch(12, frozenset({"[todo", "a[b", "[[", "BODY[x", "{a}"}), None),
    ),
    # And the fields of a header are strings, so also quoted ones and literals.
    (
        b'* 7 FETCH (BODY[HEADER.FIELDS ("FR]OM" {7}\r\nSUB]ECT)]<0> "x" UID 12 MODSEQ (5) X-GM-LABELS ("a"))\r\n',
        Fetch(12, None, b"x"),
    ),
    (b"* 7 FETCH (ENVELOPE " + b"(" * 90 + b"x" + b")" * 90 + b" UID 12)\r\n", Fetch(12, None, None)),
]


@pytest.mark.parametrize(("data", "expected"), RESPONSES)
def test_a_response_is_read(data: bytes, expected: Response) -> None:
    assert parse(data) == expected


@pytest.mark.parametrize("data", [data for data, expected in RESPONSES if asked_for(data)])
def test_data_that_nobody_asked_for_is_not_read(data: bytes) -> None:
    (pieces,) = frames(data)
    assert parse_response(pieces, "NOOP") == Other()


@pytest.mark.parametrize("data", [b"hello\r\n", b"220 smtp.example.org ESMTP\r\n", b"HTTP/1.1 400 Bad Request\r\n"])
def test_what_is_no_imap_is_refused(data: bytes) -> None:
    with pytest.raises(ImapProtocolError):
        parse(data)


BROKEN = [
    b"* STATUS INBOX (UIDNEXT)\r\n",
    b"* STATUS INBOX (UIDNEXT x)\r\n",
    b"* STATUS INBOX (UIDNEXT 99999999999999999999)\r\n",
    b"* STATUS (a b) UIDNEXT\r\n",
    b"* 7 FETCH UID 12\r\n",
    b"* 7 FETCH (UID 12\r\n",
    b"* 7 FETCH (UID 12))\r\n",
    b"* 7 FETCH (UID 12 BODY[HEADER x)\r\n",
    b'* METADATA "" (a "open)\r\n',
    b'* METADATA "" (\x01 a)\r\n',
    b"* METADATA x " + b"(" * MAX_DEPTH + b")" * MAX_DEPTH + b"\r\n",
]


@pytest.mark.parametrize("data", BROKEN)
def test_data_that_breaks_its_own_grammar_is_left_out_and_what_follows_is_read(data: bytes) -> None:
    broken, following = frames(data + b"* 23 EXISTS\r\n")
    assert parse_response(broken, asked_for(data)) in (Other(), Metadata("x", {}))
    assert parse_response(following) == Exists(23)


def test_a_blank_line_is_left_out() -> None:
    assert frames(b"\r\n\n* 23 EXISTS\r\n\r\n") == [(b"* 23 EXISTS",)]


TOO_LONG = [
    b"* FLAGS (" + b"x" * (MAX_LINE + 1) + b")",
    b"* FLAGS (" + b"keyword " * 100_000 + b")",
    b"* 7 FETCH (BODY[] {%d}\r\n" % (MAX_LITERAL + 1) + b"y" * (MAX_LITERAL + 1) + b")",
    b"* 7 FETCH (" + (b"y" * 60_000 + b" {60000}\r\n" + b"z" * 60_000) * 20 + b")",
    b"* FLAGS (" + b"x" * MAX_LINE + b"{300000}\r\n" + b"y" * 300_000 + b" {3}\r\n\r\n))",
    b"* NO " + b"text " * 50_000 + b"{5}",
]


@pytest.mark.parametrize("data", TOO_LONG, ids=range(len(TOO_LONG)))
@pytest.mark.parametrize("step", [1_000, 65_536, 10_000_000])
def test_a_response_beyond_the_bounds_costs_no_memory_and_not_the_next_one(data: bytes, step: int) -> None:
    framer, found, held = Framer(), [], 0
    stream = data + b"\r\n* 23 EXISTS\r\n"
    for start in range(0, len(stream), step):
        framer.feed(stream[start : start + step])
        while (pieces := framer.next()) is not None:
            found.append(parse_response(pieces, "FETCH"))
        held = max(held, framer.held)
    assert len(found) == 2
    assert found[1] == Exists(23)
    assert held <= MAX_RESPONSE + MAX_LITERAL + step
    assert framer.empty


@given(st.lists(st.sampled_from(RESPONSES), max_size=5), st.data())
def test_it_does_not_matter_how_the_bytes_are_cut(chosen: list[tuple[bytes, Response]], data: st.DataObject) -> None:
    stream = b"".join(raw for raw, _ in chosen)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    framer, found = Framer(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        framer.feed(stream[start:end])
        while (pieces := framer.next()) is not None:
            found.append(parse_response(pieces, asked_for(b"".join(pieces))))
    assert found == [expected for _, expected in chosen]
    assert framer.empty


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            b"* ",
            b"1 ",
            b"FETCH ",
            b"(",
            b")",
            b'"',
            b"\\",
            b"{3}\r\n",
            b"\r\n",
            b"NIL ",
            b"METADATA ",
            b"BODY[",
            b"]",
            b"STATUS ",
            b"OK ",
            b"+ ",
            b"UID ",
            b"x",
            b" ",
            b"[",
            b"\x00",
            b"\xff",
            b"&AGE-",
            b"99999999999999999999",
        ]
    )
    | st.binary(max_size=4),
    max_size=30,
).map(b"".join)


@given(FRAGMENTS)
def test_any_bytes_give_responses_or_a_protocol_error(data: bytes) -> None:
    try:
        for pieces in frames(data):
            for asked in ("FETCH", "STATUS", "GETMETADATA"):
                parse_response(pieces, asked)
    except ImapProtocolError:
        pass


def test_values_keep_nil_and_quoted_nil_apart() -> None:
    expected: list[Value] = [None, b"NIL", [b"a", [b"b"], []], b"x y"]
    assert parse_values((b'nil "NIL" (a (b) ()) ', b"x y", b"")) == expected


def test_a_section_is_the_name_of_an_item_and_nowhere_else_something_special() -> None:
    name = Atom(b"BODY[HEADER.FIELDS]")
    assert parse_values((b"(BODY[HEADER.FIELDS (A)]<0> BODY[x BODY[TEXT] NIL)",)) == [
        [name, b"BODY[x", Atom(b"BODY[TEXT]"), None]
    ]


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("Entwürfe", b"Entw&APw-rfe"),
        ("a&b", b"a&-b"),
        ("inbox", b"INBOX"),
        ("台北/x", b"&U,BTFw-/x"),
        ("😀", b"&2D3eAA-"),
    ],
)
def test_a_mailbox_name_is_sent_in_modified_utf7(name: str, wire: bytes) -> None:
    assert encode_mailbox(name) == wire
    assert decode_mailbox(wire) == ("INBOX" if name == "inbox" else name)


@given(st.text())
def test_each_mailbox_name_comes_back(name: str) -> None:
    if name.upper() != "INBOX":
        assert decode_mailbox(encode_mailbox(name)) == name


@given(st.binary())
def test_any_bytes_are_some_mailbox_name(raw: bytes) -> None:
    decode_mailbox(raw)
