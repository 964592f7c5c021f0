"""Values that the tests of the operator's pure parts are made from."""

from typing import Any

from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.controller.environment import OperatorSettings
from mailpush.controller.events import Event
from mailpush.controller.owner import ConfigKey, Owner
from mailpush.controller.state import ConfigState, Pod
from mailpush.controller.status.pod import PodView
from mailpush.decision.evaluation import Evaluation, evaluate
from mailpush.properties.secrets import MASTER_PASSWORD, ResolvedSecrets
from mailpush.sharding.leases import Holder, LeaseState
from mailpush.sharding.planning.death import PodLife
from mailpush.sharding.shardmap import PodRef


class Keys(list[Any]):
    """Takes the place of a queue that nobody works off: what was added, in order, and what is to be added later."""

    def __init__(self) -> None:
        super().__init__()
        self.later: dict[Any, float] = {}

    def add(self, key: Any, *, first: bool = False) -> None:
        self.insert(0, key) if first else self.append(key)

    def add_after(self, key: Any, seconds: float) -> None:
        self.later[key] = seconds


class Others:
    """Takes the place of those who go on where a part ends: what they heard of."""

    def __init__(self) -> None:
        self.configs: list[ConfigKey] = []
        self.secrets: list[str] = []
        self.events: list[Event] = []

    def config_changed(self, key: ConfigKey) -> None:
        self.configs.append(key)

    def secret_changed(self, namespace: str, name: str) -> None:
        self.secrets.append(name)

    def shard_map_seen(self, key: ConfigKey, resource_version: str | None) -> None: ...

    def record(self, *events: Event) -> None:
        self.events += events


OWNER = Owner("mail", "main", "uid-of-main")
OPERATOR = OperatorSettings(namespaces=("mail",), own_namespace="mail", image="example.org/mail-push:1")
SECRETS = ResolvedSecrets(hash_key=b"k" * 32, values={MASTER_PASSWORD: "secret word"})
ACCESS: dict[str, Any] = {
    "passwordSource": "global",
    "masterPasswordSecretRef": {"name": "master", "key": "password"},
    "servers": [{"host": "dovecot"}],
}


def spec(**changes: Any) -> MailPushConfigSpec:
    """A spec with which listeners run, unless changed; None leaves a field out."""
    whole = {"packages": {"status": {"open-xchange-push-dovecot": "enabled"}}, "mailAccess": ACCESS, **changes}
    return MailPushConfigSpec.model_validate({key: value for key, value in whole.items() if value is not None})


def evaluation(resolved: ResolvedSecrets = SECRETS, *, unregister: bool = False, **changes: Any) -> Evaluation:
    return evaluate("main", spec(**changes), resolved, unregister=unregister)


def state(evaluated: Evaluation | None = None, **changes: Any) -> ConfigState:
    found = ConfigState(OWNER, 3, {}, **changes)
    found.evaluation = evaluated or evaluation()
    return found


def pod(ordinal: int, **changes: Any) -> Pod:
    whole: dict[str, Any] = {
        "ref": PodRef(f"mail-push-main-{ordinal}", f"uid-{ordinal}"),
        "ordinal": ordinal,
        "phase": "Running",
        "deleting": False,
        "revision": "r1",
        "callback_open": True,
        "config_maps": frozenset(),
        **changes,
    }
    return Pod(**whole)


def view(ordinal: int, life: PodLife = PodLife.ALIVE, *, deleting: bool = False, **lease: Any) -> PodView:
    """A pod that takes users, unless its Lease says otherwise."""
    it = pod(ordinal, deleting=deleting)
    content: dict[str, Any] = {"holder": Holder(it.ref.name, it.ref.uid, "n"), "capable": True, **lease}
    return PodView(it, LeaseState(**content), life)
