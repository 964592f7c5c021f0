"""`kubectl mailpush` on files that no API server has seen: what is wrong is a sentence, never a traceback."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from mailpush.api import rules
from mailpush.cli.kubectl.main import main
from tests.cluster.test_custom_resources import FILES_REFUSED, FILES_TAKEN, RULES, TAKEN, Case

DOVECOT = "open-xchange-push-dovecot"
CONFIG: dict[str, Any] = {
    "apiVersion": "mailpush.dev/v1alpha1",
    "kind": "MailPushConfig",
    "metadata": {"name": "main"},
    "spec": {
        "packages": {"status": {DOVECOT: "enabled"}},
        "mailAccess": {
            "passwordSource": "session",
            "userSecrets": {"enabled": True},
            "servers": [{"name": "default", "host": "dovecot"}],
        },
    },
}
USER: dict[str, Any] = {
    "apiVersion": "mailpush.dev/v1alpha1",
    "kind": "PushUser",
    "metadata": {"name": "main-1-3"},
    "spec": {
        "configRef": {"name": "main"},
        "contextId": 1,
        "userId": 3,
        "clients": ["open-xchange-mobile-api-facade"],
        "login": "anton",
        "credentialsSecretRef": {"name": "anton"},
    },
}
SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "type": "mailpush.dev/credentials",
    "metadata": {"name": "anton", "annotations": {"mailpush.dev/push-users": "main-1-3"}},
    "stringData": {"password": "hunter2"},
}


def run(folder: Path, text: str, *arguments: str) -> Result:
    file = folder / "manifests.yaml"
    file.write_text(text)
    done = CliRunner().invoke(main, [arguments[0], "-f", str(file), *arguments[1:]])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.output
    return done


def refused(folder: Path, text: str, *arguments: str) -> str:
    """What is said, without the name of the file."""
    done = run(folder, text, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    command = f"kubectl mailpush {arguments[0]}: "
    assert done.stderr.startswith(command)
    return done.stderr.removeprefix(command).removeprefix(f"{folder / 'manifests.yaml'} ").rstrip("\n")


FILE_OF_RULES = {message: case for message, case in RULES.items() if case.before is None}


@pytest.mark.parametrize(("message", "case"), FILE_OF_RULES.items())
def test_a_file_is_refused_by_the_api_server_s_rules_in_its_words(tmp_path: Path, message: str, case: Case) -> None:
    document = yaml.safe_load(case.manifest)
    if document["kind"] == "MailPushConfig":
        assert refused(tmp_path, case.manifest, "render") == f"MailPushConfig {document['metadata']['name']}: {message}"
        return
    text = yaml.safe_dump_all([CONFIG, document])
    assert refused(tmp_path, text, "explain", "1", "3") == f"PushUser {document['metadata']['name']}: {message}"


def test_every_rule_but_those_on_changes_is_known_without_a_server() -> None:
    known = {rule for kind in rules.FILES for rule in rules.rules(kind)}
    assert known == set(rules.HOLDS)
    assert len(known) == len(FILE_OF_RULES)


@pytest.mark.parametrize("manifest", (TAKEN | FILES_TAKEN).values(), ids=(TAKEN | FILES_TAKEN).keys())
def test_a_file_that_the_api_server_takes_is_rendered(tmp_path: Path, manifest: str) -> None:
    assert run(tmp_path, manifest, "render").exit_code == 0


@pytest.mark.parametrize("text", FILES_REFUSED.values(), ids=FILES_REFUSED.keys())
def test_a_file_that_the_api_server_refuses_is_refused(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text, "render")


def test_a_property_that_is_a_secret_is_not_printed(tmp_path: Path) -> None:
    spec = {"properties": {"com.openexchange.mail.masterPassword": "hunter2"}}
    done = run(tmp_path, yaml.safe_dump({**CONFIG, "spec": spec}), "render")
    assert done.exit_code == 2
    assert "hunter2" not in done.output


HEAD = "apiVersion: mailpush.dev/v1alpha1\nkind: MailPushConfig\nmetadata: {name: main}\nspec: "


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind: MailPushConfig\nmetadata: main\n", "a MailPushConfig: metadata must be a map"),
        ("kind: MailPushConfig\nmetadata: [main]\n", "a MailPushConfig: metadata must be a map"),
        ("kind: MailPushConfig\nmetadata: {}\n", "a MailPushConfig needs metadata.name"),
        (
            "kind: MailPushConfig\nmetadata: {name: 12}\n",
            "a MailPushConfig: metadata.name is no text: put it in quotes",
        ),
        (
            "kind: MailPushConfig\nmetadata: {name: ../../etc}\n",
            "a MailPushConfig: metadata.name '../../etc' must be of lower case letters, digits, dots and dashes, and "
            "begin and end with a letter or digit",
        ),
        (
            "apiVersion: mailpush.dev/v1alpha1\nkind: MailPushConfig\nmetadata: {name: main, annotations: on}\n",
            "MailPushConfig main: metadata: annotations must be a map",
        ),
        (
            f"{HEAD}[]\n",
            "MailPushConfig main: spec must be a map",
        ),
        (
            f"{HEAD}none\n",
            "MailPushConfig main: spec must be a map",
        ),
        (f"{HEAD}", "MailPushConfig main: spec is missing"),
        (
            f"{HEAD}{{}}\nspce: {{}}\n",
            "MailPushConfig main: spce: there is no such field; near it: spec",
        ),
        (
            f"{HEAD}{{}}\n".replace("name: main", "name: main, lables: {a: b}"),
            "MailPushConfig main: metadata.lables: there is no such field; near it: labels",
        ),
        (
            f"{HEAD}{{}}\n".replace("name: main", "name: main, labels: {a: y}"),
            "MailPushConfig main: metadata.labels.a: is no text: put it in quotes",
        ),
        (
            f"{HEAD}{{}}\n".replace("v1alpha1", "v1"),
            'MailPushConfig main: apiVersion is "mailpush.dev/v1"; allowed is mailpush.dev/v1alpha1',
        ),
        (
            "kind: MailPushConfig\nmetadata: {name: main}\nspec: {}\n",
            "MailPushConfig main: apiVersion is missing; it is mailpush.dev/v1alpha1",
        ),
        ("kind: List\nitems: 5\n", "has a List whose items are no list"),
        ("kind: List\nitems:\n", "has no MailPushConfig"),
        ("- a\n- b\n", "has no MailPushConfig"),
        ("", "has no MailPushConfig"),
        ("kind: [MailPushConfig]\n", "has no MailPushConfig"),
        ("a: b: c\n", "is no YAML in line 1"),
        ("a: 2026-13-45\n", "has no MailPushConfig"),
        ("[" * 1500, "is nested too deeply"),
        (
            f"{HEAD}{{packages: {{status: {{{DOVECOT}: on}}}}}}",
            f"MailPushConfig main: spec.packages.status.{DOVECOT}: is \"true\"; allowed is 'enabled' or 'disabled' "
            "(on, off, yes and no without quotes mean true and false in YAML)",
        ),
        (
            f"{HEAD}{{packages: {{status: {{{DOVECOT}: Enabled}}}}}}",
            f"MailPushConfig main: spec.packages.status.{DOVECOT}: is \"Enabled\"; allowed is 'enabled' or 'disabled'",
        ),
        (
            f"{HEAD}{{features: {{status: {{push: 1}}}}}}",
            "MailPushConfig main: spec.features.status.push: is \"1\"; allowed is 'enabled' or 'disabled'",
        ),
        (
            f"{HEAD}{{packages: {{status: [{DOVECOT}]}}}}",
            "MailPushConfig main: spec.packages.status: must be a map",
        ),
        (
            f"{HEAD}{{properties: {{a: true}}, allowPermanentPush: 'yes', listeners: {{replicas: '2'}}}}",
            "MailPushConfig main: spec.allowPermanentPush: must be true or false, without quotes; "
            "spec.listeners.replicas: must be a number without quotes; spec.properties.a: is no text: put it in quotes",
        ),
        (
            f"{HEAD}{{listeners: {{replicas: -1}}}}",
            "MailPushConfig main: spec.listeners.replicas: is -1; input should be greater than or equal to 0",
        ),
        (
            f"{HEAD}{{allow_permanent_push: true}}",
            "MailPushConfig main: spec.allow_permanent_push: there is no such field; near it: allowPermanentPush",
        ),
        (
            f"{HEAD}{{mailAccess: {{servers: [{{hots: dovecot}}]}}}}",
            "MailPushConfig main: spec.mailAccess.servers[0].host: is missing; "
            "spec.mailAccess.servers[0].hots: there is no such field; near it: host",
        ),
        (
            f"{HEAD}{{transports: {{webhooks: [{{name: a, url: 'http://x'}}, {{name: a, url: 'http://x'}}]}}}}",
            'MailPushConfig main: spec.transports.webhooks[1].name is "a" a second time: take one of them away',
        ),
        (
            f"{HEAD}{{packages: {{whitelist: [a, b, a]}}}}",
            'MailPushConfig main: spec.packages.whitelist[2] is "a" a second time: take one of them away',
        ),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said_with_what_to_change(tmp_path: Path, text: str, sentence: str) -> None:
    assert refused(tmp_path, text, "render") == sentence


def test_a_field_that_is_empty_counts_as_left_out(tmp_path: Path) -> None:
    text = f"{HEAD}\n  allowedClients:\n  listeners:\n  packages:\n    status:\n      {DOVECOT}: enabled\n"
    assert run(tmp_path, text, "render").exit_code == 0
    done = run(tmp_path, f"{HEAD}\n  packages:\n    status:\n      {DOVECOT}:\n", "render")
    assert "NoPushPackage" in done.stderr
    said = refused(tmp_path, f"{HEAD}{{packages: {{whitelist: [ ~ ]}}}}", "render")
    assert said == "MailPushConfig main: spec.packages.whitelist[0]: is no text: put it in quotes"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\x00b"])
def test_what_is_no_text_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "binary"
    file.write_bytes(content)
    for arguments in (["render", "-f", str(file)], ["explain", "1", "3", "-f", str(file)]):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 2
        assert f"{file} is no " in done.stderr


def test_a_folder_or_a_missing_file_is_told(tmp_path: Path) -> None:
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file or directory")):
        done = CliRunner().invoke(main, ["explain", "1", "3", "-f", str(path)])
        assert (done.exit_code, done.stderr) == (2, f"kubectl mailpush explain: {path} cannot be read: {why}\n")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"spec": []}, "PushUser main-1-3: spec must be a map"),
        ({"spec": None}, "PushUser main-1-3: spec is missing"),
        ({"stats": {}}, "PushUser main-1-3: stats: there is no such field; near it: status"),
        ({"apiVersion": "v1"}, 'PushUser main-1-3: apiVersion is "v1"; allowed is mailpush.dev/v1alpha1'),
        ({"spec": {**USER["spec"], "userId": "3"}}, "PushUser main-1-3: spec.userId: must be a number without quotes"),
        ({"spec": {**USER["spec"], "clients": "all"}}, "PushUser main-1-3: spec.clients: must be a list"),
        (
            {"metadata": {"name": "anton"}},
            "PushUser anton: metadata.name must be main-1-3 (configRef.name, contextId, userId)",
        ),
        (
            {"metadata": {"name": "main-1-3", "namespace": ["mail"]}},
            "a PushUser: metadata.namespace is no text: put it in quotes",
        ),
        (
            {"spec": {**USER["spec"], "clients": ["a", "a"]}},
            'PushUser main-1-3: spec.clients[1] is "a" a second time: take one of them away',
        ),
    ],
)
def test_what_is_wrong_with_a_push_user_is_said(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    assert refused(tmp_path, yaml.safe_dump_all([CONFIG, USER | change]), "explain", "1", "3") == sentence


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"data": {"password": "hunter2!"}},
            "Secret anton: data.password is no base64; plain text goes into stringData",
        ),
        ({"data": "hunter2"}, "Secret anton: data must be a map"),
        ({"apiVersion": "v2"}, 'Secret anton: apiVersion is "v2"; allowed is v1'),
        ({"strData": {"a": "hunter2"}}, "Secret anton: strData: there is no such field; near it: stringData"),
        ({"stringData": ["hunter2"]}, "Secret anton: stringData must be a map"),
        ({"stringData": {"password": 1234}}, "Secret anton: stringData.password is no text: put it in quotes"),
        ({"metadata": {"name": "anton", "labels": 1}}, "Secret anton: metadata: labels must be a map"),
    ],
)
def test_what_is_wrong_with_a_secret_is_said_without_what_is_in_it(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    said = refused(tmp_path, yaml.safe_dump_all([CONFIG, USER, SECRET | change]), "explain", "1", "3")
    assert said == sentence
    assert "hunter2" not in said


def test_a_secret_in_base64_with_line_ends_is_read(tmp_path: Path) -> None:
    data = {"data": {"password": "aHVu\ndGVyMg==\n"}, "stringData": None}
    assert run(tmp_path, yaml.safe_dump_all([CONFIG, USER, SECRET | data]), "explain", "1", "3").exit_code == 0


def test_objects_of_another_namespace_do_not_count(tmp_path: Path) -> None:
    def of(namespace: str, one: dict[str, Any], **spec: Any) -> dict[str, Any]:
        return {**one, "metadata": {**one["metadata"], "namespace": namespace}, "spec": {**one["spec"], **spec}}

    text = yaml.safe_dump_all(
        [of("a", CONFIG), of("a", USER), of("b", CONFIG, allowedClients=["other*"]), of("b", USER, suspend=False)]
    )
    assert run(tmp_path, text, "explain", "1", "3", "-n", "a").exit_code == 0
    other = run(tmp_path, text, "explain", "1", "3", "-n", "b", "-o", "json")
    assert json.loads(other.stdout)["reason"] == "ClientNotAllowed"
    said = refused(tmp_path, text, "explain", "1", "3")
    assert said == "user 3 of context 1 is registered in 2 namespaces (a, b): add --namespace NAME"
    assert "nobody is registered here" in refused(tmp_path, text, "explain", "1", "3", "-n", "c")


def test_what_keeps_the_whole_configuration_from_working_is_the_answer(tmp_path: Path) -> None:
    config = {**CONFIG, "spec": {**CONFIG["spec"], "mechanisms": {"imapidle": {"accountId": 1}}}}
    done = run(tmp_path, yaml.safe_dump_all([config, USER, SECRET]), "explain", "1", "3")
    assert "not listened for: NotYetSupported: mechanisms.imapidle.accountId is not" in done.stdout


def test_a_configuration_and_a_user_that_are_on_their_way_out_are_noted(tmp_path: Path) -> None:
    config = {**CONFIG, "metadata": {"name": "main", "annotations": {"mailpush.dev/unregister": "true"}}}
    user = {**USER, "metadata": {"name": "main-1-3", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    done = run(tmp_path, yaml.safe_dump_all([config, user, SECRET]), "explain", "1", "3")
    assert "not listened for: Unregistering: the MailPushConfig has the annotation mailpush.dev" in done.stdout
    assert "note: the PushUser is being deleted" in done.stdout


def test_standard_input_is_a_file_as_well() -> None:
    done = CliRunner().invoke(main, ["render", "-f", "-"], input=yaml.safe_dump(CONFIG))
    assert done.exit_code == 0
    assert "com.openexchange.push.dovecot.enabled=true\n" in done.stdout
