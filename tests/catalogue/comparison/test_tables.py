"""The tables, read back by a parser of their format."""

import csv
import io
import re

import pytest

from diffusion_lab.catalogue.comparison import tables
from diffusion_lab.catalogue.comparison.comparison import build_comparison
from diffusion_lab.catalogue.find import find_runs
from fake_runs import fake_run, fake_sweep


@pytest.fixture
def swept(tmp_path):
    fake_sweep(tmp_path / "swept", recognition=0.5)
    return build_comparison(find_runs([tmp_path / "swept"]), [], ["val/loss", "recognition.samples"])


@pytest.fixture
def hostile(tmp_path):
    """Rows whose values contain special characters of every format."""
    for seed in (1, 2):
        for i, value in enumerate((r"=a|b_c*d`e\f", r"{x}$y$ & #1 50% ~z^2 <i>", "…±")):
            fake_run(tmp_path / "odd", seed=seed, folder=f"{i}{seed}", loss=0.1 * (i + seed), extra={"odd|key_": value})
    return build_comparison(find_runs([tmp_path / "odd"]), [], ["val/loss"])


def test_the_terminal_s_columns_are_aligned_and_the_best_is_first(swept):
    lines = tables.text_table(swept).splitlines()
    assert lines[0].split() == [
        "schedule", "network.base_channels", "val/loss", "95", "%", "interval", "recognition.samples", "runs",
    ]  # fmt: skip
    assert lines[1].split() == ["linear", "16", "0.5040", "±", "0.0020", "0.5020", "…", "0.5060", "0.5000", "3"]
    assert len({len(line) for line in lines}) == 1
    ends = [re.search(r"0\.\d+ ± 0\.\d+", line).end() for line in lines[1:]]
    assert len(set(ends)) == 1


def test_the_csv_has_every_metric_in_full(swept):
    rows = list(csv.DictReader(io.StringIO(tables.csv_table(swept))))
    assert [(row["schedule"], row["network.base_channels"]) for row in rows] == [
        ("linear", "16"), ("linear", "8"), ("cosine", "16"), ("cosine", "8"),
    ]  # fmt: skip
    first = rows[0]
    assert float(first["val/loss.mean"]) == pytest.approx((0.502 + 0.504 + 0.506) / 3, rel=1e-15)
    assert float(first["val/loss.std"]) == pytest.approx(0.002)
    assert (float(first["val/loss.low"]), float(first["val/loss.high"])) == (0.502, 0.506)
    assert (first["val/loss.n"], first["runs"]) == ("3", "3")
    assert float(first["parameters.mean"]) == 16_000
    assert {key.rpartition(".")[0] for key in first} >= set(swept.all_metrics)


def test_the_csv_leaves_the_spread_of_one_run_empty(tmp_path):
    fake_run(tmp_path, seed=1)
    (fake_run(tmp_path, schedule="cosine", seed=1) / "metrics.json").write_text("{}")
    rows = list(
        csv.DictReader(io.StringIO(tables.csv_table(build_comparison(find_runs([tmp_path]), [], ["val/loss"]))))
    )
    assert [rows[0][f"val/loss.{part}"] for part in ("mean", "std", "low", "high", "n")] == ["0.5", "", "", "", "1"]
    assert [rows[1][f"val/loss.{part}"] for part in ("mean", "std", "low", "high", "n")] == ["", "", "", "", "0"]


def test_no_cell_of_the_csv_is_a_formula(hostile):
    rows = list(csv.reader(io.StringIO(tables.csv_table(hostile))))
    assert rows[1][0] == r"'=a|b_c*d`e\f"


def test_no_heading_of_the_csv_is_a_formula_and_negative_numbers_stay_numbers(tmp_path):
    for i, value in enumerate((-0.5, "-a()")):
        fake_run(tmp_path, folder=f"{i}", loss=i + 0.1, **{"=b()": value})
    table = tables.csv_table(build_comparison(find_runs([tmp_path]), [], ["val/loss"]))
    heads, *rows = csv.reader(io.StringIO(table))
    assert heads[0] == "'=b()"
    assert [row[0] for row in rows] == ["-0.5", "'-a()"]


def cells(line):
    """The cells of a line of Markdown, without escapes."""
    parts = re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]
    return [re.sub(r"\\(.)", r"\1", part.strip()) for part in parts]


def test_every_line_of_the_markdown_has_the_same_number_of_cells(swept, hostile):
    for found in (swept, hostile):
        lines = [line for line in tables.markdown_table(found).splitlines() if line.startswith("|")]
        assert len({len(cells(line)) for line in lines}) == 1
        assert len(lines) == 2 + len(found.rows)
    assert cells(lines[2])[0] == r"**=a|b_c*d`e\f**"
    assert cells(lines[0])[0] == "extra.odd|key_"


def test_the_latex_is_a_table_of_booktabs_and_everything_in_it_is_escaped(hostile):
    text = tables.latex_table(hostile)
    for word in (r"\begin{tabular}{lrrr}", r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}"):
        assert text.count(word) == 1
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 4
    assert all(len(re.findall(r"(?<!\\)&", row)) == 3 for row in rows)
    body = "".join(rows)
    assert r"\{x\}\$y\$ \& \#1 50\% \textasciitilde{}z\textasciicircum{}2 \textless{}i\textgreater{}" in body
    assert r"\textbf{=a|b\_c*d`e\textbackslash{}f}" in body
    assert body.isascii()
    comments = [line for line in text.splitlines() if line.startswith("%")]
    assert any("is ahead of" in line or "cannot be told" in line or "is better than" in line for line in comments)


def test_the_best_row_is_bold_in_any_order(tmp_path):
    for channels, loss in ((8, 0.6), (16, 0.5)):
        fake_run(tmp_path, channels=channels, loss=loss)
    found = build_comparison(find_runs([tmp_path]), [], ["val/loss"], sort="network.base_channels")
    lines = tables.markdown_table(found).splitlines()
    assert "**" not in lines[2]
    assert lines[3] == "| **16** | **0.5000** |  | **1** |"  # an interval needs two runs
    lines = [line for line in tables.latex_table(found).splitlines() if line.endswith(r"\\")]
    assert lines[1:] == [
        r"8 & 0.6000 &  & 1 \\",
        r"\textbf{16} & \textbf{0.5000} & \textbf{} & \textbf{1} \\",
    ]
