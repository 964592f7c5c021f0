"""Dovecot's callback as captured from a real one, and any other bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.notifications.callback import (
    MAX_BODY,
    CallbackError,
    IgnoredEvent,
    UnknownUserForm,
    parse_callback,
)
from mailpush.notifications.headers import header_fields
from mailpush.notifications.notification import NewMail, new_mail_from_header

NOW = 1_795_421_907.0
FIELDS: dict[str, Any] = {
    "user": "3@1",
    "event": "messageNew",
    "folder": "INBOX",
    "imap-uidvalidity": 1795414682,
    "imap-uid": 3,
    "from": "=?utf-8?Q?Alice_=C3=84?= <alice@example.org>",
    "subject": "hello 0",
    "snippet": "Body line one, grüße. Second line.",
    "unseen": 3,
}


def parse(**changed: Any) -> Any:
    fields = FIELDS | {name.replace("_", "-"): value for name, value in changed.items()}
    return parse_callback(json.dumps({name: value for name, value in fields.items() if value is not ...}).encode(), NOW)


def test_a_captured_callback_becomes_a_new_mail() -> None:
    assert parse() == NewMail(
        context_id=1,
        user_id=3,
        folder="INBOX",
        uid=3,
        uidvalidity=1795414682,
        email="alice@example.org",
        displayname="Alice Ä",
        subject="hello 0",
        unread=3,
        teaser="Body line one, grüße. Second line.",
    )


def test_a_folded_and_encoded_subject_without_sender_is_decoded() -> None:
    mail = parse(**{"from": ...}, subject="=?utf-8?B?w5xiZXJzY2hyaWZ0?= rest\n folded", snippet="", unseen=...)
    assert (mail.subject, mail.email, mail.displayname) == ("Überschrift rest folded", None, None)
    assert (mail.teaser, mail.unread) == ("", None)


TEXTS = st.text(st.sampled_from('"imap-uid:5,}\\\n ä') | st.characters(exclude_categories=["Cs"]), max_size=60)


@given(subject=TEXTS | st.none(), snippet=TEXTS | st.none(), longer=st.booleans())
def test_what_dovecot_before_2_2_33_sends_of_a_mail_without_sender_is_read(
    subject: str | None, snippet: str | None, longer: bool
) -> None:
    """It closes the string of the sender, which it has not opened."""
    texts = {"subject": subject, "snippet": snippet if not longer else (snippet or "") + "x" * MAX_BODY}
    sent = json.dumps({name: FIELDS[name] for name in ("user", "event", "folder", "imap-uidvalidity", "imap-uid")})
    sent = sent.removesuffix("}").replace(": ", ":") + '"'
    for name, text in texts.items():
        sent += "" if text is None else f',"{name}":{json.dumps(text, ensure_ascii=False)}'
    mail, whole = parse_callback(f"{sent}}}".encode(), NOW), parse(**{"from": ..., "unseen": ...}, **texts)
    assert isinstance(mail, NewMail)
    assert mail == whole
    assert (mail.uid, mail.email) == (3, None)


def test_a_stray_quote_is_looked_for_in_no_text() -> None:
    text = '"imap-uid":5","x'
    mail = parse(subject=text, snippet=text, folder=text)
    assert (mail.subject, mail.teaser, mail.folder) == (text, text, text)


@pytest.mark.parametrize("event", ["messageNew", "MessageNew"])
def test_both_spellings_of_the_event_are_known(event: str) -> None:
    assert isinstance(parse(event=event), NewMail)


@pytest.mark.parametrize("event", ["messageRead", "", 7, None, ...])
def test_another_event_is_ignored(event: Any) -> None:
    assert isinstance(parse(event=event, user=...), IgnoredEvent)


@pytest.mark.parametrize(
    "user", ["u1", "", "a=b", "@1", "3@", "3@x", "0@1", "3@0", "-3@1", "2147483648@1", "3@1 ", "3@1@1", "٣@1", "3@1\n"]
)
def test_a_user_of_another_form_is_told_apart(user: str) -> None:
    assert isinstance(parse(user=user), UnknownUserForm)


@pytest.mark.parametrize(
    ("fields", "count"), [({"unread": 5}, 3), ({"unread": 5, "unseen": ...}, 5), ({"unseen": "x"}, None)]
)
def test_the_badge_has_two_names(fields: dict[str, Any], count: int | None) -> None:
    assert parse(**fields).unread == count


@pytest.mark.parametrize(
    "changed",
    [
        {"user": ...},
        {"user": 3},
        {"folder": ...},
        {"folder": ""},
        {"imap_uid": ...},
        {"imap_uid": -1},
        {"imap_uid": False},
        {"imap_uid": 0.0},
        {"imap_uid": True},
        {"imap_uid": "3"},
        {"imap_uid": 2**32},
        {"imap_uidvalidity": ...},
        {"imap_uidvalidity": 1.5},
    ],
)
def test_a_new_mail_without_its_identity_is_an_error(changed: dict[str, Any]) -> None:
    with pytest.raises(CallbackError):
        parse(**changed)


def test_a_mail_whose_uid_dovecot_does_not_know_is_a_new_mail_of_its_ten_minutes() -> None:
    """Of mails delivered to one mailbox at the same moment: 66 of 200 with two deliveries at a time, 104 with four."""
    mail = parse(imap_uid=0)
    assert isinstance(mail, NewMail)
    assert (mail.uid, mail.subject, mail.window) == (0, "hello 0", int(NOW // 600))
    assert parse().window is None


@pytest.mark.parametrize("body", [b"", b" ", b"x", b"[]", b"null", b'{"a":', b"[" * 60_000, b"1" * 70_000, b"9" * 5000])
def test_what_is_no_json_object_is_an_error(body: bytes) -> None:
    with pytest.raises(CallbackError):
        parse_callback(body, NOW)


def test_bytes_that_are_not_utf8_do_not_lose_the_mail() -> None:
    mail = parse_callback(json.dumps(FIELDS).encode().replace(b"hello 0", b"gr\xfc\xdfe"), NOW)
    assert isinstance(mail, NewMail)
    assert mail.subject == "gr\ufffd\ufffde"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(list(FIELDS.values())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(list(FIELDS)), JSON), st.dictionaries(st.sampled_from(list(FIELDS)), st.just(...))
)
def test_any_values_are_understood_or_refused(changed: dict[str, Any], missing: dict[str, Any]) -> None:
    try:
        result = parse(**changed, **{name: ... for name in missing if name not in changed})
    except CallbackError:
        return
    assert isinstance(result, NewMail | IgnoredEvent | UnknownUserForm)


@given(st.binary())
def test_any_bytes_are_understood_or_refused(body: bytes) -> None:
    try:
        parse_callback(body, NOW)
    except CallbackError:
        pass


def test_a_long_body_is_cut_at_its_bound_wherever_that_falls() -> None:
    before = json.dumps(FIELDS | {"subject": ""}, ensure_ascii=False).split('"subject": "')[0] + '"subject": "'
    for filling in ("x", "ä", "\\u00e4", "\\\\", '\\"', "\\ud83d\\ude00"):
        for shift in range(12):
            text = before + "y" * shift + filling * (MAX_BODY // len(filling)) + '", "unseen": 3}'
            mail = parse_callback(text.encode(), NOW)
            assert isinstance(mail, NewMail), (filling, shift)
            assert (mail.uid, mail.email, mail.unread) == (3, "alice@example.org", None)
            assert mail.subject
            assert len(mail.subject) == 998


@pytest.mark.parametrize(
    "text",
    [
        "[" * MAX_BODY + "]]",
        '{"a":' * MAX_BODY,
        "{" + '"a":1,' * MAX_BODY,
        '{"folder":"' + "x" * MAX_BODY + "xxx",
        "{" + " " * MAX_BODY + "}}",
    ],
)
def test_a_long_body_without_an_identity_is_no_mail(text: str) -> None:
    try:
        assert isinstance(parse_callback(text.encode(), NOW), IgnoredEvent)
    except CallbackError:
        pass


@given(st.integers(0, 400), st.text(min_size=1))
def test_a_long_body_is_a_mail_or_refused_wherever_it_is_cut(padding: int, text: str) -> None:
    fields = FIELDS | {"snippet": (text * MAX_BODY)[: MAX_BODY - padding]}
    body = json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")
    try:
        result = parse_callback(body, NOW)
    except CallbackError:
        return
    assert isinstance(result, NewMail)
    assert len(result.teaser or "") <= 1000


def test_a_header_block_is_read_with_its_folds() -> None:
    block = b"Subject: =?utf-8?q?a?=\r\n b\r\nFROM : Bob\r\n <b@x>\r\nSubject: second\r\n\r\n"
    assert header_fields(block) == {"subject": "=?utf-8?q?a?=\n b", "from": "Bob\n <b@x>"}
    mail = new_mail_from_header(block, context_id=1, user_id=3, folder="inbox", uid=5, uidvalidity=7)
    assert (mail.folder, mail.subject, mail.email, mail.displayname) == ("INBOX", "a b", "b@x", "Bob")


@given(st.binary())
def test_any_header_block_is_read(block: bytes) -> None:
    new_mail_from_header(block, context_id=1, user_id=3, folder="x", uid=5, uidvalidity=7)
