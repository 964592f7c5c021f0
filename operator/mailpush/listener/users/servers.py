"""How this pod does with each mail server, for its Lease. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from mailpush.sharding.leases import ServerReport

LONGEST_TEXT: Final = 300


class ServerUser(NamedTuple):
    """A user who is to be listened for: name of the server, and reason and sentence where that has failed."""

    server: str
    failure: tuple[str, str] | None


def server_reports(users: Iterable[ServerUser]) -> dict[str, ServerReport]:
    """By name of the server."""
    counts: Counter[str] = Counter()
    failures: dict[str, Counter[tuple[str, str]]] = {}
    for server, failure in users:
        counts[server] += 1
        if failure is not None:
            failures.setdefault(server, Counter())[failure] += 1
    return {server: _report(count, failures.get(server, Counter())) for server, count in counts.items()}


def _report(users: int, failures: Counter[tuple[str, str]]) -> ServerReport:
    if not failures:
        return ServerReport(users)
    reasons: Counter[str] = Counter()
    for (reason, _), count in failures.items():
        reasons[reason] += count
    reason, alike = max(reasons.items(), key=lambda item: (item[1], item[0]))
    text, same = max(
        ((text, count) for (why, text), count in failures.items() if why == reason), key=lambda item: (item[1], item[0])
    )
    # A text that only one of many has is about that one.
    return ServerReport(users, failures.total(), reason, alike, text[:LONGEST_TEXT] if 2 * same >= alike else "")
