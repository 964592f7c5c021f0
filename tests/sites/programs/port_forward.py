#!/usr/bin/env python3
"""Stands in for `kubectl port-forward`, which needs a kubelet: forwards to the address that FORWARD_TO names.

Says what kubectl says, takes what it takes, and leaves in FORWARD_SEEN how it was called.
"""

import asyncio
import json
import os
import signal
import sys


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host, _, port = os.environ["FORWARD_TO"].rpartition(":")
    print("Handling connection for 1099", flush=True)
    try:
        there, back = await asyncio.open_connection(host, int(port))
    except ConnectionError:
        writer.close()
        return
    await asyncio.gather(pipe(reader, back), pipe(there, writer))


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(f"Forwarding from 127.0.0.1:{server.sockets[0].getsockname()[1]} -> 1099", flush=True)
    await server.serve_forever()


with open(os.environ["FORWARD_SEEN"], "a") as seen:  # noqa: PTH123 - a program of its own
    seen.write(json.dumps({"pid": os.getpid(), "arguments": sys.argv[1:]}) + "\n")
if why := os.environ.get("FORWARD_FAILS"):
    sys.exit(f"error: {why}")
if os.environ.get("FORWARD_STUBBORN"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
asyncio.run(main())
