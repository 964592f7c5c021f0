"""Whether OX's table takes a row of a form now. An OX of another era takes a row that it cannot read for the password
itself, is refused by the mail server, and deletes the row. Pure."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from mailpush.credentials.storage import WriteRefusedError

WIDE: Final = 512
"""Characters of the column `password` after OX's AdjustCredentialsTableTask."""
TASK: Final = "AdjustCredentialsTableTask"
"""OX's update task that widens the column and encrypts each row of the older form anew."""


class Form(Enum):
    """What OX writes: up to 8.15, and since 8.16."""

    LEGACY = "legacy"
    ARGON = "argon"


class Task(Enum):
    """What stands of AdjustCredentialsTableTask in a schema's table `updateTask`."""

    NOT_RUN = "notRun"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One schema's table `credentials`.

    `width`: characters of the column `password`; None where there is no such table. `updating`: OX holds the schema's
    update lock. `legacy`, `argon`: there is a row of this form. `monitored`: there is a table `replicationMonitor`.
    """

    width: int | None
    task: Task = Task.NOT_RUN
    updating: bool = False
    legacy: bool = False
    argon: bool = False
    monitored: bool = True


class Refusal(Enum):
    """Why nothing is written to a schema. The value is the reason of a condition."""

    NO_TABLE = "TableMissing"
    NOT_MONITORED = "ReplicationMonitorMissing"
    UPDATING = "SchemaUpdating"
    TASK_FAILED = "UpdateTaskFailed"
    MIXED = "FormsMixed"
    NARROW = "ColumnNarrow"
    LEGACY_ROWS = "LegacyRows"
    TASK_NOT_RUN = "UpdateTaskNotRun"
    TASK_DONE = "UpdateTaskDone"
    ARGON_ROWS = "NewerRows"
    READ_ONLY_SERVER = "ServerReadOnly"
    NO_RIGHT = "WriteNotAllowed"
    UNPROVEN = "PasscryptUnproven"
    OTHER_READING = "PasscryptReading"


_TO_LEGACY: Final = 'set credentialStorage.ox.form to "legacy"'
_TO_ARGON: Final = 'set credentialStorage.ox.form to "argon"'
_RUN: Final = f"let OX run {TASK} there (runupdate)"
_WAYS: Final = {
    Refusal.NO_TABLE: (
        "{schema} has no table credentials: set com.openexchange.push.credstorage.enabled and .rdb to true in OX, "
        "which makes it"
    ),
    Refusal.NOT_MONITORED: (
        "{schema} does not count its transactions for {context} (replicationMonitor), so that OX could read an old row "
        "from a replica: let OX finish its updates, or see whether it is deleting the context"
    ),
    Refusal.UPDATING: (
        "OX holds the update lock of {schema} (LOCKED or BACKGROUND in updateTask): wait until its update is done; if "
        "none runs any more, start it again in OX (runupdate)"
    ),
    Refusal.TASK_FAILED: (
        f"OX's {TASK} has failed in {{schema}}: see in OX's log which row it could not encrypt anew, mend that, and "
        "run it again in OX (forceupdatetask)"
    ),
    Refusal.MIXED: (
        f"{{schema}} has rows of the form legacy beside rows of the form argon, or after {TASK} has run, so that two "
        "OX versions read it and each deletes rows of the other: bring all OX nodes to one version, and since 8.16 run "
        "the task again in OX (forceupdatetask)"
    ),
    Refusal.NARROW: (
        "the column password of {schema} takes {width} characters, so an OX before 8.16 reads it, which would delete "
        f"rows of the form argon: {_TO_LEGACY}, or {_RUN}"
    ),
    Refusal.LEGACY_ROWS: (
        "{schema} has rows of the form legacy, so an OX before 8.16 reads it, which would delete rows of the form "
        f"argon: {_TO_LEGACY}, or {_RUN}"
    ),
    Refusal.TASK_NOT_RUN: (
        f"OX's {TASK} has not run in {{schema}}, so an OX before 8.16 reads it, which would delete rows of the form "
        f"argon: {_TO_LEGACY}, or {_RUN}"
    ),
    Refusal.TASK_DONE: (
        f"OX's {TASK} has run in {{schema}}, so an OX since 8.16 reads it, which would delete rows of the form legacy: "
        f"{_TO_ARGON}"
    ),
    Refusal.ARGON_ROWS: (
        "{schema} has rows of the form argon, so an OX since 8.16 reads it, which would delete rows of the form "
        f"legacy: {_TO_ARGON}"
    ),
    Refusal.READ_ONLY_SERVER: (
        "the server of {schema} is read-only: give db_pool the server that takes writes, or end what keeps it read-only"
    ),
    Refusal.NO_RIGHT: (
        "the login that db_pool names may not write {schema}: grant it SELECT, INSERT and UPDATE on credentials, and "
        "UPDATE on replicationMonitor"
    ),
    Refusal.UNPROVEN: (
        "none of OX's first rows is written under the passcrypt, so that OX could not read a row under it: put OX's "
        "passcrypt into the Secret that credentialStorage.passcryptSecretRef names"
    ),
    Refusal.OTHER_READING: (
        "the passcrypt is not ASCII, and no row shows that OX reads it as UTF-8, so that OX might not read a row under "
        "it: give OX and Mail Push a passcrypt of ASCII characters"
    ),
}


def sentence(refusal: Refusal, schema: str = "", *, width: int | None = None, context: int | None = None) -> str:
    """Why nothing is written, and what to do. `schema`: its name."""
    return _WAYS[refusal].format(
        schema=f"schema {schema}",
        width="too few" if width is None else width,
        context="its contexts" if context is None else f"context {context}",
    )


class SchemaRefusedError(WriteRefusedError):
    """A schema takes no row of the form."""

    def __init__(self, refusal: Refusal, schema: str, *, width: int | None = None, context: int | None = None) -> None:
        super().__init__(sentence(refusal, schema, width=width, context=context), refusal.value)
        self.refusal = refusal
        self.schema = schema


def refusal_of(form: Form, facts: TableFacts) -> Refusal | None:
    """Why a row of this form is not written now; None where it is."""
    if facts.width is None:
        return Refusal.NO_TABLE
    if not facts.monitored:
        return Refusal.NOT_MONITORED
    if facts.updating:
        return Refusal.UPDATING
    if facts.task is Task.FAILED:
        return Refusal.TASK_FAILED
    if facts.legacy and (facts.argon or facts.task is Task.DONE):
        return Refusal.MIXED
    return _of_argon(facts) if form is Form.ARGON else _of_legacy(facts)


def _of_argon(facts: TableFacts) -> Refusal | None:
    if (facts.width or 0) < WIDE:
        return Refusal.NARROW
    if facts.legacy:
        return Refusal.LEGACY_ROWS
    return Refusal.TASK_NOT_RUN if facts.task is Task.NOT_RUN else None


def _of_legacy(facts: TableFacts) -> Refusal | None:
    if facts.task is Task.DONE:
        return Refusal.TASK_DONE
    return Refusal.ARGON_ROWS if facts.argon else None
