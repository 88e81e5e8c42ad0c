"""Statistics of English texts."""

import re

import pyarrow as pa
import pyarrow.compute as pc

from lance_backfill import udf

_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_SENTENCE_END = re.compile(r"[.!?:](?=\s|$)")
_VOWELS = re.compile(r"[aeiouy]+")


@udf
def reading_ease(text: str) -> float:
    """The reading ease after Flesch: about 100 is very easy, below 30 very hard."""
    words = _WORD.findall(text)
    sentences = len(_SENTENCE_END.findall(text))
    if not words or not sentences:
        raise ValueError("no sentence ends in this text")
    syllables = sum(syllables_of(word) for word in words)
    return 206.835 - 1.015 * len(words) / sentences - 84.6 * syllables / len(words)


def syllables_of(word: str) -> int:
    """About how many syllables a word has: groups of vowels, without a silent e at its end."""
    groups = len(_VOWELS.findall(word.lower()))
    if word.endswith("e") and not word.endswith("le"):
        groups -= 1
    return max(groups, 1)


@udf(data_type=pa.int64())
def words(text: pa.Array) -> pa.Array:
    """Counts the words of many texts at once."""
    return pc.count_substring_regex(text, r"\S+")
