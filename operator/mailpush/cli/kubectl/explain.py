"""`kubectl mailpush explain CONTEXT USER`: the execution flow for one user, with the outcome of each row."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mailpush.cli.kubectl.evidence import Evidence, from_files
from mailpush.cli.kubectl.explanation import Explanation, explanation
from mailpush.cli.kubectl.manifests import Trouble
from mailpush.decision import NOT_REACHED, PASSED, REFUSED, Row

SPAWN: Final = 0
DENIED: Final = 1
TROUBLE: Final = 2
MARKS: Final = {PASSED: "yes", REFUSED: "NO", NOT_REACHED: "-"}
STYLES: Final = {PASSED: "green", REFUSED: "bold red", NOT_REACHED: "dim"}


def run(
    context_id: int,
    user_id: int,
    *,
    files: Sequence[str],
    config: str | None,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> int:
    """The exit code: 0 where a permanent listener is to run, 1 where not, 2 where that cannot be said."""
    try:
        if files:
            evidence = from_files(map(Path, files), context_id, user_id, config, namespace)
        else:
            evidence = _live(
                context_id, user_id, config=config, namespace=namespace, kubeconfig=kubeconfig, context=context
            )
        found = explanation(evidence)
    except Trouble as trouble:
        sys.stderr.write(f"kubectl mailpush explain: {trouble}\n")
        return TROUBLE
    if output == "json":
        print(json.dumps(found.json(), indent=2))
    elif sys.stdout.isatty():
        _table(found)
    else:
        print("\n".join(lines(found)))
    return SPAWN if found.spawn else DENIED


def _live(
    context_id: int,
    user_id: int,
    *,
    config: str | None,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> Evidence:
    from mailpush.cli.kubectl.kubeconfig import files_of, namespace_of
    from mailpush.cli.kubectl.live import from_cluster

    files = files_of(kubeconfig)
    return from_cluster(
        context_id,
        user_id,
        config=config,
        namespace=namespace or namespace_of(files, context),
        kubeconfig=files[0] if kubeconfig else None,
        context=context,
    )


def verdict(found: Explanation) -> str:
    """The answer in one line."""
    if found.spawn:
        return f"{found.user}: a permanent listener is to run, by {' or '.join(found.mechanisms)}"
    return f"{found.user}: not listened for: {found.reason}{f' ({found.code})' if found.code else ''}: {found.message}"


def detail(row: Row) -> str:
    """What a row says beside its outcome."""
    reason = row.reason if row.outcome != PASSED else None
    code = f" ({row.code})" if row.code else ""
    return f"{reason}{code}: {row.message}" if reason else row.message


def place(found: Explanation) -> str:
    """Slot and owner."""
    if found.status is None:
        return f"slot {found.slot}"
    return f"slot {found.slot}, owned by {found.owner or 'no pod'}"


def state(found: Explanation) -> list[str]:
    """The live status, one line a condition."""
    if found.status is None:
        return []
    fields = [f"{key}: {value}" for key, value in found.status.items() if key != "conditions"]
    conditions = [
        f"{kind}={said['status']} {said['reason']}: {said['message']}"
        for kind, said in found.status["conditions"].items()
    ]
    return [f"status: {', '.join(fields) or 'nothing yet'}", *(f"  {line}" for line in conditions)]


def lines(found: Explanation) -> list[str]:
    """For pipes and logs."""
    width = max(len(row.check) for row in found.rows)
    mark = max(len(mark) for mark in (*MARKS.values(), "?"))
    rows = [
        f"  {number:2}  {row.check.ljust(width)}  {MARKS.get(row.outcome, '?').ljust(mark)}  {detail(row)}".rstrip()
        for number, row in enumerate(found.rows, 1)
    ]
    notes = [f"note: {note}" for note in found.notes]
    return [verdict(found), *rows, place(found), *state(found), *notes]


def _table(found: Explanation) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table("", "CHECK", "QUESTION", "", "WHY", box=None, pad_edge=False, header_style="bold")
    for number, row in enumerate(found.rows, 1):
        style = STYLES.get(row.outcome, "yellow")
        mark = f"[{style}]{MARKS.get(row.outcome, '?')}[/]"
        table.add_row(str(number), row.check, escape(row.question), mark, escape(detail(row)))
    console.print(escape(verdict(found)), style="green" if found.spawn else "bold red", highlight=False)
    console.print(table, highlight=False)
    for line in [place(found), *state(found), *(f"note: {note}" for note in found.notes)]:
        console.print(escape(line), highlight=False)
