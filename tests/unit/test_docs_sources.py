"""docs/credentials.md shows where a user's credentials come from as the check says it, whatever is the case."""

import importlib.util
import itertools
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from mailpush.decision import REASONS, SecretFacts, StoredFacts, TokenFacts

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "credentials.md").read_text()
YES_NO = (True, False)


@pytest.fixture(scope="module")
def sources() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_sources", DOCS / "sources.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_sources"] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_that_of_the_check(sources: ModuleType) -> None:
    assert sources.main(["--check"]) == 0, "run `make docs`"
    assert sources.page(TEXT.replace("flowchart TD", "flowchart LR")) == TEXT


def test_the_picture_leads_to_what_the_check_says_of_every_user_at_every_site(sources: ModuleType) -> None:
    secrets = (None, *(SecretFacts(found, has_password=has) for found in YES_NO for has in YES_NO))
    stored = (None, *map(StoredFacts, sources.STATES))
    tokens = (None, TokenFacts(found=True), TokenFacts(found=False))
    sites = [
        replace(site, has_master_password=master, user_secrets=own, credential_storage=storage, oauth=oauth)
        for site in (sources.SITE, sources.GLOBAL, sources.BY_DOVEADM)
        for master, own, storage, oauth in itertools.product(YES_NO, repeat=4)
    ]
    ends = set()
    for site, secret, entry, token in itertools.product(sites, secrets, stored, tokens):
        name = "anton" if secret else None
        user = replace(sources.USER, secret_name=name, secret=secret, stored=entry, token=token)
        end = sources.end_of(user, site)
        assert sources.outcome(user, site, end.source) == end.text, (user, site)
        ends.add(end.name)
    assert all(f"{name}[" in TEXT for name in ends)


def test_the_picture_names_every_reason_of_credentials(sources: ModuleType) -> None:
    words = ("Password", "Credential", "Passcrypt", "Token")
    named = {reason for reason in REASONS if any(word in reason for word in words)}
    assert {reason for reason in named if f"refused: {reason}" not in TEXT} == set()
