"""POST a file, GET what became of it: a FastAPI application that hands its uploads to workers."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections import OrderedDict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, HTTPException, Request
from upswell import AsyncClient, AsyncUploadHandle, UploadFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

APP = os.environ.get("APP", "web")
SPOOL = Path(os.environ.get("SPOOL", "spool")).absolute()
"""Where files wait for a worker; UPSWELL_SOURCE_ROOTS must name it, here and for the workers."""

MOST_BYTES = 100 * 1024 * 1024
MOST_REMEMBERED = 10_000

handles: OrderedDict[str, AsyncUploadHandle] = OrderedDict()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Connect before the first request, and disconnect after the last."""
    SPOOL.mkdir(exist_ok=True)
    async with AsyncClient() as app.state.uploads:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/uploads", status_code=202)
async def publish(request: Request, name: str = "") -> dict[str, str]:
    """Keep the body as a file, publish it, and answer with its id once the broker has the request safe."""
    ending = re.search(r"\.\w{1,8}\Z", name, re.ASCII)
    path = SPOOL / f"{secrets.token_hex(16)}{ending[0] if ending else ''}"
    with path.open("wb") as file:
        async for chunk in request.stream():
            if file.tell() + len(chunk) > MOST_BYTES:
                path.unlink()
                raise HTTPException(413)
            await asyncio.to_thread(file.write, chunk)
    upload = await app.state.uploads.publish(APP, path, key=path.name, timeout=30)
    handles[upload.id] = upload
    if len(handles) > MOST_REMEMBERED:
        handles.popitem(last=False)
    return {"id": upload.id}


@app.get("/uploads/{upload_id}")
async def state(upload_id: str, wait: float = 0.0) -> dict[str, Any]:
    """Answer with what became of an upload; `?wait=5` waits so many seconds for its end."""
    upload = handles.get(upload_id)
    if upload is None:
        raise HTTPException(404)
    try:
        result = await upload.wait(timeout=min(30.0, wait))
    except TimeoutError:
        return {"state": "under way"}
    except UploadFailed as error:
        return {"state": "failed", "reason": error.reason}
    (SPOOL / (upload.request.key or "")).unlink(missing_ok=True)  # it is stored and verified
    return {"state": "stored", "url": result.url, "bytes": result.bytes}
