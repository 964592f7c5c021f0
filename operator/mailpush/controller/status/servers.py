"""The condition MailServerDegraded: which mail servers keep users from being listened for. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from mailpush.api.conditions import Verdict
from mailpush.controller.state import ConfigState
from mailpush.controller.status.pod import PodView
from mailpush.sharding.leases import ServerReport

TYPE: Final = "MailServerDegraded"
NAMED: Final = 8


@dataclass(slots=True)
class _Server:
    """One mail server as all pods see it."""

    users: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    texts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, report: ServerReport) -> None:
        self.users += report.users
        self.failed += report.failed
        if report.failed:
            self.reasons[report.reason] += report.alike
            self.texts[report.reason, report.text] += report.alike

    @property
    def reason(self) -> str:
        return max(self.reasons, key=lambda reason: (self.reasons[reason], reason), default="")

    def sentence(self, name: str) -> str:
        said = ((count, text) for (reason, text), count in self.texts.items() if reason == self.reason and text)
        text = max(said, default=(0, ""))[1]
        why = f"{self.reason}: {text}" if text else self.reason
        return f"{name}: {self.failed} of {self.users} users are not listened for ({why})"


def mail_servers(state: ConfigState, pods: tuple[PodView, ...]) -> Verdict | None:
    """None where no pod could say how they do."""
    settings = state.evaluation.settings if state.evaluation is not None else None
    if settings is None or settings.mail is None or not any(_says(view) for view in pods):
        return None
    servers = _servers(pods, {server.name for server in settings.mail.servers})
    bad = {name: server for name, server in servers.items() if ServerReport(server.users, server.failed, "").degraded}
    if not bad:
        return Verdict(TYPE, "False", "Working", "no mail server keeps its users from being listened for")
    return Verdict(TYPE, "True", _worst(bad).reason, _sentences(bad))


def why_nobody(pods: tuple[PodView, ...]) -> str:
    """What keeps users from being listened for, by server; empty where nothing has failed yet."""
    failing = {name: server for name, server in _servers(pods).items() if server.failed}
    return _sentences(failing)


def _servers(pods: tuple[PodView, ...], names: set[str] | None = None) -> dict[str, _Server]:
    found: dict[str, _Server] = {}
    for view in pods:
        if view.lease is not None and _says(view):
            for name, report in view.lease.servers.items():
                if names is None or name in names:
                    found.setdefault(name, _Server()).add(report)
    return found


def _says(view: PodView) -> bool:
    return view.lease is not None and view.lease.held_by(view.pod.ref.uid)


def _worst(servers: dict[str, _Server]) -> _Server:
    return max(servers.values(), key=lambda server: (server.failed, server.reason))


def _sentences(servers: dict[str, _Server]) -> str:
    by_weight = sorted(servers.items(), key=lambda item: (-item[1].failed, item[0]))
    more = f" and {len(servers) - NAMED} more servers" if len(servers) > NAMED else ""
    return "; ".join(server.sentence(name) for name, server in by_weight[:NAMED]) + more
