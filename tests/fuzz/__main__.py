"""`make fuzz`: each target for a while, then one line of JSON; exit code 1 where one of them did harm.

What did harm is printed and kept beside the seeds, as `found-*`: the unit tests replay it from then on.
"""

import argparse
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.fuzz.targets import SEEDS, TARGETS

LONGEST_INPUT: Final = 16 * 1024
SLOWEST_SECONDS: Final = 10
"""An input that takes longer is taken for one that never ends."""
MEMORY_MIB: Final = 1024
_RUNS: Final = re.compile(r"#(\d+)\s")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Hostile bytes for whatever reads them.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"only these of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together; 60 by default")
    arguments = parser.parse_args()
    names = arguments.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("atheris") is None:
        print("fuzzing needs atheris: CPython 3.11 to 3.13 on Linux and x86_64", file=sys.stderr)
        return 2
    figures = {name: search(name, max(1, arguments.seconds // len(names))) for name in names}
    print(json.dumps(figures))
    return 1 if any(figure["found"] for figure in figures.values()) else 0


def search(name: str, seconds: int) -> dict[str, object]:
    """Runs one target; says how many inputs it took and what did harm."""
    with tempfile.TemporaryDirectory(prefix="mail-push-fuzz-") as folder:
        corpus, harm = Path(folder, "corpus"), Path(folder, "harm")
        corpus.mkdir()
        harm.mkdir()
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.search", name, str(corpus), str(SEEDS / name)),
                *(f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT}", f"-timeout={SLOWEST_SECONDS}"),
                *(f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={harm}/", "-print_final_stats=1"),
            ],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        found = [_keep(name, each) for each in sorted(harm.iterdir())]
        runs = [int(number) for number in _RUNS.findall(ended.stderr)]
        if ended.returncode and not found:
            found = [f"exit code {ended.returncode}"]
        if found:
            print(ended.stderr[-6000:], file=sys.stderr)
        print(f"{name}: {max(runs, default=0)} inputs in {seconds} s, {len(found)} did harm", file=sys.stderr)
        return {"inputs": max(runs, default=0), "seconds": seconds, "found": found}


def _keep(name: str, harmful: Path) -> str:
    kept = SEEDS / name / f"found-{harmful.name}"
    shutil.copyfile(harmful, kept)
    return kept.name


if __name__ == "__main__":
    sys.exit(main())
