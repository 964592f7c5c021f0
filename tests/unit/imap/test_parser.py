"""The framing and the tokens of IMAP, with good and with any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.imap.errors import ImapProtocolError
from mailpush.imap.mailboxes import decode_mailbox, encode_mailbox
from mailpush.imap.parser import MAX_DEPTH, MAX_LINE, Framer, Value, parse_values
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


def parse(data: bytes) -> Response:
    (pieces,) = frames(data)
    return parse_response(pieces)


RESPONSES = [
    (b"* OK [CAPABILITY IMAP4rev1 idle] ready\r\n", Status("", "OK", "CAPABILITY", "IMAP4rev1 idle", "ready")),
    (b"* BYE\r\n", Status("", "BYE", None, "", "")),
    (b"M1 NO [AUTHENTICATIONFAILED] wrong\r\n", Status("M1", "NO", "AUTHENTICATIONFAILED", "", "wrong")),
    (b"M1 ok done\r\n", Status("M1", "OK", None, "", "done")),
    (b"M1 OK text that ends like a literal {5}\r\n", Status("M1", "OK", None, "", "text that ends like a literal {5}")),
    (b"* OK [UIDNEXT 4] next\r\n", Status("", "OK", "UIDNEXT", "4", "next")),
    (b"* OK [broken\r\n", Status("", "OK", None, "", "[broken")),
    (b"+ idling\r\n", Continuation("idling")),
    (b"+\r\n", Continuation("")),
    (b"* CAPABILITY IMAP4rev1 idle\r\n", Capability(frozenset({"IMAP4REV1", "IDLE"}))),
    (b"* 23 EXISTS\r\n", Exists(23)),
    (b"* 44 expunge\r\n", Expunge(44)),
    (b"* 0 RECENT\r\n", Other("RECENT")),
    (b"* FLAGS (\\Seen)\r\n", Other("FLAGS")),
    (b"* STATUS inbox (UIDNEXT 5 UNSEEN 1)\n", MailboxStatus("INBOX", {"UIDNEXT": 5, "UNSEEN": 1})),
    (f'* METADATA "" ({NOTIFY} NIL)\r\n'.encode(), Metadata("", {NOTIFY: None})),
    (f'* METADATA "" ({NOTIFY} {{8}}\r\nuser=3@1)\r\n'.encode(), Metadata("", {NOTIFY: b"user=3@1"})),
    (f'* METADATA "" ({NOTIFY} "a\\"b\\\\")\r\n'.encode(), Metadata("", {NOTIFY: b'a"b\\'})),
    (f'* METADATA "" ({NOTIFY} "NIL")\r\n'.encode(), Metadata("", {NOTIFY: b"NIL"})),
    (f'* METADATA "" {NOTIFY}\r\n'.encode(), Other("METADATA")),
    (
        b"* 7 FETCH (UID 12 FLAGS (\\Seen $x) BODY[HEADER.FIELDS (FROM SUBJECT)]<0> {14}\r\nSubject: a)\r\n\r\n)\r\n",
        Fetch(7, 12, frozenset({"\\Seen", "$x"}), b"Subject: a)\r\n\r"),
    ),
    (b"* 7 FETCH (FLAGS ())\r\n", Fetch(7, None, frozenset(), None)),
]


@pytest.mark.parametrize(("data", "expected"), RESPONSES)
def test_a_response_is_read(data: bytes, expected: Response) -> None:
    if isinstance(expected, Fetch) and expected.header:
        data = data.replace(b"\r\n\r\n)", b"\r\n\r)")  # the literal above holds what its length says
    assert parse(data) == expected


BROKEN = [
    b"\r\n",
    b"hello\r\n",
    b"* STATUS INBOX (UIDNEXT)\r\n",
    b"* STATUS INBOX (UIDNEXT x)\r\n",
    b"* STATUS INBOX (UIDNEXT 99999999999999999999)\r\n",
    b"* STATUS (a b) (UIDNEXT 1)\r\n",
    b"* 7 FETCH UID 12\r\n",
    b"* 7 FETCH (UID 12\r\n",
    b"* 7 FETCH (UID 12))\r\n",
    b'* METADATA "" (a "open)\r\n',
    b'* METADATA "" (a (list))\r\n',
    b'* METADATA "" (\x01 a)\r\n',
    b"* METADATA x " + b"(" * MAX_DEPTH + b")" * MAX_DEPTH + b"\r\n",
]


@pytest.mark.parametrize("data", BROKEN)
def test_what_is_no_imap_is_refused(data: bytes) -> None:
    with pytest.raises(ImapProtocolError):
        parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b"x" * (MAX_LINE + 1),
        b"x" * (MAX_LINE + 1) + b"\r\n",
        b"* METADATA {999999}\r\n",
        b"* METADATA {4294967296}\r\n",
        b"* METADATA {60000}\r\n" + (b"y" * 60000 + b"{60000}\r\n") * 20,
    ],
)
def test_more_than_the_bounds_is_refused(data: bytes) -> None:
    with pytest.raises(ImapProtocolError):
        frames(data)


@given(st.lists(st.sampled_from(RESPONSES[:12]), max_size=5), st.data())
def test_it_does_not_matter_how_the_bytes_are_cut(chosen: list[tuple[bytes, Response]], data: st.DataObject) -> None:
    stream = b"".join(raw for raw, _ in chosen)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    framer, found = Framer(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        framer.feed(stream[start:end])
        while (pieces := framer.next()) is not None:
            found.append(parse_response(pieces))
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
            parse_response(pieces)
    except ImapProtocolError:
        pass


def test_values_keep_nil_and_quoted_nil_apart() -> None:
    expected: list[Value] = [None, b"NIL", [b"a", [b"b"], []], b"x y"]
    assert parse_values((b'nil "NIL" (a (b) ()) ', b"x y", b"")) == expected


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
