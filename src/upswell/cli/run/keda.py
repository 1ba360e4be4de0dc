"""`upswell keda`: KEDA's external scaler, with the monitor's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from upswell.cli.help import SettingsCommand
from upswell.cli.options import app_option, with_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.settings import Settings


@click.command("keda", cls=SettingsCommand)
@app_option(
    multiple=True, help="Answer only for this application (repeatable). Default: those in the settings."
)
@with_settings("keda", reloads=True)
@click.option("--health", is_flag=True, help="Ask the one that runs in this state folder whether it serves.")
def command(
    app: tuple[str, ...],  # noqa: ARG001 - the settings hold it
    settings: Settings,
    reload: Callable[[], Settings],
    health: bool,
) -> None:
    """Tell KEDA how many workers to run, as the monitor decides, until Ctrl-C; SIGHUP reloads the settings.

    It takes the scaler's place in a cluster where KEDA starts and stops the workers.
    """
    import asyncio  # noqa: PLC0415 - only after the options are validated

    from upswell.broker.heartbeat import beating  # noqa: PLC0415 - as above
    from upswell.cli.connection import connected, on_hang_up, run_until_stopped, unique_name  # noqa: PLC0415 - as above
    from upswell.cli.run.reloading import Reloader  # noqa: PLC0415 - as above
    from upswell.cli.run.scaling import check_apps  # noqa: PLC0415 - as above
    from upswell.errors import SettingsError  # noqa: PLC0415 - as above
    from upswell.extras import needs  # noqa: PLC0415 - as above
    from upswell.keda import KedaScaler  # noqa: PLC0415 - as above

    try:
        from upswell.keda.server import check_health, serving  # noqa: PLC0415 - needs the extra
    except ImportError as error:
        raise SettingsError(needs("upswell keda", "keda", error)) from error

    if health:
        asyncio.run(check_health(settings))
        return
    check_apps(settings)

    async def work() -> None:
        async with connected(settings, "keda") as broker:
            scaler = KedaScaler(broker=broker, settings=settings, name=unique_name("keda"))
            # KEDA asks for the metric once, when its object is made: be there before the first decision is.
            async with serving(scaler, settings), beating(broker, scaler.part_status):
                await scaler.start()
                on_hang_up(Reloader(broker, settings, reload, scaler))
                await scaler.run()

    run_until_stopped(work())
