"""Claims while one Redis gives way to another behind the same name."""

import asyncio
import subprocess

import pytest

from dev.processes.group import free_port
from dev.services import Redis
from mailpush.notifications.claims.redis import RedisClaims
from mailpush.notifications.claims.store import Claim, ClaimsUnavailable
from tests.sites.forward import Forward

HOST = "127.0.0.1"


def say(redis: Redis, *command: str) -> str:
    done = subprocess.run(
        ["redis-cli", "-h", redis.host, "-p", str(redis.port), *command], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


async def test_after_a_failover_claims_go_to_the_new_master() -> None:
    """The former master stays up as a replica, and what was connected to it stays connected."""
    with Redis.launch() as former, Redis.launch() as later:
        service = Forward(HOST, port := free_port(), (former.host, former.port))
        claims = RedisClaims.from_url(f"redis://{HOST}:{port}/0", "uid")
        try:
            opened = await asyncio.gather(*(claims.claim(f"before-{n}", "pod", 60) for n in range(4)))
            assert all(isinstance(result, Claim) for result in opened)
            assert say(former, "REPLICAOF", later.host, str(later.port)) == "OK"
            service.target = (later.host, later.port)
            with pytest.raises(ClaimsUnavailable, match="read-only replica"):
                await claims.claim("first", "pod", 60)
            assert isinstance(await claims.claim("second", "pod", 60), Claim)
            assert say(later, "EXISTS", "uid:claim:second") == "1"
        finally:
            await claims.close()
            service.close()
