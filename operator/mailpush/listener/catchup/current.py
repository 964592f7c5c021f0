"""The store of checkpoints that the settings name. It is replaced when they change."""

from mailpush.listener.catchup.checkpoints import Checkpoints
from mailpush.listener.catchup.store import checkpoint_store
from mailpush.properties.settings import Settings


class CurrentCheckpoints:
    """Keeps `checkpoints` at the store of the settings that count."""

    def __init__(self, checkpoints: Checkpoints, settings: Settings, config_uid: str) -> None:
        self.checkpoints = checkpoints
        self._redis = settings.redis
        self._config_uid = config_uid

    async def use(self, settings: Settings) -> None:
        """Takes other settings: of interest is where Redis is, and its password."""
        if settings.redis != self._redis:
            self._redis = settings.redis
            await self.checkpoints.use(checkpoint_store(settings, self._config_uid))
