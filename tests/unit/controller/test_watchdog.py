"""Whether kopf still watches is found out by what it has not shown."""

import builtins
from typing import Any

from mailpush.controller.owner import ConfigKey
from mailpush.controller.state import OperatorState
from mailpush.controller.triggers import Seen, Triggers
from mailpush.controller.watchdog import PATIENCE, Watchdog
from mailpush.http.health import Pulse
from mailpush.kube import resources
from tests.unit.controller.builders import Keys, Others


class Cluster:
    """Gives one MailPushConfig of a version that the test sets; takes the place of `Kube` for lists."""

    def __init__(self) -> None:
        self.version = "1"
        self.now = 0.0
        self.reconciled = Keys()
        self.pulse = Pulse(lambda: self.now)
        queue: Any = self.reconciled
        self.triggers = Triggers(OperatorState(), queue, Others(), Others(), clock=lambda: self.now)
        kube: Any = self
        self.dog = Watchdog(kube, ("mail",), self.triggers, self.pulse, clock=lambda: self.now)

    async def list(self, resource: Any, namespace: str, **_: Any) -> tuple[builtins.list[dict[str, Any]], str]:
        if resource is not resources.MAIL_PUSH_CONFIG:
            return [], "1"
        return [{"metadata": {"name": "main", "namespace": namespace, "resourceVersion": self.version}}], "1"

    def shows(self, version: str) -> None:
        self.triggers.seen["MailPushConfig", "mail", "main"] = Seen(version, 0, self.now)

    async def look_after(self, seconds: float) -> builtins.list[str]:
        self.now += seconds
        await self.dog.look()
        return self.pulse.problems()


async def test_a_quiet_world_is_no_dead_watch() -> None:
    cluster = Cluster()
    cluster.shows("1")
    for _ in range(5):
        assert await cluster.look_after(PATIENCE) == []


async def test_a_change_that_never_comes_through_is() -> None:
    cluster = Cluster()
    cluster.shows("1")
    cluster.version = "2"
    assert await cluster.look_after(30) == []
    assert await cluster.look_after(PATIENCE) != []
    cluster.shows("2")
    assert await cluster.look_after(1) == []


async def test_an_object_that_changes_all_the_time_and_is_shown_late_is_none() -> None:
    cluster = Cluster()
    for number in range(10):
        cluster.shows(str(number))
        cluster.version = str(number + 1)
        assert await cluster.look_after(60) == []


async def test_a_mail_push_config_that_was_never_shown_is_reconciled_all_the_same() -> None:
    cluster = Cluster()
    await cluster.look_after(1)
    assert cluster.reconciled == [ConfigKey("mail", "main")]
