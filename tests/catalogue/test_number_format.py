import pytest

from diffusion_lab.catalogue.number_format import format_mean, format_number


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (0.037812, 0.00041, "0.03781 ± 0.00041"), (0.5, float("nan"), "0.5000"), (31.2345, 4.4, "31.2 ± 4.4"),
        (123456.0, 1234.0, "123,456 ± 1,234"), (0.5, 0.0, "0.5000"), (9.0, 0.0, "9"),
        (1e-12, 1e-13, "1.000e-12 ± 1.000e-13"),
        (3e9, float("nan"), "3.000e+09"), (-0.25, 0.1, "-0.25 ± 0.10"), (0.0, float("nan"), "0"),
    ],
)  # fmt: skip
def test_a_mean_has_as_many_digits_as_its_spread_allows(mean, std, text):
    assert format_mean(mean, std) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-3.0, "-3"), (0.5, "0.5000"), (1234.5, "1,234"), (12345.6, "12,346"), (1e6, "1,000,000"),
        (9_999_999.0, "9,999,999"), (1e7, "1.000e+07"), (-1e7, "-1.000e+07"), (1.5e-6, "0.000001500"),
        (1.5e-7, "1.500e-07"),
    ],
)  # fmt: skip
def test_a_number_has_four_digits_and_a_whole_one_all_of_them_up_to_ten_million(value, text):
    assert format_number(value) == text


def test_numbers_that_are_not_finite_are_a_dash():
    assert format_number(float("nan")) == "–"
