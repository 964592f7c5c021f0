"""Claims in a real Redis, alone and under two dispatchers."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from redis.asyncio import Redis as Client
from structlog.testing import capture_logs

from dev.services import Redis, WebhookReceiver
from mailpush.notifications.claims.current import CurrentClaims
from mailpush.notifications.claims.redis import RedisClaims
from mailpush.notifications.claims.store import AlreadyDone, Claim, ClaimsUnavailable, Held
from mailpush.notifications.dispatcher import Dispatcher
from mailpush.notifications.metrics import NotificationMetrics
from mailpush.notifications.notification import NewMail, notification_id
from mailpush.notifications.transports.webhook import WebhookTarget
from mailpush.properties.settings import RedisSettings, Settings
from mailpush.sharding.slots import SLOTS, slot_of
from tests.unit.controller.builders import evaluation

PATIENCE = 60.0  # seconds until a test gives up


@pytest.fixture
def config_uid() -> str:
    return str(uuid.uuid4())


@pytest.fixture
async def claims(redis: Redis, config_uid: str) -> AsyncIterator[RedisClaims]:
    claims = RedisClaims.from_url(redis.url, config_uid)
    yield claims
    await claims.close()


@pytest.fixture
async def client(redis: Redis) -> AsyncIterator[Client]:
    client = Client.from_url(redis.url)
    yield client
    await client.aclose()


async def won(claims: RedisClaims, ttl: float = PATIENCE) -> Claim:
    claim = await claims.claim("a", "pod", ttl)
    assert isinstance(claim, Claim)
    return claim


async def until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not reached():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)


async def test_one_of_many_wins_a_claim(claims: RedisClaims) -> None:
    results = await asyncio.gather(*(claims.claim("a", f"pod-{n}", PATIENCE) for n in range(50)))
    assert sum(isinstance(result, Claim) for result in results) == 1
    held = [result for result in results if isinstance(result, Held)]
    assert len(held) == 49
    assert all(0 < result.expires_in <= PATIENCE for result in held)


async def test_a_pending_claim_is_free_after_its_expiry(claims: RedisClaims) -> None:
    first = await won(claims, ttl=0.05)
    async with asyncio.timeout(PATIENCE):
        while not isinstance(second := await claims.claim("a", "other", PATIENCE), Claim):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert first.left() <= 0
    assert second.left() > 0
    assert not await claims.done(first)  # it was told late, and is recorded all the same
    assert await claims.claim("a", "third", PATIENCE) == AlreadyDone()


async def test_what_is_done_stays_done_for_a_day_under_the_configs_uid(
    claims: RedisClaims, client: Client, config_uid: str
) -> None:
    assert await claims.done(await won(claims))
    assert await claims.claim("a", "other", PATIENCE) == AlreadyDone()
    (key,) = [key async for key in client.scan_iter(f"{config_uid}*")]
    assert key.decode() == f"{config_uid}:claim:a"
    assert 23 * 3600 < await client.ttl(key) <= 24 * 3600


async def test_two_configs_do_not_meet_in_one_redis(redis: Redis, claims: RedisClaims) -> None:
    other = RedisClaims.from_url(redis.url, str(uuid.uuid4()))
    await won(claims)
    assert isinstance(await other.claim("a", "pod", PATIENCE), Claim)
    await other.close()


async def test_a_withdrawn_claim_is_free_and_anothers_is_not_touched(claims: RedisClaims) -> None:
    old = await won(claims)
    await claims.withdraw(old)
    await won(claims)
    await claims.withdraw(old)
    assert isinstance(await claims.claim("a", "other", PATIENCE), Held)


async def test_a_done_is_not_withdrawn(claims: RedisClaims) -> None:
    claim = await won(claims)
    await claims.done(claim)
    await claims.withdraw(claim)
    assert await claims.done(claim)
    assert await claims.claim("a", "other", PATIENCE) == AlreadyDone()


async def test_a_wrong_password_is_said_without_it(redis: Redis) -> None:
    claims = RedisClaims.from_url(f"redis://{redis.host}:{redis.port}/0", "uid", password="wr0ng")
    with pytest.raises(ClaimsUnavailable, match="Redis") as failure:
        await claims.claim("a", "pod", 1)
    assert "wr0ng" not in str(failure.value) + repr(failure.value.__context__)
    await claims.close()


def settings(redis: Redis) -> Settings:
    found = evaluation().settings
    assert found is not None
    return replace(found, redis=RedisSettings(redis.url))


# What Redis may be asked, and what it says by it.
PERMISSIONS = {
    "all": ("+@all", True),
    "no INFO": ("+@all -info", True),
    "no CONFIG": ("+@all -config", True),
    "neither": ("+@all -info -config", False),
}


@pytest.mark.parametrize(("rights", "said"), PERMISSIONS.values(), ids=PERMISSIONS)
@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru", "volatile-ttl"])
async def test_redis_says_by_which_policy_it_evicts(
    redis: Redis, client: Client, policy: str, rights: str, said: bool
) -> None:
    await client.config_set("maxmemory-policy", policy)
    await client.acl_setuser(
        "asking", reset=True, enabled=True, passwords=["+pw"], keys=["*"], commands=rights.split()
    )  # fmt: skip
    claims = RedisClaims.from_url(f"redis://{redis.host}:{redis.port}/0", "uid", username="asking", password="pw")
    try:
        assert await claims.eviction_policy() == (policy if said else None)
    finally:
        await claims.close()
        await client.config_set("maxmemory-policy", "noeviction")


async def test_a_policy_that_evicts_is_logged_once_and_counted_and_forgotten_when_it_is_mended(
    redis: Redis, client: Client, config_uid: str
) -> None:
    claims = CurrentClaims(settings(redis), config_uid)
    assert claims.eviction == ""
    with capture_logs() as logs:
        for policy, evicts in (("allkeys-lru", 1.0), ("allkeys-lru", 1.0), ("noeviction", 0.0)):
            await client.config_set("maxmemory-policy", policy)
            await claims.ask_for_eviction()
            assert claims.eviction == policy
            assert REGISTRY.get_sample_value("mailpush_redis_may_evict") == evicts
    assert [(line["event"], line["policy"]) for line in logs] == [("redis_may_evict", "allkeys-lru")]
    await claims.close()


async def test_a_redis_that_is_away_says_nothing_of_its_policy(own_redis: Redis, config_uid: str) -> None:
    claims = CurrentClaims(settings(own_redis), config_uid)
    own_redis.stop()
    await claims.ask_for_eviction()
    assert claims.eviction == ""
    await claims.close()


async def test_what_keeps_redis_from_taking_claims_is_named(own_redis: Redis, config_uid: str) -> None:
    claims = RedisClaims.from_url(own_redis.url, config_uid)
    assert await claims.trouble() == ""
    client = Client.from_url(own_redis.url)
    await client.config_set("maxmemory", "1")
    assert await claims.trouble() == "full"
    await client.config_set("maxmemory", "0")
    await client.replicaof("127.0.0.1", "1")
    assert await claims.trouble() == "read_only"
    await client.replicaof("NO", "ONE")
    await client.config_set("requirepass", "another")
    other = RedisClaims.from_url(own_redis.url, config_uid, password="wrong")
    assert await other.trouble() == "login"
    own_redis.stop()
    assert await claims.trouble() == "away"
    await asyncio.gather(claims.close(), other.close(), client.aclose())


async def test_one_failure_is_no_trouble_yet_and_the_first_success_ends_it(
    redis: Redis, config_uid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = CurrentClaims(settings(redis), config_uid)
    said = []
    answers = iter(["away", "", "away", "away", "login", ""])

    async def trouble(_: RedisClaims) -> str:
        return next(answers)

    monkeypatch.setattr(RedisClaims, "trouble", trouble)
    for _ in range(6):
        await claims.try_store()
        said.append(claims.trouble)
    assert said == ["", "", "", "away", "login", ""]
    await claims.close()


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """One that the test may take away."""
    with Redis.launch() as redis:
        yield redis


def mail(uid: int) -> NewMail:
    return NewMail(1, 3, "INBOX", uid, 99, subject="s")


def open_dispatcher(claims: RedisClaims, receiver: WebhookReceiver, config_uid: str, **changed: float) -> Dispatcher:
    target = WebhookTarget("t", receiver.url, b"secret", lambda _: True, timeout=changed.get("timeout", 20))
    return Dispatcher(config_uid, claims, [target], lambda: True, NotificationMetrics(CollectorRegistry()), holder="p")


def ids(receiver: WebhookReceiver) -> list[str]:
    return [request.headers["webhook-id"] for request in receiver.received]


async def test_three_pods_with_one_redis_tell_each_mail_once(
    redis: Redis, config_uid: str, webhook: WebhookReceiver
) -> None:
    stores = [RedisClaims.from_url(redis.url, config_uid) for _ in range(3)]
    pods = [open_dispatcher(store, webhook, config_uid) for store in stores]
    for uid in range(1, 61):
        for pod in pods:
            pod.dispatch(mail(uid), ["c"])
    await until(lambda: not any(pod.pending() for pod in pods))
    assert sorted(ids(webhook)) == sorted(notification_id(config_uid, mail(uid), "t") for uid in range(1, 61))
    assert {json.loads(request.body)["data"]["uid"] for request in webhook.received} == set(range(1, 61))
    for pod, store in zip(pods, stores, strict=True):
        await pod.close()
        await store.close()


async def test_while_redis_is_away_mails_wait_and_are_told_once_when_it_is_back(
    own_redis: Redis, config_uid: str, webhook: WebhookReceiver
) -> None:
    store = RedisClaims.from_url(own_redis.url, config_uid, timeout=1.0)
    pod = open_dispatcher(store, webhook, config_uid)
    own_redis.stop()
    for uid in range(1, 6):
        pod.dispatch(mail(uid), ["c"])
    await until(lambda: pod.health()["t"].trouble == "claims_unavailable")
    assert ids(webhook) == []
    await asyncio.to_thread(own_redis.start)
    await until(lambda: not pod.pending())
    assert len(ids(webhook)) == len(set(ids(webhook))) == 5
    await pod.close()
    await store.close()


async def test_what_a_pod_hands_over_the_next_one_tells(
    redis: Redis, config_uid: str, webhook: WebhookReceiver
) -> None:
    webhook.behave(hang=True)
    stores = [RedisClaims.from_url(redis.url, config_uid) for _ in range(2)]
    giver, receiver = (open_dispatcher(store, webhook, config_uid) for store in stores)
    for uid in range(1, 4):
        giver.dispatch(mail(uid), ["c"])
    await until(lambda: len(ids(webhook)) == 3)
    left = await giver.settle([slot_of(1, 3)], 0.01)
    assert [each.mail.uid for each in left] == [1, 2, 3]
    webhook.behave(status=200)
    for each in left:
        receiver.dispatch(each.mail, each.clients, age=each.age)
    await until(lambda: not receiver.pending())
    assert set(ids(webhook)[:3]) == set(ids(webhook)[3:])  # the same ids again: the hung ones had never been answered
    for pod, store in zip((giver, receiver), stores, strict=True):
        await pod.close()
        await store.close()


async def test_a_move_away_from_a_slow_target_notifies_once(
    redis: Redis, config_uid: str, webhook: WebhookReceiver
) -> None:
    webhook.behave(delay=1.5)
    stores = [RedisClaims.from_url(redis.url, config_uid) for _ in range(2)]
    giver, receiver = (open_dispatcher(store, webhook, config_uid) for store in stores)
    for uid in range(1, 4):
        giver.dispatch(mail(uid), ["c"])
    await until(lambda: len(ids(webhook)) == 3)
    for each in await giver.settle(range(SLOTS), 0.01):
        receiver.dispatch(each.mail, each.clients, age=each.age)
    await until(lambda: not receiver.pending())
    assert len(ids(webhook)) == 3
    for pod, store in zip((giver, receiver), stores, strict=True):
        await pod.close()
        await store.close()
