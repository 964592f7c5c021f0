"""A service that dies leaves no file with its memory."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import {module}
from mailpush.cli.main import start
{module}.run = lambda: print(resource.getrlimit(resource.RLIMIT_CORE)) or 0
sys.argv = ["mail-push", "{service}"]
start()
"""


@pytest.mark.parametrize(
    ("service", "module"), [("listener", "mailpush.listener.main"), ("operator", "mailpush.controller.main")]
)
def test_a_service_cannot_write_a_core_file(service: str, module: str) -> None:
    program = PROGRAM.format(service=service, module=module)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(0, 0)"
