import numpy as np
from matplotlib.figure import Figure

from diffusion_lab.figures import demonstration, masks_of_sentence, sentence_of
from diffusion_lab.figures.text_noise import RATIOS


def found_in(*texts, vocab_size=65):
    row, place = sentence_of([list(text) for text in texts], vocab_size)
    return texts[row][place]


def test_the_longest_sentence_that_fits_is_chosen_or_a_beginning():
    assert (
        found_in("his end. He ate the cake. So", "But Ann knew what Bob did not know.")
        == "But Ann knew what Bob did not know."
    )
    long = "his end.\nAll of the king's men went on and on, and on, and on, and on, and on, to no end"
    assert found_in(long) == long[9 : 9 + 48]
    assert found_in("no sentence at all") == "no sentence at all"


HE_ATE = [" He", *" ate the other cake", ' now."']


def test_tokens_that_begin_before_a_sentence_or_end_after_it_belong_to_it():
    pieces = ["his", " end", ".", *HE_ATE, " So"] + [" x"] * 9
    _, place = sentence_of([pieces], 65)
    assert pieces[place] == HE_ATE


def test_shares_of_the_sentence_and_of_the_rest_are_destroyed_one_within_the_next():
    place = slice(3, 9)
    destroyed = masks_of_sentence(15, place)
    assert destroyed[:, place].sum(1).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert destroyed.sum(1).tolist() == [round(ratio * 6) + round(ratio * 9) for ratio in RATIOS]
    assert (destroyed[1:] >= destroyed[:-1]).all()


def test_tokens_are_judged_by_the_sentence():
    ids, words = [0, 1, 2], ["a", "b", "c"]
    destroyed = np.zeros((len(RATIOS), 3), dtype=bool)
    destroyed[-1] = [True, True, False]
    kept: list[str | None] = ["a", "b", "c"]
    states, guesses = [kept] * 6 + [[None, None, "c"]], [kept] * 6 + [["a", "c", "c"]]
    text, figure = demonstration(ids, words, destroyed, states, guesses, "a run")
    lines = text.splitlines()
    last = [line.split() for line in lines[-3:]]
    assert last == [["ratio", "1.00", "▒▒c"], ["1", "of", "2", "right", "acc"], ["+x"]]
    assert lines[1] == "a run"
    # σ is 3/20 for three tokens, as 500 is for 10,000
    assert any(line.split()[:3] == ["σ", "=", "0.15"] for line in lines)
    assert isinstance(figure, Figure)
