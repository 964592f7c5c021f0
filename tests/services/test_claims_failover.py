"""Claims while one Redis gives way to another behind the same name."""

import asyncio
from collections.abc import Iterator

import pytest
from redis import Redis as Client

from dev.processes import free_port
from dev.services import Redis
from mailpush.notifications.claims import Claim, ClaimsUnavailable
from mailpush.notifications.redis_claims import RedisClaims
from tests.cluster.forward import Forward

HOST = "127.0.0.1"


@pytest.fixture
def other() -> Iterator[Redis]:
    with Redis.launch() as other:
        yield other


async def test_after_a_failover_claims_go_to_the_new_master(redis: Redis, other: Redis) -> None:
    """The former master stays up as a replica, and what was connected to it stays connected."""
    service = Forward(HOST, port := free_port(), (redis.host, redis.port))
    former = Client(host=redis.host, port=redis.port)
    claims = RedisClaims.from_url(f"redis://{HOST}:{port}/0", "uid")
    try:
        opened = await asyncio.gather(*(claims.claim(f"before-{n}", "pod", 60) for n in range(4)))
        assert all(isinstance(result, Claim) for result in opened)
        former.execute_command("REPLICAOF", other.host, other.port)
        service.target = (other.host, other.port)
        with pytest.raises(ClaimsUnavailable, match="read-only replica"):
            await claims.claim("first", "pod", 60)
        assert isinstance(await claims.claim("second", "pod", 60), Claim)
        assert Client(host=other.host, port=other.port).exists("uid:claim:second")
    finally:
        former.execute_command("REPLICAOF", "NO", "ONE")
        await claims.close()
        service.close()
