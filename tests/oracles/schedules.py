"""Betas and what follows from them, to 50 digits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from mpmath import mp, mpf

DIGITS = 50


@dataclass(frozen=True)
class Table:
    """Rows n = 0..T; `betas` alone has T entries, and `log_snr` starts at row 1."""

    betas: list[mpf]
    alpha_bar: list[mpf]
    sigma2: list[mpf]
    log_snr: list[mpf]


@lru_cache
def linear(steps: int, start: str = "1e-4", end: str = "0.02") -> Table:
    """Ho et al. 2020, section 4, with the betas scaled by 1000/T."""
    with mp.workdps(DIGITS):
        first, last = mpf(start), mpf(end)
        return _table([(first + (last - first) * n / (steps - 1)) * 1000 / steps for n in range(steps)])


@lru_cache
def cosine(steps: int, offset: str = "0.008", max_beta: str = "0.999") -> Table:
    """Nichol & Dhariwal 2021, eq. 17."""
    with mp.workdps(DIGITS):
        s = mpf(offset)
        f = [mp.cos((mpf(n) / steps + s) / (1 + s) * mp.pi / 2) ** 2 for n in range(steps + 1)]
        return _table([min(1 - f[n + 1] / f[n], mpf(max_beta)) for n in range(steps)])


def _table(betas: list[mpf]) -> Table:
    alpha_bar = [mpf(1)]
    for beta in betas:
        alpha_bar.append(alpha_bar[-1] * (1 - beta))
    sigma2 = [1 - a for a in alpha_bar]
    log_snr = [mp.inf, *(mp.log(a / v) for a, v in zip(alpha_bar[1:], sigma2[1:], strict=True))]
    return Table(betas, alpha_bar, sigma2, log_snr)


def relative_error(value: float, exact: mpf) -> float:
    """|value / exact − 1|, computed with all the digits of `exact`."""
    with mp.workdps(DIGITS):
        return float(abs(mpf(value) / exact - 1))
