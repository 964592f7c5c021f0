"""`kubectl mailpush credentials rotation`: a passcrypt that is still needed is never said to be of no use."""

from typing import Any

import pytest

from mailpush.cli.kubectl.credentials.rotation import verdict
from mailpush.cli.kubectl.manifests import Trouble

FINISHED = {"previousNeeded": False, "rotation": {"finished": True, "text": "100 of 100", "unreadable": 0}}


def config(status: Any = FINISHED, *, observed: int | None = 3, **storage: Any) -> dict[str, Any]:
    previous = {"passcryptPreviousSecretRef": {"name": "former", "key": "passcrypt"}}
    spec = {"credentialStorage": {"enabled": True, **previous, **storage}}
    said = {"observedGeneration": observed, "credentialStorage": status}
    return {"metadata": {"name": "main", "generation": 3}, "spec": spec, "status": said}


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        (config(), 0, "may go"),
        (config(passcryptPreviousSecretRef=None), 0, "has no previous passcrypt"),
        (config({**FINISHED, "rotation": {"unreadable": 7}}), 0, "7 entries fit neither"),
        (
            config({"previousNeeded": True, "rotation": {"text": "40 of 100"}}),
            1,
            "keep the previous passcrypt: 40 of 100",
        ),
        (config({"rotation": {"finished": True, "text": "100 of 100"}}), 1, "keep"),
        (config({}), 1, "no pod has said"),
        (config(None), 1, "no pod has said"),
        (config(observed=2), 1, "has not looked"),
        (config(observed=None), 1, "has not looked"),
        ({"metadata": {"name": "main"}, "spec": config()["spec"]}, 1, "no pod has said"),
        (config(ox={"credentials": "read"}), 1, "OX's own table"),
        (config(ox={"credentials": "none"}), 0, "may go"),
    ],
)
def test_it_may_go_only_where_the_status_of_this_very_spec_says_so(
    document: dict[str, Any], code: int, words: str
) -> None:
    found, sentence = verdict(document)
    assert (found, words in sentence) == (code, True), sentence


def test_the_property_of_ox_counts_as_the_field() -> None:
    document = config(enabled=None)
    document["spec"]["properties"] = {"com.openexchange.push.credstorage.enabled": "true"}
    assert verdict(document)[0] == 0


def test_without_a_storage_there_is_nothing_to_say() -> None:
    with pytest.raises(Trouble, match="nothing to rotate"):
        verdict(config(enabled=False))
