"""Puts the picture of the flow and the table of its checks into docs/decision.md, from the checks themselves.

python docs/decision.py           writes them
python docs/decision.py --check   writes nothing, fails where they differ
"""

import re
import sys
from pathlib import Path
from typing import Final

from mailpush.decision import CHECKS, name_of, question_of

PAGE: Final = Path(__file__).with_name("decision.md")
MARKS: Final = ("<!-- flow: begin (make docs) -->\n", "<!-- flow: end -->\n")


def picture() -> str:
    """The flow as a Mermaid flowchart."""
    lines = [
        "```mermaid",
        "flowchart TD",
        '  config_exists{"Does the user\'s MailPushConfig exist?"}',
        '  config_exists -- no --> no_config["refused: ConfigNotFound"]',
    ]
    before = "config_exists"
    for check in CHECKS:
        name = name_of(check)
        reasons = "<br/>".join(f"{reason}{f' ({code})' if code else ''}" for reason, code in REFUSALS[name])
        lines += [
            f'  {before} -- yes --> {name}{{"{question_of(check)}"}}',
            f'  {name} -- no --> no_{name}["refused: {reasons}"]',
        ]
        before = name
    lines += [
        f'  {before} -- yes --> start["start the first mechanism of mechanisms.order"]',
        '  start --> listening{"Does it learn of new mail?"}',
        '  listening -- yes --> running["Listening=True: Registered, Idling"]',
        '  listening -- "cannot be checked" --> unknown["Listening=Unknown"]',
        '  listening -- "not at this server" --> next["the next mechanism of the order"]',
        "  next --> listening",
        '  listening -- "not now" --> again["Listening=False with the reason; tried again"]',
        "  again --> listening",
        "```",
        "",
    ]
    return "\n".join(lines)


REFUSALS: Final[dict[str, tuple[tuple[str, str | None], ...]]] = {
    "permanent_push_allowed": (("PermanentPushDisabled", None),),
    "package_enabled": (("NoPushPackage", None), ("NotYetSupported", None)),
    "package_supports_permanent": (("PermanentNotSupported", "PUSH-0009"),),
    "client_registered": (("NotRegistered", "PUSH-0008"),),
    "client_allowed": (("ClientNotAllowed", None),),
    "user_active": (("Suspended", None),),
    "mechanism_enabled": (("MechanismDisabled", None),),
    "mail_access_configured": (("MailAccessMissing", None),),
    "server_known": (("ServerUnknown", None),),
    "secret_permitted": (("SecretNotPermitted", None),),
    "password_available": (
        ("MasterPasswordMissing", "PUSH-0005"),
        ("PasswordMissing", "PUSH-0006"),
        ("CredentialsMissing", "PUSH-0006"),
        ("ClearTextCredential", "PUSH-0006"),
        ("CredentialDamaged", "PUSH-0006"),
        ("CredentialTooLong", "PUSH-0006"),
        ("CredentialUndecryptable", "PUSH-0006"),
        ("PasscryptMismatch", "PUSH-0006"),
        ("CredentialStorageUnavailable", None),
        ("TokenMissing", "PUSH-0006"),
    ),
    "login_known": (("LoginMissing", "PUSH-0007"),),
    "mailbox_free": (("DuplicateLogin", None),),
    "assigned": (("NotAssigned", None), ("AssignedElsewhere", None)),
    "pod_allowed": (("PodExcluded", None),),
}
"""With which reasons and codes of OX each check refuses."""


def page(text: str) -> str:
    """The page with the picture as it is to be."""
    begin, end = MARKS
    return re.sub(f"(?s)(?<={re.escape(begin)}).*?(?={re.escape(end)})", lambda _: picture(), text)


def main(arguments: list[str]) -> int:
    text = PAGE.read_text(encoding="utf-8")
    if "--check" not in arguments:
        PAGE.write_text(page(text), encoding="utf-8")
        return 0
    if page(text) == text:
        return 0
    sys.stderr.write("docs/decision.md does not show the flow as it is: run `make docs`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
