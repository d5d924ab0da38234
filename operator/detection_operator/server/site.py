"""The HTTP server: one port for reports, health and metrics."""

from collections.abc import Iterable

from aiohttp import web

from detection_trainer.contract.report import MAX_REPORT_BYTES

SHUTDOWN_S = 5.0


async def open_site(routes: Iterable[web.RouteDef], host: str, port: int) -> web.AppRunner:
    """Serve `routes`; the runner's `cleanup` lets requests end, then closes.

    Raises:
        OSError: the port is taken.
    """
    application = web.Application(client_max_size=MAX_REPORT_BYTES)
    application.add_routes(routes)
    runner = web.AppRunner(
        application, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S
    )
    await runner.setup()
    await web.TCPSite(runner, host, port, reuse_address=True).start()
    return runner
