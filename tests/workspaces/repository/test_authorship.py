"""What stands in our commits: our author, the agent's own words, and nobody else's."""

from __future__ import annotations

import hashlib

import pytest

from crewcap.errors import UsageError
from crewcap.workspaces.repository.authorship import (
    MOST_MESSAGE,
    Authorship,
    Commit,
    clean,
    object_id,
    read_commit,
    write_commit,
)

OURS = Authorship(name="Ana's crew", email="crew@example.invalid")
TREE, PARENT = "1" * 40, "2" * 40
HEAD = f"tree {TREE}\nparent {PARENT}\nauthor Mallory <ceo@example.invalid> 1700000000 +0200\n"


def _raw(message: bytes, *, more: bytes = b"") -> bytes:
    return HEAD.encode() + b"committer X <x@y> 1700000001 -0100\n" + more + b"\n" + message


def test_tree_parents_dates_and_message_are_kept_and_the_rest_is_ours() -> None:
    commit = read_commit(_raw(b"fix: the sum\n", more=b"gpgsig -----BEGIN\n lies\n -----END\nx-mine yes\n"))
    assert commit == Commit(
        tree=TREE,
        parents=(PARENT,),
        authored="1700000000 +0200",
        committed="1700000001 -0100",
        message="fix: the sum\n",
    )
    assert write_commit(commit, OURS, empty="e").decode() == (
        f"tree {TREE}\nparent {PARENT}\nauthor Ana's crew <crew@example.invalid> 1700000000 +0200\n"
        "committer Ana's crew <crew@example.invalid> 1700000001 -0100\n\nfix: the sum\n"
    )


def test_making_it_twice_is_making_it_once() -> None:
    """So a run that goes on finds its own commits again."""
    once = write_commit(read_commit(_raw(b"a\r\nb\x1b[31m\n\nSigned-off-by: A <a@b>\n")), OURS, empty="e")
    assert write_commit(read_commit(once), OURS, empty="e") == once


def test_a_signature_stands_in_the_head() -> None:
    content = write_commit(read_commit(_raw(b"m")), OURS, empty="e", signature="-----BEGIN\nabc\n-----END\n")
    assert b"\ngpgsig -----BEGIN\n abc\n -----END\n\nm\n" in content


def test_a_message_in_another_encoding_is_read() -> None:
    assert read_commit(_raw("fün".encode("latin-1"), more=b"encoding ISO-8859-1\n")).message == "fün"
    assert read_commit(_raw(b"f\xfcn", more=b"encoding nonsense\n")).message == "f\ufffdn"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("fix\n\nbody\n", "fix\n\nbody"),
        ("fix \x1b[31mred\x07\r\nmore\x00", "fix [31mred\nmore"),
        ("a\u202eb\u2066c", "abc"),
        ("fix\n\n\n\n\nbody  \n", "fix\n\nbody"),
        ("", "what the run is called"),
        ("\x00\x01", "what the run is called"),
        (
            "fix\n\nSigned-off-by: Linus <l@example.invalid>\nCo-authored-by: Bot <b@c>",
            "fix\n\nCo-authored-by: Bot <b@c>",
        ),
        ("signed-off-by : x", "what the run is called"),
        ("🦊 emoji \u200d stays", "🦊 emoji \u200d stays"),
    ],
)
def test_a_message_keeps_its_words_and_loses_control_characters_and_others_promises(
    message: str, expected: str
) -> None:
    assert clean(message, OURS, empty="what the run is called") == expected


def test_a_message_has_a_largest_size() -> None:
    assert len(clean("x" * 1_000_000, OURS, empty="e")) < MOST_MESSAGE + 20


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("fix", "fix\n\nSigned-off-by: C <c@d>"),
        ("fix\n\nbody", "fix\n\nbody\n\nSigned-off-by: C <c@d>"),
        ("fix\n\nCo-authored-by: A <a@b>", "fix\n\nCo-authored-by: A <a@b>\nSigned-off-by: C <c@d>"),
        ("Fixes: x", "Fixes: x\n\nSigned-off-by: C <c@d>"),
    ],
)
def test_a_sign_off_stands_at_the_end(message: str, expected: str) -> None:
    assert clean(message, Authorship(name="C", email="c@d", sign_off=True), empty="e") == expected


@pytest.mark.parametrize("name", ["", " ", "a<b", "a>b", "a\nb", "a\0b"])
def test_a_name_that_git_could_not_write_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="author"):
        Authorship(name=name)


def test_an_object_is_named_as_git_names_it() -> None:
    assert object_id(b"x", "sha1") == hashlib.sha1(b"commit 1\0x", usedforsecurity=False).hexdigest()
    assert object_id(b"x", "sha256") == hashlib.sha256(b"commit 1\0x").hexdigest()
