"""Which words two sentences differ in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ralr_viz.results.word_marks import mark_all, mark_words

WORDS = st.lists(st.sampled_from(["ein", "Hund", "rennt", "."]), max_size=6).map(" ".join)


def test_mark_words_brackets_what_the_other_has_not():
    first, second = mark_words("ein Hund rennt .", "ein Hund läuft schnell .")
    assert (first, second) == ("ein Hund [rennt] .", "ein Hund [läuft schnell] .")
    assert mark_words("a b", "a c b") == ("a b", "a [c] b")
    assert mark_words("a", "a") == ("a", "a")


@given(WORDS, WORDS)
def test_mark_words_leaves_the_same_words_unmarked_in_both(first, second):
    marked = mark_words(first, second)
    plain = [" ".join(words.replace("[", "").replace("]", "").split()) for words in marked]
    assert plain == [first, second]
    kept = []
    for words in marked:
        inside, same = False, []
        for word in words.split():
            inside |= word.startswith("[")
            same += [] if inside else [word]
            inside &= not word.endswith("]")
        kept.append(same)
    assert kept[0] == kept[1]


def test_mark_all_marks_further_sentences_by_the_first():
    assert mark_all(["a b", "a c", "a b"]) == ["a b", "a [c]", "a b"]
    assert mark_all(["a b"]) == ["a b"]
