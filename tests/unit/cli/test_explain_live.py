"""What `explain` asks a cluster for, and what it says where the cluster does not answer as it should."""

from typing import Any, cast

import pytest

from mailpush.cli.kubectl import explain, live
from mailpush.cli.kubectl.evidence import Evidence
from mailpush.cli.kubectl.explanation import explanation
from mailpush.cli.kubectl.manifests import Trouble
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import ForbiddenError, KubeError, NotFoundError, UnreachableError
from mailpush.kube.resources import MAIL_PUSH_CONFIG, PUSH_USER, SECRET, SHARD_MAP, Resource
from tests.sites.fakekube import Finds
from tests.unit.cli.test_explain import config, user
from tests.unit.cli.test_explain import live as evidence_of_a_cluster

ABSENT = NotFoundError(404, "NotFound", "the server could not find the requested resource")
FORBIDDEN = ForbiddenError(403, "Forbidden", "secrets is forbidden")


class Cluster(Finds):
    """Answers with the objects that it has, or with an error for a whole resource."""

    def __init__(self, *users: Object, **errors: KubeError) -> None:
        self.objects = {(PUSH_USER.plural, one["metadata"]["name"]): one for one in users}
        self.objects[MAIL_PUSH_CONFIG.plural, "main"] = config()
        self.errors = errors

    async def __aenter__(self) -> "Cluster":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def get(self, resource: Resource, _namespace: str, name: str) -> Object:
        if error := self.errors.get(resource.plural):
            raise error
        if (found := self.objects.get((resource.plural, name))) is None:
            raise ABSENT
        return found

    async def list(self, resource: Resource, _namespace: str, **selectors: Any) -> tuple[list[Object], str]:
        if error := self.errors.get(resource.plural):
            raise error
        found = [one for (plural, _), one in self.objects.items() if plural == resource.plural]
        if wanted := selectors.get("field_selector"):
            found = [one for one in found if f"spec.contextId={one['spec']['contextId']}" == wanted]
        return found, "1"

    def ask(self, monkeypatch: pytest.MonkeyPatch, user_id: int = 3, of: str | None = None) -> Evidence:
        async def connect(*_: object, **__: object) -> Kube:
            return cast("Kube", self)

        monkeypatch.setattr(Kube, "connect", connect)
        return live.from_cluster(1, user_id, config=of, namespace="mail", kubeconfig=None, context=None)


@pytest.mark.parametrize("of", [None, "main"])
def test_a_secret_that_one_may_not_read_is_taken_to_be_as_it_should(
    monkeypatch: pytest.MonkeyPatch, of: str | None
) -> None:
    evidence = Cluster(user(), **{SECRET.plural: FORBIDDEN}).ask(monkeypatch, of=of)
    assert (evidence.unread, evidence.shard_map, evidence.live) == (frozenset({"master"}), None, True)
    found = explanation(evidence)
    assert (found.reason, found.owner) == ("NotAssigned", None), "there is no ShardMap yet"
    assert found.notes == ("Secret master was not looked at; it is taken to be as it should",)


def test_a_secret_that_is_not_there_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = Cluster(user()).ask(monkeypatch)
    assert explanation(evidence).reason == "MasterPasswordMissing"


@pytest.mark.parametrize(
    ("errors", "sentence"),
    [
        ({PUSH_USER.plural: ABSENT}, "install Mail Push's CustomResourceDefinitions"),
        ({PUSH_USER.plural: FORBIDDEN}, "you may not ask for this: secrets is forbidden"),
        ({SHARD_MAP.plural: UnreachableError("gone")}, "the API server does not answer: gone"),
        ({SHARD_MAP.plural: KubeError(500, "InternalError", "etcd")}, "the API server refuses: etcd"),
    ],
)
def test_a_cluster_that_does_not_answer_is_trouble(
    monkeypatch: pytest.MonkeyPatch, errors: dict[str, KubeError], sentence: str
) -> None:
    with pytest.raises(Trouble, match=sentence):
        Cluster(user(), **errors).ask(monkeypatch)


def test_a_user_who_is_not_there_is_trouble_with_the_namespace_that_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Trouble, match=r"near it: main-1-3.*\(namespace mail; another one: -n\)"):
        Cluster(user()).ask(monkeypatch, 33)


def test_on_a_terminal_the_flow_is_a_table_with_its_questions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    explain._table(explanation(evidence_of_a_cluster({"status": "False", "reason": "NoMetadata"})))
    printed = capsys.readouterr().out
    assert "main-1-3: not listened for: NoMetadata: so it is" in printed
    assert "Is a push package enabled?" in printed
    assert "NO   NoMetadata: so it is" in printed
    assert "owned by mail-push-main-0" in printed
