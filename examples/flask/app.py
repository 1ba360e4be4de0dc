"""POST a file, GET what became of it: a Flask application that hands its uploads to workers."""

from __future__ import annotations

import os
import re
import secrets
from collections import OrderedDict
from pathlib import Path
from shutil import copyfileobj
from threading import Lock
from typing import Any

from flask import Flask, abort, request
from upswell import Client, UploadFailed, UploadHandle

APP = os.environ.get("APP", "web")
SPOOL = Path(os.environ.get("SPOOL", "spool")).absolute()
"""Where files wait for a worker; UPSWELL_SOURCE_ROOTS must name it, here and for the workers."""

MOST_REMEMBERED = 10_000

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 100 * 1024 * 1024
uploads = Client()  # one for all threads; it connects when it is first used
handles: OrderedDict[str, UploadHandle] = OrderedDict()
remembering = Lock()


@app.post("/uploads")
def publish() -> tuple[dict[str, str], int]:
    """Keep the body as a file, publish it, and answer with its id once the broker has the request safe."""
    SPOOL.mkdir(exist_ok=True)
    ending = re.search(r"\.\w{1,8}\Z", request.args.get("name", ""), re.ASCII)
    path = SPOOL / f"{secrets.token_hex(16)}{ending[0] if ending else ''}"
    with path.open("wb") as file:
        copyfileobj(request.stream, file)
    upload = uploads.publish(APP, path, key=path.name, timeout=30)
    with remembering:
        handles[upload.id] = upload
        if len(handles) > MOST_REMEMBERED:
            handles.popitem(last=False)
    return {"id": upload.id}, 202


@app.get("/uploads/<upload_id>")
def state(upload_id: str) -> dict[str, Any]:
    """Answer with what became of an upload; `?wait=5` waits so many seconds for its end."""
    upload = handles.get(upload_id)
    if upload is None:
        abort(404)
    try:
        result = upload.wait(timeout=min(30.0, request.args.get("wait", 0.0, float)))
    except TimeoutError:
        return {"state": "under way"}
    except UploadFailed as error:
        return {"state": "failed", "reason": error.reason}
    (SPOOL / (upload.request.key or "")).unlink(missing_ok=True)  # it is stored and verified
    return {"state": "stored", "url": result.url, "bytes": result.bytes}
