"""`kubectl mailpush credentials migration`: a memory that is still needed is never said to be of no use."""

from typing import Any

import pytest

from mailpush.cli.kubectl.credentials.migration import verdict
from mailpush.cli.kubectl.manifests import Trouble

FINISHED = {
    "migration": {"finished": True, "total": 100, "done": 100, "unreadable": 0, "text": "finished, 100 entries"}
}


def config(status: Any = FINISHED, *, observed: int | None = 3, redis: Any = True, **storage: Any) -> dict[str, Any]:
    spec = {"redis": {"url": "redis://r"} if redis else None, "credentialStorage": {"rdb": True, **storage}}
    said = {"observedGeneration": observed, "credentialStorage": status}
    return {"metadata": {"name": "main", "uid": "u-1", "generation": 3}, "spec": spec, "status": said}


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        (config(), 0, "all 100 entries of the cluster memory stand in the database"),
        (config(), 0, "UNLINK u-1:credentials"),
        (config({"migration": {**FINISHED["migration"], "unreadable": 7}}), 0, "7 of them no passcrypt reads"),
        (config({"migration": {"finished": False, "text": "40/100"}}), 1, "keep the cluster memory: 40/100"),
        (config({"migration": {"text": "waiting"}}), 1, "keep the cluster memory: waiting"),
        (config({}), 1, "no pod has said"),
        (config(None), 1, "no pod has said"),
        (config(observed=2), 1, "has not looked"),
        (config(observed=None), 1, "has not looked"),
        (config(redis=False), 0, "no cluster memory"),
    ],
)
def test_it_may_go_only_where_the_status_of_this_very_spec_says_so(
    document: dict[str, Any], code: int, words: str
) -> None:
    found, sentence = verdict(document)
    assert (found, words in sentence) == (code, True), sentence


def test_the_property_of_ox_counts_as_the_field() -> None:
    document = config(rdb=False)
    document["spec"]["properties"] = {"com.openexchange.push.credstorage.rdb": "TRUE"}
    assert verdict(document)[0] == 0


@pytest.mark.parametrize("storage", [{"rdb": False}, {"ox": {"credentials": "read"}}])
def test_where_passwords_go_to_no_database_there_is_nothing_to_say(storage: dict[str, Any]) -> None:
    with pytest.raises(Trouble):
        verdict(config(**storage))
