"""The generated page of docs/ is what the models say."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from mailpush.properties.catalog import SETTINGS

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_configuration_is_what_the_models_say(generate: ModuleType) -> None:
    assert generate.main(["--check"]) == 0, "run `make docs`"


def test_a_page_that_differs_is_shown_as_a_diff_and_fails(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "configuration.md"
    page.write_text(generate.PAGE.read_text().replace("| `INBOX` |", "| `Inbox` |"))
    monkeypatch.setattr(generate, "PAGE", page)
    assert generate.main(["--check"]) == 1
    difference = capsys.readouterr().out
    assert "-| `com.openexchange.push.imapidle.folder`" in difference
    assert "| `INBOX` |" in difference
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


def test_every_property_and_field_has_a_line_with_words(generate: ModuleType) -> None:
    lines = [line.split(" | ") for line in generate.page().splitlines() if line.startswith("| ") and "`" in line]
    shown = {(cells[0].strip("| `"), cells[1].strip("`")) for cells in lines}
    assert {(setting.key or "-", setting.field) for setting in SETTINGS} <= shown
    assert [cells for cells in lines if len(cells) != 6 or not cells[5].strip("| ")] == []
