import math

import pytest
import torch
from other_device import elsewhere

from diffusion_lab.metrics.class_balance import class_balance


def of_classes(*classes, count=4):
    """Logits whose largest are those of these classes."""
    return torch.nn.functional.one_hot(torch.tensor(classes), count).float() * 3 - 5


def test_the_same_classes_are_balanced():
    found = class_balance(of_classes(0, 1, 2, 3), of_classes(3, 2, 1, 0, 0, 1, 2, 3))
    assert found.total_variation == 0
    assert found.entropy == pytest.approx(math.log(4))
    assert found.missing == 0


def test_a_known_imbalance():
    """Half and half, against a quarter, a half and a quarter of another class."""
    found = class_balance(of_classes(0, 1), of_classes(0, 1, 1, 2))
    assert found.total_variation == pytest.approx(0.25)
    assert found.entropy == pytest.approx(1.5 * math.log(2))
    assert found.missing == 0  # class 3 is in neither


def test_one_class_of_four():
    found = class_balance(of_classes(0, 1, 2, 3), of_classes(2, 2))
    assert (found.total_variation, found.entropy, found.missing) == (0.75, 0, 3)


def test_logits_may_lie_on_a_device_without_float64():
    both = of_classes(0, 1), of_classes(0, 1, 1, 2)
    assert class_balance(*elsewhere(*both)) == class_balance(*both)


def test_bad_logits_are_refused():
    with pytest.raises(ValueError, match=r"^class balance needs at least 1 generated items, got 0$"):
        class_balance(of_classes(0), torch.zeros(0, 4))
    with pytest.raises(ValueError, match=r"^real and generated items must have the same classes, got 4 and 5$"):
        class_balance(of_classes(0), of_classes(0, count=5))
    with pytest.raises(ValueError, match=r"^real logits must be finite: 1 of 1 items"):
        class_balance(of_classes(0) * torch.nan, of_classes(0))
