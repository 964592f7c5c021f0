"""The settings that this pod runs by: booted from the mounted files, then kept up to date through the API.

A kubelet may take 90 s to refresh a mount, so a running listener watches its ConfigMap by name. It
takes a configuration only whole, as its hash says, and keeps the last good one where a new one is invalid.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from mailpush import names
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import KubeError
from mailpush.kube.reflector import Change, Reflector
from mailpush.kube.resources import CONFIG_MAP, SECRET
from mailpush.kube.secrets import text_of
from mailpush.properties.hashes import config_hash_of, keyed_hash
from mailpush.properties.read import SettingsError, read
from mailpush.properties.settings import Settings
from mailpush.work.pace import Backoff, set_within

CONFIGURATION_INVALID: Final = "ConfigurationInvalid"
ANSWER_SECONDS: Final = 10.0
RETRY: Final = Backoff(0.2, 5.0)
LOGGED_AFTER: Final = 4

log = structlog.get_logger(__name__)


class HalfConfigurationError(Exception):
    """ConfigMap and Secret do not belong together yet: the other half is on its way."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One configuration, and the hash by which the operator knows it."""

    settings: Settings
    config_hash: str


def load_files(files: Mapping[str, str], boot: Mapping[str, str], secrets: Mapping[str, str], key: bytes) -> Loaded:
    """A configuration from its three parts: ConfigMap, boot ConfigMap, Secret. `key` is that of the secrets' hash.

    Raises:
        SettingsError: it cannot be run by; the text names file, property and what is allowed.
    """
    settings = read({**files, **boot, **secrets})
    config_hash = config_hash_of(files, keyed_hash(secrets, key)) if key else ""
    return Loaded(settings, config_hash)


def read_directory(directory: Path, key: bytes) -> tuple[Loaded, dict[str, str]]:
    """What a pod boots from, and the part of it that takes a restart to change.

    Raises:
        SettingsError: as `load_files`. OSError: a file cannot be read.
    """
    files: dict[str, str] = {}
    boot: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for path in sorted(directory.glob("*.properties")):
        part = {names.BOOT_PROPERTIES: boot, names.SECRET_PROPERTIES: secrets}.get(path.name, files)
        part[path.name] = path.read_text(encoding="utf-8")
    return load_files(files, boot, secrets, key), boot


class RunsBySettings(Protocol):
    """The pod, as the settings watch sees it: it runs by the configuration that it got last."""

    def apply(self, loaded: Loaded) -> None:
        """Go on by a configuration that is new, whole and valid."""

    def problem(self, reason: str | None) -> None:
        """`reason` keeps a new configuration from being run; None: nothing does any more."""


class SettingsWatch:
    """Watches the ConfigMap and gives each configuration that is new, whole and valid to `pod`.

    Args:
        boot: the files that take a restart to change, as this process has them.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        config: str,
        boot: Mapping[str, str],
        key: Callable[[], bytes],
        *,
        pod: RunsBySettings,
        current: Loaded,
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._config = config
        self._boot = boot
        self._key = key
        self._pod = pod
        self._current = current
        self._object: Object | None = None
        self._refused: str | None = None
        self._changed = asyncio.Event()

    def reflector(self) -> Reflector:
        name = names.properties_configmap_name(self._config)
        return Reflector(self._kube, CONFIG_MAP, self._namespace, self.observe, field_selector=f"metadata.name={name}")

    def observe(self, change: Change, obj: Object) -> None:
        """A ConfigMap that is deleted changes nothing: the operator makes it again."""
        if change in ("ADDED", "MODIFIED"):
            self._object = obj
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            failures = 0
            while not await self._take(failures):
                failures += 1
                await set_within(self._changed, RETRY.after(failures))
                self._changed.clear()

    async def _take(self, failures: int) -> bool:
        """Takes the ConfigMap as it is; returns whether there is nothing left to do with it."""
        obj = self._object or {}
        wanted = (obj.get("metadata", {}).get("annotations") or {}).get(names.CONFIG_HASH_ANNOTATION)
        if wanted is None or wanted == self._refused:
            return True
        if wanted == self._current.config_hash:
            if self._refused is not None:
                self._refused = None
                self._pod.problem(None)
            return True
        try:
            loaded = await self._fetch(dict(obj.get("data") or {}), wanted)
        except SettingsError as error:
            log.warning("configuration_invalid", config_hash=wanted, problems=list(error.problems))
            self._refused = wanted
            self._pod.problem(CONFIGURATION_INVALID)
            return True
        except (KubeError, TimeoutError, OSError, HalfConfigurationError) as error:
            if failures == LOGGED_AFTER:
                log.warning("configuration_not_read", config_hash=wanted, error=str(error) or type(error).__name__)
            return False
        log.info("configuration_applied", config_hash=wanted)
        self._current, self._refused = loaded, None
        self._pod.problem(None)
        self._pod.apply(loaded)
        return True

    async def _fetch(self, files: dict[str, str], wanted: str) -> Loaded:
        key = self._key()
        if not key:
            raise HalfConfigurationError("the key of the configuration's hash is not mounted")
        async with asyncio.timeout(ANSWER_SECONDS):
            secret = await self._kube.get(SECRET, self._namespace, names.secrets_name(self._config))
        secrets = _secret_files(secret)
        if config_hash_of(files, keyed_hash(secrets, key)) != wanted:
            raise HalfConfigurationError("ConfigMap and Secret do not belong together")
        return load_files(files, self._boot, secrets, key)


def _secret_files(secret: Mapping[str, Any]) -> dict[str, str]:
    text = text_of(secret, names.SECRET_PROPERTIES)
    if text is None:
        raise HalfConfigurationError(f"the Secret has no {names.SECRET_PROPERTIES}, or one that is no text")
    return {names.SECRET_PROPERTIES: text}
