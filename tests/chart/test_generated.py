"""What is written twice stays the same."""

import importlib.util
import json
import re
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

import mailpush
from mailpush.api.mailpushconfig import MailPushConfigSpec
from tests.chart.conftest import CHART, EXAMPLE, ROOT


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chart_generate", ROOT / "charts" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schema_and_the_crds_are_what_the_models_give(generator: ModuleType) -> None:
    assert generator.stale() == []


def test_what_differs_is_named(generator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "values_schema", dict)
    assert generator.stale() == ["charts/mail-push/files/known.json", "charts/mail-push/values.schema.json"]


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return found


def test_the_schema_is_a_schema_and_takes_the_defaults_and_the_example() -> None:
    jsonschema.Draft7Validator.check_schema(schema())
    jsonschema.validate(yaml.safe_load((CHART / "values.yaml").read_text()), schema())
    jsonschema.validate(yaml.safe_load(EXAMPLE.read_text()), schema())


def test_every_value_is_in_the_schema_and_every_key_of_the_schema_has_a_default() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(here: dict[str, Any], node: dict[str, Any], path: str) -> None:
        known = node.get("properties")
        if known is None or (path and node.get("additionalProperties", True) is not False):
            return
        # What is only ever given from outside, and Kubernetes' own third kind of resources.
        optional = {"global", "enabled"} if path == "" else {"claims"}
        assert here.keys() - known.keys() == set(), f"not in the schema, at {path or 'the top'}"
        assert known.keys() - here.keys() - optional == set(), f"without a default, at {path or 'the top'}"
        for key, value in here.items():
            if isinstance(value, dict) and path + key != "mailPushConfig.spec":
                compare(value, known[key], f"{path}{key}.")

    compare(values, schema(), "")


def test_the_schema_is_closed_wherever_it_is_ours() -> None:
    spec = schema()["properties"]["mailPushConfig"]["properties"]["spec"]
    fields = {field.alias for field in MailPushConfigSpec.model_fields.values()}
    assert spec["properties"].keys() == fields
    for node in (schema()["properties"]["mailPushConfig"], spec):
        assert node["additionalProperties"] is False


def test_the_top_is_open_since_a_stack_s_values_file_has_other_charts_values_there() -> None:
    assert "additionalProperties" not in schema()
    known = json.loads((CHART / "files" / "known.json").read_text())
    assert {*known["values"], "global", "enabled"} == set(schema()["properties"])


def test_the_example_is_a_mail_push_config_that_the_models_take() -> None:
    values = yaml.safe_load(EXAMPLE.read_text())
    spec = MailPushConfigSpec.model_validate(values["mailPushConfig"]["spec"])
    assert spec.listeners.replicas == 4
    assert spec.mail_access is not None


def test_the_chart_runs_the_version_that_stands_beside_it() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == mailpush.__version__
    assert f"ARG VERSION={mailpush.__version__}\n" in (ROOT / "Dockerfile").read_text()


def test_the_image_is_built_with_the_tools_that_the_tests_run_with() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[a-z0-9-]+==[^ ;\\]+", (ROOT / name).read_text(), re.MULTILINE))

    build, dev = pins("requirements-build.txt"), pins("requirements-dev.txt")
    assert any(pin.startswith("hatchling==") for pin in build)
    assert build <= dev, "make locks, and requirements-build.txt as its first lines say"
