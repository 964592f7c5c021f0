"""From click's way of ending a program to an exit code."""

import sys
import traceback
from typing import Final

import click

from mailpush.cli.streams import answering

TROUBLE: Final = 2
"""What was asked cannot be said or done. Code 1 is an answer: not listened for, not ready."""
INTERRUPTED: Final = 130


def end(group: click.Group, name: str, complete_var: str | None = None) -> None:
    """Runs a command line and exits. Whatever nobody thought of is TROUBLE, never code 1.

    Args:
        name: as the user writes it.
        complete_var: the variable by which shells ask for completion.
    """
    raise SystemExit(answering(lambda: code_of(group, name, complete_var), name, TROUBLE))


def code_of(group: click.Group, name: str, complete_var: str | None = None) -> int:
    """The exit code of a command line."""
    try:
        code = group.main(prog_name=name, complete_var=complete_var, standalone_mode=False)
    except SystemExit as ended:
        code = ended.code
    except click.ClickException as error:
        error.show()
        return TROUBLE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception:
        traceback.print_exc()
        return TROUBLE
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
        return TROUBLE
    return code if isinstance(code, int) else 0
