"""`mail-push operator`: elect, observe, and lead."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog
import uvloop
from kubernetes.aio.config import ConfigException

from mailpush import __version__, logs
from mailpush.controller.assembly import Operator, assemble
from mailpush.controller.election import LeadershipLostError
from mailpush.controller.elections import Elections
from mailpush.controller.environment import OperatorSettings, SettingsProblem, current_namespace
from mailpush.controller.leader import Leader
from mailpush.controller.shards.watch import PodWatch
from mailpush.http.health import HealthServer, Pulse
from mailpush.kube.client import Kube

log = structlog.get_logger(__name__)


def run() -> int:
    """The exit code: 0 after SIGTERM, 1 where it cannot go on (a new process then begins afresh), 2 where the
    environment is wrong."""
    logs.configure(logs.level_of(os.environ))
    try:
        settings = OperatorSettings.from_environment(os.environ, default_namespace=current_namespace())
    except SettingsProblem as problem:
        sys.stderr.write(f"mail-push operator: {problem}\n")
        return 2
    return uvloop.run(serve(settings))


async def serve(settings: OperatorSettings) -> int:
    """Runs until SIGTERM or SIGINT, or until leadership is lost."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    pulse = Pulse()
    health = HealthServer(pulse)
    try:
        port = await health.start(settings.listen, settings.health_port)
        log.info("health_serves", address=settings.listen, port=port)
    except OSError as error:
        log.error("health_cannot_listen", address=settings.listen, port=settings.health_port, error=str(error))  # noqa: TRY400
        return 1
    try:
        kubeconfig = os.environ.get("KUBECONFIG")
        kube = await Kube.connect(Path(kubeconfig) if kubeconfig else None)
    except ConfigException as error:
        log.error("no_cluster", error=str(error))  # noqa: TRY400
        await health.close()
        return 1
    log.info("operator_starts", version=__version__, namespaces=settings.namespaces, image=settings.image)
    try:
        return await _observe_and_lead(assemble(kube, settings, pulse), pulse, stop)
    finally:
        await kube.close()
        await health.close()


async def _observe_and_lead(operator: Operator, pulse: Pulse, stop: asyncio.Event) -> int:
    failed = False
    try:
        async with asyncio.TaskGroup() as tasks:
            # The standby observes, too: what it has seen of the Leases counts when it leads (protocol P11).
            reflectors = (*operator.pods.reflectors(), *operator.users.reflectors(), *operator.ending.reflectors())
            observing = [tasks.create_task(reflector.run()) for reflector in reflectors]
            observing.append(tasks.create_task(_ready(operator.pods, pulse)))
            observing.append(tasks.create_task(operator.admin.run()))
            term = tasks.create_task(_term(operator.election, operator.leader, stop))
            stopping = tasks.create_task(stop.wait())
            await asyncio.wait([term, stopping], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([term], timeout=10)
            for task in (*observing, term, stopping):
                task.cancel()
    except* LeadershipLostError as group:
        # At once: another may lead already. What was begun is fenced by resourceVersions.
        log.error("leadership_lost", error="; ".join(map(str, leaves(group))))  # noqa: TRY400
        failed = True
    except* Exception as group:
        log.exception("operator_failed", errors=[repr(error) for error in leaves(group)])
        failed = True
    if failed:
        return 1
    await operator.election.release()
    log.info("operator_ends")
    return 0


def leaves(error: BaseException) -> Iterator[BaseException]:
    """What has really failed: a task group within a task group names only the other."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from leaves(one)
    else:
        yield error


async def _ready(pods: PodWatch, pulse: Pulse) -> None:
    await pods.wait_listed()
    pulse.ready = True


async def _term(election: Elections, leader: Leader, stop: asyncio.Event) -> None:
    """Waits for leadership, then leads while it lasts."""
    leading = asyncio.create_task(election.lead())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([leading, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not leading.done():
        leading.cancel()
        return
    leading.result()
    async with asyncio.TaskGroup() as tasks:
        holding = tasks.create_task(election.hold())
        await leader.run(stop)
        holding.cancel()
