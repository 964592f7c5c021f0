"""The examples of the credential storage, over the values that they stand beside."""

from pathlib import Path

import pytest
import yaml

from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.decision import needs_no_password, site_facts
from mailpush.decision.evaluation import evaluate
from mailpush.decision.kept import CLUSTER_MEMORY, DATABASE, kept_in
from mailpush.properties.secrets import ResolvedSecrets, purpose_of, secret_references
from tests.chart.conftest import EXAMPLE, Helm, mail_push_config

STORAGES = {"credentials-database.yaml": DATABASE, "credentials-redis.yaml": CLUSTER_MEMORY}
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("name", STORAGES)
def test_with_an_example_s_secrets_listeners_run_and_keep_passwords_where_it_says(helm: Helm, name: str) -> None:
    overlay = EXAMPLE.with_name(name)
    config = mail_push_config(helm.render(None, "--values", str(EXAMPLE), "--values", str(overlay)))
    assert config is not None
    spec = MailPushConfigSpec.model_validate(config["spec"])
    values = {path: CERTIFICATE if purpose_of(path) == "ca" else "there" for path, _ in secret_references(spec)}
    found = evaluate("main", spec, ResolvedSecrets(b"k" * 32, values))
    assert found.problems == ()
    assert found.settings is not None
    assert found.settings.mail is not None
    assert found.settings.mail.password_source == "session"
    assert kept_in(found.settings) == STORAGES[name]
    _names_its_secrets(overlay, spec)


def test_opendesks_example_needs_no_password_at_all(helm: Helm) -> None:
    example = EXAMPLE.with_name("opendesk.yaml")
    config = mail_push_config(helm.render(None, "--values", str(example)))
    assert config is not None
    spec = MailPushConfigSpec.model_validate(config["spec"])
    references = secret_references(spec)
    values = {path: CERTIFICATE if path.endswith("caSecretRef") else "there" for path, _ in references}
    found = evaluate("main", spec, ResolvedSecrets(b"k" * 32, values))
    assert (found.problems, found.warnings) == ((), ())
    assert found.settings is not None
    assert needs_no_password(site_facts(found.settings))
    text = example.read_text()
    for path, reference in references:
        (row,) = [line for line in text.splitlines() if line.startswith(f"#     {reference.name} ")]
        assert purpose_of(path) in row.split()[2].split(".")
        assert f"{reference.key}:" in row


def _names_its_secrets(overlay: Path, spec: MailPushConfigSpec) -> None:
    """The list at the file's head has each Secret that it brings, with its purpose."""
    text = overlay.read_text()
    others = {reference.name for _, reference in secret_references(MailPushConfigSpec.model_validate(_of(EXAMPLE)))}
    for path, reference in secret_references(spec):
        if reference.name not in others:
            rows = [line.split() for line in text.splitlines() if line.startswith(f"#     {reference.name} ")]
            assert [(row[2], row[3].rstrip(":")) for row in rows] == [(purpose_of(path), reference.key)], reference


def _of(values: Path) -> object:
    return yaml.safe_load(values.read_text())["mailPushConfig"]["spec"]
