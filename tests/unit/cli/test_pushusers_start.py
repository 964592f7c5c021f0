"""`pushusers` starts at once and says no secret."""

import io
import subprocess
import sys

import pytest

from mailpush.cli.pushusers.client import Target
from mailpush.cli.pushusers.command import run

HEAVY = {
    "aiohttp", "asyncio", "click", "cryptography", "email", "http.client", "httpx", "json", "kopf", "kubernetes",
    "msgspec", "pydantic", "rich", "ssl", "structlog", "yaml",
}  # fmt: skip
SCRIPT = """
import sys
before = set(sys.modules)
sys.argv = ["pushusers", "-h"]
from mailpush.cli.pushusers import main
try:
    main()
except SystemExit as end:
    assert end.code == 0
    print("\\n".join(sorted(set(sys.modules) - before)), file=sys.stderr)
"""


def test_help_loads_nothing_that_takes_time() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: pushusers ")
    loaded = set(done.stderr.split())
    assert "mailpush.cli.pushusers.options" in loaded
    assert loaded & HEAVY == set()


def test_the_script_is_installed_and_ends_with_the_codes_of_ox() -> None:
    script = [sys.executable, "-c", "from mailpush.cli.pushusers import main; main()"]
    assert subprocess.run([*script, "-h"], capture_output=True, check=False).returncode == 0
    assert subprocess.run(script, capture_output=True, check=False, env={}).returncode == 255
    assert subprocess.run([*script, "-x"], capture_output=True, check=False).returncode == 1


def test_the_password_may_come_by_standard_input_and_a_line_end_is_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Target] = []

    def request(target: Target, method: str, path: str) -> dict[str, object]:
        seen.append(target)
        return {"listeners": []}

    monkeypatch.setattr(Target, "request", request)
    monkeypatch.setattr(sys, "stdin", io.StringIO(" se cret \r\n"))
    assert run(["-A", "a", "--adminpass-file", "-"], {}, io.StringIO(), io.StringIO()) == 0
    assert [target.password for target in seen] == [" se cret "]
    assert "cret" not in repr(seen)


def test_what_nobody_thought_of_is_told_without_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def request(target: Target, method: str, path: str) -> dict[str, object]:
        raise RuntimeError(f"what is {target.password}?")

    monkeypatch.setattr(Target, "request", request)
    out, err = io.StringIO(), io.StringIO()
    assert run(["-A", "a", "-P", "secret"], {}, out, err) == 1
    assert err.getvalue().startswith("A runtime error occurred: RuntimeError: ")
    assert "secret" not in err.getvalue() + out.getvalue()
