"""How a mailbox is reached: every way in, and what is missing."""

import base64
from collections.abc import Callable
from typing import Any, cast

import pytest

from mailpush.credentials.user_secret import MISSING, UserSecret, user_secret
from mailpush.imap.server import ImapLogin
from mailpush.kube.client import Kube
from mailpush.kube.resources import SECRET
from mailpush.listener.users.mailbox import UserSecrets, mailbox_of
from tests.sites.fakekube import FakeKube
from tests.unit.listener.people import BY_SECRET, FILES, settings, user


def secret(kind: str = "mailpush.dev/credentials", labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"metadata": {"name": "s", "labels": labels or {}}, "type": kind, "data": encoded}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (secret(password="p", login="l"), UserSecret(True, login="l", password="p")),
        (secret(password="p\n"), UserSecret(True, password="p")),
        (secret(password=" p "), UserSecret(True, password=" p ")),
        (secret("Opaque", {"mailpush.dev/use": ""}, password="p"), UserSecret(True, password="p")),
        (secret("Opaque", password="p"), UserSecret(True, permitted=False)),
        (secret("kubernetes.io/service-account-token", token="t", password="p"), UserSecret(True, permitted=False)),
        (secret(), UserSecret(True)),
        ({**secret(), "data": {"password": "/w=="}}, UserSecret(True)),
        ({**secret(), "data": None}, UserSecret(True)),
    ],
)
def test_what_a_secret_gives(found: dict[str, Any], expected: UserSecret) -> None:
    assert user_secret(found) == expected


def test_a_secret_shows_nothing_of_itself() -> None:
    assert "hidden" not in repr(user_secret(secret(password="hidden", login="hidden")))


MASTER = {**FILES, "more.properties": "mailpush.mail.masterUser=master1\n"}


@pytest.mark.parametrize(
    ("files", "found", "expected"),
    [
        (FILES, None, ImapLogin("u3", "master-secret")),
        (MASTER, None, ImapLogin("master1", "master-secret", authzid="u3")),
        (BY_SECRET, UserSecret(True, password="p"), ImapLogin("u3", "p")),
        (BY_SECRET, UserSecret(True, login="l", password="p"), ImapLogin("l", "p")),
        (BY_SECRET, UserSecret(True), None),
        (BY_SECRET, MISSING, None),
        (BY_SECRET, None, None),
        ({name: text for name, text in FILES.items() if "secrets" not in name}, None, None),
        ({}, None, None),
    ],
)
def test_the_login(files: dict[str, str], found: UserSecret | None, expected: ImapLogin | None) -> None:
    mailbox = mailbox_of(user(credentialsSecretRef={"name": "s"}), settings(files), found)
    assert (mailbox.login if mailbox else None) == expected


def test_the_server_is_the_users_or_the_first() -> None:
    files = {
        **FILES,
        "more.properties": "mailpush.mail.server.second.host=second.example\n"
        "mailpush.mail.server.second.security=starttls\n",
        "mail-push-listener.properties": FILES["mail-push-listener.properties"].replace(
            "servers=default", "servers=default,second"
        ),
    }
    first, second = mailbox_of(user(), settings(files), None), mailbox_of(user(server="second"), settings(files), None)
    assert first is not None
    assert second is not None
    assert (first.server.host, first.server.port, first.server.security) == ("imap.example", 993, "tls")
    assert (second.server.host, second.server.port, second.server.security) == ("second.example", 143, "starttls")
    assert mailbox_of(user(server="third"), settings(files), None) is None


async def test_a_secret_is_asked_for_once_in_a_while_and_after_it_was_forgotten() -> None:
    kube = FakeKube()
    now = 0.0
    clock: Callable[[], float] = lambda: now  # noqa: E731
    secrets = UserSecrets(cast("Kube", kube), "ns", clock)
    assert await secrets.get("s") is MISSING
    kube.put(SECRET, secret(password="p"))
    assert await secrets.get("s") is MISSING
    secrets.forget("s")
    assert (await secrets.get("s")).password == "p"
    kube.put(SECRET, secret(password="q"))
    assert (await secrets.get("s")).password == "p"
    now = 1000.0
    assert (await secrets.get("s")).password == "q"
    assert len(kube.gets) == 3
