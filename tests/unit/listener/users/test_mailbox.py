"""How a mailbox is reached: every way in, and what is missing."""

import base64
from collections.abc import Callable
from typing import Any, cast

import pytest

from mailpush.credentials.user_secret import MISSING, UserSecret, user_secret
from mailpush.imap.server import ImapLogin
from mailpush.kube.client import Kube
from mailpush.kube.resources import SECRET
from mailpush.listener.users.mailbox import mailbox_of
from mailpush.listener.users.secret_reader import UserSecretReader
from mailpush.properties.settings import OAuthSettings
from tests.sites.fakekube import FakeKube
from tests.unit.listener.people import BY_SECRET, FILES, settings, user

FOR_THREE = {"annotations": {"mailpush.dev/push-users": "main-1-2, main-1-3"}}
FOR_USERS = {"labels": {"mailpush.dev/use": "ca.user-password"}}


def secret(
    kind: str = "mailpush.dev/credentials", metadata: dict[str, Any] = FOR_THREE, name: str = "s", **data: str
) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"metadata": {"name": name, **metadata}, "type": kind, "data": encoded}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (secret(password="p", login="l"), UserSecret(True, login="l", password="p")),
        (secret(password="p\n"), UserSecret(True, password="p")),
        (secret(password=" p "), UserSecret(True, password=" p ")),
        (secret("Opaque", {**FOR_USERS, **FOR_THREE}, password="p"), UserSecret(True, password="p")),
        (secret("Opaque", FOR_USERS, "main-1-3", password="p"), UserSecret(True, password="p")),
        (secret("Opaque", password="p"), UserSecret(True, permitted=False)),
        (secret("Opaque", FOR_USERS, password="p"), UserSecret(True, permitted=False)),
        (secret(metadata={}, password="p"), UserSecret(True, permitted=False)),
        (secret(metadata={}, name="main-1-4", password="p"), UserSecret(True, permitted=False)),
        *(
            (
                secret("Opaque", {"labels": {"mailpush.dev/use": use}, **FOR_THREE}, password="p"),
                UserSecret(True, permitted=False),
            )
            for use in ("", "true", "false", "master-password", "user-passwords", "callback.webhook")
        ),
        (secret("mailpush.dev/callback", password="p"), UserSecret(True, permitted=False)),
        (secret("kubernetes.io/service-account-token", token="t", password="p"), UserSecret(True, permitted=False)),
        (secret(), UserSecret(True)),
        ({**secret(), "data": {"password": "/w=="}}, UserSecret(True)),
        ({**secret(), "data": None}, UserSecret(True)),
    ],
)
def test_what_a_secret_gives(found: dict[str, Any], expected: UserSecret) -> None:
    assert user_secret(found, "main-1-3") == expected


def test_a_secret_shows_nothing_of_itself() -> None:
    assert "hidden" not in repr(user_secret(secret(password="hidden", login="hidden"), "main-1-3"))


BY_TOKEN = {
    **BY_SECRET,
    "more.properties": "mailpush.mail.oauth.enabled=true\nmailpush.mail.oauth.mechanism=XOAUTH2\n"
    "mailpush.mail.oauth.token=t0ken\n",
}
TOKEN = OAuthSettings("XOAUTH2", token="t0ken")

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
        (BY_TOKEN, UserSecret(True, password="p"), ImapLogin("u3", "p")),
        (BY_TOKEN, None, ImapLogin.with_token("u3", "", "XOAUTH2", hash(TOKEN))),
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
    secrets = UserSecretReader(cast("Kube", kube), "ns", clock)
    assert await secrets.get("s", "main-1-3") is MISSING
    kube.put(SECRET, secret(password="p"))
    assert await secrets.get("s", "main-1-3") is MISSING
    secrets.forget("main-1-3")
    assert (await secrets.get("s", "main-1-3")).password == "p"
    kube.put(SECRET, secret(password="q"))
    assert (await secrets.get("s", "main-1-3")).password == "p"
    now = 1000.0
    assert (await secrets.get("s", "main-1-3")).password == "q"
    assert len(kube.gets) == 3


async def test_a_secret_that_the_operator_has_seen_changed_is_read_at_once() -> None:
    kube = FakeKube()
    secrets = UserSecretReader(cast("Kube", kube), "ns", lambda: 0.0)
    assert await secrets.get("s", "main-1-3", "0") is MISSING
    versions = [kube.put(SECRET, secret(password=password))["metadata"]["resourceVersion"] for password in "pq"]
    assert (await secrets.get("s", "main-1-3", versions[0])).password == "q"
    for announced in (*versions, None):
        await secrets.get("s", "main-1-3", announced)
    assert len(kube.gets) == 2, "what is as new as the operator's is not read again"
    newer = kube.put(SECRET, secret(password="r"))["metadata"]["resourceVersion"]
    assert (await secrets.get("s", "main-1-3", newer)).password == "r"
    kube.remove(SECRET, "s")
    assert await secrets.get("s", "main-1-3", "0") is MISSING


async def test_a_secret_is_judged_for_each_push_user_and_passwords_of_others_do_not_stay() -> None:
    kube = FakeKube()
    now = 0.0
    secrets = UserSecretReader(cast("Kube", kube), "ns", lambda: now)
    kube.put(SECRET, secret(password="p"))
    assert (await secrets.get("s", "main-1-3")).password == "p"
    assert await secrets.get("s", "main-1-4") == UserSecret(True, permitted=False)
    secrets.forget("main-1-3")
    assert "'p'" not in str([kept.secret.password for kept in secrets._kept.values()])


async def test_passwords_go_by_themselves_although_nobody_asks_for_another() -> None:
    """Old ones went only when another user's was asked for, which a pod that has lost its users does not do."""
    now = 0.0
    secrets = UserSecretReader(cast("Kube", FakeKube()), "ns", lambda: now)
    for number in range(1000):
        await secrets.get("s", f"main-1-{number}")
    now = 299.0  # some have gone by then
    assert secrets._sweeping is not None
    secrets._sweep()
    assert 0 < len(secrets._kept) < 1000
    assert secrets._sweeping is not None, "and again for the rest"
    now = 361.0
    secrets._sweep()
    assert not secrets._kept
    assert not secrets._sweeping


async def test_of_a_user_one_secret_is_kept_whatever_he_names() -> None:
    secrets = UserSecretReader(cast("Kube", FakeKube()), "ns", lambda: 0.0)
    for number in range(100):
        await secrets.get(f"s{number}", "main-1-3")
    assert len(secrets._kept) == 1
