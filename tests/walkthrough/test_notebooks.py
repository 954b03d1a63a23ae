"""The notebooks of the walkthrough: as they are committed, and executed on the bundled data."""

import base64
import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

import diffusion_lab

FOLDER = Path(__file__).parents[2] / "docs" / "walkthrough"
spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
execute = importlib.util.module_from_spec(spec)
spec.loader.exec_module(execute)

#: Bytes.
LARGEST = 1_000_000

#: A path from the root, which is a machine's own, beginning a word.
ABSOLUTE = re.compile(r"(?<![\w.:/])/\w[\w.-]*/")


def committed(source):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell):
    """All that a cell has put out as text."""
    streams = [output.text for output in cell.outputs if output.output_type == "stream"]
    values = [output.data.get("text/plain", "") for output in cell.outputs if "data" in output]
    return "\n".join([*streams, *values])


def pictures(notebook):
    return sum("image/png" in output.get("data", {}) for cell in code(notebook) for output in cell.outputs)


def executed(number, tmp_path):
    """The notebook, executed on the bundled data."""
    paths = {"PYTHONPATH": str(Path(diffusion_lab.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, FOLDER / "execute.py", str(number), "--digits", "--out", tmp_path],
        env={**os.environ, **paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    (path,) = tmp_path.glob("*.ipynb")
    return nbformat.read(path, as_version=4)


def assert_ran(notebook):
    for number, cell in enumerate(code(notebook), start=1):
        assert cell.execution_count == number, f"cell {number} was not executed: {cell.source}"
        kinds = {output.get("name", output.output_type) for output in cell.outputs}
        assert kinds <= {"stdout", "display_data", "execute_result"}, f"cell {number}: {kinds} {texts(cell)}"


def test_there_are_notebooks():
    assert [source.name[:2] for source in execute.SOURCES] == [f"{n + 1}_" for n in range(len(execute.SOURCES))]
    assert execute.SOURCES


@pytest.mark.parametrize("source", execute.SOURCES, ids=lambda source: source.stem)
def test_a_committed_notebook_has_the_cells_of_its_source(source):
    cells = [(cell.cell_type, cell.source, cell.metadata) for cell in execute.read(source).cells]
    assert [(cell.cell_type, cell.source, cell.metadata) for cell in committed(source).cells] == cells


@pytest.mark.parametrize("source", execute.SOURCES, ids=lambda source: source.stem)
def test_a_committed_notebook_was_executed_and_is_small_and_of_no_machine(source):
    notebook = committed(source)
    assert_ran(notebook)
    assert pictures(notebook)
    assert source.with_suffix(".ipynb").stat().st_size < LARGEST
    assert notebook.metadata == execute.METADATA
    for cell in code(notebook):
        assert not ABSOLUTE.search(texts(cell)), texts(cell)


@pytest.mark.parametrize("text", ["in /tmp/x", "/home/a/b", "(/root/", "'/data/x'"])
def test_absolute_paths_are_recognized(text):
    assert ABSOLUTE.search(text)
    assert not ABSOLUTE.search("docs/figures/x, https://a.b/home/c, ../../tmp/x, 1/2/3, a / b / c")


def test_what_differs_between_executions_is_removed(tmp_path):
    folder, data = tmp_path / "here", tmp_path / "data"
    bar = "\r  0%|   | 0/3 [00:00<?, ?step/s]\repoch 1:  50%|#  | 2/3 [00:01<00:00, loss 0.3]\r        \r"
    out = [
        nbformat.v4.new_output("stream", name="stdout", text=f"a in {folder}/outputs\n"),
        nbformat.v4.new_output("stream", name="stderr", text=bar),
        nbformat.v4.new_output("stream", name="stdout", text=f"b in {data}, by {execute.ROOT}/scripts\n"),
        nbformat.v4.new_output("stream", name="stderr", text="Warning: this stays\n"),
        nbformat.v4.new_output("execute_result", data={"text/plain": f"Path('{folder}/x')"}),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=out)])
    execute._normalize(notebook, folder, data)
    outputs = notebook.cells[0].outputs
    assert [output.get("text") for output in outputs] == [
        "a in ./outputs\nb in data, by ../../scripts\n", "Warning: this stays\n", None,
    ]  # fmt: skip
    assert outputs[2].data == {"text/plain": "Path('./x')"}


def test_pictures_are_kept_in_few_colours():
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (256, 200))
    noise = np.random.default_rng(0).integers(0, 256, (256, 200), dtype=np.uint8)
    pictures = []
    for pixels in (ramp, noise):
        png = io.BytesIO()
        Image.fromarray(pixels).convert("RGBA").save(png, "PNG")
        small = base64.b64decode(execute._in_few_colours(base64.b64encode(png.getvalue()).decode()))
        shown = np.asarray(Image.open(io.BytesIO(small)).convert("L"), dtype=int)
        assert np.abs(shown - pixels).max() <= 256 / execute.COLOURS
        pictures.append((len(small), len(png.getvalue())))
    assert pictures[1][0] < 0.7 * pictures[1][1]


