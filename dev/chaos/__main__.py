"""`make chaos`: the faults of the list one after another."""

import argparse
import json
import sys
from pathlib import Path

from dev.chaos.faults import FAULTS
from dev.chaos.run import RATE, Chaos
from dev.processes.errors import DevError


def main() -> int:
    arguments = parse()
    chosen = [fault for fault in FAULTS if not arguments.faults or fault.name in arguments.faults]
    chaos = Chaos(chosen, arguments.busy, arguments.logs)
    try:
        chaos.play()
    except DevError as error:
        print(f"\nThe run failed: {error}", file=sys.stderr)
        return 1
    for fault in chaos.wrong():
        print(f"WRONG: {fault}", file=sys.stderr)
    print(json.dumps(chaos.figures()))
    return 1 if chaos.wrong() else 0


def parse() -> argparse.Namespace:
    faults = "\n".join(f"  {fault.name:10} {fault.what}" for fault in FAULTS)
    parser = argparse.ArgumentParser(
        prog="python -m dev.chaos",
        description=f"{RATE:.0f} mails a second on the demo's cluster while faults happen to it (root).",
        epilog=f"faults, in this order:\n{faults}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="only these; all of them by default")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="so many busy loops run beside it")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="copy the logs of all pods there at the end")
    arguments = parser.parse_args()
    unknown = set(arguments.faults) - {fault.name for fault in FAULTS}
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
