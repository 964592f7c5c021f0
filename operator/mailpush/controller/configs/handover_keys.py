"""How the key of the hand-over between pods is rotated: a new key is mounted everywhere before a pod signs with it.

| step | current | next | previous |
| --- | --- | --- | --- |
| steady, for 30 days | A | | |
| announced, for an hour | A | B | |
| promoted, for an hour | B | | A |
| steady | B | | |

Pods sign with the current key and accept all three, so they may see a step at different moments. A kubelet needs up to
two minutes for a mount. The key of the configurations' hash stays: a new one would look like a new configuration.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from mailpush import names
from mailpush.api.conditions import timestamp
from mailpush.controller.configs.property_files import encoded
from mailpush.controller.owner import Manifest
from mailpush.kube.secrets import value_of

LEAST_KEY_BYTES: Final = 16
ROTATED_EVERY: Final = 30 * 86400.0
STEP_SECONDS: Final = 3600.0


class Step(NamedTuple):
    """What is to be written to the Secret, if anything, and when it has to be looked at again."""

    what: str
    patch: Manifest
    """A merge patch; empty where the Secret stays."""
    seconds: float
    """Until the next look."""


def next_step(secret: Mapping[str, Any], now: datetime, new_key: Callable[[], bytes]) -> Step:
    """The step that is due for a MailPushConfig's Secret of internal keys, which has a current key."""
    data: Mapping[str, str] = secret["data"]
    since = _since(secret)
    if not _usable(secret, names.HASH_KEY_FILE):
        # Before keys were rotated one key served for both: kept, the hashes of all configurations stay.
        old = data[names.INTERNAL_KEY_FILE] if since is None else encoded(new_key())
        return _step("hash_key_set", {names.HASH_KEY_FILE: old}, now, data)
    if since is None or since > now:
        return _step("time_set", {}, now, data)
    left = _wait(data) - (now - since).total_seconds()
    if left > 0:
        return Step("none", {}, left)
    if _usable(secret, names.NEXT_KEY_FILE):
        promoted = {
            names.INTERNAL_KEY_FILE: data[names.NEXT_KEY_FILE],
            names.PREVIOUS_KEY_FILE: data[names.INTERNAL_KEY_FILE],
            names.NEXT_KEY_FILE: None,
        }
        return _step("promoted", promoted, now, data)
    if names.PREVIOUS_KEY_FILE in data:
        return _step("retired", {names.PREVIOUS_KEY_FILE: None}, now, data)
    return _step("announced", {names.NEXT_KEY_FILE: encoded(new_key())}, now, data)


def _step(what: str, change: dict[str, str | None], now: datetime, data: Mapping[str, str]) -> Step:
    after = {key: value for key, value in {**data, **change}.items() if value is not None}
    patch: Manifest = {"metadata": {"annotations": {names.KEY_STEP_ANNOTATION: timestamp(now)}}}
    if change:
        patch["data"] = change
    return Step(what, patch, _wait(after))


def _wait(data: Mapping[str, str]) -> float:
    under_way = names.NEXT_KEY_FILE in data or names.PREVIOUS_KEY_FILE in data
    return STEP_SECONDS if under_way else ROTATED_EVERY


def _usable(secret: Mapping[str, Any], key: str) -> bool:
    return len(value_of(secret, key) or b"") >= LEAST_KEY_BYTES


def _since(secret: Mapping[str, Any]) -> datetime | None:
    """When the last step was made; None where nobody has noted it, or no time."""
    text = (secret["metadata"].get("annotations") or {}).get(names.KEY_STEP_ANNOTATION, "")
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
