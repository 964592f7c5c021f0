"""The condition of doveadm."""

from typing import Any

import pytest

from mailpush.controller.state import ConfigState
from mailpush.controller.status.config import config_status
from mailpush.controller.status.doveadm import doveadm
from mailpush.controller.status.shard_map import MapView
from mailpush.properties.secrets import DOVEADM_API_SECRET, ResolvedSecrets
from mailpush.sharding.planning.death import PodLife
from tests.unit.controller.builders import evaluation, state, view


def registering(**changes: Any) -> ConfigState:
    access = {
        "passwordSource": "session",
        "servers": [{"host": "dovecot"}],
        "doveadm": {
            "enabled": True,
            "endpoints": ["https://dovecot:8080/doveadm/v1"],
            "apiSecretRef": {"name": "doveadm", "key": "key"},
        },
    }
    resolved = ResolvedSecrets(hash_key=b"k" * 32, values={DOVEADM_API_SECRET: "planted"})
    return state(evaluation(resolved, **{"mailAccess": access, **changes}))


def test_it_is_said_only_where_doveadm_registers_and_a_pod_runs() -> None:
    assert doveadm(state(), (view(0, doveadm="DoveadmUnreachable"),)) is None
    assert doveadm(registering(), ()) is None
    off = registering(mechanisms={"dovecot": {"enabled": False}})
    assert doveadm(off, (view(0, doveadm="DoveadmUnreachable"),)) is None
    well = doveadm(registering(), (view(0), view(1)))
    assert well is not None
    assert (well.type, well.status, well.reason) == ("DoveadmDegraded", "False", "Answering")


@pytest.mark.parametrize("life", [PodLife.EXPIRED, PodLife.RELEASED])
def test_what_a_dead_pod_said_last_counts_no_more(life: PodLife) -> None:
    said = doveadm(registering(), (view(0), view(1, life, doveadm="DoveadmUnauthorized")))
    assert said is not None
    assert said.status == "False"


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("DoveadmUnreachable", "inet_listener"),
        ("DoveadmUnauthorized", "apiSecretRef"),
        ("DoveadmRefused", "/doveadm/v1"),
        ("another word", "mailAccess.doveadm"),
    ],
)
def test_what_keeps_pods_from_it_is_told_with_what_to_do(word: str, advice: str) -> None:
    said = doveadm(registering(), (view(0, doveadm=word), view(1, doveadm=word), view(2)))
    assert said is not None
    assert (said.status, said.reason) == ("True", word)
    assert "2 of 3 pods" in said.message
    assert advice in said.message
    assert "planted" not in said.message


def test_ready_names_it() -> None:
    pods = (view(0, doveadm="DoveadmUnauthorized", counts={"listening": 1}),)
    found = config_status(registering(), pods, MapView(1, users=1), {}, "2026-11-27T00:00:00Z")
    by_type = {one["type"]: one for one in found["conditions"]}
    assert by_type["DoveadmDegraded"]["status"] == "True"
    assert "see DoveadmDegraded" in by_type["Ready"]["message"]
