"""One user's credentials: put, tested, deleted."""

import sys

from mailpush.cli.kubectl.credentials.endpoint import Answer, one
from mailpush.cli.kubectl.credentials.reach import Options, endpoint
from mailpush.cli.kubectl.credentials.secret import read_password
from mailpush.cli.kubectl.manifests import Trouble
from mailpush.cli.streams import printable


def put(context_id: int, user_id: int, options: Options) -> int:
    """The exit code: 0 where it is stored, also where it was before."""
    whose = _whose(context_id, user_id)
    try:
        password = read_password(whose)
        with endpoint(options) as asked:
            answer = _done(asked.put(one(context_id, user_id), {"password": password}))
    except Trouble as trouble:
        return _trouble(trouble)
    same = answer.object.get("unchanged") is True
    sys.stdout.write(f"{'the same password stands there already' if same else 'stored the password'} of {whose}\n")
    return 0


def test(context_id: int, user_id: int, options: Options) -> int:
    """The exit code: 0 where the mail server takes the password, 1 where it does not or none is stored."""
    whose = _whose(context_id, user_id)
    try:
        with endpoint(options) as asked:
            answer = asked.test(one(context_id, user_id, "/test"))
            if answer.status == 404:
                sys.stdout.write(f"{answer.sentence}\n")
                return 1
            said = _done(answer).object
    except Trouble as trouble:
        return _trouble(trouble)
    outcome, reason, message = (printable(str(said.get(key, ""))) for key in ("outcome", "reason", "message"))
    words = {"worked": "the mail server takes", "refused": "the mail server refuses"}
    sys.stdout.write(f"{words.get(outcome, 'it is not known whether the mail server takes')} the password of {whose}")
    sys.stdout.write(f": {reason}: {message}\n" if message else f": {reason}\n")
    return {"worked": 0, "refused": 1}.get(outcome, 2)


def delete(context_id: int, user_id: int, options: Options) -> int:
    """The exit code: 0 where it is deleted, 1 where there was none."""
    whose = _whose(context_id, user_id)
    try:
        with endpoint(options) as asked:
            deleted = _done(asked.delete(one(context_id, user_id))).object.get("deleted") is True
    except Trouble as trouble:
        return _trouble(trouble)
    sys.stdout.write(f"{'deleted the password' if deleted else 'no password is stored'} of {whose}\n")
    return 0 if deleted else 1


def _done(answer: Answer) -> Answer:
    if answer.status != 200:
        later = f"; try again in {answer.retry_after:.0f} s" if answer.retry_after else ""
        raise Trouble(f"{answer.sentence}{later}")
    return answer


def _whose(context_id: int, user_id: int) -> str:
    return f"user {user_id} in context {context_id}"


def _trouble(trouble: Trouble) -> int:
    sys.stderr.write(f"{trouble}\n")
    return 2
