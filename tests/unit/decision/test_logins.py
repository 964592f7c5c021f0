"""The login name: whose field it is, and its domain in ASCII."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.api.mailaccess import MailAccess
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.api.pushuser import PushUserSpec
from mailpush.decision.logins import LOGIN_FIELDS, login_by, login_of, sane_login
from mailpush.decision.places import Place, is_same, may_be_same, place_of
from mailpush.properties import keys
from mailpush.properties.format import load
from mailpush.properties.lookup import SettingsError
from mailpush.properties.read import read
from mailpush.properties.render import RenderedConfig, render
from mailpush.properties.secrets import ResolvedSecrets
from mailpush.properties.settings import Settings


def rendered(properties: dict[str, str] | None = None, **access: Any) -> RenderedConfig:
    spec = {"mailAccess": {"servers": [{"name": "default", "host": "dovecot"}], **access}}
    config = MailPushConfigSpec.model_validate({**spec, "properties": properties or {}})
    return render(config, ResolvedSecrets(b"key", {}), "main")


def settings(properties: dict[str, str] | None = None, **access: Any) -> Settings:
    return read(rendered(properties, **access).directory)


def user_spec(**fields: Any) -> PushUserSpec:
    return PushUserSpec.model_validate({"configRef": {"name": "main"}, "contextId": 1, "userId": 3, **fields})


@pytest.mark.parametrize(
    ("written", "sane"),
    [
        # the vectors of OX's own tests of IDNA.toACE
        ("someone@müller.de", "someone@xn--mller-kva.de"),
        ("martin.schneider@öpen-xchänge.com", "martin.schneider@xn--pen-xchnge-w5a2s.com"),
        ("martin.schneider@open-xchange.com", "martin.schneider@open-xchange.com"),
        ("<märtin.schneider", "<märtin.schneider"),
        ('"Schön Abrechnung " <zentrale@schoen.de>', '"Schön Abrechnung " <zentrale@schoen.de>'),
        ("", ""),
        # ours
        ("jörg@example.org", "jörg@example.org"),
        ("jörg@müller.de", "jörg@xn--mller-kva.de"),
        ("jörg", "jörg"),
        ("anna@", "anna@"),
        ("Anna@Example.ORG", "Anna@Example.ORG"),
        ("a@straße.de", "a@xn--strae-oqa.de"),
        ("a@müller_x.de", "a@müller_x.de"),
        ("a@müller..de", "a@müller..de"),
        ('"a@b"@müller.de', '"a@b"@müller.de'),
        ("a@" + "ü" * 300 + ".de", "a@" + "ü" * 300 + ".de"),
    ],
)
def test_the_domain_of_a_login_is_in_ascii_where_it_is_one(written: str, sane: str) -> None:
    assert sane_login(written) == sane


@given(st.one_of(st.text(max_size=600), st.from_regex(r"[^@]{1,9}@\w{1,70}([.\u3002]\w{1,9}){0,3}", fullmatch=True)))
def test_a_login_stays_one(login: str) -> None:
    sane = sane_login(login)
    assert sane_login(sane) == sane
    assert sane.partition("@")[0] == login.partition("@")[0]
    assert sane == login or sane.partition("@")[2].isascii()


def test_every_login_source_takes_a_field_of_its_own_meaning() -> None:
    assert set(LOGIN_FIELDS) == set(get_args(MailAccess.model_fields["login_source"].annotation))
    for source, field in LOGIN_FIELDS.items():
        given_only = {"login": None, "mail": None, field: "a@example.org"}
        assert login_by(source, **given_only)
        assert login_by(source, **{"login": "a", "mail": "a@example.org", field: None}) is None


@pytest.mark.parametrize(
    ("access", "login"),
    [
        ({}, "a@xn--mller-kva.de"),
        ({"loginSource": "name"}, "a@xn--mller-kva.de"),
        ({"saneLogin": False}, "a@müller.de"),
        ({"saneLogin": False, "loginSource": "name"}, "a@müller.de"),
        ({"saneLogin": False, "loginSource": "mail"}, "b@xn--mller-kva.de"),
    ],
)
def test_sane_login_is_the_installations_word(access: dict[str, Any], login: str) -> None:
    spec = user_spec(login="a@müller.de", mail="b@müller.de")
    assert login_of(spec, settings(**access)) == login


@pytest.mark.parametrize("kept", ["a@müller.de", "A@xn--mller-kva.de", "a@MÜLLER.de*master"])
def test_a_mailbox_may_be_the_same_under_the_other_form_of_its_domain(kept: str) -> None:
    running = settings()
    place = place_of(user_spec(login="a@müller.de"), running)
    assert place is not None
    former = Place(place.server, place.address, kept)
    assert may_be_same(former, place, running)
    assert not is_same(former, place, running)


@pytest.mark.parametrize(
    ("field", "properties", "source"),
    [
        ("mailLocalPart", {}, "mailLocalPart"),
        ("mailLocalPart", {keys.LOGIN_SOURCE: "mail"}, "mail"),
        ("name", {}, "name"),
    ],
)
def test_a_property_wins_over_the_field(field: str, properties: dict[str, str], source: str) -> None:
    mail = settings(properties, loginSource=field).mail
    assert mail is not None
    assert mail.login_source == source


def test_ox_is_given_no_word_that_it_does_not_know() -> None:
    assert keys.LOGIN_SOURCE not in load(rendered(loginSource="mailLocalPart").files[keys.MAIL_FILE])
    with pytest.raises(SettingsError, match="allowed is login or mail or name"):
        settings({keys.LOGIN_SOURCE: "mailLocalPart"})
