"""Becomes a lasting process of the cluster, first leaving a record: `launch.py RECORD LOG NETNS PROGRAM ARGS...`.

A process that was started but not yet written down could not be ended after a `kill -9`; so it is the process itself
that writes its pid and start time, before it turns into the program. Standard library only. NETNS is a name, or `-`.
"""

import json
import os
import sys


def start_time(pid: int) -> str:
    """When a process started, in clock ticks since boot (field 22 of /proc/PID/stat); with the pid it is unique."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - starts faster without pathlib
        return file.read().rpartition(")")[2].split()[19]


def main(record: str, log: str, namespace: str, *argv: str) -> None:
    """Does not return."""
    os.setsid()
    pid = os.getpid()
    with open(record + ".new", "w") as file:  # noqa: PTH123
        json.dump({"pid": pid, "started": start_time(pid), "program": argv[0]}, file)
    os.rename(record + ".new", record)  # noqa: PTH104
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # Not `ip netns exec`: that mounts a /sys of its own, which hides the cgroups.
    prefix = () if namespace == "-" else ("nsenter", f"--net=/run/netns/{namespace}")
    command = (*prefix, *argv)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
