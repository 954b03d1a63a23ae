import runpy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from diffusion_lab.figures import text_noise as tn

SCRIPT = Path(__file__).parents[2] / "scripts" / "text_noise.py"
IDS = [42, 3421, 891, 156, 42, 2001]
SIGMAS = [0.0, 50.0, 200.0, 500.0]


@pytest.fixture(scope="module")
def words():
    return tn.full_vocabulary()


@pytest.fixture
def rows():
    return tn.gaussian_rows(IDS, SIGMAS, 0), tn.mask_rows(tn.SENTENCE, tn.RATIOS, 0)


def run(*arguments):
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=100)


def test_full_vocabulary_has_distinct_words_and_the_six_at_their_ids(words):
    assert [words[i] for i in IDS] == list(tn.SENTENCE)
    assert words[7856] == "dog"
    assert 7856 < len(words) == len(set(words)) <= 10_000
    assert all(word.isalpha() and word.islower() for word in words)


def test_gaussian_rows_scale_one_draw():
    clean, *_, row = tn.gaussian_rows(IDS, SIGMAS, 3)
    eps = np.random.default_rng(3).standard_normal(6)
    assert clean.ids == tuple(IDS)
    assert row.ids == tuple(np.rint(IDS + 500 * eps))
    assert row.ids != tn.gaussian_rows(IDS, SIGMAS, 4)[-1].ids


def test_at_sigma_500_no_id_is_a_word_of_the_six_and_none_is_the_right_one_of_the_full(words, rows):
    headline = rows[0][-1].ids
    assert not set(headline) & set(tn.SIX_WORDS.values())
    read = [tn.word_at(token_id, words) for token_id in headline]
    assert not set(read) & set(tn.SIX_WORDS)
    assert set(read) <= set(words)


def test_ids_beyond_the_vocabulary_are_clipped():
    assert [tn.word_at(i, ("a", "b", "c")) for i in (-7, 0, 2, 3)] == ["a", "a", "c", "c"]
    assert [tn.nearest_word(i) for i in (-7, 98, 100, 9999)] == ["the", "the", "on", "dog"]


@pytest.mark.parametrize("seed", range(5))
def test_masks_are_counted_nested_and_leave_the_rest_readable(seed):
    states = [row.tokens for row in tn.mask_rows(tn.SENTENCE, tn.RATIOS, seed)]
    assert [state.count(tn.MASK) for state in states] == [0, 1, 2, 3, 4, 5, 6]
    for before, after in pairwise(states):
        assert all(b in (a, tn.MASK) for a, b in zip(before, after, strict=True))
    assert states == [row.tokens for row in tn.mask_rows(tn.SENTENCE, tn.RATIOS, seed)]


def test_order_of_masking_depends_on_the_seed():
    assert len({tuple(tn.mask_rows(tn.SENTENCE, tn.RATIOS, seed)) for seed in range(8)}) > 4


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf"), 2e6])
def test_bad_sigma_and_ratio_are_rejected(sigma):
    with pytest.raises(ValueError, match="sigma"):
        tn.gaussian_rows(IDS, [0.0, sigma], 0)
    with pytest.raises(ValueError, match="ratio"):
        tn.mask_rows(tn.SENTENCE, [sigma], 0)


def test_table_is_aligned_and_fits_100_columns(words, rows):
    text = tn.table(*rows, words)
    lines = text.splitlines()
    assert text.isascii()
    assert max(map(len, lines)) <= 100
    headline = [line.split() for line in lines if line.startswith("sigma 500")]
    assert headline == [["sigma", "500", "id", *map(str, rows[0][-1].ids)]]
    columns = [line for line in lines if line.startswith(("sentence", "token", "sigma", "ratio", "    "))]
    assert len(columns) == 2 + 4 * len(SIGMAS) + len(tn.RATIOS)
    assert len({len(line) for line in columns}) == 1
    for row in rows[1]:
        assert any(line.split()[-6:] == list(row.tokens) for line in lines if line.startswith("ratio"))


def test_figure_shows_every_token_inside_its_cell(words, rows):
    figure = tn.figure(*rows, words)
    figure.draw_without_rendering()
    captions = {ax.texts[-1] for ax in figure.axes}
    texts = [t for ax in figure.axes for t in ax.texts if t.get_text() and t not in captions]
    shown = [text.get_text() for text in texts]
    assert shown.count(tn.MASK) == sum(row.tokens.count(tn.MASK) for row in rows[1]) == 21
    assert {str(i) for row in rows[0] for i in row.ids} <= set(shown)
    assert {tn.word_at(i, words) for row in rows[0] for i in row.ids} <= set(shown)
    for text in texts:
        x, y = map(int, text.get_position())
        cell = text.axes.transData.transform([(x, y), (x + 1, y + 1)])
        box = text.get_window_extent(figure.canvas.get_renderer())
        assert cell[:, 0].min() < box.x0 < box.x1 < cell[:, 0].max()
        assert cell[:, 1].min() < box.y0 < box.y1 < cell[:, 1].max()


def test_script_saves_the_figure_and_prints_table_and_path(tmp_path, capsys, words, rows):
    out = tmp_path / "new" / "noise.png"
    runpy.run_path(str(SCRIPT))["main"](["--seed", "0", "--out", str(out)])
    assert capsys.readouterr() == (f"{tn.table(*rows, words)}\n\nFigure: {out}\n", "")
    assert out.read_bytes().startswith(b"\x89PNG")


def test_script_cannot_write_over_a_folder(tmp_path, capsys, words):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(SCRIPT))["main"](["--out", str(tmp_path / "folder.png")])
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "folder.png" in err


def test_help_imports_nothing_heavy():
    done = run("-X", "importtime", SCRIPT, "--help")
    assert done.returncode == 0
    assert "--sigma" in done.stdout
    assert not [name for name in ("numpy", "matplotlib", "torch") if name in done.stderr]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--sigma", "0"], "--sigma"),
        (["--sigma", "nan"], "--sigma"),
        (["--sigma", "inf"], "sigma"),
        (["--sigma", "loud"], "--sigma"),
        (["--seed", "-1"], "--seed"),
        (["--out", "figure.jpg"], ".png"),
        (["--out", f"{SCRIPT}/figure.png"], "text_noise.py"),
    ],
)
def test_bad_input_ends_in_one_line_and_status_2(arguments, says):
    done = run(SCRIPT, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
