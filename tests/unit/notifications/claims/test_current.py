"""The store of claims that the settings name."""

from dataclasses import replace

import pytest

from mailpush.notifications.claims.current import CurrentClaims
from mailpush.notifications.claims.store import Claim, ClaimsUnavailable
from mailpush.properties.settings import RedisSettings
from tests.unit.listener.people import settings

WRONG = "-----BEGIN CERTIFICATE-----\nS3cret\n-----END CERTIFICATE-----\n"
UNTRUE = RedisSettings("rediss://127.0.0.1:1/0", ca_pem=WRONG)


@pytest.mark.parametrize("redis", [UNTRUE, RedisSettings("redis://127.0.0.1:port/0"), RedisSettings("nonsense")])
async def test_a_redis_that_is_named_wrongly_lets_mails_wait_and_ends_no_pod(redis: RedisSettings) -> None:
    claims = CurrentClaims(replace(settings(), redis=redis), "uid")
    with pytest.raises(ClaimsUnavailable) as failure:
        await claims.claim("ntf_1", "me", 60.0)
    for ending in (claims.done, claims.withdraw):
        with pytest.raises(ClaimsUnavailable):
            await ending(Claim("ntf_1", "token", 0.0))
    assert "S3cret" not in str(failure.value)
    await claims.try_store()
    assert claims.trouble == "invalid"
    await claims.use(settings())
    assert isinstance(await claims.claim("ntf_1", "me", 60.0), Claim)
    await claims.try_store()
    assert claims.trouble == ""
    await claims.close()
