"""What a person names on the command line -> candidates: requests that may be published, batch by batch.

What comes in: files, directories, URIs, and lists of requests (files and streams). What goes out: for each
thing found its request, and notes of what is passed over. It does not know what is stored already, nor of
queues.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from upswell.errors import MessageError, UpswellError
from upswell.messages import UploadRequest
from upswell.publisher.items import Thing, file_thing, request_of
from upswell.publisher.request_file import parse, read_entries, stream_entries
from upswell.publisher.tree import Note, Selection, Tree
from upswell.settings.checking import refuse_one_slash
from upswell.stores.addresses import file_uri

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator

    from upswell.publisher.request_file import Place

BATCH = 200
"""Candidates that are found before the next step takes them: enough to ask a store about many at once."""

REQUEST_ENDINGS = (".jsonl", ".ndjson")
"""A file whose name ends so is a list of requests; any other is a file to upload. No file is looked into."""

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Candidate(Struct, frozen=True):
    """A request that may be published; `thing` is None where a person wrote the request."""

    request: UploadRequest
    thing: Thing | None = None


class What(Struct, frozen=True, kw_only=True):
    """What was asked for, and how to look at it.

    `arguments` are files, directories and URIs; `requests` are lists of requests: files, pipes, and "-",
    which is `descriptor`. `kind` is the type of every request that a thing becomes, None by its name;
    `prefix` stands before the keys of files, directories and listings; `separator` ends a line of a stream.
    """

    app_id: str
    arguments: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    descriptor: int = 0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow_links: bool = False
    kind: str | None = None
    prefix: str = ""
    separator: bytes = b"\n"
    repeat: int = 1
    salt: str = ""


class Sources:
    """Finds the candidates of `what`; `on_note` is called with each name that is passed over."""

    def __init__(
        self,
        what: What,
        on_note: Callable[[Note], None],
        list_objects: Callable[[str], Iterator[Thing]] | None = None,
    ) -> None:
        """Check the arguments; `list_objects` yields a store's objects below a URI.

        Raises:
            UpswellError: a pattern is invalid, something does not exist, or two keys would be equal.
        """
        for argument in what.arguments:
            _check_is_there(argument)
        self._what = what
        self._on_note = on_note
        self._list_objects = list_objects
        self._selection = Selection(what.include, what.exclude)
        self._prefixes = _prefixes(what)

    def count(self) -> int | None:
        """Return how many candidates there are; None where only looking into directories and streams tells.

        Each request file is read once, so that nothing is published from one with a mistake on its last line.

        Raises:
            UpswellError, MessageError: as `batches`.
        """
        what = self._what
        lists = [name for name in what.requests if name != "-" and not is_stream(name)]
        total = sum(1 for name in lists for _ in self._file(Path(name)))
        files = [argument for argument in what.arguments if _is_file(argument)]
        if len(lists) < len(what.requests) or len(files) < len(what.arguments):
            return None
        return total + sum(1 for argument in files for _ in self._candidates(argument))

    async def batches(self) -> AsyncIterator[list[Candidate]]:
        """Yield the candidates in a stable order, never more than `BATCH` at once.

        Raises:
            UpswellError: an argument cannot be read at all.
            MessageError: a person's own request is not valid.
        """
        async for batch in _in_batches(chain.from_iterable(map(self._candidates, self._what.arguments))):
            yield batch
        for name in self._what.requests:
            with _stream_of(name, self._what.descriptor) as descriptor:
                if descriptor is None:
                    batches = _in_batches(self._file(Path(name)))
                else:
                    batches = self._stream(descriptor)
                async for batch in batches:
                    yield batch

    def _candidates(self, argument: str) -> Iterator[Candidate]:
        path = local_path(argument)
        if path is not None and os.path.isdir(path):  # noqa: PTH112 - a name may be no text
            tree = Tree(
                path,
                selection=self._selection,
                follow_links=self._what.follow_links,
                on_note=self._on_note,
            )
            return self._things(_readable(path, tree, self._prefixes[argument]))
        if path is not None:
            thing = self._listed(argument)
            named = [msgspec.structs.replace(thing, key=_last_name(argument))] if thing is not None else []
            return self._things(self._selected(named, self._what.prefix))
        if self._list_objects is not None and _is_listed(argument):
            return self._things(self._selected(self._list_objects(argument), self._prefixes[argument]))
        return self._things([self._listed(argument)])

    def _selected(self, things: Iterable[Thing], prefix: str) -> Iterator[Thing]:
        for thing in things:
            name = thing.key or ""
            if self._selection.takes(name):
                yield msgspec.structs.replace(thing, key=prefix + name)

    def _file(self, path: Path) -> Iterator[Candidate]:
        for place, entry in read_entries(path, repeat=self._what.repeat):
            try:
                candidate = self._entry(place, entry)
            except MessageError as error:
                if place.position > 1 or place.repetition:
                    raise
                hint = f"to upload the file itself, name it {file_uri(str(path.absolute()))}"
                raise MessageError(f"{error}; {hint}") from error
            if candidate is not None:
                yield candidate

    async def _stream(self, descriptor: int) -> AsyncIterator[list[Candidate]]:
        async for entries in stream_entries(descriptor, separator=self._what.separator):
            batch: list[Candidate] = []
            for place, entry in entries:
                try:
                    candidate = self._entry(place, entry)
                except MessageError:
                    yield batch  # what stands before the mistake counts
                    raise
                if candidate is not None:
                    batch.append(candidate)
                if len(batch) == BATCH:
                    yield batch
                    batch = []
            yield batch

    def seen(self, candidate: Candidate, thing: Thing | None) -> Candidate:
        """Return the candidate of the same thing, of which more is known by now (None: no more)."""
        return self._candidate(thing) or candidate

    def _entry(self, place: Place, entry: bytes) -> Candidate | None:
        """Return the candidate of a line or list entry: a URI, a path, or a request in JSON."""
        line = os.fsdecode(_unquoted(entry))
        if _URI.match(line) or (not line.lstrip().startswith("{") and _is_path(line)):
            return self._candidate(self._listed(line))
        request = parse(entry, app_id=self._what.app_id, place=place, salt=self._what.salt)
        return Candidate(request)

    def _listed(self, line: str) -> Thing | None:
        path = local_path(line)
        if path is None:
            return Thing(uri=line)
        try:
            status = os.stat(path, follow_symlinks=self._what.follow_links)  # noqa: PTH116 - as above
        except OSError as error:
            self._on_note(Note("vanished", path, error.strerror or str(error)))
            return None
        if not stat.S_ISREG(status.st_mode):
            is_link = stat.S_ISLNK(status.st_mode)
            reason = "symbolic links are not followed" if is_link else "it is no regular file"
            self._on_note(Note("link" if is_link else "special", path, reason))
            return None
        real = os.path.realpath(path) if self._what.follow_links else os.path.abspath(path)  # noqa: PTH100
        return Thing(uri=file_uri(real), size=status.st_size, version=str(status.st_mtime_ns))

    def _things(self, things: Iterable[Thing | None]) -> Iterator[Candidate]:
        return filter(None, map(self._candidate, things))

    def _candidate(self, thing: Thing | None) -> Candidate | None:
        if thing is None:
            return None
        what = self._what
        try:
            return Candidate(request_of(thing, app_id=what.app_id, kind=what.kind, salt=what.salt), thing)
        except MessageError as error:
            self._on_note(Note("refused", thing.uri, str(error)))
            return None


LISTED = frozenset({"s3", "gs", "az"})
"""Schemes whose URI, as an argument, names everything below it."""


@contextmanager
def _stream_of(name: str, standard_input: int) -> Generator[int | None]:
    """Give the descriptor of a list that can be read only once: standard input, a pipe; else None."""
    if name == "-":
        yield standard_input
        return
    if not is_stream(name):
        yield None
        return
    descriptor = os.open(name, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_stream(argument: str) -> bool:
    """Return whether an argument names what can be read only once: a pipe, a terminal."""
    try:
        mode = os.stat(argument).st_mode  # noqa: PTH116 - a name may be no text
    except (OSError, ValueError):  # the latter: a name with a NUL in it
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def is_list(argument: str) -> bool:
    """Return whether an argument is a list of requests: standard input, a pipe, or a file named so."""
    if argument == "-" or is_stream(argument):
        return True
    is_named_so = argument.lower().endswith(REQUEST_ENDINGS) and not _URI.match(argument)
    return is_named_so and not os.path.isdir(argument)  # noqa: PTH112 - as above


def _is_listed(argument: str) -> bool:
    return argument.partition(":")[0].lower() in LISTED


def _is_file(argument: str) -> bool:
    path = local_path(argument)
    return path is not None and not os.path.isdir(path)  # noqa: PTH112 - as above


def _check_is_there(argument: str) -> None:
    path = local_path(argument)
    if path is None or os.path.lexists(path):
        return
    refuse_one_slash(argument)
    raise UpswellError(f"{argument} does not exist")


async def _in_batches(found: Iterator[Candidate]) -> AsyncIterator[list[Candidate]]:
    # In a thread: a slow disk must not keep the broker waiting.
    while batch := await asyncio.to_thread(list, islice(found, BATCH)):
        yield batch


def local_path(text: str) -> str | None:
    """Return the path that a `file://` URI or a plain path names; None for any other URI.

    >>> local_path("file:///a%20b"), local_path("photos"), local_path("s3://bucket/a")
    ('/a b', 'photos', None)
    """
    if text.lower().startswith("file://"):
        return os.fsdecode(unquote_to_bytes(text[len("file://") :].removeprefix("localhost")))
    return None if _URI.match(text) else text


def _is_path(line: str) -> bool:
    return line.startswith(("/", "./", "../")) or os.path.lexists(line)


def _unquoted(entry: bytes) -> bytes:
    """Return an entry of a JSON list that is a string as the line that it would be in a list of lines."""
    if not entry.startswith(b'"'):
        return entry
    try:
        return msgspec.json.decode(entry, type=str).encode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return entry


def _readable(path: str, tree: Tree, prefix: str) -> Iterator[Thing]:
    try:
        for file in tree:
            yield file_thing(file, prefix)
    except OSError as error:
        raise UpswellError(f"cannot read the directory {path}: {error.strerror}") from error


def _prefixes(what: What) -> dict[str, str]:
    """Return what stands before the keys of each argument: with several, each folder's own last name.

    Raises:
        UpswellError: two have the same last name, so that their files would have the same keys.
    """
    several = len(what.arguments) + len(what.requests) > 1
    prefixes: dict[str, str] = {}
    places: dict[str, str] = {}  # by last name
    for argument in what.arguments:
        name = _last_name(argument)
        prefixes[argument] = f"{what.prefix}{name}/" if several else what.prefix
        path = local_path(argument)
        if path is None and not _is_listed(argument):
            continue  # the worker makes its key, of its id
        place = argument.rstrip("/")
        if path is not None:
            place = os.path.abspath(path)  # noqa: PTH100 - a name may be no text
        if places.setdefault(name, place) != place:
            raise UpswellError(
                "files and folders, those of buckets too, must have different last names, which begin their "
                f"keys, got {places[name]} and {place}; publish them one after the other, with --prefix"
            )
    return prefixes


def _last_name(argument: str) -> str:
    return os.path.basename(os.path.abspath(local_path(argument) or argument))  # noqa: PTH100, PTH119 - as above
