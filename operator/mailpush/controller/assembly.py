"""The operator's parts, made in the order in which they need each other.

From a Lease to the written map: `PodWatch` keeps pods and Leases and wakes the `ShardLoop` of their MailPushConfig,
which plans and writes. From a MailPushConfig to its children: `Triggers` takes kopf's events and adds to the queue that
the `Reconciler` works off. From a PushUser to its status: `UserStore` adds to the queue of the `UserReconciler`, which
decides and adds those to whom something is to be written to another queue.
"""

import uuid
from dataclasses import dataclass
from functools import partial
from typing import Final

from mailpush import names
from mailpush.controller.admin import OperatorAdmin
from mailpush.controller.configs.reconcile import Reconciler
from mailpush.controller.election import Election
from mailpush.controller.elections import Elections
from mailpush.controller.environment import OperatorSettings
from mailpush.controller.events import EventRecorder
from mailpush.controller.leader import Leader
from mailpush.controller.owner import ConfigKey
from mailpush.controller.shards.loops import ShardLoops
from mailpush.controller.shards.watch import PodWatch
from mailpush.controller.state import OperatorState
from mailpush.controller.triggers import Triggers
from mailpush.controller.users.ending import EndingNamespaces
from mailpush.controller.users.leftovers import LeftOvers
from mailpush.controller.users.reconcile import UserReconciler
from mailpush.controller.users.record import UserName
from mailpush.controller.users.store import UserStore
from mailpush.controller.wakes import Wakes
from mailpush.controller.watchdog import Watchdog
from mailpush.http.health import Pulse
from mailpush.kube.client import Kube
from mailpush.kube.errors import ConflictError, KubeError
from mailpush.work.garbage import LongLived
from mailpush.work.queue import WorkQueue
from mailpush.work.status_budget import operator_pace

CONFIG_WORKERS: Final = 2
DECIDING: Final = 16
"""Users on whom is decided at a time: most take no request, some the reading of a Secret."""
USER_WORKERS: Final = 8
"""Writes to users that are under way at a time; how many begin in a second is bounded apart."""


@dataclass(frozen=True, slots=True)
class Operator:
    """What runs in one process: all of it observes, and `leader` acts while the process leads (protocol P11)."""

    pods: PodWatch
    users: UserStore
    ending: EndingNamespaces
    admin: OperatorAdmin
    election: Elections
    leader: Leader


def assemble(kube: Kube, settings: OperatorSettings, pulse: Pulse) -> Operator:
    """All parts; nothing runs yet."""
    state = OperatorState()
    wakes = Wakes()
    pods = PodWatch(kube, settings.namespaces, state, wakes)
    user_queue: WorkQueue[UserName] = WorkQueue(
        "users", workers=DECIDING, expected=(KubeError,), conflicts=(ConflictError,)
    )
    user_writes: WorkQueue[UserName] = WorkQueue(
        "user_writes", workers=USER_WORKERS, expected=(KubeError,), conflicts=(ConflictError,)
    )
    store = UserStore(kube, settings.namespaces, user_queue, wakes, came=LongLived().came)
    ending = EndingNamespaces(kube, settings.namespaces, state, store)
    events = EventRecorder(kube, settings.identity)
    leftovers = LeftOvers(kube, settings.namespaces, events)
    users = UserReconciler(
        kube,
        state,
        store,
        user_queue,
        events,
        writes=user_writes,
        leftovers=leftovers,
        pace=operator_pace(settings.status_writes),
    )
    config_queue: WorkQueue[ConfigKey] = WorkQueue(
        "configs", workers=CONFIG_WORKERS, expected=(KubeError,), conflicts=(ConflictError,)
    )
    shards = ShardLoops(
        kube, state, pods=pods, users=users, wakes=wakes, configs=config_queue, events=events, pulse=pulse
    )
    configs = Reconciler(kube, settings, state, shards, users, queue=config_queue)
    triggers = Triggers(state, config_queue, users, shards)
    watchdog = Watchdog(kube, settings.namespaces, triggers, pulse)
    leader = Leader(
        kube,
        settings,
        pulse,
        state=state,
        triggers=triggers,
        watchdog=watchdog,
        events=events,
        configs=configs,
        config_queue=config_queue,
        shards=shards,
        users=users,
        store=store,
        user_queue=user_queue,
        user_writes=user_writes,
        ending=ending,
        leftovers=leftovers,
    )
    identity = f"{settings.identity}_{uuid.uuid4()}"
    on_tick = partial(pulse.beat, "election")
    election = Elections(
        [
            Election(kube, namespace, names.OPERATOR_LEASE, identity, on_tick=on_tick)
            for namespace in sorted(settings.namespaces)
        ]
    )
    return Operator(pods, store, ending, OperatorAdmin(kube, settings, store), election, leader)
