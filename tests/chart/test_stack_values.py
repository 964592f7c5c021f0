"""Values files of whole stacks, as people have them: what is ours in them is read, a slip is named, the rest passes."""

from typing import Any

import pytest

from charts.generate import values_schema
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.properties.read import read
from mailpush.properties.render import render
from mailpush.properties.secrets import PASSCRYPT, ResolvedSecrets
from tests.chart.conftest import Helm, Values, mail_push_config

DOVECOT = "open-xchange-push-dovecot"
ENABLED: Values = {"packages": {"status": {DOVECOT: "enabled"}}}
PAGE: Values = {"core-mw": ENABLED}

OTHER_CORE_MW: Values = {
    "enabled": True,
    "features": {"status": {"admin": "enabled", "documents": "disabled"}},
    "masterAdmin": "oxadminmaster",
    "basicAuthLogin": "login",
    "jolokiaLogin": "jolokia",
    "existingConfigSecret": "ox",
    "mysql": {"host": "mariadb", "existingSecret": "mysql"},
    "redis": {"enabled": True, "mode": "standalone", "hosts": ["redis:6379"]},
    "asConfig": {"default": {"host": "all", "productName": "OX"}},
    "uiSettings": {"io.ox/core//apps/quickLaunchCount": "3"},
    "propertiesFiles": {"/opt/open-xchange/etc/ldapauth.properties": {"baseDN": "dc=example"}},
    "etcFiles": {},
    "yamlFiles": {},
    "secretYAMLFiles": {},
    "contextSets": {},
    "hooks": {"beforeApply": {}},
    "extraEnv": [],
    "gotenberg": {"enabled": False},
    "roles": {"http-api": {"values": {"properties": {"com.openexchange.x": "y"}}}},
    "scaling": {"nodes": {"groupware": {"replicas": 2, "roles": ["http-api"]}}},
}
STACKS: dict[str, Values] = {
    "app suite": {
        "core-mw": OTHER_CORE_MW,
        "core-ui": {"enabled": True},
        "core-ui-middleware": {"ingress": {"enabled": False}},
        "core-documents-collaboration": {"enabled": False},
        "core-guidedtours": {"enabled": True},
        "core-imageconverter": {"enabled": True},
        "core-spellcheck": {"enabled": False},
        "core-user-guide": {"enabled": True},
        "core-cacheservice": {"enabled": False},
        "switchboard": {"enabled": False},
        "istio": {"enabled": True, "hostname": "mail.example.org"},
    },
    "public sector": {
        "public-sector-ui": {"image": {"tag": "1.2.3"}},
        "appsuite": {"core-mw": OTHER_CORE_MW, "istio": {"enabled": False}, "switchboard": {"enabled": False}},
        "nextcloud-integration-ui": {"enabled": True},
    },
    "umbrella": {
        "global": {"hostname": "mail.example.org", "imageRegistry": "registry.example.org", "mysql": {"host": "m"}},
        "hostname": "mail.example.org",
        "images": {"dovecot": {"tag": "2.3.21"}},
        "replicas": {"dovecot": 1},
        "traefik": {"enabled": True},
        "keycloak": {"enabled": True},
        "dovecot": {"enabled": True},
        "mariadb": {"auth": {"existingSecret": "m"}},
        "redis": {"architecture": "standalone"},
        "certificate": {"issuerRef": {"name": "letsencrypt"}},
        "ingress": {"enabled": True},
        "monitoring": {"serviceMonitors": {"enabled": False}},
        "seLinuxOptions": {},
    },
}


def spec(helm: Helm, values: Values) -> dict[str, Any]:
    config = mail_push_config(helm.render(values))
    assert config is not None
    found: dict[str, Any] = config["spec"]
    return found


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_s_values_without_mail_push_render_an_operator_and_no_mail_push_config(helm: Helm, stack: str) -> None:
    assert mail_push_config(helm.render(STACKS[stack])) is None


@pytest.mark.parametrize("place", ["core-mw", "appsuite.core-mw", "global.appsuite.core-mw"])
@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_s_values_with_the_block_in_them_make_one(helm: Helm, stack: str, place: str) -> None:
    assert spec(helm, with_core_mw(STACKS[stack], place, ENABLED))["packages"] == ENABLED["packages"]


def with_core_mw(stack: Values, place: str, more: Values) -> Values:
    first, _, rest = place.partition(".")
    here = stack.get(first) or {}
    return {**stack, first: {**here, **more} if not rest else with_core_mw(here, rest, more)}


