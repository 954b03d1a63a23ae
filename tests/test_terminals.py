"""The doors under terminals that cannot show every sign, and locales whose encoding is not UTF-8."""

import json
import os
import subprocess
import sys

import pytest

from conftest import TINY
from diffusion_lab.config.tree import conf_dir

pytestmark = pytest.mark.slow

#: Types several commands in one process, since each would load torch. RUN stands for the folder of the one run.
DRIVER = """
import json, runpy, sys
from pathlib import Path
sys.argv[1:], (outputs, scripts, commands) = [], (Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
for script, *arguments in commands:
    found = [str(path) for path in outputs.glob("*/2*")]
    sys.argv = [script, *(argument.replace("RUN", (found or ["RUN"])[0]) for argument in arguments)]
    try:
        runpy.run_path(str(scripts / f"{script}.py"), run_name="__main__")
        status = 0
    except SystemExit as left:
        status = left.code or 0
    print(f"== {script} {status}")
"""

ENCODINGS = {
    "ascii": {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    "latin-1": {"LC_ALL": "C", "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
    # The locale decides, as under a terminal without settings of Python's own.
    "of the locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.parametrize(
    "terminal", [pytest.param(name, marks=[] if name == "ascii" else pytest.mark.full) for name in ENCODINGS]
)
def test_nothing_fails_for_a_sign_that_the_terminal_lacks(tmp_path, terminal):
    (tmp_path / "words.txt").write_text("„Grün“ – sagte sie × 3, 漢字. " * 60, encoding="utf-8")
    text = (
        "experiment=quickstart_text", "data=text", f"data.path={tmp_path}/words.txt",
        "data.length=16", "data.batch_size=4", "network.width=16", "network.depth=1", "network.heads=2",
        "trainer=cpu", "trainer.max_steps=2", "lr_schedule.warmup_steps=1", "lr_schedule.decay_steps=2",
        "sampling.num_samples=2", "sampler.num_steps=3", "evaluation=none", "notes=grün × „so“",
    )  # fmt: skip
    commands = {
        "train --help": ["train", "--help"],
        "train": ["train", *text, "name=words"],
        "runs": ["runs"],
        "resume": ["train", "resume=RUN", "trainer.max_steps=3"],
        "sample": ["sample", "run_dir=RUN", "num_samples=1"],
        "compare": ["compare", "outputs/words", "metric=train/loss"],
        "reproduce": ["reproduce", "run_dir=RUN", f"paths.output_dir={tmp_path}/again"],
        "train --cfg": ["train", "--cfg", "job"],
    }
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHONUTF8"))}
    variables = {**kept, **ENCODINGS[terminal], "OMP_NUM_THREADS": "1", "DIFFUSION_LAB_OUTPUT_DIR": "outputs"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, "outputs", str(conf_dir().parent / "scripts"), json.dumps([*commands.values()])],
        cwd=tmp_path, env=variables, capture_output=True, timeout=110,
    )  # fmt: skip
    out, err = (stream.decode("latin-1") for stream in (done.stdout, done.stderr))
    assert done.returncode == 0, err
    assert "Traceback" not in out + err
    assert "damaged" not in out + err
    ends = [line for line in out.splitlines() if line.startswith("== ")]
    assert ends == [f"== {command[0]} 0" for command in commands.values()], err
    (run,) = (tmp_path / "outputs" / "words").iterdir()
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["status"], manifest["steps"]) == ("finished", 3)


def test_a_run_goes_on_when_nobody_reads_what_it_says(tmp_path):
    """As in `train.py … | head -1`; the pipe is closed long before the run has ended."""
    script = str(conf_dir().parent / "scripts" / "train.py")
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "DIFFUSION_LAB_OUTPUT_DIR": "outputs"}
    with subprocess.Popen(
        [sys.executable, script, *TINY], cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline()
        process.stdout.close()
        process.stderr.close()
        assert process.wait(100) == 0
    (run,) = (tmp_path / "outputs" / "tiny").iterdir()
    assert json.loads((run / "manifest.json").read_text(encoding="utf-8"))["status"] == "finished"
