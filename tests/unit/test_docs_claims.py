"""What README, docs/ and examples/ name is there, and what is there is named."""

import base64
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.api.pushuser import PushUserSpec
from mailpush.cli.kubectl.main import main as kubectl
from mailpush.cli.main import main as mail_push
from mailpush.credentials.user_secret import user_secret
from mailpush.properties.secrets import PURPOSES, ResolvedSecrets, server_ca, webhook_secret

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "dev" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = {page: page.read_text() for page in PAGES}
DOCS = "\n".join(text for page, text in TEXT.items() if page.parent.name == "docs")


def sources(*folders: str) -> Iterator[str]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.read_text()


def slug(heading: str) -> str:
    """The anchor of a heading as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(TEXT[page])):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        headings = re.findall(r"^#+ (.+)$", without_code(path.read_text()), re.MULTILINE) if path.is_file() else []
        if not path.exists() or (anchor and anchor not in map(slug, headings)):
            broken.append(target)
    assert broken == []


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(([^)#\s]+)", TEXT[ROOT / "README.md"]))
    assert {f"docs/{page.name}" for page in PAGES if page.parent.name == "docs"} <= linked


def test_every_metric_of_the_code_has_its_place_in_the_docs_and_none_else_is_named() -> None:
    declared = re.findall(r"(Counter|Gauge|Histogram)\(\s*\"(mailpush_\w+)\"", "\n".join(sources("operator/mailpush")))
    exposed = {
        f"{name}_total" if kind == "Counter" and not name.endswith("_total") else name for kind, name in declared
    }
    assert len(exposed) > 20
    named = set(re.findall(r"`(mailpush_\w+)[`{]", DOCS)) | set(re.findall(r"\((mailpush_\w+)\{", DOCS))
    assert exposed - named == set()
    assert named - exposed == set()


def test_every_check_and_reason_that_the_docs_name_is_one_of_the_code() -> None:
    code = "\n".join(sources("operator/mailpush"))
    tables = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", TEXT[ROOT / "docs" / "dovecot.md"], re.MULTILINE)
    reasons = {name for row in tables for name in re.findall(r"`([A-Z]\w+)`", row)}
    for page in ("decision.md", "metrics.md"):
        reasons |= set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", TEXT[ROOT / "docs" / page]))
    assert len(reasons) > 10
    assert {name for name in reasons if f'"{name}"' not in code} == set()


def test_every_problem_and_warning_of_a_mailpushconfig_is_told_of() -> None:
    reasons = set(re.findall(r"Problem\(\s*\"(\w+)\"", "\n".join(sources("operator/mailpush"))))
    assert len(reasons) > 10
    assert {name for name in reasons if f"`{name}`" not in TEXT[ROOT / "docs" / "metrics.md"]} == set()


def test_each_field_that_names_a_secret_stands_beside_the_label_that_the_secret_needs() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \|$", TEXT[ROOT / "docs" / "security.md"], re.MULTILINE)
    named = {(use, field) for use, fields in rows for field in re.findall(r"`([^`]+)`", fields)}
    needed = {(use, re.sub(r"(?<=SecretRef)[.[].*", "", path)) for path, use in PURPOSES.items()}
    assert len(needed) > 10
    assert needed - named == set()


def test_every_rule_of_the_protocol_that_is_cited_is_written_down() -> None:
    rules = set(re.findall(r"^\*\*(P\d+) ", TEXT[ROOT / "docs" / "protocol.md"], re.MULTILINE))
    cited = {
        rule
        for text in sources("operator/mailpush", "tests")
        for line in re.findall(r"(?:protocol|\()\s?(P\d+(?:(?:, | and | to )P\d+)*)", text)
        for rule in re.findall(r"P\d+", line)
    }
    assert len(cited) > 10
    assert cited <= rules


def test_commands_of_the_docs_have_the_options_that_they_are_shown_with() -> None:
    runner = CliRunner()
    known = "".join(
        runner.invoke(group, [name, "--help"]).output for group in (kubectl, mail_push) for name in group.commands
    )
    shown = re.findall(r"kubectl mailpush (?:explain|render)([^\n`]*)", "\n".join(TEXT.values()))
    shown += re.findall(r"mail-push cleanup([^\n`)]*)", "\n".join(TEXT.values()))
    options = {option for line in shown for option in re.findall(r"(?<![\w-])--?[a-z][\w-]*", line.partition("#")[0])}
    assert options >= {"-f", "-n", "--namespace"}
    assert {option for option in options if not re.search(rf"(?<![\w-]){re.escape(option)}[ ,]", known)} == set()


def test_values_that_the_docs_name_are_the_charts() -> None:
    values: dict[str, Any] = yaml.safe_load((ROOT / "charts" / "mail-push" / "values.yaml").read_text())
    shown = "\n".join(text for page, text in TEXT.items() if page.name in {"install.md", "security.md", "metrics.md"})
    missing = []
    for path in re.findall(
        r"`((?:admin|networkPolicy|metrics|crds|rbac|image|hooks|admissionPolicy|flowControl)\.[\w.]*\w)`", shown
    ):
        here: Any = values
        for key in path.split("."):
            here = here.get(key, ...) if isinstance(here, dict) else ...
        # What the MailPushConfig has under the same first name, such as admin.authSecretRef, is its own.
        if here is ... and path.partition(".")[2] not in {"authSecretRef", "tlsSecretRef"}:
            missing.append(path)
    assert missing == []


def test_both_examples_of_a_mailpushconfig_are_the_same() -> None:
    values = yaml.safe_load((ROOT / "examples" / "values.yaml").read_text())
    by_chart = {"packages": values["core-mw"]["packages"], **values["mailPushConfig"]["spec"]}
    by_hand = yaml.safe_load((ROOT / "examples" / "mailpushconfig.yaml").read_text())["spec"]
    assert MailPushConfigSpec.model_validate(by_hand) == MailPushConfigSpec.model_validate(by_chart)


def test_the_list_of_an_ox_becomes_push_users_whatever_the_client_ids_look_like(tmp_path: Path) -> None:
    rows = [(1, 3, "open-xchange-appsuite"), (1, 3, "1234"), (10, 249, "0x1F"), (10, 4, "true"), (10, 4, "it's")]
    rows.append((2, 2, "a:{[#&*!|>%@`b\\n"))
    listed = "".join(f"{context:7} {user:<4} {client:<21}\n" for context, user, client in rows)
    (tmp_path / "pushusers").write_text(f"#!/bin/sh\ncat <<'EOF'\nContext User Client               \n{listed}EOF\n")
    (tmp_path / "pushusers").chmod(0o755)
    (command,) = re.findall(r"^ *(pushusers -l -A [^`]*?)^ *```", DOCS, flags=re.MULTILINE | re.DOTALL)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True, env=environment)
    users = [PushUserSpec.model_validate(one["spec"]) for one in yaml.safe_load_all(done.stdout) if one]
    assert sorted((one.context_id, one.user_id, client) for one in users for client in one.clients) == sorted(rows)
    assert {one.login for one in users} == {"LOGIN"}


def test_line_breaks_at_the_end_of_a_file_are_no_part_of_a_secret_as_the_docs_say() -> None:
    """Each kind of Secret that install.md and dovecot.md make from a file."""
    assert "Line breaks at the end of a file do not count." in TEXT[ROOT / "docs" / "install.md"]
    every = ResolvedSecrets(b"key", dict.fromkeys((*PURPOSES, server_ca("a"), webhook_secret("a")), " a \r\n\n"))
    assert {every.get(path) for path in every.values} == {" a "}
    secret = {
        "type": "mailpush.dev/credentials",
        "metadata": {"name": "anton", "annotations": {"mailpush.dev/push-users": "main-1-3"}},
        "data": {"password": base64.b64encode(b" a \r\n\n").decode()},
    }
    assert user_secret(secret, "main-1-3").password == " a "
