"""Generative perplexity by a language model whose probabilities are known.

The model stands in for the library's, which is optional; the last test loads one that it builds with transformers
itself, where that is installed.
"""

import hashlib
import importlib.machinery
import math
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from diffusion_lab.metrics.causal_lm import CausalLM

BEGIN = 3
CPU = torch.device("cpu")
#: p(next | token) of the tokens a, b, c and the one that begins a text.
CHAIN = torch.tensor([[0.5, 0.25, 0.25, 0], [0.1, 0.8, 0.1, 0], [0.2, 0.2, 0.6, 0], [0.7, 0.2, 0.1, 0]])


class Model(torch.nn.Module):
    """A Markov chain that gives padding, which it must not be asked for, no probability."""

    config = SimpleNamespace(max_position_embeddings=5)
    dtype = torch.float32

    def forward(self, input_ids, attention_mask):
        self.masks = attention_mask
        self.shapes = [*getattr(self, "shapes", []), tuple(input_ids.shape)]
        return SimpleNamespace(logits=CHAIN.log().to(self.dtype)[input_ids])


class Tokenizer:
    def __init__(self, begin, end):
        self.bos_token_id, self.eos_token_id = begin, end

    def __call__(self, text, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": ["abc".index(sign) for sign in text]}


@pytest.fixture
def folder(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


@pytest.fixture
def standing_in(monkeypatch):
    """A function from the token that begins texts to the arguments with which the library is then asked."""

    def put(begin, end=None):
        asked = []

        def loads(made):
            def from_pretrained(*arguments, **options):
                asked.append((*arguments, options))
                return made

            return SimpleNamespace(from_pretrained=from_pretrained)

        module = ModuleType("transformers")
        module.__spec__ = importlib.machinery.ModuleSpec("transformers", None)
        module.AutoTokenizer, module.AutoModelForCausalLM = loads(Tokenizer(begin, end)), loads(Model())
        monkeypatch.setitem(sys.modules, "transformers", module)
        return asked

    return put


def test_each_token_has_its_probability_after_the_one_that_begins_texts(standing_in, folder):
    standing_in(BEGIN)
    nats, count = CausalLM(str(folder)).nll(["ab", "", "c"], CPU)
    assert count == 3
    assert nats == pytest.approx(-math.log(0.7 * 0.25 * 0.1))


def test_without_such_a_token_the_first_one_is_given(standing_in, folder):
    standing_in(None)
    nats, count = CausalLM(str(folder)).nll(["abb", "c"], CPU)
    assert count == 2
    assert nats == pytest.approx(-math.log(0.25 * 0.8))
    assert not CausalLM(str(folder)).counts_every_token


def test_the_token_that_ends_texts_stands_in_for_one_that_begins_them(standing_in, folder):
    standing_in(None, BEGIN)
    model = CausalLM(str(folder))
    assert model.counts_every_token
    nats, count = model.nll(["ab", "c"], CPU)
    assert count == 3
    assert nats == pytest.approx(-math.log(0.7 * 0.25 * 0.1))


def test_without_a_context_a_text_is_read_as_a_whole_and_an_empty_one_costs_nothing(standing_in, folder, monkeypatch):
    standing_in(BEGIN)
    monkeypatch.setattr(Model, "config", SimpleNamespace(max_position_embeddings=None))
    nats, count = CausalLM(str(folder)).nll(["", "abb"], CPU)
    assert (nats, count) == (pytest.approx(-math.log(0.7 * 0.25 * 0.8)), 3)


def test_texts_longer_than_the_context_are_read_in_pieces(standing_in, folder):
    standing_in(BEGIN)
    nats, count = CausalLM(str(folder)).nll(["abbb" + "bc"], CPU)
    assert count == 6
    assert nats == pytest.approx(-math.log(0.7 * 0.25 * 0.8**2 * 0.2 * 0.1))


def test_nothing_is_fetched_and_no_code_of_the_folder_is_run(standing_in, folder):
    asked = standing_in(BEGIN)
    model = CausalLM(str(folder))
    model.load()
    model.load()
    local = {"local_files_only": True, "trust_remote_code": False}
    assert asked == [(str(folder), local), (str(folder), {**local, "use_safetensors": True})]
    assert not sys.modules["transformers"].AutoModelForCausalLM.from_pretrained().training


def test_a_model_is_known_by_its_folder_and_the_hashes_of_its_weights_in_their_order(folder):
    save_file({"weight": torch.ones(1)}, folder / "another.safetensors")
    hashes = [hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).digest() for name in ("another", "model")]
    assert CausalLM(str(folder)).label == f"{folder.name}@{hashlib.sha256(b''.join(hashes)).hexdigest()[:8]}"


def test_texts_are_read_eight_at_a_time_from_the_shortest_to_the_longest(standing_in, folder):
    """So that there is little padding, which is neither attended to nor counted."""
    standing_in(BEGIN)
    nats, count = CausalLM(str(folder)).nll(["abbb", "a"] * 5 + ["ab"] * 7, CPU)
    model = sys.modules["transformers"].AutoModelForCausalLM.from_pretrained()
    assert model.shapes == [(8, 3), (8, 5), (1, 5)]
    assert model.masks.sum(1).tolist() == [5]
    assert model.masks.dtype == torch.int64
    assert count == 5 * (4 + 1) + 7 * 2
    expected = 5 * math.log(0.7 * 0.25 * 0.8**2) + 5 * math.log(0.7) + 7 * math.log(0.7 * 0.25)
    assert nats == pytest.approx(-expected)


def test_what_a_model_computes_in_half_precision_is_summed_in_single_precision(standing_in, folder, monkeypatch):
    standing_in(BEGIN)
    monkeypatch.setattr(Model, "dtype", torch.bfloat16)
    rows = CHAIN.log().bfloat16().double().log_softmax(1)
    nats, _ = CausalLM(str(folder)).nll(["ab"], CPU)
    assert nats == pytest.approx(-float(rows[BEGIN, 0] + rows[0, 1]), rel=1e-5)


def test_one_token_of_the_context_is_that_which_begins_texts(standing_in, folder, monkeypatch):
    """Of a context of one nothing would be left, and pieces have one token nevertheless."""
    standing_in(BEGIN)
    monkeypatch.setattr(Model, "config", SimpleNamespace(max_position_embeddings=1))
    nats, count = CausalLM(str(folder)).nll(["ab"], CPU)
    assert (nats, count) == (pytest.approx(-math.log(0.7 * 0.2)), 2)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_that_is_no_model_is_named(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(ValueError, match=rf"causal_lm={folder}: it must be the folder of a language model"):
        CausalLM(str(folder)).check()


def test_a_missing_library_is_named(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs transformers: pip install 'diffusion-lab\[causal-lm\]'"):
        CausalLM(str(folder)).check()


def test_a_model_that_cannot_be_loaded_is_named_in_one_line(folder, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no\nsuch model" + "!" * 400)

    module = ModuleType("transformers")
    module.__spec__ = importlib.machinery.ModuleSpec("transformers", None)
    module.AutoModelForCausalLM = module.AutoTokenizer = SimpleNamespace(from_pretrained=fails)
    monkeypatch.setitem(sys.modules, "transformers", module)
    with pytest.raises(ValueError, match=r"cannot be loaded \(RuntimeError: no such model!{287}\)$"):
        CausalLM(str(folder)).load()


@pytest.mark.slow
def test_a_model_of_the_library_gives_the_likelihood_of_its_own_loss(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<s>": 0, "a": 1, "b": 2, "c": 3}, unk_token="<s>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>").save_pretrained(tmp_path)
    torch.manual_seed(0)
    sizes = {"vocab_size": 4, "n_positions": 16, "n_embd": 8, "n_layer": 1, "n_head": 2}
    config = transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(config).eval()
    model.save_pretrained(tmp_path)
    nats, count = CausalLM(str(tmp_path)).nll(["abcab", "ca"], CPU)
    expected = 0.0
    for ids in ([0, 1, 2, 3, 1, 2], [0, 3, 1]):
        row = torch.tensor([ids])
        with torch.no_grad():
            expected += float(model(input_ids=row, labels=row).loss) * (len(ids) - 1)
    assert count == 7
    assert nats == pytest.approx(expected, rel=1e-4)
