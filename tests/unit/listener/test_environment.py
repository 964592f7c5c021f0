"""The process's environment."""

from pathlib import Path

import pytest

from mailpush import names
from mailpush.listener.environment import Environment, EnvironmentProblem, ordinal

NEEDED = {
    "MAILPUSH_CONFIG": "main",
    "MAILPUSH_CONFIG_UID": "u",
    "POD_NAME": "mail-push-main-12",
    "POD_UID": "p",
    "POD_NAMESPACE": "mail",
}


def test_what_is_not_said_is_as_in_a_pod() -> None:
    env = Environment.read(NEEDED)
    assert (env.callback_port, env.internal_port, env.health_port, env.listen) == (8009, 8010, 8080, "0.0.0.0")
    assert env.admin_port == 1099
    assert str(env.properties_dir) == "/opt/open-xchange/etc"
    assert env.peer_url("mail-push-main-3") == "http://mail-push-main-3.mail-push-main-pods.mail.svc:8010"


def test_another_place_for_peers() -> None:
    env = Environment.read(NEEDED | {"MAILPUSH_PEER_URL": "http://127.0.0.1{ordinal}:8010/{pod}"})
    assert env.peer_url("mail-push-main-3") == "http://127.0.0.13:8010/mail-push-main-3"


@pytest.mark.parametrize("missing", sorted(NEEDED))
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(EnvironmentProblem, match=missing):
        Environment.read({name: value for name, value in NEEDED.items() if name != missing})


@pytest.mark.parametrize("value", ["http", "70000", "-1", "8 "])
def test_a_port_that_is_none_is_named(value: str) -> None:
    with pytest.raises(EnvironmentProblem, match="MAILPUSH_CALLBACK_PORT"):
        Environment.read(NEEDED | {"MAILPUSH_CALLBACK_PORT": value})


@pytest.mark.parametrize("value", ["0", "-1", "fast", "1000000"])
def test_a_rate_of_writes_that_is_none_is_named(value: str) -> None:
    with pytest.raises(EnvironmentProblem, match=r"MAILPUSH_STATUS_WRITES_PER_SECOND is .*: set it to"):
        Environment.read(NEEDED | {"MAILPUSH_STATUS_WRITES_PER_SECOND": value})
    assert Environment.read(NEEDED | {"MAILPUSH_STATUS_WRITES_PER_SECOND": "40"}).status_writes == 40


@pytest.mark.parametrize(("pod", "expected"), [("mail-push-main-0", 0), ("mail-push-a-12", 12), ("pod", 0)])
def test_ordinals(pod: str, expected: int) -> None:
    assert ordinal(pod) == expected


def test_the_current_key_signs_and_those_beside_it_in_the_rotation_verify(tmp_path: Path) -> None:
    env = Environment.read(NEEDED | {"MAILPUSH_INTERNAL_DIR": str(tmp_path)})
    with pytest.raises(FileNotFoundError):
        env.handover_keys()
    (tmp_path / names.NEXT_KEY_FILE).write_bytes(b"next")
    with pytest.raises(FileNotFoundError):
        env.handover_keys()
    (tmp_path / names.INTERNAL_KEY_FILE).write_bytes(b"current")
    (tmp_path / names.HASH_KEY_FILE).write_bytes(b"hash")
    assert env.handover_keys() == (b"current", b"next")
    (tmp_path / names.PREVIOUS_KEY_FILE).write_bytes(b"previous")
    assert env.handover_keys() == (b"current", b"previous", b"next")
    assert env.hash_key() == b"hash"
