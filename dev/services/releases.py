"""The two Dovecots that the tests know: how each is configured to call for a mail, as docs/dovecot.md says it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from dev.images import debian
from dev.programs import packages

Version = Literal["2.3", "2.4"]

VERSIONS: Final[tuple[Version, ...]] = ("2.3", "2.4")


@dataclass(frozen=True)
class Release:
    """A Dovecot of Debian's `suite`.

    `push` gives its settings for METADATA and for calling each of the URLs, which Dovecot waits for `patience` seconds:
    once, and once more. `changed` gives those for the logins of a pattern that have another password.
    """

    version: Version
    suite: str
    push: Callable[[Sequence[str], float], str]
    changed: Callable[[str, str], str]

    @property
    def template(self) -> str:
        """All settings but those of `push`, for string.Template."""
        return Path(__file__).with_name(f"dovecot-{self.version}.conf.template").read_text()

    def root(self) -> Path:
        """The Debian that has it; the first call on a machine takes about a minute. As root."""
        return debian.root(self.suite, packages.DOVECOT)


def _push_2_3(urls: Sequence[str], patience: float) -> str:
    drivers = "\n".join(
        f"  push_notification_driver{number or ''} = ox:url={url.replace('%', '%%')} "
        f"user_from_metadata cache_lifetime=60s timeout_msecs={patience * 1000:.0f} max_retries=1"
        for number, url in zip((None, *range(2, 99)), urls, strict=False)
    )
    return f"""\
# Must stand before the protocol blocks that use it.
mail_plugins = notify push_notification
mail_attribute_dict = file:%h/dovecot-attributes
protocol imap {{
  imap_metadata = yes
  mail_plugins = $mail_plugins
}}
protocol lmtp {{
  mail_plugins = $mail_plugins
}}
plugin {{
{drivers}
}}
"""


def _push_2_4(urls: Sequence[str], patience: float) -> str:
    drivers = "\n".join(
        f"""\
push_notification callback{number} {{
  push_notification_driver = ox
  push_notification_ox_url = {url}
  push_notification_ox_user_from_metadata = yes
  push_notification_ox_cache_ttl = 60s
  http_client_request_timeout = {patience:.0f}s
  http_client_request_max_attempts = 2
}}"""
        for number, url in enumerate(urls)
    )
    return f"""\
mail_attribute {{
  dict file {{
    path = %{{home}}/dovecot-attributes
  }}
}}
protocol imap {{
  imap_metadata = yes
}}
protocol lmtp {{
  mail_plugins {{
    notify = yes
    push_notification = yes
  }}
}}
{drivers}
"""


def _changed_2_3(logins: str, password: str) -> str:
    return f"""\
passdb {{
  driver = static
  args = password={password}
  username_filter = {logins}
  result_failure = return-fail
}}
"""


def _changed_2_4(logins: str, password: str) -> str:
    return f"""\
passdb changed {{
  driver = static
  passdb_static_password = {password}
  username_filter = {logins}
  result_failure = return-fail
}}
"""


RELEASES: Final[dict[Version, Release]] = {
    "2.3": Release("2.3", "bookworm", _push_2_3, _changed_2_3),
    "2.4": Release("2.4", "trixie", _push_2_4, _changed_2_4),
}