@pytest.mark.parametrize(
    ("slip", "right"),
    [
        ({"replicasCount": 2}, "replicaCount"),
        ({"replicacount": 2}, "replicaCount"),
        ({"watchNamespace": ["mail"]}, "watchNamespaces"),
        ({"imagePullSecret": ["a"]}, "imagePullSecrets"),
        ({"mailPushConfigs": {}}, "mailPushConfig"),
        ({"mailpush-config": {}}, "mailPushConfig"),
        ({"MailPushConfig": {}}, "mailPushConfig"),
        ({"core_mw": ENABLED}, "core-mw"),
        ({"coremw": ENABLED}, "core-mw"),
        ({"core-mv": ENABLED}, "core-mw"),
        ({"appSuite": PAGE}, "appsuite"),
        ({"app-suite": PAGE}, "appsuite"),
        ({"appsuite": {"coremw": ENABLED}}, "appsuite.core-mw"),
        ({"networkPolicies": {}}, "networkPolicy"),
        ({"serviceAcount": {}}, "serviceAccount"),
        ({"nodeSelectors": {}}, "nodeSelector"),
        ({"toleration": []}, "tolerations"),
        ({"affinities": {}}, "affinity"),
        ({"Image": {}}, "image"),
        ({"core-mw": {"package": {"status": {DOVECOT: "enabled"}}}}, "core-mw.packages"),
        ({"core-mw": {"Packages": {"status": {DOVECOT: "enabled"}}}}, "core-mw.packages"),
        ({"core-mw": {"feature": {}}}, "core-mw.features"),
        ({"core-mw": {"property": {}}}, "core-mw.properties"),
        ({"core-mw": {"packages": {"statuses": {DOVECOT: "enabled"}}}}, "core-mw.packages.status"),
        ({"core-mw": {"packages": {"state": {}, "stauts": {}}}}, "core-mw.packages.status"),
        ({"core-mw": {"packages": {"whiteList": [DOVECOT]}}}, "core-mw.packages.whitelist"),
        ({"appsuite": {"core-mw": {"packages": {"statuses": {}}}}}, "appsuite.core-mw.packages.status"),
        ({f"core-mw.packages.status.{DOVECOT}": "enabled"}, "core-mw"),
    ],
)
def test_what_is_nearly_ours_is_refused_with_the_right_spelling(helm: Helm, slip: Values, right: str) -> None:
    said = helm.refusal(slip)
    assert f"is not a value of this chart: write {right}" in said or f"beginning with {right}" in said


def test_no_value_of_a_stack_is_nearly_ours_and_none_of_ours_nearly_another(helm: Helm) -> None:
    """All keys of ours beside each other, and those of the stacks: nobody is taken for another."""
    ours = [key for key in values_schema()["properties"] if key not in {"global", "enabled", "core-mw", "appsuite"}]
    assert len(ours) > 30
    for values in STACKS.values():
        helm.render(values)


PROPERTIES: Values = {
    "com.openexchange.push.allowPermanentPush": True,
    "com.openexchange.push.allowedClients": "USM-EAS*",
    "com.openexchange.mail.loginSource": "mail",
    "com.openexchange.mail.imap.timeout": 5000000,
    "com.openexchange.dovecot.doveadm.endpoints.readTimeout": "20000",
    "com.openexchange.UIWebPath": "/appsuite/",
    "com.openexchange.pushy": "no",
    "com.openexchange.mail.empty": None,
}
READ = {
    "com.openexchange.push.allowPermanentPush": "true",
    "com.openexchange.push.allowedClients": "USM-EAS*",
    "com.openexchange.mail.loginSource": "mail",
    "com.openexchange.mail.imap.timeout": "5000000",
    "com.openexchange.dovecot.doveadm.endpoints.readTimeout": "20000",
}


@pytest.mark.parametrize(
    "values",
    [
        {"core-mw": {**ENABLED, "properties": PROPERTIES}},
        {"core-mw": {**ENABLED, "propertiesFiles": {"/opt/open-xchange/etc/mail.properties": PROPERTIES}}},
        {"appsuite": {"core-mw": {**ENABLED, "properties": PROPERTIES}}},
        {"global": {"appsuite": {"core-mw": {**ENABLED, "properties": PROPERTIES}}}},
        {**PAGE, "global": {"appsuite": {"mail": PROPERTIES}}},
    ],
)
def test_app_suite_s_own_properties_of_mail_push_are_read(helm: Helm, values: Values) -> None:
    assert spec(helm, values)["properties"] == READ


def test_without_a_push_package_properties_make_nothing(helm: Helm) -> None:
    assert mail_push_config(helm.render({"core-mw": {"properties": PROPERTIES}})) is None
    status = {"open-xchange-core": "enabled"}
    assert mail_push_config(helm.render({"core-mw": {"packages": {"status": status}}})) is None


