"""Wrong servers and wrong Secrets, one after another: each is named, nothing is green, and mending it is enough."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dev.cluster.pki import Authority
from dev.demo import users
from dev.lifecycle.stage import Stage

MAIN = tuple(user for user in users.LISTENING if user.config == "main")


@dataclass(frozen=True)
class Trouble:
    """Made by `make`, taken away by `mend`; `pattern` is looked for in conditions, as `Type=Status Reason: message`."""

    what: str
    pattern: str
    make: Callable[[Stage], None]
    mend: Callable[[Stage], None]
    ready: bool | None = False
    """Whether Ready stays True; None leaves it open."""


def wrong_servers_and_secrets(stage: Stage) -> None:
    for trouble in TROUBLES:
        trouble.make(stage)
        try:
            stage.says(trouble.what, trouble.pattern, trouble.ready)
        finally:
            trouble.mend(stage)
        stage.all_as_expected()
    stage.tell("after all troubles")


def _with_server(what: str, pattern: str, **changes: Any) -> Trouble:
    """Fields of the mail server that are changed; the server is written back as it was."""

    def make(stage: Stage) -> None:
        server = stage.site.get("mailpushconfig", "main")["spec"]["mailAccess"]["servers"][0]
        stage.remembered["server"] = server
        _servers(stage, {**server, **changes})

    return Trouble(what, pattern, make, lambda stage: _servers(stage, stage.remembered["server"]))


def _servers(stage: Stage, server: dict[str, Any]) -> None:
    patch = [{"op": "replace", "path": "/spec/mailAccess/servers/0", "value": server}]
    stage.site.kubectl("patch", "mailpushconfig", "main", "--type=json", "-p", json.dumps(patch))


def _with_secret(what: str, pattern: str, name: str, key: str, value: Callable[[], str]) -> Trouble:
    """Another value of a Secret's key; the old one is written back."""

    def make(stage: Stage) -> None:
        stage.remembered[name] = stage.site.get("secret", name)["data"][key]
        _data(stage, name, {key: base64.b64encode(value().encode()).decode()})

    return Trouble(what, pattern, make, lambda stage: _data(stage, name, {key: stage.remembered[name]}))


def _without_key(what: str, pattern: str, name: str, key: str) -> Trouble:
    def make(stage: Stage) -> None:
        stage.remembered[name] = stage.site.get("secret", name)["data"][key]
        _data(stage, name, {key: None})

    return Trouble(what, pattern, make, lambda stage: _data(stage, name, {key: stage.remembered[name]}))


def _data(stage: Stage, name: str, data: dict[str, str | None]) -> None:
    stage.site.kubectl("patch", "secret", name, "--type=merge", "-p", json.dumps({"data": data}))


def _another_ca() -> str:
    return Authority.new("Another CA").pair.certificate.decode()


TROUBLES = (
    _with_server("a port where nobody listens", r"refused|ServerUnreachable", port=144),
    _with_server("a name that does not exist", r"[Nn]ame|resol|ServerUnreachable", host="no-such-dovecot"),
    _with_server("TLS on the port of STARTTLS", r"[Ss][Tt][Aa][Rr][Tt][Tt][Ll][Ss]", security="tls"),
    _with_server(
        "no TLS where the server wants it", r"[Ss][Tt][Aa][Rr][Tt][Tt][Ll][Ss]", security="none", caSecretRef=None
    ),
    _with_secret("a wrong master password", r"AuthenticationFailed", "mail-master", "password", lambda: "wrong"),
    _without_key("a Secret without its key", r"mail-master", "mail-master", "password"),
    _with_secret("another authority", r"[Cc]ertificate|TLS", "dovecot-ca", "ca.crt", _another_ca),
)
