from __future__ import annotations

import os
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from upswell.errors import PermanentUploadError
from upswell.requests import split_key


@pytest.mark.parametrize(
    "key", ["a", "a/b/c.txt", "é/日本.mp4", "...", "..a", "a b", "-rf", "~/x", "a\\b", "x" * 255]
)
def test_a_good_key_is_kept_as_it_is(key: str) -> None:
    assert "/".join(split_key(key)) == key


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("", "1 to 1024 bytes"),
        ("/etc/passwd", "relative"),
        ("../x", "relative"),
        ("a/../../x", "relative"),
        ("a/./x", "relative"),
        ("a//x", "relative"),
        ("a/", "relative"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("a\x7fb", "control characters"),
        ("\ud800", "valid Unicode"),
        ("x" * 256, "at most 255 bytes"),
        ("é" * 128, "at most 255 bytes"),
        ("x/" * 513, "1 to 1024 bytes"),
        (".upswell-tmp/x", "the store's own folder"),
        (".upswell-tmp", "the store's own folder"),
    ],
)
def test_a_bad_key_is_refused_with_its_rule(key: str, rule: str) -> None:
    with pytest.raises(PermanentUploadError, match=rule):
        split_key(key)


@given(st.text(alphabet=st.one_of(st.sampled_from("./\\~\0\n "), st.characters()), max_size=60))
@example("..")
def test_a_key_that_is_let_through_stays_in_the_store_and_is_unambiguous(key: str) -> None:
    try:
        components = split_key(key)
    except PermanentUploadError:
        return
    assert "/".join(components) == key
    assert os.path.normpath(f"/store/{key}") == f"/store/{key}"
    assert PurePosixPath("/store", *components).is_relative_to("/store")
    assert all(0 < len(component.encode()) <= 255 for component in components)
