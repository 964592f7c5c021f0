"""What an administrator writes into values, and what the chart makes or says of it."""

from typing import Any

import pytest

from tests.chart.conftest import Helm, Values, mail_push_config

PAGE: Values = {"core-mw": {"packages": {"status": {"open-xchange-push-dovecot": "enabled"}}}}
OTHER: Values = {"core-mw": {"packages": {"status": {"open-xchange-push-imapidle": "enabled"}}}}


def spec(helm: Helm, values: Values) -> dict[str, Any]:
    config = mail_push_config(helm.render(values))
    assert config is not None
    found: dict[str, Any] = config["spec"]
    return found


def test_without_values_there_is_an_operator_and_no_mail_push_config(helm: Helm) -> None:
    manifests = helm.render()
    assert mail_push_config(manifests) is None
    assert not [item for item in manifests if item["kind"] == "Job" and item["metadata"]["name"].endswith("-apply")]
    assert [item["kind"] for item in manifests].count("Deployment") == 1


@pytest.mark.parametrize("values", [PAGE, {"appsuite": PAGE}, {"appsuite": PAGE, **PAGE}])
def test_the_page_s_block_alone_makes_a_mail_push_config_in_either_spelling(helm: Helm, values: Values) -> None:
    config = mail_push_config(helm.render(values))
    assert config is not None
    assert config["metadata"]["name"] == "main"
    assert config["spec"] == {"packages": {"status": {"open-xchange-push-dovecot": "enabled"}}}


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (OTHER, "core-mw.packages.status and appsuite.core-mw.packages.status differ"),
        ({"core-mw": {"features": {"status": {"push": "enabled"}}}}, None),
    ],
)
def test_two_spellings_that_differ_are_refused(helm: Helm, other: Values, named: str | None) -> None:
    values = {**PAGE, "appsuite": other}
    if named is None:
        assert spec(helm, values)["features"] == {"status": {"push": "enabled"}}
    else:
        assert named in helm.refusal(values)


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("core-mw.packages", "on", "on"),
        ("core-mw.packages", True, "true"),
        ("core-mw.packages", "Enabled", "Enabled"),
        ("core-mw.packages", "", ""),
        ("core-mw.packages", 1, "1"),
        ("core-mw.packages", {"enabled": True}, "map[enabled:true]"),
        ("core-mw.features", "on", "on"),
        ("appsuite.core-mw.packages", "on", "on"),
        ("appsuite.core-mw.features", False, "false"),
        ("mailPushConfig.spec.packages", "on", "on"),
        ("mailPushConfig.spec.features", "off", "off"),
    ],
)
def test_a_toggle_that_is_neither_enabled_nor_disabled_is_named_with_its_key(
    helm: Helm, path: str, value: object, shown: str
) -> None:
    values: Values = {"status": {"open-xchange-push-dovecot": value}}
    for key in reversed(path.split(".")):
        values = {key: values}
    said = helm.refusal(values)
    assert f'{path}.status.open-xchange-push-dovecot is "{shown}": set it to enabled or disabled' in said


def test_a_status_that_is_no_map_is_refused_with_its_path(helm: Helm) -> None:
    assert "core-mw.packages.status" in helm.refusal({"core-mw": {"packages": {"status": "enabled"}}})


def test_the_block_and_the_spec_are_put_together(helm: Helm) -> None:
    own = {"packages": {"status": {"open-xchange-push-imapidle": "disabled"}}, "listeners": {"replicas": 3}}
    assert spec(helm, {**PAGE, "mailPushConfig": {"spec": own}}) == {
        "packages": {
            "status": {"open-xchange-push-dovecot": "enabled", "open-xchange-push-imapidle": "disabled"},
        },
        "listeners": {"replicas": 3},
    }


def test_the_block_and_the_spec_must_not_contradict_each_other(helm: Helm) -> None:
    own = {"packages": {"status": {"open-xchange-push-dovecot": "disabled"}}}
    said = helm.refusal({**PAGE, "mailPushConfig": {"spec": own}})
    assert "mailPushConfig.spec.packages.status.open-xchange-push-dovecot is disabled" in said


DOVECOT = "open-xchange-push-dovecot"
WHITELIST: Values = {"core-mw": {"packages": {"whitelist": [DOVECOT, "open-xchange-core"]}}}


@pytest.mark.parametrize(
    "values", [WHITELIST, {"appsuite": WHITELIST}, {"mailPushConfig": {"spec": WHITELIST["core-mw"]}}]
)
def test_a_whitelist_with_a_push_package_makes_a_mail_push_config(helm: Helm, values: Values) -> None:
    assert spec(helm, values) == {"packages": {"whitelist": [DOVECOT, "open-xchange-core"]}}


