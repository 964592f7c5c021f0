"""`mail-push listener`: one listener pod."""

import asyncio
import os
import resource
import signal
from pathlib import Path
from typing import Final

import structlog
import uvloop
from kubernetes.aio.config import ConfigException

from mailpush import logs
from mailpush.http.health import HealthServer, Pulse
from mailpush.kube.client import Kube
from mailpush.listener.environment import Environment, EnvironmentProblem
from mailpush.listener.process import EXIT_DONE, EXIT_FAULT, ListenerProcess
from mailpush.listener.settings_watch import Loaded, read_directory
from mailpush.properties.read import SettingsError
from mailpush.work.pace import set_within

EXIT_ENVIRONMENT: Final = 2
LOOK_AGAIN_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


def run() -> int:
    """Runs until SIGTERM or SIGINT, or until the Lease is lost; gives the process's exit code."""
    logs.configure(logs.level_of(os.environ))
    try:
        env = Environment.read(os.environ)
    except EnvironmentProblem as problem:
        log.error("environment", problem=str(problem))  # noqa: TRY400 - the sentence says all
        return EXIT_ENVIRONMENT
    structlog.contextvars.bind_contextvars(pod=env.me.name)
    raise_file_limit()
    return uvloop.run(serve(env))


def raise_file_limit() -> None:
    """Allows as many open connections as the container does. Container runtimes often begin with 1,024, and each user
    of IDLE takes one; beyond the limit the pod could take no callback."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.warning("file_limit_stays", limit=soft, why=str(error))


async def serve(env: Environment) -> int:
    """Starts the health port first, then reads the settings, then runs everything else."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    pulse = Pulse()
    health = HealthServer(pulse)
    try:
        await health.start(env.listen, env.health_port)
        found = await boot(env.properties_dir, env, stop)
        if found is None:
            return EXIT_DONE
        loaded, boot_files = found
        log.info("starting", config=env.config, config_hash=loaded.config_hash, pod_uid=env.me.uid)
        async with await Kube.connect() as kube:
            return await ListenerProcess(env, kube, loaded, boot_files, pulse).run(stop)
    except ConfigException as error:
        log.error("no_access", why=str(error))  # noqa: TRY400
        return EXIT_ENVIRONMENT
    except OSError as error:
        log.error("cannot_start", why=str(error))  # noqa: TRY400 - a port or a folder, and its name is in the text
        return EXIT_FAULT
    finally:
        await health.close()


async def boot(directory: Path, env: Environment, stop: asyncio.Event) -> tuple[Loaded, dict[str, str]] | None:
    """Waits until the mounted files are valid: a kubelet replaces wrong ones. Returns None when stopped meanwhile."""
    logged: list[str] = []
    while not stop.is_set():
        try:
            return await asyncio.to_thread(lambda: read_directory(directory, env.hash_key()))
        except SettingsError as error:
            problems = list(error.problems)
        except (OSError, ValueError) as error:
            problems = [f"{directory}: {error}"]
        if problems != logged:
            logged = problems
            log.warning("configuration_invalid", problems=problems)
        await set_within(stop, LOOK_AGAIN_SECONDS)
    return None
