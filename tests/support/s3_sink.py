"""A server of S3 that keeps nothing: it reads what comes as fast as it can, and answers.

With `etags` it answers with the MD5 sums that S3 would give, else with an ETag that is none; and it refuses a
part whose CRC64NVME is wrong, but for parts above 4 KiB, which would take Python minutes. Run as a program
it prints its endpoint and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
from urllib.parse import parse_qs, urlsplit

_INITIATED = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
_COMPLETED = "<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>"
_LISTED = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"
_NO_ETAG = '"none"'
_BUFFER = 1024 * 1024
_REFUSED = "<Error><Code>BadDigest</Code></Error>"
_MOST_CHECKED = 4096
_CRC64NVME = 0x9A6C9329AC4BC9B5
_ONES = (1 << 64) - 1


def crc64nvme(content: bytes) -> str:
    """Return the CRC64NVME of a few bytes as S3's headers hold it.

    >>> crc64nvme(b"123456789")
    'rosYhgp5mIg='
    """
    crc = _ONES
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_CRC64NVME if crc & 1 else 0)
    return base64.b64encode((crc ^ _ONES).to_bytes(8)).decode()


class Connection(asyncio.BufferedProtocol):
    """One client's connection: requests one after the other, bodies into one buffer that is never kept."""

    def __init__(self, sums: dict[str, dict[int, bytes]], *, etags: bool) -> None:
        self._sums = sums
        self._etags = etags
        self._buffer = memoryview(bytearray(_BUFFER))
        self._head = bytearray()
        self._left = 0
        self._in_body = False
        self._method = self._target = ""
        self._md5 = hashlib.md5()
        self._crc64 = ""
        self._content = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Always the same."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came."""
        data = self._buffer[:nbytes]
        while len(data):
            data = self._body(data) if self._in_body else self._headers(data)

    def _headers(self, data: memoryview) -> memoryview:
        before = len(self._head)
        self._head += data
        end = self._head.find(b"\r\n\r\n", max(0, before - 3))
        if end < 0:
            return data[:0]
        lines = self._head[:end].decode("latin-1").split("\r\n")
        self._head.clear()
        self._method, self._target, _ = lines[0].split(" ", 2)
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        self._left = int(headers.get("content-length", "0"))
        if headers.get("expect"):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._md5 = hashlib.md5()
        self._crc64 = headers.get("x-amz-checksum-crc64nvme", "") if self._left <= _MOST_CHECKED else ""
        self._content = b""
        self._in_body = True
        rest = data[end + 4 - before :]
        return rest if self._left else self._body(rest)

    def _body(self, data: memoryview) -> memoryview:
        mine, rest = data[: self._left], data[self._left :]
        if self._etags:
            self._md5.update(mine)
        if self._crc64:
            self._content += mine
        self._left -= len(mine)
        if not self._left:
            self._in_body = False
            self._answer()
        return rest

    def _answer(self) -> None:
        path = urlsplit(self._target)
        query = parse_qs(path.query, keep_blank_values=True)
        etag, body, status = _NO_ETAG, "", "200 OK"
        if self._etags and self._crc64 and self._crc64 != crc64nvme(self._content):
            body, status = _REFUSED, "400 Bad Request"
        elif self._method == "PUT" and self._etags:
            etag = f'"{self._md5.hexdigest()}"'
            if "partNumber" in query:
                self._sums.setdefault(path.path, {})[int(query["partNumber"][0])] = self._md5.digest()
        elif self._method == "POST" and "uploads" in query:
            body = _INITIATED
        elif self._method == "POST":
            sums = self._sums.pop(path.path, {})
            if self._etags:
                whole = hashlib.md5(b"".join(sums[number] for number in sorted(sums)))
                etag = f'"{whole.hexdigest()}-{len(sums)}"'
            body = _COMPLETED.format(etag)
        elif self._method == "GET" and "uploads" in query:
            body = _LISTED
        elif self._method in {"HEAD", "GET"}:
            status = "404 Not Found"
        self._transport.write(
            f"HTTP/1.1 {status}\r\nETag: {etag}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )


async def serve(*, etags: bool) -> None:
    """Serve until cancelled; print the endpoint first."""
    sums: dict[str, dict[int, bytes]] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(sums, etags=etags), "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(etags="--etags" in sys.argv))
