"""YAML as kubectl reads it: each row is what `kubectl label --local -f FILE a=b -o json` (1.32) made of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mailpush.cli.yamlfiles import load_all

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = [
    *(ROOT / "crds").glob("*.yaml"),
    *(ROOT / "examples").rglob("*.yaml"),
    *(ROOT / "tests").rglob("golden/*/*.yaml"),
]
READ: dict[str, Any] = {
    "y": True, "n": False, "Y": True, "on": True, "Off": False, "TRUE": True, "yEs": "yEs",
    "~": None, "": None, "NULL": None, "nULL": "nULL",
    "2026-01-01": "2026-01-01", "2026-13-45": "2026-13-45", "2026-01-01T00:00:00Z": "2026-01-01T00:00:00Z",
    "12:30": "12:30", "12:30:45": "12:30:45", "190:20:30": "190:20:30",
    "4.0": 4, "1e3": 1000, "4.0e2": 400, "1.0e+3": 1000, "1E5": 100_000, "1e+5": 100_000, "5.": 5, ".0": 0, "-0": 0,
    ".5": 0.5, "-.5": -0.5, "+.5": 0.5, "1.5": 1.5, "0.1": 0.1, "1e21": 1e21, "1e400": "1e400", ".e5": ".e5",
    "017": 15, "0o17": 15, "08": 8, "0x1F": 31, "+0x1F": 31, "-0x1": -1, "0b11": 3, "-0b11": -3, "+12": 12,
    "0x": "0x", "0o8": "0o8", "1_000": 1000, "1__0": 10, "0_7": 7, "0x_1": 1, "1_0.5": 10.5, "_1": "_1",
    "123456789012345678901234567890": 1.2345678901234568e29,
    "=": "=", "!foo bar": "bar", '"2026-01-01"': "2026-01-01", '"y"': "y", r'"\u00e9"': "\u00e9", r'"\x80"': "\x80",
    "!!str 12": "12", "!!timestamp 2026-01-01": "2026-01-01", "!!binary aGVsbG8=": "hello", "!!float 4": 4,
    '!!int "4"': 4, '!!bool "yes"': True, "!!set {b}": {"b": None}, "!!omap [b: c]": [{"b": "c"}], "!!seq [b]": ["b"],
    "{<<: {b: c}}": {"b": "c"},
    "{y: k}": {"true": "k"}, "{1: k}": {"1": "k"}, "{1.5: k}": {"1.5": "k"}, "{4.0: k}": {"4": "k"},
    "{2026-01-01: k}": {"2026-01-01": "k"},
}  # fmt: skip
NO_YAML = (".inf", ".nan", "-.INF", r'"\uD83D\uDCEC"', r'"\uD83D"', "{~: x}", "{? [a] : b}", "!!null x", "!!bool x",
           "!!int x")  # fmt: skip


@pytest.mark.parametrize(("text", "value"), READ.items())
def test_yaml_is_read_as_kubectl_reads_it(text: str, value: Any) -> None:
    (document,) = load_all(f"a: {text}\n")
    assert document == {"a": value}
    assert type(document["a"]) is type(value)


@pytest.mark.parametrize("text", NO_YAML)
def test_what_kubectl_refuses_is_no_yaml_and_the_line_is_known(text: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        load_all(f"b: c\na: {text}\n")
    assert caught.value.problem_mark.line == 1  # type: ignore[attr-defined]


def test_what_begins_with_a_brace_is_json_where_it_can_be() -> None:
    assert load_all(
        '\n{"a": "\\ud83d\\udcec", "b": "\\ud83d", "c": 4.0, "d": 1e2, "e": 0.5, "y": "y"} {"f": []}\n'
    ) == [
        {"a": "\U0001f4ec", "b": "\ufffd", "c": 4, "d": 100, "e": 0.5, "y": "y"},
        {"f": []},
    ]
    assert load_all('{"a": y}\n---\n{b: 4.0}\n') == [{"a": True}, {"b": 4}]
    with pytest.raises(yaml.YAMLError):
        load_all('{"a": .nan}')
    with pytest.raises(RecursionError):
        load_all('{"a":' * 200_000)


def test_documents_and_aliases_are_read_in_their_order() -> None:
    assert load_all("---\n# none\n---\na: &x [1]\nb: *x\n---\nnull\n") == [None, {"a": [1], "b": [1]}, None]
    assert load_all("") == []
    for odd in ("1" * 10_000, "1" * 10_000 + ".0", "0x" + "f" * 10_000):
        assert load_all(f"a: {odd}\n") == [{"a": odd}]


@pytest.mark.parametrize("path", sorted(SHIPPED), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_we_ship_reads_the_same_to_everybody(path: Path) -> None:
    """PyYAML writes words without quotes that are texts to itself alone."""
    assert load_all(path.read_text()) == list(yaml.safe_load_all(path.read_text()))
