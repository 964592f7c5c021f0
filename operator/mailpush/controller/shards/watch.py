"""What is seen of the pods and their Leases: the eyes that proofs of death rest on (protocol P8).

Reflectors of our own rather than kopf's watching: they report what vanished between two watches, hand out
resourceVersions, and the standby, which runs no kopf, needs them too (P11).
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from mailpush import names
from mailpush.controller.owner import ConfigKey
from mailpush.controller.state import OperatorState, pod_of
from mailpush.controller.wakes import Wakes
from mailpush.kube import resources
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import KubeError
from mailpush.kube.objects import older
from mailpush.kube.reflector import Change, Reflector
from mailpush.sharding.leases import LeaseState, parse_lease
from mailpush.sharding.planning.death import LeaseObserver

DEADLINE: Final = 2.5
"""Seconds that a read or a write of a Lease, a fence or a map may take: a takeover has 20 in all."""
LIST_DEADLINE: Final = 5.0
"""Seconds for a chunk of a list of pods or Leases, up to 500 of them, and for a watch to begin."""
QUIET: Final = 3.6
"""Seconds without news of a Lease after which it is read by itself: a pod renews every 3 s, so the watch may lag."""
SELECTOR: Final = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY},{names.CONFIG_LABEL}"


@dataclass(slots=True)
class Sighting:
    """One Lease: the object as last read (None: there is none), and what may be concluded."""

    observer: LeaseObserver
    body: Object | None = None
    looked: float = 0.0

    @property
    def state(self) -> LeaseState | None:
        return self.observer.lease


class PodWatch:
    """Pods and Leases of all MailPushConfigs of the given namespaces.

    A change of a pod or a Lease wakes the shard loop of its MailPushConfig.
    """

    def __init__(
        self,
        kube: Kube,
        namespaces: tuple[str, ...],
        state: OperatorState,
        wakes: Wakes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._state = state
        self._wakes = wakes
        self._clock = clock
        self._leases: dict[tuple[str, str], Sighting] = {}
        self._by_config: dict[ConfigKey, set[str]] = {}
        self._lease_reflectors = {
            namespace: Reflector(
                kube,
                resources.LEASE,
                namespace,
                self._lease_changed,
                label_selector=SELECTOR,
                on_error=partial(self._blind, namespace),
                answer_seconds=LIST_DEADLINE,
            )
            for namespace in namespaces
        }
        self._pod_reflectors = {
            namespace: Reflector(
                kube,
                resources.POD,
                namespace,
                self._pod_changed,
                label_selector=SELECTOR,
                answer_seconds=LIST_DEADLINE,
            )
            for namespace in namespaces
        }

    def reflectors(self) -> Iterator[Reflector]:
        """All that have to run."""
        yield from self._lease_reflectors.values()
        yield from self._pod_reflectors.values()

    async def wait_listed(self) -> None:
        """Returns once everything has been read once."""
        for reflector in self.reflectors():
            await reflector.listed.wait()

    def listed(self, namespace: str) -> bool:
        """Whether everything has been read once: nothing may be concluded from absence before."""
        return self._lease_reflectors[namespace].listed.is_set() and self._pod_reflectors[namespace].listed.is_set()

    def sighting(self, namespace: str, name: str) -> Sighting:
        """What is known of a Lease; begins to count for one that has never been there."""
        sighting = self._leases.get((namespace, name))
        if sighting is None:
            sighting = self._new(namespace, name)
            sighting.observer.see(self._clock(), None, None)
            sighting.looked = self._clock()
        return sighting

    def lease_names(self, key: ConfigKey) -> frozenset[str]:
        """Names of all Leases that the MailPushConfig's pods have or had."""
        return frozenset(self._by_config.get(key, ()))

    def saw(self, namespace: str, name: str, body: Object | None) -> Sighting:
        """A Lease as the API server just gave it to us, also as the answer of a write."""
        now = self._clock()
        sighting = self._leases.get((namespace, name)) or self._new(namespace, name)
        sighting.looked = now
        version = None if body is None else body["metadata"]["resourceVersion"]
        sighting.observer.see(now, version, None if body is None else parse_lease(body))
        sighting.body = body
        if body is not None and (key := ConfigKey.of_child(body)) is not None:
            self._by_config.setdefault(key, set()).add(name)
        return sighting

    async def look(self, namespace: str, name: str) -> Sighting:
        """Reads one Lease now.

        Raises:
            KubeError: it could not be read; that time does not count.
        """
        try:
            body = await self._kube.find(resources.LEASE, namespace, name, answer_seconds=DEADLINE)
        except KubeError as error:
            self.sighting(namespace, name)
            self._blind(namespace, error)  # nor can the others be read, whether their watch has noticed or not
            raise
        return self.saw(namespace, name, body)

    async def look_at_quiet(self, namespace: str, wanted: frozenset[str]) -> None:
        """Reads those of the Leases that there has been no news of: a watch may be silent because it is broken.

        Raises:
            KubeError: as `look`.
        """
        quiet = [
            name
            for name in sorted(wanted)
            if (sighting := self._leases.get((namespace, name))) is None or self._clock() - sighting.looked >= QUIET
        ]
        # Together, so that one that hangs holds up no other; after all have come back, so that none is left running.
        looks = await asyncio.gather(*(self.look(namespace, name) for name in quiet), return_exceptions=True)
        for found in looks:
            if isinstance(found, BaseException):
                raise found

    def _new(self, namespace: str, name: str) -> Sighting:
        sighting = self._leases[namespace, name] = Sighting(LeaseObserver(name))
        return sighting

    def _lease_changed(self, change: Change, body: Object) -> None:
        metadata = body["metadata"]
        gone = change in ("DELETED", "ABSENT")
        known = self._leases.get((metadata["namespace"], metadata["name"]))
        if (
            known is not None
            and known.body is not None
            and older(metadata["resourceVersion"], known.body["metadata"]["resourceVersion"])
        ):
            return  # the watch lags behind what a write of ours or a direct look has shown
        self.saw(metadata["namespace"], metadata["name"], None if gone else body)
        if (key := ConfigKey.of_child(body)) is not None:
            self._wakes.wake(key)

    def _blind(self, namespace: str, _: KubeError) -> None:
        """From the last look at each Lease on: until it is read again, no time counts against its pod."""
        for (place, _name), sighting in self._leases.items():
            if place == namespace:
                sighting.observer.unreadable(0.0)

    def _pod_changed(self, change: Change, body: Object) -> None:
        key = ConfigKey.of_child(body)
        if key is None:
            return
        pods = self._state.pods.setdefault(key, {})
        pod = pod_of(body, names.statefulset_name(key.name))
        name = body["metadata"]["name"]
        if change in ("DELETED", "ABSENT") or pod is None:
            pods.pop(name, None)
        else:
            pods[name] = pod
        self._wakes.wake(key)
