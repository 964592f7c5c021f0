"""`mismatch`: a passcrypt that is not the store's, on one pod and on all: no login with it, and nothing deleted."""

import secrets
from pathlib import Path

from mailpush import names
from mailpush.properties import keys
from tests.credentials.site import DATABASE, CredentialSite, Stage

USERS = tuple(range(3, 15))
REASON = "PasscryptMismatch"


def play(stage: Stage) -> None:
    verdict = stage.verdict
    with stage.site("rdb") as site:
        site.install()
        site.start_pods()
        site.register(*USERS)
        site.put(*USERS)
        site.wait_listening(*USERS)
        before, rows = site.entries(), table(site)
        verdict.step("all passwords are stored", len(before) == len(USERS), len(before))

        place = site.log_end()
        wrong = stage.evidence.plant("a wrong passcrypt", secrets.token_urlsafe(24))
        stale_mount(site, "mail-push-main-1", wrong)
        site.wait_for("the pod says so", lambda: lease_reason(site, "mail-push-main-1") == REASON)
        verdict.step("the one pod is not capable and says why", not capable(site, "mail-push-main-1"))
        site.wait_for("the MailPushConfig says so", lambda: site.config_conditions().get(REASON, ("",))[0] == "True")
        verdict.step("the MailPushConfig names it", True, words(site))
        others = frozenset({"mail-push-main-1"})
        site.wait_listening(*USERS, without=others)
        verdict.step("the others listen for all users", True)
        verdict.step("no login was refused", not site.refused(place), len(site.refused(place)))
        stage.told(site, "with a wrong passcrypt on one pod", USERS)
        verdict.step("nothing was deleted", table(site) == rows)

        site.replace("mail-push-main-1")
        site.wait_spread(*USERS)
        everywhere(stage, site, rows)


def everywhere(stage: Stage, site: CredentialSite, rows: list[tuple[str, ...]]) -> None:
    """The administrator puts another passcrypt into the Secret, and all pods restart."""
    verdict = stage.verdict
    site.secret("passcrypt", passcrypt=stage.evidence.plant("another passcrypt", secrets.token_urlsafe(24)))
    site.wait_for("all pods say so", lambda: {lease_reason(site, name) for name in site.pods} == {REASON})
    verdict.step("all pods are incapable and say why", True)
    site.lose(*site.pods)
    place = site.log_end()  # from here on nobody has a connection of before
    for name in sorted(site.pods):
        site.wait_pod(name)
        site.start_pod(name)
    site.wait_for("all new pods say so", lambda: {lease_reason(site, name) for name in site.pods} == {REASON})
    site.wait_for("the MailPushConfig says so", lambda: site.config_conditions().get(REASON, ("",))[0] == "True")
    site.wait_for("it is not ready", lambda: site.config_conditions().get("Ready", ("",))[0] == "False")
    verdict.step("the MailPushConfig names it and is not ready", True, words(site))
    tried = [*site.logins(place), *site.refused(place)]
    verdict.step("nobody is tried at Dovecot", not tried, f"{len(tried)} logins")
    verdict.step("nothing was deleted or written", table(site) == rows)
    verdict.number(users=len(USERS), logins_with_a_wrong_passcrypt=len(tried), rows=len(rows))

    site.secret("passcrypt", passcrypt=site.passcrypt)
    site.wait_listening(*USERS)
    verdict.step("with the right passcrypt all are listened for again", True)
    stage.told(site, "with the right passcrypt again", USERS)
    verdict.step("no login was refused", not site.refused(), len(site.refused()))


def stale_mount(site: CredentialSite, name: str, passcrypt: str) -> None:
    """Replaces the pod by one whose kubelet has mounted another passcrypt, and cannot know that it is not the current.

    A pod with the right key of the configuration's hash would read the right one by the API within a second.
    """
    mounted = site.mounted

    def changed(directory: Path) -> None:
        for path in directory.glob("*"):
            if path.name == names.SECRET_PROPERTIES:
                lines = path.read_text().splitlines()
                assert any(line.startswith(keys.CREDSTORAGE_PASSCRYPT) for line in lines)
                kept = [line for line in lines if not line.startswith(keys.CREDSTORAGE_PASSCRYPT)]
                path.write_text("\n".join([*kept, f"{keys.CREDSTORAGE_PASSCRYPT}={passcrypt}"]) + "\n")
            elif path.name == names.HASH_KEY_FILE:
                path.write_text(secrets.token_urlsafe(32))

    site.mounted = changed
    try:
        site.replace(name)
    finally:
        site.mounted = mounted


def lease_reason(site: CredentialSite, name: str) -> str:
    return annotations(site, name).get("mailpush.dev/reason", "")


def capable(site: CredentialSite, name: str) -> bool:
    return annotations(site, name).get("mailpush.dev/capable") == "true"


def annotations(site: CredentialSite, name: str) -> dict[str, str]:
    return (site.namespace.get("lease", name) or {}).get("metadata", {}).get("annotations") or {}


def words(site: CredentialSite) -> str:
    """Of the conditions that name it."""
    return "; ".join(
        f"{kind}={' '.join(said)}" for kind, said in site.config_conditions().items() if REASON in str(said)
    )


def table(site: CredentialSite) -> list[tuple[str, ...]]:
    """The entries as the database has them, byte by byte."""
    assert site.database is not None
    return site.database.sql("SELECT * FROM mailpush_credentials ORDER BY 1, 2", DATABASE)
