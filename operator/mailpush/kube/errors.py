"""What can go wrong at the Kubernetes API."""

import re
from typing import Final


class KubeError(Exception):
    """The API server answered with an error.

    Attributes:
        status: the HTTP status.
        reason: Kubernetes' own word, such as `NotFound` or `Conflict`.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{message} ({status} {reason})")
        self.status = status
        self.reason = reason
        self.message = message


class NotFoundError(KubeError):
    """404."""


class ConflictError(KubeError):
    """409: another wrote first, or the object exists already."""


class GoneError(KubeError):
    """410: the resourceVersion is too old; list again."""


class InvalidError(KubeError):
    """400 or 422: the server refuses the object; its sentence says why."""


class ForbiddenError(KubeError):
    """401 or 403."""


class UnreachableError(KubeError):
    """No answer: connection refused, reset or timed out. Whether a write took effect is not known."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "Unreachable", message)


NO_SUCH_FIELD: Final = "failed to create typed patch object"
"""How the API server begins its answer to a server-side apply of a field that a kind does not have, a 500."""


_NO_PATH: Final = re.compile(r'<nil>: (?:Invalid|Unsupported) value: (?:"(?:[^"\\]|\\.)*"|\w+): ')
"""How the API server begins what it says of an object as a whole: Go's word for the path that there is none of."""


def error_for(status: int, reason: str, message: str) -> KubeError:
    """The error class that fits an answer."""
    message = _NO_PATH.sub("", message)
    if NO_SUCH_FIELD in message:
        return InvalidError(status, reason, message)
    classes: dict[int, type[KubeError]] = {
        400: InvalidError,
        401: ForbiddenError,
        403: ForbiddenError,
        404: NotFoundError,
        409: ConflictError,
        410: GoneError,
        422: InvalidError,
    }
    return classes.get(status, KubeError)(status, reason, message)