def test_what_the_spec_says_itself_wins_so_that_one_file_can_serve_both(helm: Helm) -> None:
    """OX is told not to listen where Mail Push does; and Mail Push to do so."""
    properties = {
        "com.openexchange.push.dovecot.enabled": "false",
        "com.openexchange.mail.loginSource": "name",
        "com.openexchange.mail.mailServerSource": "global",
    }
    own = {
        "mechanisms": {"dovecot": {"enabled": True}},
        "properties": {"com.openexchange.mail.loginSource": "mail"},
    }
    found = spec(helm, {"core-mw": {**ENABLED, "properties": properties}, "mailPushConfig": {"spec": own}})
    assert found["mechanisms"] == {"dovecot": {"enabled": True}}
    assert found["properties"] == {
        "com.openexchange.mail.loginSource": "mail",
        "com.openexchange.mail.mailServerSource": "global",
    }


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("com.openexchange.push.allowPermanentPush", {"allowPermanentPush": False}),
        ("com.openexchange.push.allowedClients", {"allowedClients": ["a"]}),
        ("com.openexchange.push.allowedClients", {"allowedClient": ["a"]}),
        ("com.openexchange.push.allowedClient", {"allowedClients": ["a"]}),
        ("com.openexchange.push.credstorage.enabled", {"credentialStorage": {"enabled": False}}),
        ("com.openexchange.push.imapidle.delay", {"mechanisms": {"imapidle": {"delay": 1000}}}),
    ],
)
def test_a_field_wins_over_its_property(helm: Helm, key: str, own: Values) -> None:
    values = {"core-mw": {**ENABLED, "properties": {key: "true"}}, "mailPushConfig": {"spec": own}}
    assert "properties" not in spec(helm, values)


@pytest.mark.parametrize("group", ["properties", "secretProperties"])
def test_a_secret_is_never_taken(helm: Helm, group: str) -> None:
    secrets = {
        "com.openexchange.push.credstorage.passcrypt": "hunter2",
        "com.openexchange.mail.masterPassword": "hunter2",
    }
    manifests = helm.render({"core-mw": {**ENABLED, group: {**secrets, "com.openexchange.push.a": "b"}}})
    assert "hunter2" not in str(manifests)
    config = mail_push_config(manifests)
    assert config is not None
    assert config["spec"]["properties"] == {"com.openexchange.push.a": "b"}


def test_properties_that_are_nested_or_no_text_or_differ_are_refused_with_their_place(helm: Helm) -> None:
    nested = {"com": {"openexchange": {"push": {"allowPermanentPush": "true"}}}}
    assert "core-mw.properties.com.openexchange is a map" in helm.refusal(
        {"core-mw": {**ENABLED, "properties": nested}}
    )
    listed = {"com.openexchange.push.allowedClients": ["a", "b"]}
    said = helm.refusal({"core-mw": {**ENABLED, "properties": listed}})
    assert "core-mw.properties.com.openexchange.push.allowedClients is a map or a list" in said
    two = {"com.openexchange.push.a": "1"}
    said = helm.refusal(
        {
            "core-mw": {**ENABLED, "properties": two},
            "appsuite": {"core-mw": {"properties": {"com.openexchange.push.a": 2}}},
        }
    )
    assert "core-mw.properties.com.openexchange.push.a and appsuite.core-mw.properties.com.openexchange.push.a" in said


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ({"roles": {"push": {"values": ENABLED}}}, "core-mw.roles.push.values"),
        ({"roles": {"push": ENABLED}}, "core-mw.roles.push"),
        ({"scaling": {"nodes": {"push": {"values": ENABLED}}}}, "core-mw.scaling.nodes.push.values"),
    ],
)
def test_a_push_package_that_stands_only_below_roles_is_an_error_with_a_hint(
    helm: Helm, where: Values, path: str
) -> None:
    said = helm.refusal({"core-mw": where})
    assert f"{path}.packages.status.{DOVECOT}: Mail Push has no roles" in said
    assert f"core-mw.packages.status.{DOVECOT}" in said
    assert spec(helm, {"core-mw": {**ENABLED, **where}})["packages"] == ENABLED["packages"]


def test_the_page_s_properties_in_core_mw_s_values_switch_the_storage_on(helm: Helm) -> None:
    """All but the passcrypt, which is a secret: its place is a Secret."""
    push = "com.openexchange.push"
    properties = {
        f"{push}.allowPermanentPush": "true",
        f"{push}.allowedClients": "USM-EAS*",
        f"{push}.credstorage.enabled": "true",
        f"{push}.credstorage.passcrypt": "hunter2",
        f"{push}.credstorage.rdb": "true",
    }
    own = {"credentialStorage": {"passcryptSecretRef": {"name": "p", "key": "k"}}}
    found = spec(helm, {"core-mw": {**ENABLED, "properties": properties}, "mailPushConfig": {"spec": own}})
    secrets = ResolvedSecrets(b"k" * 32, {PASSCRYPT: "of the Secret"})
    settings = read(render(MailPushConfigSpec.model_validate(found), secrets, "main").directory)
    assert (settings.credential_storage.enabled, settings.credential_storage.rdb) == (True, True)
    assert settings.passcrypt == "of the Secret"
    assert settings.allowed_clients.patterns == ("USM-EAS*",)
