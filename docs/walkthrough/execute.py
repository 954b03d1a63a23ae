"""Execute the notebooks of the walkthrough.

Each source, a script in jupytext's percent format, becomes the notebook of the same name with the outputs of a run:

    python docs/walkthrough/execute.py                        # all of them, as they are committed
    python docs/walkthrough/execute.py 1 2                    # some of them
    python docs/walkthrough/execute.py 1 --digits --out /tmp  # on the bundled digits, into another folder
    python docs/walkthrough/execute.py --text                 # where only text was changed: keep the outputs
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SOURCES = sorted(HERE.glob("[0-9]_*.py"))

#: The longest that one cell may take, in seconds.
CELL_TIMEOUT = 1800

#: Of each picture.
COLOURS = 64

#: Whatever machine executed a notebook, these are its metadata.
METADATA = {
    "jupytext": {"formats": "ipynb,py:percent"},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "name": "python", "pygments_lexer": "ipython3"},
}


def read(source: Path) -> NotebookNode:
    """Return a source as a notebook without outputs, whose cells have the same names each time."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def execute(source: Path, digits: bool = False) -> NotebookNode:
    """Return a source as a notebook with its outputs.

    It is executed in a new folder, which is deleted afterwards, with the data of `DIFFUSION_LAB_DATA_DIR`, by default
    the project's data folder.

    Args:
        source: the script.
        digits: use the bundled digits (and for texts, the bundled text), instead of what the notebook downloads.

    Raises:
        CellExecutionError: with the traceback of the cell that failed.
    """
    notebook = read(source)
    variables = {name: value for name, value in os.environ.items() if name != "DIFFUSION_LAB_OUTPUT_DIR"}
    data = Path(variables.setdefault("DIFFUSION_LAB_DATA_DIR", str(ROOT / "data"))).resolve()
    variables["DIFFUSION_LAB_DATA_DIR"] = str(data)
    if digits:
        variables["WALKTHROUGH_DATA"] = "digits"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        kernel = AsyncKernelManager(kernel_name="python3")
        # This Python's kernel, whatever "python3" is for the user; it says nothing of its own connection.
        launcher = [sys.executable, "-m", "ipykernel_launcher", "--IPKernelApp.log_level=40"]
        assert kernel.kernel_spec is not None
        kernel.kernel_spec.argv = [*launcher, "-f", "{connection_file}"]
        client = NotebookClient(
            notebook,
            km=kernel,
            timeout=CELL_TIMEOUT,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute(env={**variables, "PYDEVD_DISABLE_FILE_VALIDATION": "1"})
        _normalize(notebook, folder, data)
    return notebook


def _normalize(notebook: NotebookNode, folder: Path, data: Path) -> None:
    """Remove what differs from one execution to the next, paths and what bars leave behind; make pictures small."""
    # A path is shown relative to the working folder where that is shorter; for a reader that is the sources' own.
    places = {str(data): "data", os.path.relpath(data, folder): "data", str(folder): "."}
    places |= {os.path.relpath(ROOT, folder): "../..", str(ROOT): "../.."}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        outputs: list[NotebookNode] = []
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = _as_on_a_terminal(output.text, places)
                if output.name == "stderr" and not output.text.strip():  # all that is left of a bar
                    continue
                if outputs and outputs[-1].get("name") == output.name:
                    outputs[-1].text += output.text
                    continue
            for kind in [kind for kind in output.get("data", {}) if kind.startswith("text/")]:
                output.data[kind] = _replaced(output.data[kind], places)
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _in_few_colours(output.data["image/png"])
            outputs.append(output)
        cell.outputs = outputs
    notebook.metadata = nbformat.from_dict(METADATA)


def _as_on_a_terminal(text: str, places: dict[str, str]) -> str:
    """Return a text without lines that were written over: a bar ends each of its states with a carriage return."""
    lines = re.sub(r"[^\n]*\r(?:[^\n\r]*\|[^\n\r]*\n?)?", "", text)
    return _replaced(lines, places)


def _replaced(text: str, places: dict[str, str]) -> str:
    for place in sorted(places, key=len, reverse=True):
        text = text.replace(place, places[place])
    return text


def _in_few_colours(png: str) -> str:
    """Return a picture, in base64, with a palette: half of the bytes, since noise cannot be compressed."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    small = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode("ascii")


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook."""
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def with_new_text(source: Path, executed: NotebookNode) -> NotebookNode:
    """Return a source as a notebook with the outputs of an earlier execution of the same code.

    Raises:
        ValueError: if a code cell has been changed since then.
    """
    notebook = read(source)
    cells, done = ([cell for cell in book.cells if cell.cell_type == "code"] for book in (notebook, executed))
    if [cell.source for cell in cells] != [cell.source for cell in done]:
        raise ValueError(f"the code of {source.name} has changed: execute it")
    for cell, earlier in zip(cells, done, strict=True):
        cell.outputs, cell.execution_count = earlier.outputs, earlier.execution_count
    return notebook


def main(arguments: list[str] | None = None) -> None:
    """Execute the notebooks that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("numbers", nargs="*", type=int, help="1 2 …; all without any")
    parser.add_argument("--digits", action="store_true", help="use bundled data: quick, without a network")
    parser.add_argument("--text", action="store_true", help="execute nothing: only text was changed")
    parser.add_argument("--out", type=Path, default=HERE, help="the folder of the notebooks")
    chosen: Any = parser.parse_args(arguments)
    for source in SOURCES:
        if not chosen.numbers or int(source.name[0]) in chosen.numbers:
            began = time.monotonic()
            path = chosen.out / f"{source.stem}.ipynb"
            if chosen.text:
                notebook = with_new_text(source, nbformat.read(path, as_version=4))
            else:
                notebook = execute(source, chosen.digits)
            write(notebook, path)
            print(f"{path.name}  {time.monotonic() - began:.0f} s  {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