def test_a_whitelist_and_a_status_are_both_passed_on(helm: Helm) -> None:
    packages = {**PAGE["core-mw"]["packages"], **WHITELIST["core-mw"]["packages"]}
    assert spec(helm, {"core-mw": {"packages": packages}}) == {"packages": packages}


def test_a_whitelist_of_others_packages_makes_none(helm: Helm) -> None:
    values = {"core-mw": {"packages": {"whitelist": ["open-xchange-core"]}}}
    assert mail_push_config(helm.render(values)) is None


def test_a_whitelist_that_is_no_list_or_stands_twice_and_differs_is_refused(helm: Helm) -> None:
    said = helm.refusal({"core-mw": {"packages": {"whitelist": DOVECOT}}})
    assert f'core-mw.packages.whitelist must be a list of packages, not "{DOVECOT}"' in said
    own = {"packages": {"whitelist": ["open-xchange-push-imapidle"]}}
    said = helm.refusal({**WHITELIST, "mailPushConfig": {"spec": own}})
    assert "core-mw.packages.whitelist and mailPushConfig.spec.packages.whitelist differ" in said


@pytest.mark.parametrize(
    ("create", "values", "made"),
    [
        (None, {}, False),
        (None, PAGE, True),
        (True, {}, True),
        (False, PAGE, False),
    ],
)
def test_create_decides_and_by_default_the_block_does(
    helm: Helm, create: bool | None, values: Values, made: bool
) -> None:
    config = mail_push_config(helm.render({**values, "mailPushConfig": {"create": create}}))
    assert (config is not None) is made


def test_a_spec_alone_is_not_passed_over_in_silence(helm: Helm) -> None:
    assert spec(helm, {"mailPushConfig": {"spec": {"listeners": {"replicas": 1}}}}) == {"listeners": {"replicas": 1}}


def test_other_values_of_app_suite_s_chart_are_left_alone(helm: Helm) -> None:
    core = {
        **PAGE["core-mw"],
        "properties": {"com.openexchange.UIWebPath": "/appsuite/"},
        "scaling": {"nodes": {"groupware": {"replicas": 2}}},
        "image": {"tag": "8.48.1"},
    }
    values = {"core-mw": core, "appsuite": {"switchboard": {"enabled": False}}, "global": {"hostname": "x"}}
    assert spec(helm, values) == {"packages": {"status": {"open-xchange-push-dovecot": "enabled"}}}


@pytest.mark.parametrize(
    ("values", "typo"),
    [
        ({"image": {"repo": "x"}}, "repo"),
        ({"mailPushConfig": {"specs": {}}}, "specs"),
        ({"mailPushConfig": {"spec": {"allowedCients": ["x"]}}}, "allowedCients"),
        ({"mailPushConfig": {"spec": {"mailAccess": {"server": []}}}}, "server"),
        ({"mailPushConfig": {"spec": {"listeners": {"replica": 1}}}}, "replica"),
        ({"mailPushConfig": {"spec": {"transports": {"webhooks": [{"name": "a", "uri": "http://x/"}]}}}}, "uri"),
    ],
)
def test_a_typo_in_a_key_is_refused_by_its_name(helm: Helm, values: Values, typo: str) -> None:
    said = helm.refusal(values)
    assert typo in said
    assert "additional propert" in said.lower()


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"replicaCount": 3}, "replicaCount"),
        ({"mailPushConfig": {"name": "Main"}}, "name"),
        ({"mailPushConfig": {"name": "m" * 41}}, "name"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"mailPushConfig": {"spec": {"mailAccess": {"passwordSource": "master"}}}}, "passwordSource"),
        ({"mailPushConfig": {"spec": {"listeners": {"replicas": -1}}}}, "replicas"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_key(helm: Helm, values: Values, key: str) -> None:
    assert key in helm.refusal(values)


def test_any_further_property_is_passed_through(helm: Helm) -> None:
    properties = {"com.openexchange.push.dovecot.preferDoveadmForMetadata": "true"}
    assert spec(helm, {"mailPushConfig": {"spec": {"properties": properties}}})["properties"] == properties


def test_large_numbers_stay_whole(helm: Helm) -> None:
    own = {"mechanisms": {"imapidle": {"delay": 86400000}}}
    assert spec(helm, {"mailPushConfig": {"spec": own}}) == own


def test_a_mail_push_config_where_the_operator_does_not_look_is_refused(helm: Helm) -> None:
    assert "watchNamespaces does not name mail" in helm.refusal({**PAGE, "watchNamespaces": ["other"]})
