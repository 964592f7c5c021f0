"""Which events lead to a reconcile, and which do not."""

from typing import Any

from mailpush.controller.owner import ConfigKey
from mailpush.controller.state import OperatorState
from mailpush.controller.triggers import Triggers
from tests.unit.controller.builders import OWNER, Keys, Others, state

MAIN = ConfigKey("mail", "main")


class Events:
    def __init__(self) -> None:
        self.reconciled = Keys()
        self.others = Others()
        self.secrets = self.others.secrets
        self.world = OperatorState()
        self.triggers = Triggers(self.world, self.reconciled, self.others, self.others)  # type: ignore[arg-type]


def child(version: str = "1", kind: str = "Service", **changes: Any) -> dict[str, Any]:
    metadata = {**OWNER.metadata("mail-push-main"), "resourceVersion": version}
    return {"kind": kind, "metadata": metadata, "spec": {"a": 1}, **changes}


def test_an_event_that_only_tells_of_a_status_wakes_nobody() -> None:
    it = Events()
    it.triggers.child_event(child("1"), deleted=False)
    it.triggers.child_event(child("2", status={"x": 1}), deleted=False)
    assert it.reconciled == [MAIN]
    it.triggers.child_event(child("3", spec={"a": 2}), deleted=False)
    it.triggers.child_event(child("3", spec={"a": 2}), deleted=True)
    assert it.reconciled == [MAIN] * 3


def test_a_rollout_that_ends_wakes_the_reconcile_which_then_frees_the_old_boot_config_map() -> None:
    it = Events()
    for version, current in (("1", "r1"), ("2", "r1"), ("3", "r2")):
        status = {"currentRevision": current, "updateRevision": "r2"}
        it.triggers.child_event(child(version, kind="StatefulSet", status=status), deleted=False)
    assert it.reconciled == [MAIN] * 2
    assert it.world.revisions == {MAIN: "r2"}


def test_a_child_is_known_by_its_owner_when_its_label_is_gone_and_by_its_label_when_its_owner_is() -> None:
    without_labels, without_owner, foreign = child(), child(), child()
    without_labels["metadata"]["labels"] = {}
    without_owner["metadata"]["ownerReferences"] = []
    foreign["metadata"] = {"namespace": "mail", "name": "x"}
    assert [ConfigKey.of_child(body) for body in (without_labels, without_owner, foreign)] == [MAIN, MAIN, None]


def test_a_secret_wakes_those_that_refer_to_it() -> None:
    it = Events()
    it.world.configs[MAIN] = state(secrets=frozenset({"master"}))
    for name in ("master", "another"):
        body = {"kind": "Secret", "metadata": {"namespace": "mail", "name": name, "resourceVersion": "1"}, "data": {}}
        it.triggers.secret_event(body, deleted=False)
    assert it.reconciled == [MAIN]
    assert it.secrets == ["master", "another"]
