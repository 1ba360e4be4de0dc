"""Uploads all files of a folder in one way, some at once, and prints one JSON line of what it took.

Usage: upload_files.py WAY ENDPOINT FOLDER AT_ONCE. Clock and CPU are read from the first upload to the last,
so the start of the interpreter is left out; `at_once` uploads go before, to start threads and open
connections.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PART = 8 * 1024 * 1024
IN_FLIGHT = 4
KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}


@dataclass(frozen=True)
class Taken:
    """Wall seconds, and CPU seconds of the process."""

    seconds: float
    cpu: float

    @classmethod
    def now(cls) -> Taken:
        """Read both clocks."""
        return cls(time.perf_counter(), time.process_time())

    def until_now(self) -> Taken:
        """Return what passed since."""
        now = self.now()
        return Taken(now.seconds - self.seconds, now.cpu - self.cpu)


def with_obstore(endpoint: str) -> Callable[[Path], None]:
    """Use obstore itself, with the checksums that Upswell takes: SHA-256 of an object, MD5 of a request."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        "bucket", endpoint=endpoint, unsigned_payload=True, client_options={"allow_http": True}, **KEYS
    )

    def upload(path: Path) -> None:
        if path.stat().st_size <= PART:
            body = path.read_bytes()
            hashlib.sha256(body).hexdigest()
            answer = obstore.put(store, path.name, body, mode="create", use_multipart=False)
            assert (answer["e_tag"] or "").strip('"') == hashlib.md5(body).hexdigest()
            return
        sha256, sums = hashlib.sha256(), b""

        def parts() -> Iterator[bytes]:
            nonlocal sums
            with path.open("rb", buffering=0) as file:
                while part := file.read(PART):
                    sha256.update(part)
                    sums += hashlib.md5(part).digest()
                    yield part

        answer = obstore.put(
            store, path.name, parts(), use_multipart=True, chunk_size=PART, max_concurrency=IN_FLIGHT
        )
        assert (answer["e_tag"] or "").strip('"') == f"{hashlib.md5(sums).hexdigest()}-{len(sums) // 16}"

    return upload


def with_boto3(endpoint: str) -> Callable[[Path], None]:
    """Use boto3's upload_file, part size and parts at once as ours; its own checksums (CRC32)."""
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    config = Config(s3={"addressing_style": "path"}, max_pool_connections=64)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config, **KEYS)
    transfer = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=IN_FLIGHT)
    return lambda path: client.upload_file(str(path), "bucket", path.name, Config=transfer)


def run_threads(upload: Callable[[Path], None], files: list[Path], at_once: int) -> Taken:
    """Upload all files, `at_once` at a time."""
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(time.sleep, [0.01] * at_once))  # so that all threads are there
        list(pool.map(upload, files[:at_once]))
        before = Taken.now()
        list(pool.map(upload, files))
        return before.until_now()


def run_handler(endpoint: str, files: list[Path], at_once: int) -> Taken:
    """Upload all files through Upswell's upload handler, as a worker calls it."""
    from upswell.handlers.registry import load_handler
    from upswell.messages import UploadRequest
    from upswell.settings import Settings

    settings = Settings(
        destination="s3://bucket/x",
        store_endpoint=endpoint,
        slots=at_once,
        source_roots=[str(files[0].parent)],
        stores={"objects": {"part_size": PART, "parts_in_flight": IN_FLIGHT}},
    )

    requests = [
        UploadRequest(app_id="e1", type="file", uri=path.as_uri(), id=path.name, key=path.name)
        for path in files
    ]

    async def scenario() -> Taken:
        handler = load_handler(settings)

        async def slot(waiting: Iterator[UploadRequest]) -> None:
            for request in waiting:
                await handler(request)

        async def run(waiting: Iterator[UploadRequest]) -> None:
            await asyncio.gather(*(slot(waiting) for _ in range(at_once)))

        await run(iter(requests[:at_once]))
        before = Taken.now()
        await run(iter(requests))
        return before.until_now()

    return asyncio.run(scenario())


def main() -> None:
    way, endpoint, folder, at_once = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    files = sorted(folder.iterdir())
    if way == "upswell":
        taken = run_handler(endpoint, files, at_once)
    else:
        ways = {"obstore": with_obstore, "boto3": with_boto3}
        taken = run_threads(ways[way](endpoint), files, at_once)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": taken.seconds, "cpu": taken.cpu, "memory": memory}))


if __name__ == "__main__":
    main()
