"""The command line of scripts/runs.py."""

import datetime
import json
import subprocess
import sys

import pytest

from diffusion_lab.catalogue import listing
from diffusion_lab.config import arguments
from diffusion_lab.config.reader_schema import RunsConfig
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.run_folder.run_record import RunRecord
from fake_runs import fake_run


@pytest.fixture
def typed(monkeypatch, capsys, tmp_path):
    """A function that runs runs.py with arguments, in a folder with outputs/, and returns its lines or its error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIFFUSION_LAB_OUTPUT_DIR", raising=False)

    def of(*words):
        monkeypatch.setattr(sys, "argv", ["runs.py", *words])
        status = 0
        try:
            arguments.run_on_paths("runs", RunsConfig, listing.manage_runs)
        except SystemExit as left:
            status = left.code
        said = capsys.readouterr()
        if not status:
            return said.out.splitlines()
        assert (status, said.out, len(said.err.splitlines())) == (1, "", 1)
        return said.err

    return of


@pytest.fixture
def runs(tmp_path):
    """Five runs in different states, which started between 10 days ago and now."""
    now = datetime.datetime.now(datetime.UTC)
    outputs = tmp_path / "outputs"

    def began(days):
        return now - datetime.timedelta(days=days)

    return {
        "old": fake_run(outputs, seed=1, loss=0.8, began=began(10), name="ddpm_mnist", tags=["baseline"]),
        "good": fake_run(outputs, seed=2, loss=0.2, began=began(3), tags=["baseline", "wide"], notes="the best"),
        "failed": fake_run(outputs, seed=3, loss=0.5, began=began(2), status="failed"),
        "killed": fake_run(outputs, seed=4, began=began(1), status="running", process_id=2**22 + 1),
        "running": fake_run(outputs, seed=5, began=began(0), status="running"),
    }


def listed(lines, runs):
    """The keys of the runs in the order of the printed list."""
    found = [[name for name, path in runs.items() if path.name in line] for line in lines]
    return [names[0] for names in found if names]


def test_the_list_has_a_line_for_each_run(typed, runs):
    lines = typed()
    assert lines[0].split() == ["state", "age", "experiment", "val/loss_best", "size", "tags", "folder", "notes"]
    assert listed(lines, runs) == ["running", "killed", "failed", "good", "old"]
    good = lines[listed(lines, runs).index("good") + 1]
    folder = f"outputs/fake/{runs['good'].name}"
    assert good.split() == [
        "finished",
        "3",
        "d",
        "fake",
        "0.1000",
        *good.split()[5:7],
        "baseline",
        "wide",
        folder,
        "the",
        "best",
    ]
    assert good.split()[6] == "kB"
    assert lines[-1].startswith("5 runs, ")
    assert lines[-1].endswith(": 2 finished, 1 running, 1 failed, 1 killed")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["state=finished"], ["good", "old"]),
        (["state=failed,killed"], ["killed", "failed"]),
        (["name=ddpm_*"], ["old"]),
        (["tag=baseline"], ["good", "old"]),
        (["tag=[baseline,wide]"], ["good"]),
        (["older_than=60h"], ["good", "old"]),
        (["older_than=1w"], ["old"]),
        (["older_than=1w", "state=failed"], []),
        (["sort=metric", "state=finished,failed"], ["good", "failed", "old"]),
        (["sort=metric", "metric=val/loss_best"], ["good", "failed", "killed", "running", "old"]),
        (["sort=name"], ["old", "good", "failed", "killed", "running"]),
        (["sort=state"], ["old", "good", "running", "failed", "killed"]),
        (["outputs/ddpm_mnist"], ["old"]),
    ],
)
def test_filters_and_sorting(typed, runs, filters, expected):
    assert listed(typed(*filters), runs) == expected


def test_sort_by_size(typed, runs):
    (runs["failed"] / "big").write_bytes(bytes(300_000))
    assert listed(typed("sort=size"), runs)[0] == "failed"


def test_a_damaged_run_is_listed(typed, runs):
    (runs["good"] / "config.yaml").write_bytes(b"a: [")
    (runs["old"] / "metrics.json").write_bytes(b"{")
    lines = typed()
    assert sorted(listed(lines, runs)) == sorted(runs)
    assert sum(line.startswith("damaged") for line in lines) == 1


def test_tags_and_notes_are_added_and_removed(typed, runs):
    lines = typed(f"outputs/fake/{runs['good'].name}", "add_tag=new,wide", "remove_tag=baseline", "notes=a: b, =c")
    assert "wide new" in lines[1]
    assert lines[1].endswith("a: b, =c")
    assert RunRecord(runs["good"]).tags == ["wide", "new"]
    assert RunRecord(runs["old"]).tags == ["baseline"]
    typed("tag=new", "notes=")
    assert (RunRecord(runs["good"]).tags, RunRecord(runs["good"]).notes) == (["wide", "new"], "")


def test_prune_without_confirm_removes_nothing(typed, runs):
    lines = typed("state=failed,killed", "prune=runs")
    assert sorted(listed(lines, runs)) == ["failed", "killed"]
    assert lines[-1].startswith("This would remove 2 runs and free ")
    assert lines[-1].endswith("Nothing has been removed: add confirm=true to do it.")
    assert all(path.is_dir() for path in runs.values())


def test_prune_with_confirm_removes_runs(typed, runs):
    lines = typed("outputs", "prune=runs", "confirm=true")
    assert [line for line in lines if line.startswith("kept ")] == [
        f"kept          outputs/fake/{runs['running'].name}: it is running"
    ]
    assert [name for name, path in runs.items() if path.exists()] == ["running"]
    assert lines[-1].startswith("Removed 4 runs and freed ")


def test_a_run_outside_the_given_paths_protects_the_one_it_started_from(typed, runs, tmp_path):
    fake_run(tmp_path / "outputs", seed=6, name="later", init_from=str(runs["old"]))
    lines = typed("outputs/ddpm_mnist", "prune=runs", "confirm=true")
    assert "started from its weights" in lines[0]
    assert runs["old"].is_dir()


def test_prune_of_checkpoints(typed, runs):
    lines = typed("tag=wide", "prune=checkpoints", "confirm=true")
    assert lines[-1].startswith("Removed the checkpoints of 1 run and freed ")
    assert not (runs["good"] / "checkpoints").exists()
    assert (runs["good"] / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prune=runs"], "this would affect every run"),
        (["prune=runs", "confirm=true"], "this would affect every run"),
        (["add_tag=x"], "this would affect every run"),
        (["state=faild"], "did you mean failed?"),
        (["stat=failed"], "there is no key stat; did you mean state?"),
        (["older_than=7"], "older_than must be a time such as 90m"),
        (["prune=run", "tag=x"], "prune=run: it must be one of runs, checkpoints or null; did you mean runs?"),
        (["confirm=yes"], "confirm=yes: it must be true or false"),
        (["confirm=true"], "confirm=true goes with prune="),
        (["sort=date"], "sort=date: it must be one of age, metric, size, name, state"),
        (["outputs", "add_tag=a/b"], "add_tag: a tag is a word"),
        (["outputs", "prune=runs", "notes=x"], "prune does not go together"),
        (["metric=parameter", "sort=metric"], "whether lower or higher is better is unknown for metric=parameter"),
        (["metric=val/los", "state=finished"], "metric=val/los: no run has it; did you mean val/loss?"),
        (["outputz"], "there is no folder outputz; did you mean outputs?"),
        (["--yes"], "there is no option --yes"),
    ],
)
def test_errors_are_one_line(typed, runs, words, said):
    assert said in typed(*words)
    assert all(path.is_dir() for path in runs.values())


@pytest.fixture
def not_validated(tmp_path):
    """A finished run that was never validated."""
    path = fake_run(tmp_path / "outputs")
    metrics = json.loads((path / "metrics.json").read_text())
    kept = {key: value for key, value in metrics.items() if not key.startswith("val/")}
    kept["epochs"] = [{key: value for key, value in row.items() if key != "val/loss"} for row in metrics["epochs"]]
    (path / "metrics.json").write_text(json.dumps(kept))
    return path


def test_runs_without_the_usual_metric_are_listed_with_a_dash_and_labelled(typed, not_validated):
    lines = typed("outputs", "add_tag=kept", "sort=metric")
    assert "  –  " in lines[1]
    assert RunRecord(not_validated).tags == ["kept"]


def test_a_metric_that_was_named_and_is_nowhere_is_refused_before_anything_is_written(typed, not_validated):
    assert "metric=val/loss: no run has it; did you mean train/loss?" in typed(
        "outputs", "add_tag=kept", "metric=val/loss"
    )
    assert RunRecord(not_validated).tags == []


def test_control_characters_in_folder_names_are_replaced(typed, tmp_path):
    fake_run(tmp_path / "outputs", folder="a\x1b[2Jb", status="failed")
    for words in (["outputs"], ["outputs", "prune=runs"]):
        said = "\n".join(typed(*words))
        assert "a\N{REPLACEMENT CHARACTER}[2Jb" in said
        assert "\x1b" not in said


def test_no_matching_run(typed, runs):
    assert typed("tag=nowhere") == ["None of 5 runs matches."]


@pytest.mark.parametrize("script", ["runs", "compare"])
def test_slow_libraries_are_not_imported(script, tmp_path):
    fake_run(tmp_path, samples=4)
    heavy = {"torch", "pytorch_lightning", "hydra", "matplotlib", "scipy"} | ({"numpy"} if script == "runs" else set())
    path = str(conf_dir().parent / "scripts" / f"{script}.py")
    code = (
        f"import sys, runpy; sys.argv = ['x', {str(tmp_path)!r}]; runpy.run_path({path!r}, run_name='__main__')\n"
        f"print(*sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "fake" in done.stdout or "val/loss" in done.stdout
    assert done.stdout.endswith("\n\n")


@pytest.mark.parametrize("script", ["runs", "compare"])
def test_a_closed_pipe_is_no_error(script, tmp_path):
    for seed in range(30):
        fake_run(tmp_path, seed=seed)
    command = [sys.executable, str(conf_dir().parent / "scripts" / f"{script}.py"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
