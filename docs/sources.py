"""Puts the picture of where a user's credentials come from into docs/credentials.md: each end says what the check says.

python docs/sources.py           writes it
python docs/sources.py --check   writes nothing, fails where it differs
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mailpush.decision import (
    Refusal,
    SecretFacts,
    SiteFacts,
    StoredFacts,
    TokenFacts,
    UserFacts,
    needs_no_password,
)
from mailpush.decision.passwords import password_available
from mailpush.packages import DOVECOT
from mailpush.properties.patterns import ClientPatterns

PAGE: Final = Path(__file__).with_name("credentials.md")
MARKS: Final = ("<!-- sources: begin (make docs) -->\n", "<!-- sources: end -->\n")

USER: Final = UserFacts(1, 3)
SITE: Final = SiteFacts(True, ClientPatterns.parse("*"), frozenset(), ())
GLOBAL: Final = replace(SITE, password_source="global")  # noqa: S106 - OX's word
SECRETS: Final = replace(SITE, user_secrets=True)
WITH_SECRET: Final = replace(USER, secret_name="anton", secret=SecretFacts(found=True))  # noqa: S106 - a name
STORAGE: Final = replace(SITE, credential_storage=True)
OAUTH: Final = replace(SITE, oauth=True)
STATES: Final[Mapping[str, str]] = {
    "usable": "yes",
    "missing": "none",
    "clearText": "not encrypted",
    "damaged": "damaged",
    "tooLong": "cut off",
    "undecryptable": "under another passcrypt",
    "mismatch": "the whole store is under another passcrypt",
    "unavailable": "the store does not answer",
}
"""How the picture says the states of an entry."""


@dataclass(frozen=True)
class End:
    """Where the way ends, with facts that lead there; `source` is where the listener takes what it logs in with."""

    name: str
    source: str
    user: UserFacts
    site: SiteFacts

    @property
    def text(self) -> str:
        return outcome(self.user, self.site, self.source)


@dataclass(frozen=True)
class Choice:
    """A question, and where each answer leads. `pick` gives the answer."""

    name: str
    question: str
    pick: Callable[[UserFacts, SiteFacts], str]
    ways: "Mapping[str, Choice | End]"


def outcome(user: UserFacts, site: SiteFacts, source: str) -> str:
    """What the check says of such a user."""
    said = password_available(user, site)
    if needs_no_password(site):
        return "register by doveadm, and log in nowhere"
    if not isinstance(said, Refusal):
        return f"log in by {source}"
    return f"refused: {said.reason}{f' ({said.code})' if said.code else ''}"


def yes(holds: bool) -> str:
    return "yes" if holds else "no"


NOWHERE: Final = Choice(
    "any_secrets",
    "Is userSecrets on?",
    lambda _, site: yes(site.user_secrets),
    {"yes": End("no_secret_named", "", USER, SECRETS), "no": End("nowhere", "", USER, SITE)},
)
TOKEN: Final = Choice(
    "oauth",
    "Is mailAccess.oauth on?",
    lambda _, site: yes(site.oauth),
    {
        "no": NOWHERE,
        "yes": Choice(
            "token",
            "Is there an access token?",
            lambda user, _: yes(user.token is None or user.token.found),
            {
                "yes": End("by_token", "the access token", USER, OAUTH),
                "no": End("no_token", "", replace(USER, token=TokenFacts(found=False)), OAUTH),
            },
        ),
    },
)


def _ends_of_entries() -> Iterator[tuple[str, Choice | End]]:
    for state, words in STATES.items():
        end = End(f"entry_{state}", "the storage's password", replace(USER, stored=StoredFacts(state)), STORAGE)
        if state == "missing":
            by_token = {"yes": TOKEN.ways["yes"], "no": end}
            yield words, Choice("else_oauth", TOKEN.question, TOKEN.pick, by_token)
        else:
            yield words, end


STORED: Final = Choice(
    "storage",
    "Is credentialStorage on?",
    lambda _, site: yes(site.credential_storage),
    {
        "no": TOKEN,
        "yes": Choice(
            "entry",
            "Has it a password of the user?",
            lambda user, _: STATES[user.stored.state if user.stored else "usable"],
            dict(_ends_of_entries()),
        ),
    },
)
PASSWORD: Final = Choice(
    "password_source",
    "What is mailAccess.passwordSource?",
    lambda _, site: site.password_source,
    {
        "global": Choice(
            "master",
            "Is there a master password?",
            lambda _, site: yes(site.has_master_password),
            {
                "yes": End("by_master", "the master user", USER, replace(GLOBAL, has_master_password=True)),
                "no": End("no_master", "", USER, GLOBAL),
            },
        ),
        "session": Choice(
            "names_secret",
            "Is userSecrets on, and does the PushUser name a Secret?",
            lambda user, site: yes(site.user_secrets and user.secret_name is not None),
            {
                "no": STORED,
                "yes": Choice(
                    "secret",
                    "Is it there, with a password?",
                    lambda user, _: yes(user.secret is not None and user.secret.found and user.secret.has_password),
                    {
                        "yes": End(
                            "by_secret",
                            "the Secret's password",
                            replace(WITH_SECRET, secret=SecretFacts(found=True, has_password=True)),
                            SECRETS,
                        ),
                        "no": End("no_password", "", WITH_SECRET, SECRETS),
                    },
                ),
            },
        ),
    },
)


BY_DOVEADM: Final = replace(SITE, packages=frozenset({DOVECOT}), doveadm=True, prefer_doveadm=True)
FIRST: Final = Choice(
    "doveadm",
    "Are mailAccess.doveadm and preferDoveadmForMetadata on, and dovecot alone?",
    lambda _, site: yes(needs_no_password(site)),
    {"yes": End("by_doveadm", "", USER, BY_DOVEADM), "no": PASSWORD},
)


def end_of(user: UserFacts, site: SiteFacts) -> End:
    """Where the picture leads with these facts."""
    here: Choice | End = FIRST
    while isinstance(here, Choice):
        here = here.ways[here.pick(user, site)]
    return here


def picture() -> str:
    """As a Mermaid flowchart."""
    lines = ["```mermaid", "flowchart TD", *dict.fromkeys(_lines(FIRST)), "```", ""]
    return "\n".join(lines)


def _lines(choice: Choice) -> Iterator[str]:
    for answer, there in choice.ways.items():
        shown = f'{{"{there.question}"}}' if isinstance(there, Choice) else f'["{there.text}"]'
        begin = f'{choice.name}{{"{choice.question}"}}' if choice is FIRST else choice.name
        yield f'  {begin} -- "{answer}" --> {there.name}{shown}'
        if isinstance(there, Choice):
            yield from _lines(there)


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
    sys.stderr.write("docs/credentials.md does not show the sources as they are: run `make docs`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
