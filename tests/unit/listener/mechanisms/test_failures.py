"""What an error of a mail server means, and what is advised."""

import ssl

import pytest

from mailpush.imap.errors import (
    ImapAuthError,
    ImapCertificateError,
    ImapConnectionError,
    ImapError,
    ImapNoMechanism,
    ImapProtocolError,
    ImapRefused,
    ImapTlsError,
    ImapTokenError,
    ImapUnavailable,
)
from mailpush.imap.server import ImapServer
from mailpush.imap.transport import tls_error
from mailpush.listener.mechanisms.failures import failure_of

ROWS: tuple[tuple[ImapError, str, str], ...] = (
    (ImapAuthError("no", "AUTHENTICATIONFAILED"), "AuthenticationFailed", "put the right password into the Secret"),
    (ImapAuthError("no"), "AuthenticationFailed", "put the right password into the Secret"),
    (ImapAuthError("no", "AUTHORIZATIONFAILED"), "AuthenticationFailed", "spec.login"),
    (ImapAuthError("no", "EXPIRED"), "AuthenticationFailed", "expired"),
    (ImapTokenError("no", "EXPIRED"), "AuthenticationFailed", "the client at the authorization server"),
    (ImapTokenError("no", scope_missing=True), "AuthenticationFailed", "mailAccess.oauth.tokenEndpoint.scope"),
    (ImapNoMechanism("no"), "ServerRefused", ""),
    (ImapUnavailable("no", "PRIVACYREQUIRED"), "ServerUnreachable", "set security of the server to starttls"),
    (ImapUnavailable("no", "LIMIT"), "ServerUnreachable", ""),
    (ImapRefused("no", "PRIVACYREQUIRED"), "ServerRefused", "set security of the server to starttls"),
    (ImapTlsError("no"), "ProtocolError", "see port and security of the server"),
    (ImapProtocolError("no"), "ProtocolError", "see port and security of the server"),
    (ImapCertificateError("no"), "CertificateInvalid", "caSecretRef"),
    (ImapConnectionError("no"), "ServerUnreachable", ""),
)


@pytest.mark.parametrize(("error", "reason", "advice"), ROWS)
def test_each_error_has_a_reason_and_the_advice_that_mends_it(error: ImapError, reason: str, advice: str) -> None:
    failure = failure_of(error)
    assert failure.reason == reason
    assert advice in failure.message


def test_a_login_that_is_unknown_is_no_wrong_password() -> None:
    assert "put the right password" not in failure_of(ImapAuthError("no", "AUTHORIZATIONFAILED")).message


def test_clear_text_where_tls_is_expected_is_no_server_that_is_away() -> None:
    wrong = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    wrong.reason = "WRONG_VERSION_NUMBER"
    failure = failure_of(tls_error(ImapServer("mail", 143), wrong))
    assert failure.reason == "ProtocolError"
    assert "starttls for one that begins in clear text" in failure.message
