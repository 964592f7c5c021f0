"""What is made of settings, and what a change of them leaves alone."""

from dataclasses import replace
from typing import cast

from mailpush.api.mailpushconfig import Notification
from mailpush.api.mechanisms import ImapIdleSettings
from mailpush.listener.mechanisms.registry import MechanismRegistry
from mailpush.notifications.claims.current import CurrentClaims
from mailpush.notifications.claims.store import AlreadyDone, Claim, MemoryClaims
from mailpush.notifications.targets import webhook_targets
from mailpush.properties.patterns import ClientPatterns
from mailpush.properties.settings import RedisSettings, WebhookSettings
from tests.unit.listener.people import settings


def test_a_mechanism_whose_settings_stay_is_the_same_object() -> None:
    mechanisms = MechanismRegistry()
    before = mechanisms.by(settings())
    assert set(before) == {"dovecot", "imapidle"}
    other_content = mechanisms.by(replace(settings(), notification=Notification(content="none")))
    assert {name: other_content[name] is one for name, one in before.items()} == {"dovecot": True, "imapidle": True}
    changed = mechanisms.by(replace(settings(), imapidle=ImapIdleSettings(enabled=True, delay=1)))
    assert (changed["dovecot"] is before["dovecot"], changed["imapidle"] is before["imapidle"]) == (True, False)


def test_webhooks_become_targets_and_one_that_cannot_be_used_is_left_out() -> None:
    phones = ClientPatterns.parse("phone*")
    good = WebhookSettings("good", "https://hook.example", phones, "whsec_a2V5", timeout_ms=2500)
    bad_secret = replace(good, name="bad", secret="whsec_?")
    assert [one.secret for one in webhook_targets(replace(settings(), webhooks=(replace(good, secret=None),)))] == [
        None
    ]
    targets = webhook_targets(
        replace(settings(), webhooks=(good, bad_secret), notification=Notification(content="full"))
    )
    assert [(one.name, one.secret, one.timeout, one.content) for one in targets] == [("good", b"key", 2.5, "full")]
    assert (targets[0].matches("phone-1"), targets[0].matches("tablet")) == (True, False)
    assert targets == webhook_targets(replace(settings(), webhooks=(good,), notification=Notification(content="full")))


async def test_claims_outlive_settings_that_do_not_concern_them() -> None:
    claims = CurrentClaims(settings(), "uid")
    won = await claims.claim("ntf_1", "me", 60.0)
    assert isinstance(won, Claim)
    await claims.done(won)
    await claims.use(replace(settings(), notification=Notification(content="none")))
    assert await claims.claim("ntf_1", "me", 60.0) == AlreadyDone()


async def test_a_new_password_of_redis_is_used_for_what_comes() -> None:
    with_redis = replace(settings(), redis=RedisSettings("redis://127.0.0.1:1/0", "old"))
    claims = CurrentClaims(with_redis, "uid")
    before = claims._store
    assert not isinstance(before, MemoryClaims)
    await claims.use(replace(settings(), redis=RedisSettings("redis://127.0.0.1:1/0", "new")))
    assert cast("object", claims._store) is not before
    await claims.close()
