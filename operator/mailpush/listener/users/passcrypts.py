"""The passcrypts of this MailPushConfig's pods and of its operator, compared by fingerprints: none of them is shown."""

from typing import Final, Protocol

from mailpush import names
from mailpush.kube.client import Kube
from mailpush.kube.errors import KubeError
from mailpush.kube.resources import CONFIG_MAP, LEASE
from mailpush.sharding.leases import PASSCRYPT, LeaseState, parse_lease

ANSWER_SECONDS: Final = 5.0


class PasscryptsUnknownError(Exception):
    """The Kubernetes API does not say which passcrypts there are. The text says what could not be read."""


class Passcrypts(Protocol):
    """What is known of passcrypts elsewhere. Each method raises PasscryptsUnknownError."""

    async def differing(self, fingerprint: str) -> list[str]:
        """The other pods that live and do not show this fingerprint, in the order of their names."""
        ...

    async def keeping_elsewhere(self, place: str) -> list[str]:
        """The other pods that live and do not say that they keep passwords there, in the order of their names."""
        ...

    async def is_given(self, fingerprint: str) -> bool:
        """Whether the operator gives the pods this one. True where it says of none, as one of an older version."""
        ...


class KubePasscrypts:
    """Asks the API each time: it is asked seldom, and what a watch has not brought yet would be missed.

    Args:
        me: this pod's name.
    """

    def __init__(self, kube: Kube, namespace: str, config: str, me: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._config = config
        self._me = me

    async def differing(self, fingerprint: str) -> list[str]:
        """A Lease that somebody holds is a process that may use its passcrypt, also when it was not renewed in time:
        it may go on. The operator empties the Lease of a dead one within seconds. A process that has just begun shows
        no fingerprint yet.
        """
        return sorted(name for name, state in (await self._others()).items() if state.passcrypt != fingerprint)

    async def keeping_elsewhere(self, place: str) -> list[str]:
        return sorted(name for name, state in (await self._others()).items() if state.kept != place)

    async def _others(self) -> dict[str, LeaseState]:
        selector = f"{names.CONFIG_LABEL}={self._config}"
        try:
            leases, _ = await self._kube.list(
                LEASE, self._namespace, label_selector=selector, answer_seconds=ANSWER_SECONDS
            )
        except (KubeError, TimeoutError):
            raise PasscryptsUnknownError("the Leases of the pods cannot be read from the Kubernetes API") from None
        states = {lease["metadata"]["name"]: parse_lease(lease) for lease in leases}
        return {name: state for name, state in states.items() if name != self._me and state.holder is not None}

    async def is_given(self, fingerprint: str) -> bool:
        name = names.properties_configmap_name(self._config)
        try:
            found = await self._kube.get(CONFIG_MAP, self._namespace, name, answer_seconds=ANSWER_SECONDS)
        except (KubeError, TimeoutError):
            raise PasscryptsUnknownError(f"ConfigMap {name} cannot be read from the Kubernetes API") from None
        given = (found["metadata"].get("annotations") or {}).get(PASSCRYPT)
        return given is None or given == fingerprint
