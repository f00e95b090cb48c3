"""Which of several words about one limit counts; what they do to balances stands in the ledger's contract."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crewcap.stores.sqlite.limits import strongest

SOURCES = ("command", "key", "run", "file", "default")
words = st.lists(
    st.tuples(st.sampled_from(SOURCES), st.none() | st.integers(0, 9), st.integers(1, 99)),
    unique_by=(lambda word: word[0], lambda word: word[2]),
)


def test_a_command_outranks_what_came_along_which_outranks_the_file_which_outranks_the_defaults() -> None:
    said = [("default", 1, 1), ("file", 2, 2), ("run", 3, 3), ("command", 4, 4)]
    for count in range(1, 5):
        assert strongest(said[:count]) == (count, said[count - 1][0], count)
    assert strongest(reversed(said)) == (4, "command", 4)


def test_of_a_key_and_a_run_the_newer_word_counts() -> None:
    assert strongest([("key", 1, 5), ("run", 2, 6)]) == (2, "run", 6)
    assert strongest([("key", 1, 7), ("run", 2, 6)]) == (1, "key", 7)


def test_a_word_that_was_taken_back_counts_no_more_but_is_news() -> None:
    """Whoever latched on a version must look again."""
    assert strongest([("command", None, 9), ("file", 2, 4)]) == (2, "file", 9)
    assert strongest([("command", None, 9), ("file", None, 4)]) is None
    assert strongest([]) is None


@given(words)
def test_the_limit_in_force_was_said_and_nobody_stronger_says_otherwise(
    said: list[tuple[str, int | None, int]],
) -> None:
    found = strongest(said)
    standing = [word for word in said if word[1] is not None]
    if found is None:
        assert standing == []
        return
    limit, source, version = found
    assert (source, limit) in [word[:2] for word in standing]
    assert version == max(change for _, _, change in said)
    assert "command" not in [word[0] for word in standing] or source == "command"
