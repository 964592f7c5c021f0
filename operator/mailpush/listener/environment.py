"""What a listener process learns from its environment: its name, its MailPushConfig, its folders and ports."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mailpush import names
from mailpush.sharding.shardmap import PodRef
from mailpush.work import status_budget


class EnvironmentProblem(Exception):  # noqa: N818 - it reads as what it is
    """A variable is missing or cannot be read; the text names it."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A listener pod's environment. `peer_url` has the places `{pod}` and `{ordinal}`."""

    config: str
    config_uid: str
    me: PodRef
    namespace: str
    properties_dir: Path
    internal_dir: Path
    journal_dir: Path
    listen: str
    callback_port: int
    internal_port: int
    health_port: int
    admin_port: int
    peer_url_template: str
    status_writes: float = status_budget.WRITES_PER_SECOND
    """Statuses in a second, of the operator and all listeners."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """From the variables that the StatefulSet's template sets.

        Raises:
            EnvironmentProblem: one is missing, or a port is no number.
        """
        config = _needed(environ, "MAILPUSH_CONFIG")
        namespace = _needed(environ, "POD_NAMESPACE")
        service = names.headless_service_name(config)
        default_peers = f"http://{{pod}}.{service}.{namespace}.svc:{names.INTERNAL_PORT}"
        return cls(
            config=config,
            config_uid=_needed(environ, "MAILPUSH_CONFIG_UID"),
            me=PodRef(_needed(environ, "POD_NAME"), _needed(environ, "POD_UID")),
            namespace=namespace,
            properties_dir=Path(environ.get("MAILPUSH_PROPERTIES_DIR") or names.PROPERTIES_DIRECTORY),
            internal_dir=Path(environ.get("MAILPUSH_INTERNAL_DIR") or names.INTERNAL_KEY_DIRECTORY),
            journal_dir=Path(environ.get("MAILPUSH_JOURNAL_DIR") or names.JOURNAL_DIRECTORY),
            listen=environ.get("MAILPUSH_LISTEN") or "0.0.0.0",  # noqa: S104 - a pod's own network namespace
            callback_port=_port(environ, "MAILPUSH_CALLBACK_PORT", names.CALLBACK_PORT),
            internal_port=_port(environ, "MAILPUSH_INTERNAL_PORT", names.INTERNAL_PORT),
            health_port=_port(environ, "MAILPUSH_HEALTH_PORT", names.HEALTH_PORT),
            admin_port=_port(environ, "MAILPUSH_ADMIN_PORT", names.ADMIN_PORT),
            status_writes=_writes(environ),
            peer_url_template=environ.get("MAILPUSH_PEER_URL") or default_peers,
        )

    def peer_url(self, pod: str) -> str:
        """Where the pod of that name takes events, without a path."""
        return self.peer_url_template.replace("{pod}", pod).replace("{ordinal}", str(ordinal(pod)))

    def handover_keys(self) -> tuple[bytes, ...]:
        """The keys of the hand-over between pods, read anew at each call since the operator rotates them.

        The first signs; the others, those before and after it in the rotation, only verify.

        Raises:
            OSError: not mounted.
        """
        # In this order: keys move from `next` to the current one to `previous`, so a step that the kubelet mounts
        # between two reads hides none of them.
        following = self._optional_key(names.NEXT_KEY_FILE)
        current = (self.internal_dir / names.INTERNAL_KEY_FILE).read_bytes()
        former = self._optional_key(names.PREVIOUS_KEY_FILE)
        return tuple(dict.fromkeys((current, *former, *following)))

    def hash_key(self) -> bytes:
        """The key of the hash of a configuration's secrets. It is not rotated.

        Raises:
            OSError: not mounted.
        """
        return (self.internal_dir / names.HASH_KEY_FILE).read_bytes()

    def _optional_key(self, name: str) -> tuple[bytes, ...]:
        try:
            return ((self.internal_dir / name).read_bytes(),)
        except FileNotFoundError:
            return ()


def ordinal(pod: str) -> int:
    """A StatefulSet pod's number, the last part of its name; 0 for a name without one."""
    match = re.search(r"-([0-9]{1,9})$", pod)
    return int(match[1]) if match else 0


def _needed(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise EnvironmentProblem(f"{name} is not set; the operator sets it in the StatefulSet's pod template")
    return value


def _writes(environ: Mapping[str, str]) -> float:
    try:
        return status_budget.read(environ)
    except ValueError as error:
        raise EnvironmentProblem(str(error)) from None


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not text.isdecimal() or int(text) > 65535:
        raise EnvironmentProblem(f"{name} is {text!r}; it must be a port number")
    return int(text)
