import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusion_lab.codecs import PixelTokens, Tokens
from diffusion_lab.distributions import Categorical
from diffusion_lab.errors import LabError
from diffusion_lab.figures import grid_sheet, strip_sheet
from diffusion_lab.vocabulary import BytePairs, Bytes, Characters, Words


def codec():
    return Tokens(3, Characters("abc"))


def test_masks_are_shown_as_blocks_in_the_text():
    states = [torch.tensor([[3, 3, 3]]), torch.tensor([[3, 1, 3]]), torch.tensor([[2, 1, 0]])]
    text = codec().show(strip_sheet(states, ["start", "t = 0.50", "t = 0.00"], "Denoising"))
    assert text.splitlines() == ["Denoising", "", "[start]", "███", "", "[t = 0.50]", "█b█", "", "[t = 0.00]", "cba"]


def test_with_confidence_a_strip_is_shown_as_text_picture_and_page():
    states = [torch.tensor([[3, 3]]), torch.tensor([[3, 1]])]
    known = [torch.full((1, 2), torch.nan), torch.tensor([[torch.nan, 0.3]])]
    text, picture, page = codec().show(strip_sheet(states, ["start", "t = 0.00"], "Denoising", known))
    assert text.splitlines()[-3:] == ["start     ▒▒", "t = 0.00  ▒b", "           ▃"]
    assert any(drawn.get_text() == " b" for drawn in picture.axes[0].texts)
    assert '<i class="p30" title="0.300">b</i>' in page.html


def test_a_text_without_names_is_numbered():
    text = codec().show(grid_sheet(torch.tensor([[0, 1], [2, 3]]), "Samples", columns=1))
    assert text == "Samples\n\n[0]\nab\n\n[1]\nc█\n"


def test_each_token_has_a_text_of_its_own():
    assert Characters("abc").pieces([0, 2, 3]) == ["a", "c", None]
    assert Bytes().pieces([*"é\n".encode(), 256]) == ["<C3>", "<A9>", "\n", None]
    pairs = BytePairs(["195 169", "32 195"])
    assert pairs.pieces([256, 257, 97, 258]) == ["é", " <C3>", "a", None]
    assert Words(["<unk>", " the"]).pieces([1, 0, -1]) == [" the", "<unk>", None]


def test_samples_are_saved_as_ids_and_as_text(tmp_path):
    files = codec().save(torch.tensor([[0, 1, 2], [2, 2, 3]]), tmp_path / "samples.npy")
    assert [file.name for file in files] == ["samples.npy", "samples.txt"]
    assert np.load(files[0]).tolist() == [[0, 1, 2], [2, 2, 3]]
    assert files[1].read_text(encoding="utf-8") == "[0]\nabc\n\n[1]\ncc█\n"


def test_texts_that_cannot_be_written_are_one_clear_line(tmp_path, monkeypatch):
    """A disk that is full after the ids."""
    opened = Path.open

    def full(path, *arguments, **keywords):
        if ".txt" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(LabError, match=r"cannot write .*samples\.txt: No space left on device"):
        codec().save(torch.tensor([[0, 1, 2]]), tmp_path / "samples.npy")
    assert [file.name for file in tmp_path.iterdir()] == ["samples.npy"]


def test_blanks_stand_for_one_token_each_and_the_rest_is_given():
    tokens, given = codec().with_blanks("ab@@c", "@")
    assert given.tolist() == [True, True, False, False, True]
    assert tokens[given].tolist() == [0, 1, 2]
    tokens, given = codec().with_blanks("abc", None)
    assert tokens.tolist() == [0, 1, 2]
    assert bool(given.all())


def test_what_is_given_around_blanks_of_byte_pairs_comes_back_to_the_byte():
    vocabulary = BytePairs(["226 128", "256 148", "116 111", "32 98"])
    codec = Tokens(vocabulary.size, vocabulary)
    before, after = "to naïve — ", " be—\n"
    tokens, given = codec.with_blanks(f"{before}@@@{after}", "@")
    assert int((~given).sum()) == 3
    assert len(tokens) < len(f"{before}@@@{after}".encode())  # some tokens are pairs
    for fill in ([257, 98, 99], [226, 226, 226], [128, 256, 195], [32, 259, 9999]):  # whole and broken characters
        filled = tokens.clone()
        filled[~given] = torch.tensor(fill)
        text = codec.text(filled)
        assert text.startswith(before)
        assert text.endswith(after)


