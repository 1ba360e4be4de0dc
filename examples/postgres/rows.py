"""A handler that inserts the rows of CSV files into PostgreSQL: `upswell worker --handler rows:insert`.

What comes in: a request for a CSV file with the columns `name,amount`; the environment's `PGHOST`,
`PGDATABASE` and so on, as psql reads them. What goes out: its rows in the table `payments`, all or none,
and exactly once: the request's id is written in the same transaction, and a second delivery finds it there.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import psycopg

from upswell import PermanentUploadError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from upswell import Context, UploadRequest

SCHEMA = """
    CREATE TABLE IF NOT EXISTS requests_done (request_id text PRIMARY KEY, done_at timestamptz DEFAULT now());
    CREATE TABLE IF NOT EXISTS payments (request_id text NOT NULL, line integer NOT NULL, name text NOT NULL,
        amount numeric NOT NULL, PRIMARY KEY (request_id, line))
"""


def insert(request: UploadRequest, context: Context) -> None:
    """Insert a file's rows, once. Whatever else psycopg raises (a deadlock, say) is tried again by itself."""
    with connect() as connection, connection.cursor() as cursor:
        # The second of two deliveries at once waits here for the first one's end.
        cursor.execute(
            "INSERT INTO requests_done (request_id) VALUES (%s) ON CONFLICT DO NOTHING", [request.id]
        )
        if cursor.rowcount == 0:
            return
        try:
            with (
                context.open_source() as source,
                io.TextIOWrapper(source, "utf-8", newline="") as text,
                cursor.copy("COPY payments (request_id, line, name, amount) FROM STDIN") as copy,
            ):
                for line, (name, amount) in rows(text):
                    copy.write_row((request.id, line, name, amount))
        except (psycopg.DataError, UnicodeDecodeError, csv.Error) as error:
            raise PermanentUploadError(f"not rows that the table takes: {error}") from error


def connect() -> psycopg.Connection:
    """Connect as the environment says.

    Raises:
        StoreUnavailableError: the database is away: no upload's fault, so this counts as no attempt.
    """
    try:
        return psycopg.connect(connect_timeout=10)
    except psycopg.OperationalError as error:
        raise StoreUnavailableError(f"the database must be there and let us in: {error}") from error


def rows(text: TextIO) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield the number and values of each row.

    Raises:
        PermanentUploadError: the header is another, or a row has not two values.
    """
    reader = csv.reader(text, strict=True)
    header = next(reader, None)
    if header != ["name", "amount"]:
        raise PermanentUploadError(f"the first line must be name,amount, got {header}")
    for row in reader:
        if len(row) != 2:  # noqa: PLR2004 - name and amount
            raise PermanentUploadError(f"line {reader.line_num} must have two values, got {len(row)}")
        yield reader.line_num, (row[0], row[1])


def create_tables() -> None:
    """Make the tables; once, before the first worker."""
    with psycopg.connect() as connection:
        connection.execute(SCHEMA)


if __name__ == "__main__":
    create_tables()
