# ruff: noqa: D101 - examples, named for what they are
"""`@handler`: a function's form is checked where it is written."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from upswell import SettingsError, handler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from upswell import Context, Stored, UploadRequest


def of_request(request: UploadRequest) -> None:
    pass


def of_context(request: UploadRequest, context: Context) -> Stored | None:
    pass


async def asynchronous(request: UploadRequest, *, context: Context, retries: int = 3) -> Stored | None:
    pass


@pytest.mark.parametrize("function", [of_request, of_context, asynchronous])
def test_a_handler_comes_back_as_it_is(function: Any) -> None:
    assert handler(function) is function


def nothing() -> None:
    pass


def two(request: UploadRequest, other: int) -> None:
    pass


def yielding(request: UploadRequest) -> Iterator[None]:
    yield


async def yielding_later(request: UploadRequest) -> AsyncIterator[None]:
    yield


class Handling:
    def __init__(self, request: UploadRequest) -> None:
        pass


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (nothing, r"test_own:nothing must take one argument, the request"),
        (two, r"test_own:two must take one argument.*'other'"),
        (yielding, "must return what it stored, but it yields"),
        (yielding_later, "must return what it stored, but it yields"),
        (Handling, "must be a function, got a class"),
    ],
)
def test_what_cannot_be_a_handler_is_refused_with_the_rule(function: Callable[..., Any], rule: str) -> None:
    with pytest.raises(SettingsError, match=rule):
        handler(function)


def test_a_function_with_arguments_filled_in_has_no_name_of_its_own() -> None:
    made = partial(two, other=7)
    assert handler(made) is made
