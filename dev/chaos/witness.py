"""Who has listened for whom, and when: from the pods' logs, followed since a kubelet deletes them with a pod."""

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from dev.cluster import nodes
from dev.demo.users import DemoUser
from dev.processes.closing import Closing

EVERY: Final = 0.2
"""Seconds between two looks at the logs."""
BEGIN, END = "slots_begin", "slots_end"
SLOTS: Final = 16_384


class Event(NamedTuple):
    """A process has begun (or ended) to listen for a slot's users. `at`: Unix seconds; `life`: one process of a pod."""

    at: float
    pod: str
    life: str
    begins: bool
    slots: frozenset[int]


@dataclass(frozen=True)
class Spell:
    """A time for which one process has listened for a user; `until` is None for one that was not seen to end."""

    pod: str
    life: str
    since: float
    until: float | None


class Witness(Closing):
    """Follows the logs of all pods of a cluster until it is closed."""

    def __init__(self, cluster: nodes.Cluster) -> None:
        self._folders = [cluster.pod_logs(name) for name in cluster.nodes]
        self._read: dict[Path, int] = {}
        self._events: list[Event] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witness")
        self._thread.start()

    def events(self) -> list[Event]:
        """What was seen so far, in order."""
        return sorted(self._events)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(EVERY):
            self._look()
        self._look()

    def _look(self) -> None:
        for folder in self._folders:
            for path in folder.glob("mail_mail-push-*/listener/*.log"):
                try:
                    with path.open("rb") as log:
                        log.seek(self._read.get(path, 0))
                        data = log.read()
                except OSError:
                    continue
                whole = data.rfind(b"\n") + 1
                self._read[path] = self._read.get(path, 0) + whole
                pod, uid = path.parents[1].name.split("_")[1:3]
                self._events += read_events(data[:whole].splitlines(), pod, f"{uid}/{path.stem}")


def read_events(lines: Iterable[bytes], pod: str, life: str) -> Iterator[Event]:
    """The events of a log as a container runtime keeps it: time, stream, tag, text."""
    for line in lines:
        if BEGIN.encode() not in line and END.encode() not in line:
            continue
        at, _, _, text = line.split(b" ", 3)
        try:
            entry = json.loads(text)
        except ValueError:
            continue
        if entry.get("event") in (BEGIN, END):
            moment = datetime.fromisoformat(at.decode()[:26].rstrip("Z") + "+00:00").timestamp()
            yield Event(moment, pod, life, entry["event"] == BEGIN, frozenset(slots_of(entry["slots"])))


def slots_of(ranges: str) -> Iterator[int]:
    """`0-2,7` as numbers."""
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        if first:
            yield from range(int(first), int(last or first) + 1)


def spells(events: Iterable[Event], slot: int) -> list[Spell]:
    """Who has listened for a slot's users, in order."""
    found: list[Spell] = []
    for event in events:
        if slot not in event.slots:
            continue
        if event.begins:
            found.append(Spell(event.pod, event.life, event.at, None))
        else:
            for place in range(len(found) - 1, -1, -1):
                if found[place].life == event.life and found[place].until is None:
                    found[place] = Spell(event.pod, event.life, found[place].since, event.at)
                    break
    return found


def slot_of(user: DemoUser) -> int:
    """As docs/protocol.md has it (P1)."""
    digest = sha256(f"{user.context_id}:{user.user_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % SLOTS
