"""The table of settings: complete in both directions, and true of what is rendered."""

from collections.abc import Iterator
from typing import Any

import pytest

from mailpush.api.mailpushconfig import SECRET_PROPERTIES, MailPushConfigSpec
from mailpush.api.schema import structural_schema
from mailpush.properties import keys
from mailpush.properties.catalog import RELOADS, SETTINGS, Reload, Setting, settings_of, takes_a_restart
from mailpush.properties.format import load
from tests.golden.cases import CASES, Case

FIELDS = {setting.field for setting in SETTINGS}


def leaves(node: dict[str, Any], path: str = "") -> Iterator[str]:
    """Fields that take a value; a reference to a Secret is one."""
    if "properties" in node and not path.endswith("Ref"):
        for name, child in node["properties"].items():
            yield from leaves(child, f"{path}.{name}".removeprefix("."))
    elif "properties" in (node.get("items") or {}):
        yield from leaves(node["items"], f"{path}[]")
    else:
        yield path


def test_every_field_of_the_spec_stands_in_the_table_and_no_other() -> None:
    assert set(leaves(structural_schema(MailPushConfigSpec))) == FIELDS, "add it to properties/catalog.py"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder.name)
def test_what_is_rendered_stands_in_the_file_of_the_table(case: Case) -> None:
    verbatim = case.spec.properties.keys()
    for file, text in case.rendered().directory.items():
        for key in load(text).keys() - verbatim:
            assert {setting.file for setting in settings_of(key)} == {file}, key


def test_every_property_of_the_table_is_rendered_by_one_of_the_golden_cases() -> None:
    rendered = {key for case in CASES for text in case.rendered().directory.values() for key in load(text)}
    missing = [
        setting.key for setting in SETTINGS if setting.key and not any(setting in settings_of(key) for key in rendered)
    ]
    assert missing == [], "give one of tests/golden the field"


def test_every_name_of_a_property_is_in_the_table() -> None:
    constants = (value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str))
    known = {value for value in constants if value.startswith(("com.openexchange.", "mailpush."))}
    assert [key for key in sorted(known) if not any(settings_of(key))] == [keys.ALLOWED_CLIENT]


def test_what_properties_must_not_hold_is_exactly_what_is_secret_of_ox() -> None:
    secret = {setting.key for setting in SETTINGS if setting.secret and setting.key}
    assert {key for key in secret if key.startswith("com.openexchange.")} == SECRET_PROPERTIES.keys()
    for setting in SETTINGS:
        if setting.key in SECRET_PROPERTIES:
            assert SECRET_PROPERTIES[setting.key] == setting.field


def test_only_what_the_listeners_boot_from_takes_a_restart() -> None:
    assert takes_a_restart("mailpush.redis.url")
    assert not takes_a_restart("mailpush.redis.urls")
    assert not takes_a_restart("com.openexchange.push.allowedClients")
    assert {setting.key for setting in SETTINGS if setting.key and setting.reload is Reload.RESTART} == {
        "mailpush.redis.url"
    }


def test_a_name_within_a_property_is_any_name() -> None:
    (setting,) = settings_of("mailpush.webhook.my-hook.url")
    assert setting == Setting("transports.webhooks[].url", "mailpush.webhook.{name}.url", Reload.LIVE)
    assert list(settings_of("mailpush.webhook.my.hook.url")) == []


def test_every_way_of_taking_a_change_is_explained() -> None:
    assert set(RELOADS) == set(Reload)