def test_a_word_that_is_no_token_is_not_given_as_another():
    words = Tokens(4, Words(["<unk>", "the", " ", "zebra"]))
    assert words.with_blanks("the @", "@")[0].tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match=r"'lion the ' is not made of tokens .* read as '<unk> the '"):
        words.with_blanks("lion the @", "@")


def test_sequences_with_unknown_words_have_no_number_of_characters():
    words = Tokens(4, Words(["<unk>", "the", " ", "zebra"]))
    assert words.characters(torch.tensor([[1, 2, 3], [2, 2, 1]])).tolist() == [9, 5]
    assert words.characters(torch.tensor([[1, 2, 3], [1, 2, 0]])) is None


def test_the_likelihood_of_tokens_is_the_sum_of_their_logs():
    log_probs = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    x = torch.tensor([[0, 1, 2], [2, 0, 0]])
    expected = [sum(float(log_probs[b, n, x[b, n]]) for n in range(3)) for b in range(2)]
    torch.testing.assert_close(codec().log_likelihood(x, Categorical(log_probs)), torch.tensor(expected))
    assert codec().characters(x).tolist() == [3, 3]
    assert "abc" in codec().show(grid_sheet(x, "Samples"))


def test_pixels_are_levels_and_come_back():
    images = (torch.arange(256).float() / 127.5 - 1).view(1, 1, 16, 16)
    pixels = PixelTokens(1, 16)
    z = pixels.encode(images)
    assert z.tolist() == [list(range(256))]
    torch.testing.assert_close(pixels.decode(z), images)
    assert pixels.provides() == {"vocab_size": 256, "length": 256}
    assert pixels.code_shape((1, 16, 16)) == (256,)
    few = PixelTokens(1, 16, levels=2)
    assert few.encode(images).unique().tolist() == [0, 1]
    assert few.decode(torch.full((1, 256), 2)).unique().tolist() == [0.0]  # masked pixels are grey


def test_the_likelihood_of_pixels_is_that_of_their_levels():
    """Of two channels, row by row, with a mask as the last state."""
    pixels, generator = PixelTokens(2, 3, levels=4), torch.Generator().manual_seed(0)
    assert pixels.code_shape((2, 3, 3)) == (18,)
    assert pixels.provides() == {"vocab_size": 4, "length": 18}
    levels = torch.randint(4, (3, 18), generator=generator)
    log_probs = torch.randn(3, 18, 5, generator=generator).log_softmax(-1)
    expected = [sum(float(log_probs[b, n, levels[b, n]]) for n in range(18)) for b in range(3)]
    images = (levels / 1.5 - 1).reshape(3, 2, 3, 3)
    torch.testing.assert_close(pixels.decode(levels), images)
    torch.testing.assert_close(pixels.log_likelihood(images, Categorical(log_probs)), torch.tensor(expected))


@pytest.mark.parametrize("levels", [1, 257])
def test_a_number_of_levels_out_of_range_is_refused(levels):
    with pytest.raises(ValueError, match=rf"codec\.levels must lie between 2 and 256, got {levels}"):
        PixelTokens(1, 16, levels)


def test_a_sentence_is_shown_with_its_ids_and_with_what_is_filled_in_for_its_masks():
    """By a network that takes the first character for a space."""
    text = "He ran. A cat sat there. It"
    vocabulary = Characters("".join(sorted(set(text))))
    items = vocabulary.encode(text)[None]

    def reconstruct(row, destroyed):
        states = torch.where(destroyed, vocabulary.size, items[row])
        guesses = torch.cat([vocabulary.encode(" "), items[row, 1:]])
        return states, guesses.expand_as(states)

    shown, picture = Tokens(vocabulary.size, vocabulary).demonstrate(items, reconstruct, "a run")
    lines = shown.splitlines()
    assert "a run" in lines
    (ids,) = (line.split()[1:] for line in lines if line.startswith("ids"))
    assert ids == [str(number) for number in items[0].tolist()]
    last = lines.index("ratio 1.00      " + "▒" * len(text))
    assert lines[last + 1] == "26 of 27 right  ·e·ran.·A·cat·sat·there.·It"
    assert picture.axes
