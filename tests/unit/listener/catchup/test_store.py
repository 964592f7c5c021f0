"""The store of checkpoints that the settings name; tests/services shows the one of Redis."""

from dataclasses import replace

import pytest

from mailpush.listener.catchup.store import Checkpoint, CheckpointsUnavailable, Folder, checkpoint_store
from mailpush.properties.settings import RedisSettings
from tests.unit.listener.people import settings

INBOX = Folder(1, 3, "INBOX")
WRONG = "-----BEGIN CERTIFICATE-----\nS3cret\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    "redis", [RedisSettings("rediss://127.0.0.1:1/0", ca_pem=WRONG), RedisSettings("redis://127.0.0.1:port/0")]
)
async def test_a_redis_that_is_named_wrongly_is_one_that_does_not_answer(redis: RedisSettings) -> None:
    """That is not 'no checkpoint', and it ends no pod."""
    store = checkpoint_store(replace(settings(), redis=redis), "uid")
    for asked in (
        store.of_user(1, 3),
        store.forget(1, 3),
        store.ask_to_sweep(),
        store.sweeps_asked(),
        store.save(1, {INBOX: Checkpoint(1, 2)}),
    ):
        with pytest.raises(CheckpointsUnavailable) as failure:
            await asked
        assert "S3cret" not in str(failure.value)
    await store.close()


async def test_without_redis_this_process_keeps_them() -> None:
    store = checkpoint_store(settings(), "uid")
    await store.save(1, {INBOX: Checkpoint(1, 2)})
    assert await store.of_user(1, 3) == {"INBOX": Checkpoint(1, 2)}
