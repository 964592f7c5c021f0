"""`secrets`: what the other scenes have produced, searched for every password that they have used."""

from pathlib import Path

from tests.credentials.site import Stage

KNOWN = b"main-1-3"
"""The name of a push user, which stands in objects and logs."""
LEAST_BYTES = 100_000
"""Less than this and the search has looked at nothing."""


def play(stage: Stage) -> None:
    evidence, verdict = stage.evidence, stage.verdict
    evidence.end_watching()
    evidence.keep_logs("plane", evidence_folder(stage))
    files, size = len(list(evidence.folder.iterdir())), evidence.size()
    verdict.number(planted=evidence.planted, files=files, bytes=size)
    looked = verdict.step(
        "there is something to look through",
        size > LEAST_BYTES and evidence.planted > 0,
        f"{files} files, {size} bytes",
    )
    verdict.step("what is there is found", len(evidence.search({KNOWN: "a push user"})) > 1)
    if looked:
        found = evidence.found()
        verdict.step(f"none of {evidence.planted} passwords stands in it", not found, "; ".join(found[:20]))
    cores = [str(path) for folder in stage.core_folders for path in folder.glob("core*") if path.is_file()]
    verdict.step("no process has left a core dump", not cores, ", ".join(cores))


def evidence_folder(stage: Stage) -> Path:
    return stage.plane.folder
