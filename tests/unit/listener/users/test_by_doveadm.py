"""A user who is registered by doveadm: no password is asked for, and the way there is changed as the settings say."""

from typing import Any, cast

import pytest

from mailpush.kube.client import Kube
from mailpush.listener.mechanisms.failures import MechanismError
from mailpush.listener.users.credentials import Credentials
from mailpush.listener.users.secret_reader import UserSecretReader
from mailpush.listener.users.siblings import NoSiblings
from mailpush.listener.users.user_listener import UserListener
from tests.sites.fakekube import FakeKube
from tests.unit.listener.people import FILES, FakeOwner, FakeSite, user

KEY = (1, 3)
ON = {
    "mail-push-listener.properties": FILES["mail-push-listener.properties"].replace(", open-xchange-push-imapidle", ""),
    "doveadm.properties": "com.openexchange.dovecot.doveadm.enabled=true\n"
    "com.openexchange.dovecot.doveadm.endpoints=http://dovecot:8080/doveadm/v1\n",
    "mail-push-secrets.properties": FILES["mail-push-secrets.properties"]
    + "com.openexchange.dovecot.doveadm.apiSecret=planted\n",
}
WITHOUT = {**FILES, **ON, "mail.properties": "com.openexchange.mail.passwordSource=session\n"}
PREFERRED = {
    **FILES,
    **ON,
    "dovecot-push.properties": "com.openexchange.push.dovecot.preferDoveadmForMetadata=true\n",
}
MASTER = {**FILES, **ON}


class Scene:
    def __init__(self, files: dict[str, str]) -> None:
        self.fake = FakeSite(files)
        credentials = Credentials(UserSecretReader(cast("Kube", FakeKube()), "ns", lambda: 0.0))
        self.owner = FakeOwner()
        self.one = UserListener(KEY, 7, self.owner, NoSiblings(), credentials)

    async def reconcile(self, files: dict[str, str] | None = None, **changes: Any) -> None:
        self.fake.files = files or self.fake.files
        await self.one.reconcile(user(**changes), self.fake.site())

    @property
    def said(self) -> tuple[str, str]:
        return self.owner.outcomes[-1].listening, self.owner.outcomes[-1].reason

    @property
    def route(self) -> str | None:
        """The name that doveadm is asked for; None where the user is registered by IMAP."""
        (listener,) = self.fake.dovecot.running
        return listener.mailbox.doveadm.name if listener.mailbox.doveadm is not None else None


@pytest.mark.parametrize("files", [WITHOUT, PREFERRED])
async def test_who_has_no_password_and_who_needs_none_is_registered_by_doveadm(files: dict[str, str]) -> None:
    scene = Scene(files)
    await scene.reconcile()
    assert scene.said == ("True", "Registered")
    assert scene.route == "u3"
    assert scene.owner.outcomes[-1].credentials == ("doveadm", 0)
    assert "planted" not in repr(scene.fake.dovecot.listeners[0].mailbox)


async def test_with_a_password_it_is_imap_unless_doveadm_is_preferred() -> None:
    scene = Scene(MASTER)
    await scene.reconcile()
    assert scene.route is None
    await scene.reconcile(PREFERRED)
    assert scene.route == "u3"
    assert len(scene.fake.dovecot.listeners) == 2
    assert scene.fake.dovecot.listeners[0].unregistered == 0, "the entry is the same"
    await scene.reconcile(MASTER)
    assert scene.route is None


async def test_another_key_is_another_way_in_and_the_same_key_is_none() -> None:
    scene = Scene(WITHOUT)
    await scene.reconcile()
    await scene.reconcile()
    assert len(scene.fake.dovecot.listeners) == 1
    other = {
        **WITHOUT,
        "mail-push-secrets.properties": WITHOUT["mail-push-secrets.properties"].replace("planted", "new"),
    }
    await scene.reconcile(other)
    assert len(scene.fake.dovecot.listeners) == 2


async def test_nothing_is_registered_by_doveadm_without_its_key() -> None:
    scene = Scene({**WITHOUT, "mail-push-secrets.properties": FILES["mail-push-secrets.properties"]})
    await scene.reconcile()
    assert scene.fake.dovecot.listeners == []


@pytest.mark.parametrize("deleting", [False, True])
async def test_a_registration_of_another_process_is_taken_away_by_doveadm(deleting: bool) -> None:
    scene = Scene(WITHOUT)
    one = {"server": "default", "address": "imap.example:993", "login": "old", "value": "3@1"}
    metadata = {"deletionTimestamp": "2026-11-27T00:00:00Z"} if deleting else {}
    await scene.reconcile(suspend=True, metadata=metadata, status={"registrations": {"k": one}, "mechanism": "dovecot"})
    assert scene.said == ("False", "Unregistered" if deleting else "Suspended")
    (way,) = scene.fake.dovecot.listeners
    assert way.unregistered == 1
    assert way.mailbox.doveadm is not None
    assert way.mailbox.doveadm.name == "old"
    assert way.mailbox.login.kind == "none"


async def test_where_doveadm_cannot_take_it_away_now_that_is_said_and_tried_again() -> None:
    scene = Scene(WITHOUT)
    await scene.reconcile()
    scene.fake.dovecot.unregister_error = MechanismError("DoveadmUnreachable", "no endpoint answers")
    await scene.reconcile(suspend=True)
    left = scene.owner.outcomes[-1].left
    assert left is not None
    assert left[0] == "DoveadmUnreachable"
    scene.fake.dovecot.unregister_error = None
    await scene.reconcile(suspend=True, metadata={"generation": 2})
    assert scene.owner.outcomes[-1].left is None
