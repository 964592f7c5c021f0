"""`kubectl_complete-mailpush`: what kubectl asks for the completion of `kubectl mailpush` (kubectl 1.26 and newer).

kubectl calls it with the words behind `mailpush`, the last one as far as it is written. It answers with a line for each
proposal, a tab and a description behind it, and last with a colon and what the shell is to do: the bits of cobra's
`ShellCompDirective` (https://github.com/spf13/cobra, completions.go).
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Final

from click.shell_completion import CompletionItem, ShellComplete

from mailpush.cli.kubectl.main import COMPLETE_VARIABLE, NAME, main
from mailpush.cli.streams import answering

FILES: Final = 0
"""Names of files, where nothing is proposed."""
NO_FILES: Final = 4
DIRECTORIES: Final = 16


def start() -> None:
    """The script; exits."""
    raise SystemExit(answering(run, "kubectl_complete-mailpush", 1))


def run() -> int:
    sys.stdout.writelines(f"{line}\n" for line in lines(sys.argv[1:] or [""]))
    return 0


def lines(words: Sequence[str]) -> Iterator[str]:
    """The answer. `words`: those behind `mailpush`; the last is to be completed, and may be empty."""
    *before, incomplete = words
    option, equals, value = incomplete.partition("=")
    inside = bool(equals) and option.startswith("--")
    if inside:
        before, incomplete = [*before, option], value
    found = ShellComplete(main, {}, NAME, COMPLETE_VARIABLE).get_completions(before, incomplete)
    for item in found:
        if item.type == "plain":
            yield _line(f"{option}=" if inside else "", item)
    kinds = {item.type for item in found}
    yield f":{FILES if 'file' in kinds else DIRECTORIES if 'dir' in kinds else NO_FILES}"


def _line(prefix: str, item: CompletionItem) -> str:
    described = " ".join((item.help or "").split())
    return f"{prefix}{item.value}\t{described}" if described else f"{prefix}{item.value}"
