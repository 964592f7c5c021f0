"""The condition of the access tokens."""

from typing import Any

import pytest

from mailpush.controller.state import ConfigState
from mailpush.controller.status.config import config_status
from mailpush.controller.status.shard_map import MapView
from mailpush.controller.status.tokens import access_tokens
from mailpush.properties.secrets import CLIENT_SECRET, ResolvedSecrets
from mailpush.sharding.planning.death import PodLife
from tests.unit.controller.builders import evaluation, state, view


def by_token(**access: Any) -> ConfigState:
    endpoint = {
        "url": "https://login.example/token",
        "clientId": "mail-push",
        "clientSecretRef": {"name": "oauth", "key": "secret"},
    }
    whole = {
        "passwordSource": "session",
        "servers": [{"host": "dovecot"}],
        "oauth": {"enabled": True, "tokenEndpoint": endpoint},
        **access,
    }
    resolved = ResolvedSecrets(hash_key=b"k" * 32, values={CLIENT_SECRET: "planted"})
    return state(evaluation(resolved, mailAccess=whole))


def test_it_is_said_only_where_tokens_are_used_and_a_pod_runs() -> None:
    assert access_tokens(state(), (view(0, token="TokenRefused"),)) is None
    assert access_tokens(by_token(), ()) is None
    well = access_tokens(by_token(), (view(0), view(1)))
    assert well is not None
    assert (well.type, well.status, well.reason) == ("AccessTokenDegraded", "False", "Answering")


@pytest.mark.parametrize("life", [PodLife.EXPIRED, PodLife.RELEASED])
def test_what_a_dead_pod_said_last_counts_no_more(life: PodLife) -> None:
    said = access_tokens(by_token(), (view(0), view(1, life, token="TokenRefused")))
    assert said is not None
    assert said.status == "False"


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("TokenEndpointUnavailable", "tokenEndpoint.url"),
        ("TokenRefused", "clientSecretRef"),
        ("TokenResponseInvalid", "no token"),
        ("TokenExpired", "tokenSecretRef"),
        ("another word", "mailAccess.oauth"),
    ],
)
def test_what_keeps_pods_from_tokens_is_told_with_what_to_do(word: str, advice: str) -> None:
    said = access_tokens(by_token(), (view(0, token=word), view(1, token=word), view(2)))
    assert said is not None
    assert (said.status, said.reason) == ("True", word)
    assert "2 of 3 pods" in said.message
    assert advice in said.message
    assert "planted" not in said.message


def test_ready_names_it() -> None:
    pods = (view(0, token="TokenRefused", counts={"listening": 1}),)
    found = config_status(by_token(), pods, MapView(1, users=1), {}, "2026-11-27T00:00:00Z")
    by_type = {one["type"]: one for one in found["conditions"]}
    assert by_type["AccessTokenDegraded"]["status"] == "True"
    assert "see AccessTokenDegraded" in by_type["Ready"]["message"]
