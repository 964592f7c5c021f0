"""The operator's environment: what is read, and what is refused with a sentence."""

from pathlib import Path

import pytest

from mailpush.controller.environment import OperatorSettings, SettingsProblem
from mailpush.controller.owner import ConfigKey
from mailpush.kube.objects import older

MAIN = ConfigKey("mail", "main")


def test_the_environment_says_where_and_with_which_image() -> None:
    found = OperatorSettings.from_environment(
        {
            "MAILPUSH_IMAGE": "image",
            "MAILPUSH_NAMESPACES": "a, b,a",
            "POD_NAMESPACE": "own",
            "MAILPUSH_IMAGE_PULL_SECRETS": "x",
            "MAILPUSH_HEALTH_PORT": "0",
        }
    )
    assert (found.namespaces, found.own_namespace, found.image_pull_secrets, found.health_port) == (
        ("a", "b"),
        "own",
        ("x",),
        0,
    )
    assert found.listener_cluster_role == "mail-push-listener"
    assert OperatorSettings.from_environment({"MAILPUSH_IMAGE": "i", "POD_NAMESPACE": "own"}).namespaces == ("own",)


def test_there_is_an_admin_endpoint_only_where_its_port_is_named() -> None:
    assert OperatorSettings.from_environment({"MAILPUSH_IMAGE": "i"}).admin_port is None
    given = {"MAILPUSH_IMAGE": "i", "MAILPUSH_ADMIN_PORT": "1099", "MAILPUSH_ADMIN_DIRECTORY": "/etc/admin"}
    found = OperatorSettings.from_environment(given)
    assert (found.admin_port, found.admin_directory, found.admin_tls_directory) == (1099, Path("/etc/admin"), None)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"MAILPUSH_IMAGE": "i", "MAILPUSH_ADMIN_PORT": "rmi"},
        {"MAILPUSH_IMAGE": "i", "MAILPUSH_HEALTH_PORT": "http"},
        {"MAILPUSH_IMAGE": "i", "MAILPUSH_IMAGE_PULL_POLICY": "Sometimes"},
        {"MAILPUSH_IMAGE": "i", "MAILPUSH_STATUS_WRITES_PER_SECOND": "0"},
    ],
)
def test_a_wrong_environment_is_told_by_the_variables_name(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsProblem, match="MAILPUSH_"):
        OperatorSettings.from_environment(wrong)


def test_resource_versions_are_compared_as_numbers() -> None:
    assert older("9", "10")
    assert not older("10", "9")
    assert not older("x", "10")
