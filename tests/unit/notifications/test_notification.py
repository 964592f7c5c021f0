"""Ids, bodies and signatures: what a receiver may rely on."""

from __future__ import annotations

import base64
import hmac
import json
import re
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mailpush.notifications.notification import Content, NewMail, body, notification_id
from mailpush.notifications.transports.webhook import sign
from mailpush.properties.signature_key import signature_key

DOCS = Path(__file__).parents[3] / "docs"
SCHEMA = Draft202012Validator(json.loads((DOCS / "schemas" / "webhook.schema.json").read_text()))
MAIL = NewMail(1, 3, "INBOX", 7, 99, "a@x", "Ä", "s", 4, "text")


def sent(mail: NewMail, content: Content) -> dict[str, Any]:
    message = json.loads(body(mail, ("open-xchange-mailapp",), content))
    SCHEMA.validate(message)
    assert isinstance(message, dict)
    return message


def test_the_body_is_the_documented_one() -> None:
    assert sent(MAIL, "full") == {
        "version": 1,
        "topic": "ox:mail:new",
        "contextId": 1,
        "userId": 3,
        "clients": ["open-xchange-mailapp"],
        "data": {
            "folder": "INBOX",
            "uid": 7,
            "uidvalidity": 99,
            "unread": 4,
            "email": "a@x",
            "displayname": "Ä",
            "subject": "s",
            "teaser": "text",
        },
    }


def test_what_is_no_uid_is_not_sent() -> None:
    assert sent(replace(MAIL, uid=0, window=1), "none")["data"] == {"folder": "INBOX", "uidvalidity": 99, "unread": 4}


def test_mails_without_a_uid_are_told_apart_by_what_is_known_of_them() -> None:
    """Dovecot's second try of a callback says the same, and has the same id."""
    mail = replace(MAIL, uid=0, window=7)
    others = [
        replace(mail, **change)
        for change in ({"subject": "t"}, {"unread": 5}, {"teaser": None}, {"email": "b@x"}, {"window": 8})
    ]
    each = (mail, replace(mail), *others, MAIL)
    assert len({notification_id("config", one, "devices") for one in each}) == 1 + len(others) + 1
    assert len({one.id for one in each}) == 1 + len(others) + 1


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ("none", {"folder", "uid", "uidvalidity", "unread"}),
        ("headers", {"folder", "uid", "uidvalidity", "unread", "email", "displayname", "subject"}),
    ],
)
def test_the_content_setting_bounds_what_is_told(content: Content, fields: set[str]) -> None:
    assert set(sent(MAIL, content)["data"]) == fields


def test_what_was_not_told_is_left_out() -> None:
    assert set(sent(NewMail(1, 3, "INBOX", 7, 99), "full")["data"]) == {"folder", "uid", "uidvalidity"}


@given(
    st.builds(
        NewMail,
        context_id=st.integers(1, 2**31 - 1),
        user_id=st.integers(1, 2**31 - 1),
        folder=st.text(min_size=1, max_size=20),
        uid=st.integers(1, 2**32 - 1),
        uidvalidity=st.integers(1, 2**32 - 1),
        subject=st.none() | st.text(),
        unread=st.none() | st.integers(0, 10),
    ),
    st.sampled_from(get_args(Content)),
)
def test_each_body_fits_the_schema(mail: NewMail, content: Content) -> None:
    sent(mail, content)


def test_the_schema_refuses_what_we_do_not_send() -> None:
    message = sent(MAIL, "full")
    wrongs: list[dict[str, Any]] = [{"version": 2}, {"topic": "x"}, {"userId": 0}, {"clients": []}, {"data": {}}]
    for wrong in wrongs:
        assert not SCHEMA.is_valid(message | wrong), wrong


def test_the_schema_takes_the_new_fields_that_the_documentation_promises() -> None:
    message = sent(MAIL, "full")
    message["priority"] = "high"
    message["data"]["labels"] = ["a"]
    SCHEMA.validate(message)


def test_our_own_messages_have_documented_fields_only() -> None:
    schema = json.loads((DOCS / "schemas" / "webhook.schema.json").read_text())
    message = sent(MAIL, "full")
    assert set(message) == set(schema["properties"])
    assert set(message["data"]) == set(schema["properties"]["data"]["properties"])


def test_the_id_is_stable_over_releases() -> None:
    assert notification_id("uid-1", MAIL, "t") == "ntf_" + (sha256(b'["uid-1",1,3,"INBOX",99,7,"t"]').hexdigest()[:40])


def test_the_id_is_one_per_mail_and_target() -> None:
    same = replace(MAIL, subject="other", unread=9)
    others = [replace(MAIL, context_id=3, user_id=1), replace(MAIL, uid=8), replace(MAIL, uidvalidity=1)]
    others += [replace(MAIL, folder="inbox"), replace(MAIL, context_id=13), replace(MAIL, context_id=1, user_id=31)]
    ids = {notification_id("u", mail, "t") for mail in [MAIL, *others]}
    ids |= {notification_id("u", MAIL, "t2"), notification_id("u2", MAIL, "t")}
    assert notification_id("u", same, "t") == notification_id("u", MAIL, "t")
    assert len(ids) == 9


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of the specification's own libraries.
    secret = signature_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    payload = b'{"test": 2432232314}'
    assert sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, payload) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@given(st.binary(min_size=1), st.binary())
def test_a_receiver_can_check_the_signature(secret: bytes, payload: bytes) -> None:
    expected = hmac.new(secret, b"ntf_1.5." + payload, sha256).digest()
    assert base64.b64decode(sign(secret, "ntf_1", 5, payload).removeprefix("v1,")) == expected


def test_the_documented_receiver_knows_what_is_genuine() -> None:
    documented = re.search(r"```python\n(.*?)```", (DOCS / "webhook.md").read_text(), re.DOTALL)
    assert documented
    names: dict[str, Any] = {}
    exec(documented[1], names)
    payload, now = body(MAIL, ("c",), "full"), int(time.time())

    def headers(timestamp: int) -> dict[str, str]:
        signature = sign(b"secret", "ntf_1", timestamp, payload)
        return {"webhook-id": "ntf_1", "webhook-timestamp": str(timestamp), "webhook-signature": signature}

    is_genuine = names["is_genuine"]
    assert is_genuine(headers(now), payload, b"secret")
    assert not is_genuine(headers(now), payload + b" ", b"secret")
    assert not is_genuine(headers(now), payload, b"other")
    assert not is_genuine(headers(now) | {"webhook-id": "ntf_2"}, payload, b"secret")
    assert not is_genuine(headers(now - 3600), payload, b"secret")
