"""Kubernetes Events (events.k8s.io/v1) on what has changed: for `kubectl describe` and whoever watches.

Events are hints, conditions are the truth: an Event that cannot be written now is dropped and counted. One that
repeats
within ten minutes raises the count of the Event that is there.
"""

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from mailpush import names
from mailpush.controller import metrics
from mailpush.controller.status.ready import TROUBLES
from mailpush.kube import resources
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import ForbiddenError, KubeError, NotFoundError
from mailpush.work.pace import Pace

CONTROLLER: Final = f"{names.GROUP}/operator"
NORMAL: Final = "Normal"
WARNING: Final = "Warning"
LONGEST_NOTE: Final = 1024
PER_SECOND: Final = 5.0
BURST: Final = 50.0
WAITING: Final = 200
SAME_SECONDS: Final = 600.0
REMEMBERED: Final = 4096
TOLD: Final = frozenset({"ConfigurationValid", "Ready", *TROUBLES})
"""Conditions of a MailPushConfig whose changes become Events; the others only show progress."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that an Event is about."""

    kind: str
    namespace: str
    name: str
    uid: str
    api_version: str = names.API_VERSION

    def reference(self) -> Object:
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
        }


@dataclass(frozen=True, slots=True)
class Event:
    """One Event. `note` is a sentence as it stands in a condition: never with a secret."""

    subject: Subject
    type: str
    reason: str
    action: str
    note: str


@dataclass(slots=True)
class Written:
    """An Event that was written: by which name, when last, how often."""

    name: str
    at: float
    count: int = 1


class EventRecorder:
    """Takes events at once and writes them in the background, while this process leads."""

    def __init__(self, kube: Kube, instance: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._instance = instance[:128]
        self._clock = clock
        self._queue: asyncio.Queue[Event] = asyncio.Queue(WAITING)
        self._written: OrderedDict[tuple[str, str, str], Written] = OrderedDict()
        # A change of settings may concern every user: etcd shall not hold an Event for each.
        self._pace = Pace(PER_SECOND, BURST, clock=clock)

    def record(self, *events: Event) -> None:
        """Never blocks."""
        for event in events:
            try:
                self._queue.put_nowait(event)
            except asyncio.QueueFull:
                metrics.EVENTS.labels("dropped").inc()

    async def run(self) -> None:
        """Until cancelled. An Event that cannot be written is not tried again."""
        while True:
            event = await self._queue.get()
            await self._pace.turn()
            try:
                await self._write(event)
                metrics.EVENTS.labels("written").inc()
            except KubeError as error:
                metrics.EVENTS.labels("failed").inc()
                say = log.warning if isinstance(error, ForbiddenError) else log.debug
                say("event_not_written", reason=event.reason, error=str(error))

    async def _write(self, event: Event) -> None:
        place = (event.subject.uid, event.reason, event.note)
        now = self._clock()
        written = self._written.pop(place, None)
        if written is not None and now - written.at < SAME_SECONDS:
            try:
                await self._again(event, written)
            except NotFoundError:
                pass  # it is past its hour; a new one
            else:
                self._remember(place, written, now)
                return
        body = new_event(event, self._instance, datetime.now(UTC))
        await self._kube.create(resources.EVENT, event.subject.namespace, body)
        self._remember(place, Written(body["metadata"]["name"], now), now)

    async def _again(self, event: Event, written: Written) -> None:
        series = {"count": written.count + 1, "lastObservedTime": micro_time(datetime.now(UTC))}
        await self._kube.merge_patch(resources.EVENT, event.subject.namespace, written.name, {"series": series})
        written.count += 1

    def _remember(self, place: tuple[str, str, str], written: Written, now: float) -> None:
        written.at = now
        self._written[place] = written
        while len(self._written) > REMEMBERED:
            self._written.popitem(last=False)


def new_event(event: Event, instance: str, now: datetime) -> Object:
    """The Event object."""
    subject = event.subject
    return {
        "apiVersion": resources.EVENT.api_version,
        "kind": resources.EVENT.kind,
        "metadata": {"name": f"{subject.name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": subject.namespace},
        "eventTime": micro_time(now),
        "reportingController": CONTROLLER,
        "reportingInstance": instance,
        "action": event.action,
        "type": event.type,
        "reason": event.reason[:128],
        "note": shortened(event.note),
        "regarding": subject.reference(),
    }


def shortened(note: str) -> str:
    """At most 1 kB, as the API server takes it, without half a character."""
    return note.encode()[:LONGEST_NOTE].decode(errors="ignore")


def micro_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def condition_changes(
    subject: Subject, before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]
) -> list[Event]:
    """The Events of a MailPushConfig whose conditions have changed. Progress alone makes none."""
    known = {condition["type"]: condition for condition in before}
    events = []
    for condition in after:
        old, type_ = known.get(condition["type"]), condition["type"]
        if type_ not in TOLD or condition["status"] == "Unknown":
            continue
        if old is not None and (old["status"], old["reason"]) == (condition["status"], condition["reason"]):
            continue
        good = (condition["status"] == "True") != (type_ in TROUBLES)
        if old is None and type_ == "Ready" and not good:
            continue  # it has only just begun
        if type_ in TROUBLES and good and (old is None or old["status"] != "True"):
            continue  # there was no trouble before
        kind = NORMAL if good or condition["reason"] in PROGRESS else WARNING
        reason = GOOD.get(type_, condition["reason"]) if good else condition["reason"]
        events.append(Event(subject, kind, reason, type_, condition["message"]))
    # What keeps it from being Ready is most often what is wrong with it: once is enough.
    written: dict[tuple[str, str], Event] = {}
    for event in events:
        written.setdefault((event.reason, event.note), event)
    return list(written.values())


GOOD: Final = {"ConfigurationValid": "ConfigurationValid", "Ready": "Ready"}
PROGRESS: Final = frozenset(
    {"NoneCapable", "Assigning", "Starting", "Restoring", "NoReplicas", "ListenersScaledToZero", "Unregistering"}
)
"""Reasons that pass by themselves or that somebody wished for."""
