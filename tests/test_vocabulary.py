"""Byte pairs against plain counting, texts in pieces against whole texts, and characters of sequences."""

import itertools
import random
from collections import Counter

import pytest
import torch

from diffusion_lab.vocabulary import LONGEST_TOKEN, BytePairs, Bytes, Words, whole_words

TEXT = "so we'll go no more a roving so late into the night though the heart be still as loving "


def replaced(word, left, right):
    """The tokens of a word with each such pair, from the left, as one token."""
    result = []
    for token in word:
        if result and result[-1] == left and token == right:
            result[-1] = left + right
        else:
            result.append(token)
    return result


def pairs_in(words):
    counts = Counter()
    for word, number in words:
        for pair in itertools.pairwise(word):
            counts[pair] += number
    return counts


def merges(vocabulary):
    """The two texts of each pair."""
    return [tuple(vocabulary.text([int(part)]) for part in pair.split()) for pair in vocabulary.entries()]


def test_each_pair_is_the_most_frequent_one_and_a_text_is_encoded_by_them_in_order():
    lines = random.Random(0).choices(TEXT.split(), k=300)
    text = " ".join(lines).replace("'", "")
    vocabulary = BytePairs.found_in([text], 256 + 40)
    assert vocabulary.size == 256 + 40
    counted = Counter(word if not number else " " + word for number, word in enumerate(text.split(" ")))
    words = [(list(word), number) for word, number in counted.items()]
    for left, right in merges(vocabulary):
        counts = pairs_in(words)
        assert counts[left, right] == max(counts.values())
        words = [(replaced(word, left, right), number) for word, number in words]
    expected = []
    for number, word in enumerate(["night", "loving", "heartless", "moor"]):
        tokens = list(" " * (number > 0) + word)
        for left, right in merges(vocabulary):
            tokens = replaced(tokens, left, right)
        expected += tokens
    ids = vocabulary.encode("night loving heartless moor").tolist()
    assert [vocabulary.text([token]) for token in ids] == expected


def test_the_same_text_gives_the_same_byte_pairs_and_these_the_same_tokens():
    one, other = (BytePairs.found_in(pieces, 400) for pieces in ([TEXT * 9], [TEXT] * 9))
    assert one.entries() == other.entries()
    text = "naïve — \t\r\n\x00 “no” 𝄞 日本 roving!"
    again = BytePairs(one.entries())
    assert again.encode(text).tolist() == one.encode(text).tolist()
    assert again.text(again.encode(text).tolist()) == text
    assert again.encode("").tolist() == []


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["116 104", "256"], r"data.vocabulary\[1\]='256': it must be two token ids"),
        (["116 256"], "a pair of earlier tokens"), (["1 -1"], "two token ids"), (["1 " + "9" * 99], "two token ids"),
        ([f"{number} {number}" for number in (97, *range(256, 300))], f"more than {LONGEST_TOKEN} bytes"),
    ],
)  # fmt: skip
def test_pairs_that_make_no_vocabulary_are_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        BytePairs(pairs)


def test_a_text_in_pieces_has_the_tokens_of_the_whole():
    kinds = [BytePairs.found_in([TEXT * 3 + "\n 's é1 " * 9], 300), Words.found_in([TEXT], 20)]
    chance = random.Random(1)
    for _ in range(100):
        text = "".join(chance.choices(" \n \n  \t\u00a0\u2028\x1cab.'s1é界", k=60))
        cuts = sorted(chance.choices(range(60), k=5))
        pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, 60], strict=True)]
        for kind in kinds:
            ids = torch.cat([kind.encode(piece) for piece in whole_words(pieces)])
            assert ids.tolist() == kind.encode(text).tolist(), repr(text)


def test_a_text_without_spaces_is_cut_as_well():
    pieces = list(whole_words(["界" * 2**17] * 10))
    assert len(pieces) == 2
    assert "".join(pieces) == "界" * 10 * 2**17


@pytest.mark.parametrize("vocabulary", [Bytes(), BytePairs(["226 128", "256 148", "32 97"])], ids=["bytes", "bpe"])
def test_a_character_counts_once_where_its_first_byte_is(vocabulary):
    text = "a—é a—界" * 7
    ids = vocabulary.encode(text).tolist()
    for length in (1, 2, 3, 5):
        counts = [vocabulary.count_characters(ids[start : start + length]) for start in range(0, len(ids), length)]
        assert sum(counts) == len(text)
    dash = vocabulary.encode("—").tolist()
    assert [vocabulary.count_characters(part) for part in (dash, dash[1:])] == [1, 0]
