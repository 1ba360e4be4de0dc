"""Takes requests from a queue, one at a time, and reports how long each took; Ctrl-C lets it finish.

It only pretends to upload, for --seconds, unless --destination names a folder: then file:// sources go there.
"""

import argparse
import asyncio
from pathlib import Path
from random import SystemRandom

from upswell import events
from upswell.broker import open_broker
from upswell.handlers.registry import load_handler
from upswell.settings import load
from upswell.worker import Worker, new_worker_id

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--app_id", required=True)
parser.add_argument("--upload_queuename", required=True)
parser.add_argument("--report_queuename", required=True)
parser.add_argument("--seconds", default="30-60", help="how long a pretended upload takes (30-60)")
parser.add_argument("--destination", help="folder to really store to")

if __name__ == "__main__":
    args = parser.parse_args()
    handler = "upload" if args.destination else "simulate"
    flags = {"handler": handler, "destination": args.destination, "handlers.simulate.seconds": args.seconds}
    settings, _ = load(flags, file=Path(__file__).with_name("upswell.toml"))
    events.configure()
    worker = Worker(
        app_id=args.app_id, worker_id=new_worker_id(args.app_id, SystemRandom()),
        broker=open_broker(settings, name=f"worker of {args.app_id}"),
        handler=load_handler(settings), settings=settings,
        upload_queue=args.upload_queuename, report_queue=args.report_queuename,
    )  # fmt: skip
    asyncio.run(worker.run())
