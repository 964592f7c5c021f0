"""How the tests' Dovecots take OAuth 2.0 access tokens, as docs/credentials.md says it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dev.services.authorization import CLIENT
from dev.services.releases import Version

MECHANISMS: Final = ("oauthbearer", "xoauth2")


@dataclass(frozen=True)
class OAuth:
    """Tokens that are checked by `key` (HS256) in Dovecot itself, or by introspection at a URL.

    A token opens its subject's mailbox. `client_for_all`: one of our client opens every mailbox, for which Dovecot 2.4
    has no setting.
    """

    key: bytes | None = field(default=None, repr=False)
    introspection_url: str | None = None
    mechanisms: Sequence[str] = MECHANISMS
    client_for_all: bool = False

    def keys(self) -> dict[Path, str]:
        """Files below the folder of keys: `<azp>/<alg>/<kid>`."""
        return {Path(CLIENT, "HS256", "default"): base64.b64encode(self.key).decode()} if self.key is not None else {}

    def settings(self, version: Version, folder: Path) -> tuple[str, str]:
        """Of dovecot.conf, and of the file `oauth2.conf` in `folder`, which 2.3 reads for it."""
        if version != "2.3" and self.client_for_all:
            raise ValueError("Dovecot 2.4 compares a token's user with the mailbox in every case")
        return self._of_2_3(folder) if version == "2.3" else (self._of_2_4(folder), "")

    def _of_2_3(self, folder: Path) -> tuple[str, str]:
        main = f"""\
auth_mechanisms = plain login {" ".join(self.mechanisms)}
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {folder}/oauth2.conf
}}
"""
        checked = (
            f"introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={folder}/keys/\n"
            if self.key is not None
            else f"introspection_mode = post\nintrospection_url = {self.introspection_url}\n"
        )
        attribute, value = self._active()
        # A format without %u makes the same of every name, so that all names agree.
        allowed = "username_format = any\n" if self.client_for_all else ""
        own = f"username_attribute = sub\nscope = mail\nactive_attribute = {attribute}\nactive_value = {value}\n"
        return main, f"{checked}{own}{allowed}"

    def _active(self) -> tuple[str, str]:
        """Any other with introspection, and Dovecot calls an inactive token a failure of its own."""
        return ("azp", CLIENT) if self.key is not None else ("active", "true")

    def _of_2_4(self, folder: Path) -> str:
        checked = (
            f"""\
  introspection_mode = local
  oauth2_local_validation {{
    dict fs {{
      fs posix {{
        prefix = {folder}/keys/
      }}
    }}
  }}"""
            if self.key is not None
            else f"  introspection_mode = post\n  introspection_url = {self.introspection_url}"
        )
        attribute, value = self._active()
        return f"""\
auth_mechanisms = plain login {" ".join(self.mechanisms)}
oauth2 {{
{checked}
  username_attribute = sub
  scope = mail
  active_attribute = {attribute}
  active_value = {value}
}}
"""
