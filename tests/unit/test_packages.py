"""Push packages by the rules of OX's chart and our two stated differences."""

from typing import Any

import pytest

from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.decision.evaluation import evaluate
from mailpush.packages import (
    DOVECOT,
    IMAPIDLE,
    MAILNOTIFY,
    PUSH_PACKAGES,
    REST,
    PackageError,
    effective,
    in_effect,
    mechanisms_of,
    package_of,
)
from mailpush.properties.secrets import ResolvedSecrets

ON, OFF = "enabled", "disabled"


@pytest.mark.parametrize(
    ("features", "packages", "expected"),
    [
        ({}, {}, set()),
        ({}, {DOVECOT: ON}, {DOVECOT, REST}),
        ({}, {DOVECOT: OFF}, set()),
        ({}, {DOVECOT: ON, REST: ON}, {DOVECOT, REST}),
        ({}, {DOVECOT: ON, REST: OFF}, set()),
        ({REST: OFF}, {DOVECOT: ON}, set()),
        ({REST: OFF}, {DOVECOT: ON, REST: ON}, {DOVECOT, REST}),
        ({}, {REST: OFF}, set()),
        ({}, {IMAPIDLE: ON, REST: OFF}, {IMAPIDLE}),
        ({IMAPIDLE: ON}, {}, {IMAPIDLE}),
        ({IMAPIDLE: ON}, {IMAPIDLE: OFF}, set()),
        ({IMAPIDLE: OFF}, {IMAPIDLE: ON}, {IMAPIDLE}),
        ({}, {MAILNOTIFY: ON, "open-xchange-pns-impl": ON}, {MAILNOTIFY, "open-xchange-pns-impl"}),
    ],
)
def test_packages_win_over_features_and_the_unlisted_are_off(
    features: dict[str, str], packages: dict[str, str], expected: set[str]
) -> None:
    assert in_effect(effective(features, packages)) == expected


def test_a_feature_stands_for_the_packages_of_its_definition() -> None:
    states = effective({"push": ON}, {IMAPIDLE: OFF}, {"push": (DOVECOT, IMAPIDLE)})
    assert in_effect(states) == {DOVECOT, REST}
    assert states[0].reason == "features.status.push is enabled"


def test_each_push_package_is_listed_with_its_reason_before_the_others() -> None:
    states = effective({}, {"b": ON, "a": OFF, DOVECOT: ON})
    assert tuple(state.name for state in states) == (*PUSH_PACKAGES, "a", "b", REST)
    reasons = {state.name: state.reason for state in states}
    assert reasons[DOVECOT] == "packages.status.open-xchange-push-dovecot is enabled"
    assert reasons[IMAPIDLE] == "packages.status.open-xchange-push-imapidle is not set; push packages are off"
    assert reasons[REST] == "open-xchange-push-dovecot needs it"


def test_a_disabled_requirement_is_a_conflict_that_says_what_to_change() -> None:
    dovecot = effective({}, {DOVECOT: ON, REST: OFF})[0]
    assert dovecot.conflict
    assert not dovecot.enabled
    assert dovecot.reason == (
        "it needs open-xchange-rest, but packages.status.open-xchange-rest is disabled; "
        "enable open-xchange-rest or disable open-xchange-push-dovecot"
    )


@pytest.mark.parametrize(
    ("features", "packages", "whitelist", "expected"),
    [
        ({}, {DOVECOT: ON}, [IMAPIDLE], {IMAPIDLE}),
        ({IMAPIDLE: OFF}, {IMAPIDLE: OFF}, [IMAPIDLE], {IMAPIDLE}),
        ({}, {}, [DOVECOT], {DOVECOT, REST}),
        ({}, {REST: OFF}, [DOVECOT], {DOVECOT, REST}),
        ({}, {DOVECOT: ON}, ["open-xchange-core"], {"open-xchange-core"}),
        ({"a": ON}, {"b": ON}, [DOVECOT, "b"], {DOVECOT, REST, "b"}),
        ({}, {DOVECOT: ON}, [], {DOVECOT, REST}),
    ],
)
def test_a_whitelist_enables_exactly_what_it_names_and_what_that_needs(
    features: dict[str, str], packages: dict[str, str], whitelist: list[str], expected: set[str]
) -> None:
    assert in_effect(effective(features, packages, whitelist=whitelist)) == expected


def test_with_a_whitelist_each_reason_names_it() -> None:
    states = {state.name: state.reason for state in effective({}, {IMAPIDLE: ON}, whitelist=[DOVECOT])}
    assert states == {
        DOVECOT: "packages.whitelist names it",
        IMAPIDLE: "packages.whitelist does not name it",
        MAILNOTIFY: "packages.whitelist does not name it",
        REST: "open-xchange-push-dovecot needs it",
    }


def test_a_wrong_value_is_refused_beside_a_whitelist_as_well() -> None:
    with pytest.raises(PackageError, match="only"):
        effective({}, {"x": "on"}, whitelist=[DOVECOT])


@pytest.mark.parametrize("value", ["true", "Enabled", "", "on"])
def test_any_other_value_is_refused_with_its_key(value: str) -> None:
    with pytest.raises(PackageError, match=rf'^packages\.status\.x is "{value}"; only "enabled" and "disabled"'):
        effective({}, {"x": value})
    with pytest.raises(PackageError, match=rf'^features\.status\.y is "{value}"'):
        effective({"y": value}, {})


NO_NAMES = ("a,open-xchange-push-dovecot", "open-xchange-push-dovecot ", "", " ", "a\u00a0b", "a\n", "a" * 254)


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_no_package_can_be_called_is_passed_over_and_does_not_become_another(name: str) -> None:
    """It would come to another package in a comma list, or to a status that the API server refuses."""
    specs: list[dict[str, Any]] = [
        {"packages": {"status": {name: "enabled"}}},
        {"features": {"status": {name: "enabled"}}},
    ]
    if 0 < len(name) < 254:
        specs.append({"packages": {"whitelist": [name]}})
    for spec in specs:
        found = evaluate("main", MailPushConfigSpec.model_validate(spec), ResolvedSecrets(b"key"))
        assert {package.name for package in found.packages if package.enabled} == set()
        assert found.settings is not None
        assert found.settings.packages == frozenset()
        (warning,) = [one for one in found.warnings if one.reason == "PackageNameInvalid"]
        assert f'"{name[:80]}"' in warning.message


def test_mechanisms_follow_the_packages() -> None:
    assert mechanisms_of({IMAPIDLE, DOVECOT, REST}) == ("dovecot", "imapidle")
    assert mechanisms_of({MAILNOTIFY}) == ("mailnotify",)
    assert mechanisms_of({REST}) == ()
    assert [package_of(name) for name in ("dovecot", "imapidle", "mailnotify")] == list(PUSH_PACKAGES)
