"""Watches upload reports: for each that is slower than 30 s one more worker starts, and in calm one leaves.

The analyser (Monitor) publishes how many workers are wanted; a second program (Scaler) carries it out.
"""

import argparse
import asyncio
from contextlib import suppress
from pathlib import Path

from upswell import events
from upswell.broker import open_broker
from upswell.cli.run.monitoring import monitoring
from upswell.cli.run.scaling import scaling
from upswell.settings import load

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--report_queuename", dest="report_queue", required=True)


async def main() -> None:
    """Observe, decide and scale until Ctrl-C, which lets the started workers finish."""
    settings, _ = load(vars(parser.parse_args()), file=Path(__file__).with_name("upswell.toml"))
    broker = open_broker(settings, name="simple_congestion_monitor")
    await broker.connect()
    async with monitoring(settings, broker) as monitor, scaling(settings, broker) as scaler:
        try:
            await asyncio.gather(monitor.run(), scaler.run())
        finally:
            await scaler.drain_all()


events.configure()
with suppress(KeyboardInterrupt):
    asyncio.run(main())
