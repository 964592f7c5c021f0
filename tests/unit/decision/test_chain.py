"""The execution flow: each row refuses with its own reason, and only when all those before it pass."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.api.pushuser import PushUserSpec
from mailpush.credentials.stored import StoredState
from mailpush.decision import (
    ACCEPTED,
    CHECKS,
    REASONS,
    Placement,
    SecretFacts,
    SiteFacts,
    StoredFacts,
    TokenFacts,
    UserFacts,
    decide,
    login_of,
    question_of,
    site_facts,
    user_facts,
)
from mailpush.packages import DOVECOT, IMAPIDLE, MAILNOTIFY, REST
from mailpush.properties.patterns import ClientPatterns
from mailpush.properties.read import read
from mailpush.properties.render import render
from mailpush.properties.secrets import ResolvedSecrets
from mailpush.properties.settings import Settings

SITE = SiteFacts(
    allow_permanent_push=True,
    allowed_clients=ClientPatterns.parse("open-xchange-mobile-api-facade*"),
    packages=frozenset({DOVECOT, REST}),
    mechanisms_order=("dovecot", "imapidle", "mailnotify"),
    mechanisms_enabled={"dovecot": True, "imapidle": True},
    mail_access=True,
    servers=("default", "other"),
    password_source="global",
    has_master_password=True,
)
USER = UserFacts(1, 3, clients=("open-xchange-mobile-api-facade-brand",), login="anton")
SECRETS = replace(SITE, password_source="session", user_secrets=True)
STORAGE = replace(SITE, password_source="session", credential_storage=True)
TOKENS = replace(SITE, password_source="session", oauth=True)
SECRET = SecretFacts(found=True, permitted=True, has_password=True)
SECRET_USER = replace(USER, secret_name="anton", secret=SECRET)


PROPERTIES = frozenset(
    {
        "com.openexchange.push.allowPermanentPush",
        "com.openexchange.push.dovecot.enabled",
        "com.openexchange.push.imapidle.supportsPermanentListeners",
        "com.openexchange.mail.passwordSource",
        "com.openexchange.mail.loginSource",
    }
)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"allow_permanent_push": False}, "allowPermanentPush"),
        ({"packages": frozenset({IMAPIDLE})}, "supportsPermanentListeners"),
        ({"mechanisms_enabled": {"dovecot": False}}, "dovecot.enabled"),
        ({"has_master_password": False}, "passwordSource"),
        ({"password_source": "session"}, "passwordSource"),
        ({"login_source": "mail"}, "loginSource"),
    ],
)
def test_advice_names_the_place_that_has_the_value_the_field_or_the_property(
    changes: dict[str, Any], field: str
) -> None:
    by_field = decide(USER, replace(SITE, **changes)).message
    by_property = decide(USER, replace(SITE, by_property=PROPERTIES, **changes)).message
    (key,) = [key for key in PROPERTIES if key.endswith(field)]
    assert field in by_field
    assert key not in by_field
    assert f"{key} in properties" in by_property


@pytest.mark.parametrize(
    ("user", "site", "check", "reason", "code"),
    [
        (USER, replace(SITE, allow_permanent_push=False), "permanent_push_allowed", "PermanentPushDisabled", None),
        (USER, replace(SITE, packages=frozenset({REST})), "package_enabled", "NoPushPackage", None),
        (USER, replace(SITE, packages=frozenset({MAILNOTIFY})), "package_enabled", "NotYetSupported", None),
        (
            USER,
            replace(SITE, packages=frozenset({IMAPIDLE})),
            "package_supports_permanent",
            "PermanentNotSupported",
            "PUSH-0009",
        ),
        (replace(USER, clients=()), SITE, "client_registered", "NotRegistered", "PUSH-0008"),
        (replace(USER, clients=("open-xchange-appsuite",)), SITE, "client_allowed", "ClientNotAllowed", None),
        (replace(USER, placement=Placement(7, None)), SITE, "assigned", "NotAssigned", None),
        (replace(USER, placement=Placement(7, "pod-1", here="pod-0")), SITE, "assigned", "AssignedElsewhere", None),
        (replace(USER, placement=Placement(7, "pod-1", allowed=False)), SITE, "pod_allowed", "PodExcluded", None),
        (replace(USER, suspended=True), SITE, "user_active", "Suspended", None),
        (USER, replace(SITE, mechanisms_enabled={"dovecot": False}), "mechanism_enabled", "MechanismDisabled", None),
        (USER, replace(SITE, mail_access=False, servers=()), "mail_access_configured", "MailAccessMissing", None),
        (USER, replace(SITE, servers=()), "mail_access_configured", "MailAccessMissing", None),
        (replace(USER, server="gone"), SITE, "server_known", "ServerUnknown", None),
        (
            replace(SECRET_USER, secret=replace(SECRET, permitted=False)),
            SECRETS,
            "secret_permitted",
            "SecretNotPermitted",
            None,
        ),
        (USER, replace(SITE, has_master_password=False), "password_available", "MasterPasswordMissing", "PUSH-0005"),
        (USER, SECRETS, "password_available", "PasswordMissing", "PUSH-0006"),
        (replace(SECRET_USER, secret=None), SECRETS, "password_available", "PasswordMissing", "PUSH-0006"),
        (
            replace(SECRET_USER, secret=SecretFacts(found=False)),
            SECRETS,
            "password_available",
            "PasswordMissing",
            "PUSH-0006",
        ),
        (
            replace(SECRET_USER, secret=SecretFacts(found=True)),
            SECRETS,
            "password_available",
            "PasswordMissing",
            "PUSH-0006",
        ),
        (SECRET_USER, replace(SECRETS, user_secrets=False), "password_available", "PasswordMissing", "PUSH-0006"),
        *(
            (replace(USER, stored=StoredFacts(state)), STORAGE, "password_available", reason, code)
            for state, reason, code in (
                ("missing", "CredentialsMissing", "PUSH-0006"),
                ("clearText", "ClearTextCredential", "PUSH-0006"),
                ("damaged", "CredentialDamaged", "PUSH-0006"),
                ("tooLong", "CredentialTooLong", "PUSH-0006"),
                ("undecryptable", "CredentialUndecryptable", "PUSH-0006"),
                ("mismatch", "PasscryptMismatch", "PUSH-0006"),
                ("unavailable", "CredentialStorageUnavailable", None),
            )
        ),
        (
            replace(USER, token=TokenFacts(False, "the endpoint says invalid_client")),
            TOKENS,
            "password_available",
            "TokenMissing",
            "PUSH-0006",
        ),
        (replace(USER, login=None), SITE, "login_known", "LoginMissing", "PUSH-0007"),
        (USER, replace(SITE, login_source="mail"), "login_known", "LoginMissing", "PUSH-0007"),
        (
            replace(USER, login=None, mail="a@example.org"),
            replace(SITE, login_source="name"),
            "login_known",
            "LoginMissing",
            "PUSH-0007",
        ),
        (replace(USER, elder="mail/main-1-1"), SITE, "mailbox_free", "DuplicateLogin", None),
        (
            replace(USER, mail="@example.org"),
            replace(SITE, login_source="mailLocalPart"),
            "login_known",
            "LoginMissing",
            "PUSH-0007",
        ),
    ],
)
def test_each_row_refuses_with_its_reason(
    user: UserFacts, site: SiteFacts, check: str, reason: str, code: str | None
) -> None:
    decision = decide(user, site)
    assert (decision.spawn, decision.reason, decision.code, decision.mechanisms) == (False, reason, code, ())
    assert reason in REASONS
    outcomes = [row.outcome for row in decision.trail]
    refused = outcomes.index("refused")
    assert decision.trail[refused].check == check
    assert outcomes == ["passed"] * refused + ["refused"] + ["not reached"] * (len(CHECKS) - refused - 1)
    assert decision.message == decision.trail[refused].message != ""
    assert (decision.trail[refused].reason, decision.trail[refused].code) == (reason, code)


def test_every_check_asks_a_question() -> None:
    questions = [question_of(check) for check in CHECKS]
    assert all(question.endswith("?") for question in questions)
    assert [row.question for row in decide(USER, SITE).trail] == questions


@pytest.mark.parametrize(
    ("user", "site", "mechanisms"),
    [
        (USER, SITE, ("dovecot",)),
        (SECRET_USER, SECRETS, ("dovecot",)),
        (replace(USER, placement=Placement(7, "pod-1", here="pod-1")), SITE, ("dovecot",)),
        (replace(SECRET_USER, login=None, secret=replace(SECRET, has_login=True)), SECRETS, ("dovecot",)),
        (replace(USER, server="other"), SITE, ("dovecot",)),
        (replace(USER, clients=("no", "OPEN-XCHANGE-MOBILE-API-FACADE")), SITE, ("dovecot",)),
        (replace(USER, clients=("anything",)), replace(SITE, allowed_clients=ClientPatterns()), ("dovecot",)),
        (USER, replace(SITE, packages=frozenset({DOVECOT, IMAPIDLE})), ("dovecot",)),
        (
            USER,
            replace(SITE, packages=frozenset({DOVECOT, IMAPIDLE}), imapidle_permanent=True),
            ("dovecot", "imapidle"),
        ),
        (
            USER,
            replace(
                SITE,
                packages=frozenset({DOVECOT, IMAPIDLE, MAILNOTIFY}),
                imapidle_permanent=True,
                mechanisms_order=("imapidle",),
            ),
            ("imapidle", "dovecot"),
        ),
        (
            USER,
            replace(
                SITE,
                packages=frozenset({DOVECOT, IMAPIDLE}),
                imapidle_permanent=True,
                mechanisms_enabled={"dovecot": False, "imapidle": True},
            ),
            ("imapidle",),
        ),
    ],
)
def test_a_user_who_passes_every_row_gets_the_first_mechanism(
    user: UserFacts, site: SiteFacts, mechanisms: tuple[str, ...]
) -> None:
    decision = decide(user, site)
    assert (decision.spawn, decision.reason, decision.code) == (True, ACCEPTED, None)
    assert (decision.mechanism, decision.mechanisms) == (mechanisms[0], mechanisms)
    assert all(row.outcome == "passed" and row.message for row in decision.trail)


def test_the_refusal_of_a_client_names_the_clients_and_the_patterns() -> None:
    decision = decide(replace(USER, clients=("a", "b")), SITE)
    assert decision.message == (
        "none of the registered clients a, b matches allowedClients (open-xchange-mobile-api-facade*); "
        "add a pattern or register an allowed client"
    )


SPEC: dict[str, Any] = {
    "packages": {"status": {DOVECOT: "enabled"}},
    "mailAccess": {
        "passwordSource": "global",
        "masterPasswordSecretRef": {"name": "master", "key": "password"},
        "servers": [{"name": "default", "host": "dovecot"}, {"name": "two", "host": "dovecot2"}],
    },
}


def settings(**changes: Any) -> Settings:
    spec = MailPushConfigSpec.model_validate(SPEC | changes)
    secrets = ResolvedSecrets(b"key", {"mailAccess.masterPasswordSecretRef": "hunter2"})
    return read(render(spec, secrets, "main").directory)


def user_spec(**fields: Any) -> PushUserSpec:
    spec = {"configRef": {"name": "main"}, "contextId": 1, "userId": 3, "clients": ["USM-EAS-phone"], **fields}
    return PushUserSpec.model_validate(spec)


def test_facts_of_a_rendered_configuration_and_a_user_lead_to_a_listener() -> None:
    site = site_facts(settings())
    assert site == replace(
        SITE,
        allowed_clients=ClientPatterns.parse("USM-EAS*, open-xchange-mobile-api-facade*"),
        servers=("default", "two"),
        mechanisms_enabled={"dovecot": True, "imapidle": False},
    )
    decision = decide(user_facts(user_spec(login="anton", server="two")), site)
    assert (decision.spawn, decision.mechanism) == (True, "dovecot")
    assert "hunter2" not in f"{site}{decision}"


def test_facts_of_a_configuration_without_mail_access_say_so() -> None:
    site = site_facts(settings(mailAccess=None))
    assert decide(user_facts(user_spec(login="anton")), site).reason == "MailAccessMissing"


@pytest.mark.parametrize(
    ("everywhere", "overrides", "replicas", "somewhere"),
    [
        (True, {}, 2, True),
        (False, {}, 2, False),
        (True, {1: False}, 2, True),
        (True, {0: False, 1: False}, 2, False),
        (True, {0: False, 1: False}, 3, True),
        (False, {1: True}, 2, True),
        (False, {5: True}, 2, False),
        (True, {0: False}, 0, True),
    ],
)
def test_permanent_push_is_allowed_where_one_pod_at_least_may(
    everywhere: bool, overrides: dict[int, bool], replicas: int, somewhere: bool
) -> None:
    listeners = {
        "replicas": replicas,
        "podOverrides": [{"ordinal": one, "allowPermanentPush": allowed} for one, allowed in overrides.items()],
    }
    running = settings(allowPermanentPush=everywhere, listeners=listeners)
    assert {one: running.allowed_in(one) for one in overrides} == overrides
    assert running.allowed_in(99) is everywhere
    decision = decide(user_facts(user_spec(login="anton")), site_facts(running))
    assert (decision.reason != "PermanentPushDisabled") is somewhere
    assert "in every pod" in decision.message or somewhere or not overrides


def test_a_secret_counts_only_where_the_user_refers_to_it() -> None:
    assert user_facts(user_spec(), SECRET).secret is None
    facts = user_facts(user_spec(credentialsSecretRef={"name": "anton"}), SECRET)
    assert (facts.secret_name, facts.secret) == ("anton", SECRET)


@pytest.mark.parametrize(
    ("login_source", "fields", "secret_login", "user_secrets", "login"),
    [
        ("login", {"login": "anton", "mail": "a@example.org"}, None, False, "anton"),
        ("mail", {"login": "anton", "mail": "a@example.org"}, None, False, "a@example.org"),
        ("name", {"login": "anton", "mail": "a@example.org"}, None, False, "anton"),
        ("name", {"mail": "a@example.org"}, None, False, None),
        ("mailLocalPart", {"login": "anton", "mail": "a@example.org"}, None, False, "a"),
        ("mailLocalPart", {"mail": '"a@b"@example.org'}, None, False, '"a@b"'),
        ("mailLocalPart", {"login": "anton"}, None, False, None),
        ("login", {"login": "a@müller.de"}, None, False, "a@xn--mller-kva.de"),
        ("login", {"login": "a", "credentialsSecretRef": {"name": "s"}}, "b@müller.de", True, "b@xn--mller-kva.de"),
        ("login", {"mail": "a@example.org"}, None, False, None),
        ("mail", {"login": "anton"}, None, False, None),
        ("login", {"login": "anton", "credentialsSecretRef": {"name": "s"}}, "berta", True, "berta"),
        ("login", {"login": "anton", "credentialsSecretRef": {"name": "s"}}, "berta", False, "anton"),
        ("login", {"login": "anton", "credentialsSecretRef": {"name": "s"}}, None, True, "anton"),
        ("login", {"login": "anton"}, "berta", True, "anton"),
    ],
)
def test_the_login_is_taken_from_where_login_source_says(
    login_source: str, fields: dict[str, Any], secret_login: str | None, user_secrets: bool, login: str | None
) -> None:
    access = SPEC["mailAccess"] | {"loginSource": login_source, "userSecrets": {"enabled": user_secrets}}
    running = settings(mailAccess=access)
    spec = user_spec(**fields)
    assert login_of(spec, running, secret_login) == login
    secret = SecretFacts(found=True, has_password=True, has_login=secret_login is not None)
    # What the chain says about the login and what the listener then takes must agree.
    assert decide(user_facts(spec, secret), site_facts(running)).spawn is (login is not None)


def test_there_is_no_login_without_mail_access() -> None:
    assert login_of(user_spec(login="anton"), settings(mailAccess=None)) is None


@given(
    st.builds(
        SiteFacts,
        allow_permanent_push=st.booleans(),
        allowed_clients=st.sampled_from([ClientPatterns(), ClientPatterns.parse("a*")]),
        packages=st.frozensets(st.sampled_from([DOVECOT, IMAPIDLE, MAILNOTIFY, REST])),
        mechanisms_order=st.sampled_from([("dovecot", "imapidle"), ("imapidle",), ()]),
        mechanisms_enabled=st.dictionaries(st.sampled_from(["dovecot", "imapidle"]), st.booleans()),
        imapidle_permanent=st.booleans(),
        mail_access=st.booleans(),
        servers=st.sampled_from([(), ("default",)]),
        password_source=st.sampled_from(["session", "global"]),
        login_source=st.sampled_from(["login", "mail", "name", "mailLocalPart"]),
        has_master_password=st.booleans(),
        user_secrets=st.booleans(),
        credential_storage=st.booleans(),
        oauth=st.booleans(),
        doveadm=st.booleans(),
        prefer_doveadm=st.booleans(),
    ),
    st.builds(
        UserFacts,
        context_id=st.just(1),
        user_id=st.just(3),
        clients=st.sampled_from([(), ("a",), ("b", "c")]),
        suspended=st.booleans(),
        login=st.sampled_from([None, "anton"]),
        mail=st.sampled_from([None, "a@example.org"]),
        server=st.sampled_from([None, "default", "other"]),
        secret_name=st.sampled_from([None, "s"]),
        secret=st.none() | st.builds(SecretFacts, st.booleans(), st.booleans(), st.booleans(), st.booleans()),
        stored=st.none() | st.builds(StoredFacts, st.sampled_from([state.value for state in StoredState])),
        token=st.none() | st.builds(TokenFacts, st.booleans(), st.just("why")),
    ),
)
def test_every_combination_is_decided_with_a_known_reason(site: SiteFacts, user: UserFacts) -> None:
    decision = decide(user, site)
    assert decision.reason in (REASONS if not decision.spawn else {ACCEPTED})
    assert decision.spawn is (decision.mechanism is not None)
    assert not decision.doveadm or (site.doveadm and "dovecot" in decision.mechanisms)
    assert len(decision.trail) == len(CHECKS)


def test_with_a_global_mail_server_it_does_not_matter_which_one_the_user_names() -> None:
    decision = decide(replace(USER, server="gone"), replace(SITE, server_per_user=False))
    assert decision.spawn
    (row,) = [row for row in decision.trail if row.check == "server_known"]
    assert row.message == "server default, everybody's (mailServerSource is global)"


@pytest.mark.parametrize(
    ("user", "site", "detail"),
    [
        (USER, "STORAGE", "takes the password from the credential storage"),
        (replace(USER, stored=StoredFacts("usable")), "STORAGE", "stands in the credential storage"),
        (replace(USER, stored=StoredFacts("missing")), "BOTH", "logs in by an access token"),
        (
            replace(USER, stored=StoredFacts("usable"), token=TokenFacts(True)),
            "BOTH",
            "stands in the credential storage",
        ),
        (replace(USER, token=TokenFacts(True)), "TOKENS", "there is an access token"),
        (SECRET_USER, "ALL", "the password stands in Secret"),
        (replace(USER, stored=StoredFacts("usable")), "ALL", "stands in the credential storage"),
    ],
)
def test_a_users_own_secret_comes_before_the_storage_and_that_before_a_token(
    user: UserFacts, site: str, detail: str
) -> None:
    sites = {
        "STORAGE": STORAGE,
        "TOKENS": TOKENS,
        "BOTH": replace(STORAGE, oauth=True),
        "ALL": replace(SECRETS, credential_storage=True, oauth=True),
    }
    (row,) = [row for row in decide(user, sites[site]).trail if row.check == "password_available"]
    assert row.outcome == "passed"
    assert detail in row.message


BY_DOVEADM = replace(SITE, password_source="session", doveadm=True)
BOTH_MECHANISMS: dict[str, Any] = {"packages": frozenset({DOVECOT, IMAPIDLE}), "imapidle_permanent": True}


@pytest.mark.parametrize(
    ("user", "site", "mechanisms", "doveadm", "detail"),
    [
        (USER, BY_DOVEADM, ("dovecot",), True, "there is no password (PasswordMissing), so doveadm registers"),
        (USER, replace(BY_DOVEADM, password_source="global", has_master_password=False), ("dovecot",), True, "Master"),
        (USER, replace(BY_DOVEADM, password_source="global"), ("dovecot",), False, "the master password is set"),
        (
            USER,
            replace(BY_DOVEADM, password_source="global", prefer_doveadm=True),
            ("dovecot",),
            True,
            "no password is needed",
        ),
        (USER, replace(BY_DOVEADM, **BOTH_MECHANISMS), ("dovecot",), True, "PasswordMissing"),
        (
            USER,
            replace(BY_DOVEADM, password_source="global", prefer_doveadm=True, **BOTH_MECHANISMS),
            ("dovecot", "imapidle"),
            True,
            "the master password is set",
        ),
        (replace(USER, token=TokenFacts(True)), replace(BY_DOVEADM, oauth=True), ("dovecot",), False, "access token"),
        (replace(USER, token=TokenFacts(False)), replace(BY_DOVEADM, oauth=True), ("dovecot",), True, "TokenMissing"),
        (
            replace(USER, stored=StoredFacts("missing")),
            replace(BY_DOVEADM, credential_storage=True),
            ("dovecot",),
            True,
            "CredentialsMissing",
        ),
        (
            replace(USER, stored=StoredFacts("unavailable")),
            replace(BY_DOVEADM, credential_storage=True, prefer_doveadm=True, **BOTH_MECHANISMS),
            ("dovecot",),
            True,
            "CredentialStorageUnavailable",
        ),
        (
            replace(SECRET_USER, secret=replace(SECRET, permitted=False)),
            replace(BY_DOVEADM, user_secrets=True, prefer_doveadm=True),
            ("dovecot",),
            True,
            "no password is needed",
        ),
    ],
)
def test_doveadm_registers_who_has_no_password_and_everybody_where_it_is_preferred(
    user: UserFacts, site: SiteFacts, mechanisms: tuple[str, ...], doveadm: bool, detail: str
) -> None:
    decision = decide(user, site)
    assert (decision.spawn, decision.mechanisms, decision.doveadm) == (True, mechanisms, doveadm)
    (row,) = [row for row in decision.trail if row.check == "password_available"]
    assert row.outcome == "passed"
    assert detail in row.message


@pytest.mark.parametrize(
    ("user", "site", "reason"),
    [
        (USER, replace(BY_DOVEADM, packages=frozenset({IMAPIDLE}), imapidle_permanent=True), "PasswordMissing"),
        (
            USER,
            replace(BY_DOVEADM, mechanisms_enabled={"dovecot": False}, **BOTH_MECHANISMS),
            "PasswordMissing",
        ),
        (USER, replace(BY_DOVEADM, doveadm=False, prefer_doveadm=True), "PasswordMissing"),
        (replace(USER, login=None), BY_DOVEADM, "LoginMissing"),
        (
            replace(USER, stored=StoredFacts("unavailable")),
            replace(BY_DOVEADM, credential_storage=True),
            "CredentialStorageUnavailable",
        ),
        (
            replace(USER, stored=StoredFacts("mismatch")),
            replace(BY_DOVEADM, credential_storage=True),
            "PasscryptMismatch",
        ),
        (
            replace(SECRET_USER, secret=replace(SECRET, permitted=False)),
            replace(BY_DOVEADM, user_secrets=True),
            "SecretNotPermitted",
        ),
    ],
)
def test_doveadm_does_not_stand_in_for_anything_else(user: UserFacts, site: SiteFacts, reason: str) -> None:
    decision = decide(user, site)
    assert (decision.spawn, decision.reason, decision.doveadm) == (False, reason, False)


def test_advice_for_who_has_no_password_names_doveadm() -> None:
    assert "mailAccess.doveadm.enabled" in decide(USER, replace(BY_DOVEADM, doveadm=False)).message
