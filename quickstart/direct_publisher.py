"""Publishes the upload requests of a file: a list of {"type": ..., "uri": ...}. The publisher adds app_id."""

import argparse
import asyncio
from pathlib import Path

from upswell.broker import open_broker, topology
from upswell.publisher import Publisher, each, read_requests
from upswell.settings import load

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--app_id", required=True)
parser.add_argument("--upload_queuename", required=True)
parser.add_argument("--input_data", required=True, type=Path)


async def main() -> None:
    """Publish, and wait until the broker has every request safe on its disk."""
    args = parser.parse_args()
    settings, _ = load(file=Path(__file__).with_name("upswell.toml"))
    requests = list(read_requests(args.input_data, app_id=args.app_id))
    broker = open_broker(settings, name="direct_publisher")
    await broker.connect()
    await broker.declare(topology.dead_letter_queue(args.upload_queuename))
    queue = topology.upload_queue(args.upload_queuename, delivery_limit=settings.delivery_limit)
    await broker.declare(queue)
    publisher = Publisher(broker=broker, upload_queue=queue.name)
    count = await publisher.publish_all(each(requests))
    await broker.close()
    print(f"published {count} requests of {args.app_id} to {queue.name}")


if __name__ == "__main__":
    asyncio.run(main())
