"""A webhook's secret is read as its author meant it, or refused with what to change."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.properties.read import SettingsError, read
from mailpush.properties.signature_key import signature_key

KEY = base64.b64encode(bytes(range(200, 232))).decode()
SECRETS = "mail-push-secrets.properties"


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("whsec_a2V5", b"key"),
        (f" whsec_{KEY}\n", bytes(range(200, 232))),
        (" plain\n", b"plain"),
        ("correct horse battery staple and more", b"correct horse battery staple and more"),
        ("0123456789abcdef" * 4, b"0123456789abcdef" * 4),
        ("0123456789ABCDEF" * 3, b"0123456789ABCDEF" * 3),
        ("a-long-word-of-small-letters-alone", b"a-long-word-of-small-letters-alone"),
        ("pässwörd", "pässwörd".encode()),
    ],
)
def test_a_secret_in_its_notation_or_any_other_text_is_a_key(secret: str, key: bytes) -> None:
    assert signature_key(secret) == key


LOOK_ALIKES = [
    (f"v1,whsec_{KEY}", "must begin with whsec_"),
    (f"V1, whsec_{KEY}", "must begin with whsec_"),
    (f"WHSEC_{KEY}", "must begin with whsec_"),
    (f"whsec-{KEY}", "must begin with whsec_"),
    (f'"whsec_{KEY}"', "must begin with whsec_"),
    (f"whsk_{KEY}", "symmetric"),
    (f"v1a,whpk_{KEY}", "symmetric"),
    (KEY, "write whsec_ before it"),
    (KEY.rstrip("="), "write whsec_ before it"),
    (base64.urlsafe_b64encode(bytes(range(200, 232))).decode(), "write whsec_ before it"),
    (base64.b64encode(b"k" * 24).decode() + "A1bc", "write whsec_ before it"),
    ("whsec_!!!", "no base64 follows"),
    (f"whsec_{KEY.rstrip('=')}", "no base64 follows"),
    ("whsec_", "nothing behind"),
    (" ", "is empty"),
]


@pytest.mark.parametrize(("secret", "advice"), LOOK_ALIKES)
def test_a_look_alike_is_refused_with_what_to_change(secret: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice) as caught:
        signature_key(secret)
    assert KEY[:8] not in str(caught.value)


@pytest.mark.parametrize(("secret", "advice"), LOOK_ALIKES[:-1])
def test_the_settings_refuse_it_by_the_name_of_its_property(secret: str, advice: str) -> None:
    files = {
        "a.properties": "mailpush.webhooks=a\nmailpush.webhook.a.url=http://a",
        SECRETS: f"mailpush.webhook.a.secret={secret}",
    }
    with pytest.raises(SettingsError) as caught:
        read(files)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{SECRETS}: mailpush.webhook.a.secret ")
    assert advice in problem
    assert KEY[:8] not in problem


@given(st.binary(min_size=24, max_size=64))
def test_a_key_without_its_prefix_is_never_the_text_itself(raw: bytes) -> None:
    text = base64.b64encode(raw).decode()
    assert signature_key(f"whsec_{text}") == raw
    plain = not any(sign in text for sign in "+/=") and not (
        any(map(str.isupper, text)) and any(map(str.islower, text)) and any(map(str.isdigit, text))
    )
    if not plain:
        with pytest.raises(ValueError, match="whsec_"):
            signature_key(text)


@given(st.text())
def test_any_text_is_a_key_or_refused(text: str) -> None:
    try:
        assert signature_key(text)
    except ValueError:
        pass
