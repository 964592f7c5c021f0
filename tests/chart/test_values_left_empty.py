"""Keys without a value, as where everything below one is commented out, and values that would show a secret."""

import pytest

from mailpush.api.mailpushconfig import SECRET_PROPERTIES
from tests.chart.conftest import Helm, Values, mail_push_config

PAGE: Values = {"core-mw": {"packages": {"status": {"open-xchange-push-dovecot": "enabled"}}}}
MADE = {"packages": {"status": {"open-xchange-push-dovecot": "enabled"}}}


@pytest.mark.parametrize(
    "values",
    [
        {**PAGE, "mailPushConfig": None},
        {**PAGE, "mailPushConfig": {"spec": None}},
        {**PAGE, "mailPushConfig": {"name": None}},
        {**PAGE, "appsuite": None},
        {**PAGE, "appsuite": {"core-mw": None}},
        {"core-mw": None, "appsuite": PAGE},
        {"core-mw": {"packages": None}, "appsuite": PAGE},
        {"core-mw": {"packages": {**PAGE["core-mw"]["packages"], "whitelist": None}, "features": None}},
    ],
)
def test_a_key_that_is_left_empty_counts_as_left_out(helm: Helm, values: Values) -> None:
    config = mail_push_config(helm.render(values))
    assert config is not None
    assert (config["metadata"]["name"], config["spec"]) == ("main", MADE)


def test_nothing_but_empty_keys_makes_no_mail_push_config(helm: Helm) -> None:
    assert mail_push_config(helm.render({"core-mw": None, "appsuite": None, "mailPushConfig": None})) is None


@pytest.mark.parametrize(("key", "field"), SECRET_PROPERTIES.items())
def test_a_secret_among_the_properties_is_refused_before_it_reaches_a_config_map(
    helm: Helm, key: str, field: str
) -> None:
    said = helm.refusal({"mailPushConfig": {"spec": {"properties": {key: "hunter2"}}}})
    assert (
        f"mailPushConfig.spec.properties must not hold {key}, which is a secret: use mailPushConfig.spec.{field}"
    ) in said
    assert "hunter2" not in said
