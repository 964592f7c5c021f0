"""`kubectl mailpush render -f`: files without a cluster, and never a secret."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailpush.cli.kubectl.main import main
from mailpush.properties.format import load

ROOT = Path(__file__).resolve().parents[3]
HEAD = "apiVersion: mailpush.dev/v1alpha1\nkind: MailPushConfig\n"
EXAMPLE = ROOT / "examples" / "mailpushconfig.yaml"
GOLDEN = ROOT / "tests" / "golden"
SECRETS = "mail-push-secrets.properties"


def render(*arguments: str | Path, code: int = 0) -> tuple[str, str]:
    done = CliRunner().invoke(main, ["render", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


def test_the_files_are_printed_each_under_its_name_with_placeholders_for_secrets() -> None:
    printed, notes = render("-f", EXAMPLE)
    assert "==> mail-push.properties <==\n" in printed
    assert "com.openexchange.push.allowedClients=USM-EAS*, open-xchange-mobile-api-facade*\n" in printed
    assert "com.openexchange.mail.masterPassword=<Secret mail-master, key password>\n" in printed
    assert "basic-auth.password=<Secret mail-push-main-callback, key password>\n" in printed
    assert notes == ""


@pytest.mark.parametrize("case", ["everything", "every-property", "odd-characters"])
def test_what_is_written_is_what_the_operator_renders(case: str, tmp_path: Path) -> None:
    render("-f", GOLDEN / case / "mailpushconfig.yaml", "-o", tmp_path / "made")
    expected = {path.name: path.read_text() for path in (GOLDEN / case).glob("*.properties") if path.name != SECRETS}
    assert {path.name: path.read_text() for path in (tmp_path / "made").iterdir()} == expected


def test_the_file_with_secrets_is_written_only_when_asked_for_and_for_nobody_else_to_read(tmp_path: Path) -> None:
    printed, _ = render("-f", EXAMPLE, "-o", tmp_path, "--with-secrets")
    path = tmp_path / SECRETS
    assert str(path) in printed
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(path.read_text())["com.openexchange.mail.masterPassword"] == "<Secret mail-master, key password>"


def test_secrets_are_never_printed() -> None:
    _, said = render("-f", EXAMPLE, "--with-secrets", code=2)
    assert "--with-secrets needs -o DIRECTORY: secrets are written to files, never printed" in said


def test_what_the_status_would_say_is_noted() -> None:
    _, notes = render("-f", GOLDEN / "page" / "mailpushconfig.yaml")
    assert "note: MailAccessMissing: listeners cannot reach the mailboxes: set mailAccess.servers" in notes


def test_what_properties_switches_on_is_noted_as_well(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        EXAMPLE.read_text() + '  properties: {com.openexchange.dovecot.doveadm.enabled: "true", '
        'com.openexchange.push.imapidle.delay: "often"}\n'
    )
    _, notes = render("-f", path)
    assert 'com.openexchange.push.imapidle.delay is "often"; allowed is a number' in notes
    path.write_text(EXAMPLE.read_text() + '  properties: {com.openexchange.dovecot.doveadm.enabled: "true"}\n')
    _, notes = render("-f", path)
    assert "note: DoveadmIncomplete: com.openexchange.dovecot.doveadm.enabled in properties is true: set" in notes


def test_a_fault_is_named_with_its_field(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"{HEAD}metadata: {{name: main}}\nspec: {{allowPermanentPsh: true}}\n")
    _, said = render("-f", path, code=2)
    assert "MailPushConfig main: spec.allowPermanentPsh" in said


def test_one_of_several_is_chosen_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "configs.yaml"
    text = f"{HEAD}metadata: {{name: NAME}}\nspec: {{allowedClients: [NAME]}}\n"
    path.write_text("---\n".join(text.replace("NAME", name) for name in ("a", "b")) + "---\nkind: ConfigMap\n")
    printed, _ = render("b", "-f", path)
    assert "allowedClients=b\n" in printed
    _, said = render("-f", path, code=2)
    assert "has several MailPushConfigs: name one of a, b" in said
    _, said = render("c", "-f", path, code=2)
    assert "has no MailPushConfig c; it has a, b" in said


def test_a_missing_file_and_no_wish_at_all_are_told() -> None:
    _, said = render("-f", "no-such-file.yaml", code=2)
    assert "no-such-file.yaml cannot be read" in said
    _, said = render(code=2)
    assert "name a MailPushConfig of the cluster, or give a file with -f" in said


def test_without_a_cluster_nothing_of_kubernetes_is_loaded() -> None:
    program = (
        "import sys\nfrom mailpush.cli.kubectl.main import main\n"
        "try:\n"
        f"    main(['render', '-f', {str(EXAMPLE)!r}])\n"
        "except SystemExit:\n"
        "    pass\n"
        "print([name for name in ('kubernetes', 'kopf', 'aiohttp', 'httpx', 'asyncio') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_cannot_be_written_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "mail.properties").mkdir()
    _, said = render("-f", EXAMPLE, "-o", tmp_path, code=2)
    assert said == f"kubectl mailpush render: {tmp_path}/mail.properties cannot be written: Is a directory\n"


def test_secrets_never_go_through_a_link_and_files_from_before_are_noted(tmp_path: Path) -> None:
    made, elsewhere = tmp_path / "made", tmp_path / "elsewhere"
    made.mkdir()
    (made / SECRETS).symlink_to(elsewhere)
    (made / "doveadm.properties").write_text("")
    (made / "readme.txt").write_text("")
    _, notes = render("-f", EXAMPLE, "-o", made, "--with-secrets")
    assert not elsewhere.exists()
    assert not (made / SECRETS).is_symlink()
    assert (made / SECRETS).stat().st_mode & 0o077 == 0
    assert notes == f"note: {made} also has doveadm.properties, not written now: take away what nobody needs\n"
