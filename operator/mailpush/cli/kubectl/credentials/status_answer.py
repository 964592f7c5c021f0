"""A command that answers by what a MailPushConfig's status says: a sentence, and an exit code."""

import sys
from collections.abc import Callable
from typing import Final

from mailpush.cli.kubectl.cluster import ask
from mailpush.cli.kubectl.credentials.reach import Options, found_config
from mailpush.cli.kubectl.manifests import Object, Trouble
from mailpush.cli.streams import printable

DONE: Final = 0
NOT_YET: Final = 1
UNKNOWN: Final = 2


def answer(options: Options, verdict: Callable[[Object], tuple[int, str]]) -> int:
    """Prints the sentence of `verdict` and gives its exit code; UNKNOWN where it, or the reading, raises Trouble."""
    try:
        document = ask(found_config(options), without="read its status by kubectl")
        code, sentence = verdict(document)
    except Trouble as trouble:
        sys.stderr.write(f"{trouble}\n")
        return UNKNOWN
    sys.stdout.write(f"{printable(sentence)}\n")
    return code
