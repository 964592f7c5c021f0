"""A user who is logged in by an access token, while there is one and while there is none."""

from typing import Any, cast

import pytest

from mailpush.credentials.current_tokens import CurrentTokens
from mailpush.credentials.tokens import TokenUnavailableError
from mailpush.kube.client import Kube
from mailpush.listener.mechanisms.base import Health, State
from mailpush.listener.users.credentials import Credentials
from mailpush.listener.users.secret_reader import UserSecretReader
from mailpush.listener.users.siblings import NoSiblings
from mailpush.listener.users.user_listener import NOT_KNOWN_NOW, UserListener
from tests.sites.fakekube import FakeKube
from tests.unit.listener.people import CLIENT, FILES, FakeOwner, FakeSite, user

BY_TOKEN = {
    **FILES,
    "mail.properties": "com.openexchange.mail.passwordSource=session\n",
    "more.properties": "mailpush.mail.oauth.enabled=true\nmailpush.mail.oauth.token=t0ken\n",
}
WHY = "the token endpoint login.example answers 503"
KEY = (1, 3)


class Tokens(CurrentTokens):
    """Has none where the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    @property
    def lacking(self) -> TokenUnavailableError | None:
        return TokenUnavailableError("TokenEndpointUnavailable", WHY, 5.0) if self.away else None


class Scene:
    def __init__(self) -> None:
        self.fake = FakeSite(BY_TOKEN)
        self.tokens = Tokens()
        credentials = Credentials(UserSecretReader(cast("Kube", FakeKube()), "ns", lambda: 0.0), tokens=self.tokens)
        self.owner = FakeOwner()
        self.one = UserListener(KEY, 7, self.owner, NoSiblings(), credentials)

    async def reconcile(self, **changes: Any) -> float | None:
        return await self.one.reconcile(user(**changes), self.fake.site())

    @property
    def said(self) -> tuple[str, str]:
        return self.owner.outcomes[-1].listening, self.owner.outcomes[-1].reason


async def test_who_is_to_start_without_a_token_waits_and_nothing_is_taken_away() -> None:
    scene = Scene()
    scene.tokens.away = True
    again = await scene.reconcile()
    assert scene.said == ("False", "TokenMissing")
    assert WHY in scene.owner.outcomes[-1].message
    assert again is not None
    assert scene.fake.dovecot.listeners == []
    assert scene.one.clients == (CLIENT,), "Dovecot may call for who was registered before, and that is told"
    scene.tokens.away = False
    await scene.reconcile()
    assert scene.said == ("True", "Registered")


async def test_who_is_listened_for_needs_no_token() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.tokens.away = True
    await scene.reconcile()
    assert scene.said == ("True", "Registered")
    assert len(scene.fake.dovecot.running) == 1
    scene.fake.dovecot.running[0].say(Health(State.FAILED, "ServerUnreachable", "away"))
    await scene.reconcile()
    assert len(scene.fake.dovecot.running) == 1


async def test_a_listener_that_got_no_token_gives_way_to_the_decision_which_says_why() -> None:
    scene = Scene()
    scene.fake.dovecot.at_start = Health(State.FAILED, "TokenEndpointUnavailable", WHY)
    await scene.reconcile()
    assert scene.owner.again == [], "nobody had asked for one before"
    scene.tokens.away = True
    scene.fake.dovecot.running[0].say(Health(State.FAILED, "TokenEndpointUnavailable", f"{WHY} "))
    assert scene.owner.again == [KEY]
    await scene.reconcile()
    assert scene.said == ("False", "TokenMissing")
    assert scene.fake.dovecot.running == []


def test_who_waits_is_looked_at_when_there_is_one_again() -> None:
    assert "TokenMissing" in NOT_KNOWN_NOW


@pytest.mark.parametrize("deleting", [False, True])
async def test_a_registration_that_cannot_be_taken_away_without_a_token_stays_noted(deleting: bool) -> None:
    scene = Scene()
    await scene.reconcile()
    scene.fake.dovecot.unregister_error = TokenUnavailableError("TokenEndpointUnavailable", WHY, 5.0)
    if deleting:
        again = await scene.reconcile(metadata={"deletionTimestamp": "2026-11-27T00:00:00Z"})
        assert scene.said == ("Unknown", "UnregisterFailed")
    else:
        again = await scene.reconcile(suspend=True)
        assert scene.said == ("False", "Suspended")
        assert scene.owner.outcomes[-1].left is not None
        assert scene.owner.outcomes[-1].left[0] == "TokenEndpointUnavailable"
    assert again is not None
