"""What is fuzzed. Each function takes any bytes, and what it raises is a fault: refusals are caught here."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mailpush.credentials.forms import classify
from mailpush.imap import commands
from mailpush.imap.errors import ImapProtocolError
from mailpush.imap.parser import MAX_RESPONSE
from mailpush.imap.protocol import ImapProtocol
from mailpush.notifications.callback import CallbackError, parse_callback
from mailpush.notifications.notification import NewMail, body
from mailpush.properties.format import PropertiesError, dump, load

SEEDS: Final = Path(__file__).with_name("seeds")
"""By target: what real servers said, and inputs that once did harm (`found-*`)."""

COMMANDS: Final = (
    commands.simple("CAPABILITY"),
    commands.get_metadata("/private/vendor/vendor.dovecot/http-notify"),
    commands.examine("INBOX"),
    commands.fetch_headers((1, 2, 3)),
    commands.status("INBOX", ("UIDNEXT", "UIDVALIDITY")),
    commands.simple("IDLE"),
    commands.simple("LOGOUT"),
)
HELD: Final = MAX_RESPONSE + 2 * 64 * 1024


def imap(data: bytes) -> None:
    """A server that says anything, in pieces of any size, while we go from one command to the next."""
    core = ImapProtocol()
    size, said = 1 + data[0] % 64 if data else 1, data[1:]
    waiting = list(COMMANDS)
    try:
        for start in range(0, len(said), size):
            core.receive(said[start : start + size])
            if core.held > HELD:
                raise AssertionError(f"{core.held} bytes of the server's are kept")
            if core.idling:
                core.done()
            if core.greeting is not None and not core.busy and waiting:
                core.start(waiting.pop(0))
            core.outgoing()
    except ImapProtocolError:
        return


def callback(data: bytes) -> None:
    """A callback's body, up to the notification that comes of it."""
    try:
        event = parse_callback(data, 1_800_000_000.0)
    except CallbackError:
        return
    if isinstance(event, NewMail):
        body(event, ("phone",), "full").decode("utf-8")


def properties(data: bytes) -> None:
    """A property file; what is read is written again, and reads the same."""
    try:
        found = load(data.decode("utf-8", "replace"))
    except PropertiesError:
        return
    if load(dump(found)) != found:
        raise AssertionError("what was written reads otherwise")


def credentials(data: bytes) -> None:
    """A row of a table of credentials that others write as well."""
    classify(data.decode("utf-8", "replace"))


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    target.__name__: target for target in (imap, callback, properties, credentials)
}
