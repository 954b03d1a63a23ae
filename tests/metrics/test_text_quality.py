"""Copies of the training text are told from new text, and real text is its own floor."""

import math

import numpy as np
import pytest
import torch
from subjects import GivenSamples

from diffusion_lab.data import Digits
from diffusion_lab.data.text_files import TextFiles
from diffusion_lab.errors import LabError
from diffusion_lab.metrics import text_quality
from diffusion_lab.metrics.ngram_model import NgramModel
from diffusion_lab.metrics.text_quality import TextQuality

LENGTH, COUNT = 24, 20


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A text in which a letter is followed by one of two others."""
    noise = torch.rand(4000, generator=torch.Generator().manual_seed(0)).tolist()
    letters = [0]
    for number in noise:
        letters.append((letters[-1] + (1 if number < 0.7 else 3)) % 8)
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join("abcdefgh"[letter] for letter in letters))
    text = TextFiles(str(path), length=LENGTH, validation=0.2, test=0.2)
    text.setup()
    return text


@pytest.fixture(scope="module")
def measured(data):
    """A function from sets of samples to the numbers found."""

    def of(*sets, **options):
        evaluation = TextQuality(COUNT, seeds=len(sets), **options)
        evaluation.check_parts(None, data)
        evaluation.check(data)
        return evaluation(GivenSamples(data, *((items, None) for items in sets)))

    return of


def test_copies_of_the_training_text_overlap_entirely(data, measured):
    text = data.stream("train").long()
    found = measured(torch.stack([text[start : start + LENGTH] for start in range(5, 5 + 7 * COUNT, 7)])).as_dict()
    assert [found[f"overlap_{n}"] for n in (4, 8, 16)] == [1, 1, 1]
    assert found["longest_copy"] == LENGTH
    assert 0 < found["overlap_16_floor"] < 0.5
    assert "overlap_16_spread" not in found


def test_real_text_is_its_own_floor(data, measured):
    """Of all held-out text, each choice is the same set: the numbers agree to the last digits."""
    real = data.split("val")[0]
    evaluation = TextQuality(len(real), seeds=2)
    found = evaluation(GivenSamples(data, (real, None), (real, None))).as_dict()
    for name in [name for name in found if f"{name}_floor" in found]:
        assert found[name] == pytest.approx(found[f"{name}_floor"], rel=1e-9, abs=1e-12)
    assert found["ngram_perplexity"] == pytest.approx(math.exp(found["ngram_nll_per_token"]))
    assert found["ngram_nll_per_character"] == pytest.approx(found["ngram_nll_per_token"])
    entropy = -0.7 * math.log(0.7) - 0.3 * math.log(0.3)  # of a letter given the one before it
    bigram = measured(real[:COUNT], order=2).as_dict()["ngram_nll_per_token"]
    assert bigram == pytest.approx((math.log(8) + (LENGTH - 1) * entropy) / LENGTH, rel=0.1)


def test_text_that_repeats_itself_has_low_perplexity_and_low_entropy(data, measured):
    likely = torch.arange(LENGTH).expand(COUNT, LENGTH) % 8
    same = measured(likely, likely).as_dict()
    assert same["ngram_perplexity"] < same["ngram_perplexity_floor"]
    assert same["distinct_4"] == pytest.approx(8 / (COUNT * (LENGTH - 3)))
    assert same["distinct_4"] < same["distinct_4_floor"]
    assert same["entropy"] == pytest.approx(math.log(8))
    assert same["entropy_of_set"] == pytest.approx(math.log(8))
    assert (same["entropy_spread"], same["num_seeds"], same["length"]) == (0, 2, LENGTH)
    one = measured(torch.zeros(COUNT, LENGTH, dtype=torch.int64)).as_dict()
    assert one["entropy"] == 0


def test_its_words_and_its_figure(data, measured):
    result = measured(data.split("val")[0][:COUNT])
    assert "n-gram nll per token" in result.summary()
    assert "20 samples and as many real ones, one seed, spread n/a, val split, 5-gram@" in result.summary()
    assert sorted(result.order.tolist()) == list(range(COUNT))
    figures = result.figures()
    assert list(figures) == ["typicality"]
    assert [len(row) for row in figures["typicality"].rows] == [2] * 4  # the texts are long


def test_the_first_samples_stand_from_the_most_to_the_least_probable(data, measured):
    """A text that follows the rule of the data less and less, and other samples of another seed."""
    likely, unlikely = torch.arange(LENGTH) % 8, -torch.arange(LENGTH) % 8
    graded = torch.stack([torch.cat([likely[: LENGTH - k], unlikely[:k]]) for k in range(COUNT)])
    shuffled = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    result = measured(graded[shuffled], graded)
    order = shuffled[result.order].tolist()
    assert sum(abs(found - expected) for expected, found in enumerate(order)) / COUNT < 1.5
    model = NgramModel(data.stream("train").numpy(), 5, 8)
    nll = -model.log_probs(graded[shuffled].numpy()).sum(1)
    assert result.order.tolist() == np.argsort(nll, kind="stable").tolist()
    assert result.first.items.equal(graded[shuffled])


@pytest.mark.parametrize(("most", "expected"), [(8, "5-gram@"), (7, "3-gram@")])
def test_vocabularies_of_more_than_characters_have_an_n_gram_model_of_a_lower_order(
    data, measured, monkeypatch, most, expected
):
    assert text_quality._MOST_SIGNS == 256  # as many as there are bytes
    monkeypatch.setattr(text_quality, "_MOST_SIGNS", most)
    real = data.split("val")[0][:COUNT]
    found = measured(real).as_dict()
    assert found["ngram_model"] == f"{expected}{data.fingerprint()['train'][:8]}"
    assert found["ngram_nll_per_token"] == measured(real, order=int(expected[0])).as_dict()["ngram_nll_per_token"]


def test_n_grams_may_be_as_long_as_the_sequences(data):
    for name in ("distinct", "overlap"):
        TextQuality(**{name: [LENGTH]}).check_parts(None, data)
        with pytest.raises(ValueError, match="n-grams of 25 tokens do not fit into sequences"):
            TextQuality(**{name: [1, LENGTH + 1]}).check_parts(None, data)


def test_as_many_samples_as_real_text_are_enough_of_it(data):
    TextQuality(len(data.val)).check(data)
    with pytest.raises(ValueError, match=rf"{len(data.val) + 1} samples are measured .*the val split has"):
        TextQuality(len(data.val) + 1).check(data)


def test_its_facts_and_the_words_of_all_its_measures(data, measured):
    real = data.split("val")[0]
    result = measured(real[:COUNT], real[-COUNT:], distinct=[2], overlap=[4])
    found = result.as_dict()
    assert (found["num_samples"], found["length"], found["num_seeds"]) == (COUNT, LENGTH, 2)
    assert (found["split"], found["evaluations"]) == ("val", 7.0)
    names = ["n-gram nll per token", "n-gram nll per character", "entropy", "distinct 2", "overlap 4", "longest copy"]
    line = result.summary()
    for name in names:
        key = name.replace("n-gram", "ngram").replace(" ", "_")
        assert f"{name} {found[key]:.3g} ± {found[f'{key}_spread']:.3g} (real {found[f'{key}_floor']:.3g} ± " in line
    assert line.count("(real ") == len(names)
    assert f"; 20 samples and as many real ones, 2 seeds, val split, {found['ngram_model']}, 7 network" in line


def test_tokens_beyond_the_vocabulary_are_masks_and_the_last_one_is_a_letter(data, measured):
    highest = torch.full((COUNT, LENGTH), 7)
    assert measured(highest).as_dict()["entropy"] == 0
    for number in (8, -1):
        one = highest.clone()
        one[3, 5] = number
        with pytest.raises(LabError, match="still masked"):
            measured(highest, one)


@pytest.mark.parametrize("seeds", [1, 1000])
def test_from_one_to_a_thousand_seeds_are_drawn(seeds):
    assert TextQuality(seeds=seeds).seeds == seeds
    assert TextQuality(num_samples=1, order=1, distinct=[1], overlap=[]).order == 1
    with pytest.raises(ValueError, match=r"evaluation\.text_quality\.seeds must be at most 1,000, got 1001"):
        TextQuality(seeds=1001)


@pytest.mark.parametrize("counted", [True, False])
def test_generative_perplexity_stands_beside_the_same_of_real_text(data, measured, monkeypatch, tmp_path, counted):
    """By characters, too, where the model counts the first token of each text."""

    class Uniform:
        label = "uniform@0"
        counts_every_token = counted

        def __init__(self, path):
            self.path = path

        check = load = lambda self: None

        def nll(self, texts, device):
            return sum(map(len, texts)) * math.log(8), sum(map(len, texts))

    monkeypatch.setattr("diffusion_lab.metrics.text_quality.CausalLM", Uniform)
    found = measured(data.split("val")[0][:COUNT], causal_lm=str(tmp_path)).as_dict()
    assert found["generative_perplexity"] == found["generative_perplexity_floor"] == pytest.approx(8)
    by_character = {key: found[key] for key in found if key.startswith("generative_nll_per_character")}
    assert list(by_character.values()) == pytest.approx([math.log(8)] * 2 if counted else [])
    assert found["generative_model"] == "uniform@0"


def test_with_unknown_words_nothing_is_counted_by_characters(tmp_path):
    (tmp_path / "a.txt").write_text("a bb ccc " * 200)
    text = TextFiles(str(tmp_path), length=8, tokens="words", vocab_size=4, validation=0.2, test=0.2)
    text.setup()
    evaluation = TextQuality(4, seeds=1, overlap=[], distinct=[1])
    evaluation.check_parts(None, text)
    known = torch.tensor([[2, 1] * 4] * 4)
    found = evaluation(GivenSamples(text, (known, None))).as_dict()  # the real text has unknown words
    assert "ngram_nll_per_token_floor" in found
    assert not [name for name in found if "per_character" in name]


def test_samples_that_are_still_masked_are_refused(data, measured):
    with pytest.raises(LabError, match="still masked"):
        measured(torch.full((COUNT, LENGTH), 8))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"order": 30}, "order=30: with 8 tokens an n-gram has at most 20"),
        ({"overlap": [25]}, "n-grams of 25 tokens do not fit into sequences of data.length=24"),
        ({"causal_lm": "/nowhere"}, "causal_lm=/nowhere: it must be the folder of a language model"),
    ],
)
def test_what_does_not_fit_the_run_is_refused_before_it_trains(data, options, said):
    with pytest.raises(ValueError, match=said):
        TextQuality(**options).check_parts(None, data)


def test_it_is_for_text_alone_and_needs_as_much_real_text(data):
    with pytest.raises(ValueError, match="it is for runs on text, and this run has Digits as its data"):
        TextQuality().check_parts(None, Digits(image_size=8))
    with pytest.raises(ValueError, match=r"100 samples are measured beside as many real sequences, .* split has 33"):
        TextQuality().check(data)


@pytest.mark.parametrize("options", [{"num_samples": 0}, {"seeds": 0}, {"order": 0}, {"overlap": [4, 0]}])
def test_a_number_out_of_range_is_refused_by_its_key(options):
    with pytest.raises(ValueError, match=rf"evaluation\.text_quality\.{next(iter(options))} must be at least 1, got 0"):
        TextQuality(**options)


def test_a_language_model_is_looked_for_before_training_and_loaded_before_anything_is_drawn(
    data, monkeypatch, tmp_path
):
    class Asked:
        def __init__(self, path):
            self.path, self.asked = path, []

        def check(self):
            self.asked.append("check")

        def load(self):
            self.asked.append("load")

    monkeypatch.setattr(text_quality, "CausalLM", Asked)
    evaluation = TextQuality(COUNT, causal_lm=str(tmp_path))
    evaluation.check_parts(None, data)
    assert evaluation.causal_lm.asked == ["check"]
    evaluation.check(data)
    assert evaluation.causal_lm.asked == ["check", "load"]
    assert evaluation.causal_lm.path == str(tmp_path)