def test_new_text_keeps_the_outputs_of_the_same_code(tmp_path):
    source = tmp_path / "1_a.py"
    source.write_text("# %% [markdown]\n# old\n\n# %%\n1 + 1\n")
    notebook = execute.read(source)
    notebook.cells[1].outputs = [nbformat.v4.new_output("execute_result", data={"text/plain": "2"}, execution_count=1)]
    notebook.cells[1].execution_count = 1
    source.write_text("# %% [markdown]\n# new\n\n# %%\n1 + 1\n")
    changed = execute.with_new_text(source, notebook)
    assert [cell.source for cell in changed.cells] == ["new", "1 + 1"]
    assert changed.cells[1] == notebook.cells[1]
    source.write_text("# %% [markdown]\n# new\n\n# %%\n1 + 2\n")
    with pytest.raises(ValueError, match=r"the code of 1_a.py has changed: execute it"):
        execute.with_new_text(source, notebook)


def numbers(pattern, notebook):
    """The numbers that stand in the groups of a pattern, wherever it is found in what a notebook has put out."""
    found = re.findall(pattern, "\n".join(map(texts, code(notebook))))
    return [[float(number) for number in (groups if isinstance(groups, tuple) else (groups,))] for groups in found]


@pytest.mark.slow
@pytest.mark.timeout(300)  # 40 seconds of one core, which others may want as well
def test_the_first_notebook_on_the_bundled_digits(tmp_path):
    notebook = executed(1, tmp_path)
    assert_ran(notebook)
    assert pictures(notebook) == pictures(committed(execute.SOURCES[0])) > 10
    assert numbers(r"at step \d+ of \d+: (0\.\d+)", notebook) == [[0.778]]
    assert numbers(r"by hand: +([\d.]+)", notebook) == numbers(r"the library's: ([\d.]+)", notebook)
    losses = [loss for (loss,) in numbers(r"epoch \d+/\d+ .* val ([\d.]+) ", notebook)]
    assert len(losses) == 10
    assert losses[-1] < min(0.1, losses[0] / 2)  # 1 before the first step
    (difference,) = numbers(r"the largest difference of any pixel: (\S+)", notebook)
    assert difference[0] < 1e-3
    checked = [texts(cell) for cell in code(notebook) if "check_" in cell.source and "import" not in cell.source]
    assert [text.partition(":")[0] for text in checked] == ["Not written yet", "Right"] * 2


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_the_second_notebook_on_the_bundled_digits(tmp_path):
    notebook = executed(2, tmp_path)
    assert_ran(notebook)
    assert pictures(notebook) == pictures(committed(execute.SOURCES[1])) > 5
    ((guided,),) = numbers(r"the largest difference: (\S+)", notebook)
    assert guided < 1e-5
    differences = numbers(r"differs from the cosine's pictures by at most (\S+)", notebook)
    assert len(differences) == 3
    assert max(difference for (difference,) in differences) < 1e-4
    ratios = numbers(r"ratio ([\d.]+), SNR \+ 1 = ([\d.]+)", notebook)
    assert len(ratios) == 3
    assert all(ratio == pytest.approx(expected, rel=1e-2) for ratio, expected in ratios)
    solved = [error for (error,) in numbers(r"(?:Eps|X0|V|Velocity|EDM) (\d\S*\d)(?:,|$|\n)", notebook)]
    assert len(solved) == 14
    assert max(solved) < 1e-4


def exercises(notebook):
    """How the answer to each exercise was judged, and its solution."""
    checked = [texts(cell) for cell in code(notebook) if re.search(r"\bcheck_\w+\(", cell.source)]
    return [text.partition(":")[0] for text in checked]


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_the_third_notebook_on_bundled_text(tmp_path):
    notebook = executed(3, tmp_path)
    assert_ran(notebook)
    assert pictures(notebook) == pictures(committed(execute.SOURCES[2])) == 7
    assert exercises(notebook) == ["Not written yet", "Right"] * 2
    ((worst,),) = numbers(r"of the exact network, over 27 words: (\S+)", notebook)
    assert worst < 1e-5
    ((ratio,),) = numbers(r"the largest relative difference is (\S+)", notebook)
    assert ratio < 1e-5
    rows = numbers(r"(?:own step|posterior, drawn|tweedie, drawn) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)", notebook)
    assert len(rows) == 3
    assert np.abs(np.array(rows) - rows[0]).max() < 0.02  # four standard errors of 20,000 draws
    table = numbers(r"(?:masks|scores|vectors) +([\d.]+) ± ([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)\n", notebook)
    assert len(table) == 3
    assert table[0][0] < 6.69  # bits of one of 103 characters at random


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_the_fourth_notebook_on_the_bundled_digits(tmp_path):
    notebook = executed(4, tmp_path)
    assert_ran(notebook)
    assert pictures(notebook) == pictures(committed(execute.SOURCES[3])) == 4
    assert exercises(notebook) == ["Not written yet", "Right"] * 2
    said = "\n".join(map(texts, code(notebook)))
    assert len(re.findall(r"equal bit for bit: True", said)) == 2
    assert re.search(r"^killed +\d+ s +killed ", said, re.MULTILINE)
    assert re.search(r"^identical: 48 steps, weights, metrics, samples$", said, re.MULTILINE)
    assert len(re.findall(r"^\[\d\] +finished ", said, re.MULTILINE)) == 4
    assert re.search(r"2 runs each, paired by seed; t test: p ", said)
