"""What keeps a doveadm command from its result. No text has a secret, or a word of the server's answer."""

from typing import ClassVar, Final

UNREACHABLE: Final = "DoveadmUnreachable"
UNAUTHORIZED: Final = "DoveadmUnauthorized"
REFUSED: Final = "DoveadmRefused"
NO_SUCH_USER: Final = "NoSuchUser"
LOGIN_UNUSABLE: Final = "LoginUnusable"
FAILED: Final = "DoveadmFailed"


class DoveadmError(Exception):
    """`reason`: a stable word in CamelCase for a condition. `of_server`: it is the same for every user."""

    reason: ClassVar[str]
    of_server: ClassVar[bool] = False


class DoveadmUnreachableError(DoveadmError):
    """No endpoint answers now."""

    reason = UNREACHABLE
    of_server = True


class DoveadmUnauthorizedError(DoveadmError):
    """Dovecot does not take the key, or does not let this address use the API."""

    reason = UNAUTHORIZED
    of_server = True


class DoveadmRefusedError(DoveadmError):
    """What answers is no doveadm HTTP API, or not one that knows the command."""

    reason = REFUSED
    of_server = True


class NoSuchUserError(DoveadmError):
    """Dovecot does not know the user."""

    reason = NO_SUCH_USER


class LoginUnusableError(DoveadmError):
    """The login is a pattern to doveadm."""

    reason = LOGIN_UNUSABLE


class CommandFailedError(DoveadmError):
    """The command ended with another exit code than 0 (sysexits.h, as Dovecot uses them)."""

    reason = FAILED

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"doveadm's command ended with exit code {exit_code}")
        self.exit_code = exit_code
