"""What a network is asked again for: only the rows that have changed, each once."""

import pytest
import torch

from diffusion_lab.parameterizations.output_memory import OutputMemory


@pytest.fixture
def memory():
    return OutputMemory(None)


@pytest.fixture
def asked(memory):
    """A function that returns which rows of inputs [B, L] a network is asked for, and checks the output, 10 x."""

    def of(x, condition=None):
        seen = []

        def ask(rows, first):
            seen.append(list(range(len(x)))[rows] if isinstance(rows, slice) else rows.tolist())
            return 10 * x[rows, first:]

        assert torch.equal(memory.output(x, condition, ask), 10 * x)
        return seen

    return of


def test_a_row_that_differs_at_several_positions_is_asked_for_once(asked):
    x = torch.zeros(3, 4)
    assert asked(x) == [[0, 1, 2]]
    x = x.clone()
    x[1, [0, 2, 3]] = 1
    assert asked(x) == [[1]]
    assert asked(x) == []


def test_of_two_memories_the_more_similar_one_is_gone_on_from(asked):
    zeros, ones = torch.zeros(4, 2), torch.ones(4, 2)
    asked(zeros)
    asked(ones)
    near_zeros, near_ones = zeros.clone(), ones.clone()
    near_zeros[3, 1] = 5
    near_ones[2, 0] = 7
    assert asked(near_zeros) == [[3]]
    assert asked(near_zeros) == []
    assert asked(near_ones) == [[2]]


def test_another_condition_or_another_size_is_asked_for_whole(asked):
    x, cats, dogs = torch.zeros(2, 3), torch.tensor([0, 0]), torch.tensor([0, 1])
    assert asked(x, cats) == [[0, 1]]
    assert asked(x, dogs) == [[0, 1]]
    assert asked(x, cats) == asked(x, dogs) == []
    assert asked(x) == [[0, 1]]
    assert asked(x, dogs) == asked(x) == []
    assert asked(x, cats) == [[0, 1]]  # only two are remembered
    assert asked(torch.zeros(2, 4)) == [[0, 1]]
    assert asked(torch.zeros(1, 4)) == [[0]]
