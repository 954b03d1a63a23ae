"""Random damage to every file of a run folder: each door works, or refuses in one line; nothing else happens.

A folder is damaged by its seed alone, so that one that fails can be made again: ``damaged(folder, seed)``.
"""

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest
import torch
import yaml

import doors
from conftest import TINY, read_typed
from diffusion_lab.catalogue.comparison.compare_runs import compare_runs
from diffusion_lab.catalogue.find import find_runs
from diffusion_lab.catalogue.listing import manage_runs
from diffusion_lab.config.reader_schema import CompareConfig, RunsConfig
from diffusion_lab.errors import LabError
from diffusion_lab.reproduction.reproduce import reproduce
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs import load_run
from diffusion_lab.runs.evaluate import evaluate
from diffusion_lab.runs.prepare import prepare, resumed_start
from diffusion_lab.runs.train import train

SHORT, ALL = 12, 500

#: Seeds whose folders go through the scripts, as real processes.
PROCESSES = range(1000, 1040)

#: Seconds that a door may take on a damaged folder; on a whole one it takes less than one.
LONGEST = 10.0

VALUES = [
    None, True, 0, -1, 5, 3000, 10**6, 10**9,
    10**18, 10**400, 1e308, float("nan"), float("inf"), "", "abc", "../../x", "/etc/passwd", "~",
    "$HOME", "${oc.env:HOME}", "${oc.create:{_target_:os.system,command:'touch MARK'}}", "\x1b[2J\x07", "x" * 10_000,
    [], [[]], [1, "a", None], {}, {"a": {"b": {}}}, {"_target_": "os.system", "command": "touch MARK"},
    {"_target_": "pytorch_lightning.loggers.TensorBoardLogger", "save_dir": "OUTSIDE", "name": "../x"},
]  # fmt: skip


class Code:
    """Unpickled, it makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def places(node):
    """Each (container, key) in a plain container."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(items):
        yield node, key
        yield from places(value)


def retyped(node, chance, mark, outside):
    """Replace, remove, rename or add one to three values."""
    for _ in range(chance.randint(1, 3)):
        found = list(places(node))
        if not found:
            return node
        container, key = chance.choice(found)
        value = json.loads(
            json.dumps(chance.choice(VALUES)).replace("MARK", str(mark)).replace("OUTSIDE", str(outside))
        )
        what = chance.choice(["replace", "replace", "replace", "remove", "add"])
        if what == "remove":
            del container[key]
        elif what == "add" and isinstance(container, dict):
            container[chance.choice(["_target_", "\x1b[31m", "0", "sessions", "seed"])] = value
        else:
            container[key] = value
    return node


def spoil_content(path, chance, mark, outside):
    try:
        retype_content(path, chance, mark, outside)
    except Exception:  # another damage has come before
        cut(path, chance, mark, outside)


def retype_content(path, chance, mark, outside):
    if path.suffix == ".json":
        path.write_text(json.dumps(retyped(json.loads(path.read_text()), chance, mark, outside)))
    elif path.suffix == ".yaml":
        path.write_text(yaml.safe_dump(retyped(yaml.safe_load(path.read_text()), chance, mark, outside)))
    elif path.suffix == ".ckpt":
        content = torch.load(path, weights_only=True)
        strange = [Code(mark), torch.zeros(1).expand(10**12), torch.zeros(3, dtype=torch.int8), {}, 5, "abc", -1]
        node, key = chance.choice(list(places(content)))
        node[key] = chance.choice(strange)
        path.unlink()  # it may have a second name
        torch.save(content, path)
    else:
        cut(path, chance, mark, outside)


def cut(path, chance, mark, outside):
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: chance.randint(0, len(content))])


def noise(path, chance, mark, outside):
    content = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 50)):
        if content:
            content[chance.randrange(len(content))] = chance.randrange(256)
    path.unlink()
    path.write_bytes(content)


def enlarge(path, chance, mark, outside):
    content = path.read_bytes()
    path.unlink()
    with path.open("wb") as file:
        file.write(content)
        file.truncate(chance.choice([10**7, 60 * 10**9]))


def link(path, chance, mark, outside):
    there = outside / f"linked-{path.name}"
    if chance.random() < 0.7:
        shutil.copyfile(path, there)
    path.unlink()
    path.symlink_to(chance.choice([there, Path("/dev/zero"), Path("/dev/stdin"), path, Path("/")]))


def other_kind(path, chance, mark, outside):
    path.unlink()
    chance.choice([os.mkfifo, Path.mkdir])(path)


def deep(path, chance, mark, outside):
    path.unlink()
    path.write_text("a: " * (path.suffix == ".yaml") + "[" * 3000 + "]" * 3000)


def laughs(path, chance, mark, outside):
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path.unlink()
    path.write_text("\n".join(lines))


def linked_folder(path, chance, mark, outside):
    folder = path.parent
    while folder.parent.name != "tiny" and folder.parent.parent.name != "tiny":
        folder = folder.parent
    if folder.parent.name == "tiny":
        return link(path, chance, mark, outside)
    shutil.move(folder, outside / folder.name)
    return folder.symlink_to(outside / folder.name)


DAMAGES = [spoil_content] * 6 + [cut, noise, enlarge, link, other_kind, deep, laughs, linked_folder]


def damaged(folder, seed, outside):
    """Damage one or two files of a run folder; return the damages' names."""
    chance, mark, done = random.Random(seed), outside.parent / "it ran", []
    for _ in range(chance.randint(1, 2)):
        files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and p.suffix != ".png")
        read = [p for p in files if p.suffix in (".json", ".yaml", ".ckpt")]
        path, damage = chance.choice(chance.choice([files, read]) or files), chance.choice(DAMAGES)
        damage(path, chance, mark, outside)
        done.append(f"{damage.__name__} {path.relative_to(folder)}")
    return done


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run."""
    outputs = tmp_path_factory.mktemp("outputs")
    own = ["trainer.max_epochs=1", "ema=default", "console=quiet", f"paths.output_dir={outputs}"]
    run = train(read_typed(*TINY, *own), []).path
    evaluate(read_typed(f"run_dir={run}", *JUDGED, config_name="evaluate"))
    return run


#: A cheap evaluation.
JUDGED = (
    "evaluation=recognition", "evaluation.recognition.members=1", "evaluation.recognition.hidden=4", "console=quiet",
)  # fmt: skip


def listing(run, settings):
    with_all = {"state": [], "name": None, "tag": [], "older_than": None, "add_tag": [], "remove_tag": []}
    config = RunsConfig(**with_all, metric="val/loss", sort="age", notes=None, prune=None, confirm=False)
    manage_runs([str(run.parent)], config)
    found = find_runs([run.parent])
    assert len(found) >= 1
    return found


def comparing(run, settings):
    for metric in ("val/loss", "recognition.samples"):
        compare_runs(
            [str(run.parent)], CompareConfig(metric=[metric], direction=None, by=[], sort="metric", all=True, out=[])
        )


def evaluating(run, settings):
    return evaluate(settings(f"run_dir={run}", *JUDGED, "again=true", config_name="evaluate")).exists()


def loading(run, settings):
    return load_run(run, device="cpu").sample(2).isfinite().all()


def resuming(run, settings):
    """All that is read and checked before a resumed run writes anything."""
    return prepare(resumed_start(RunFolder.open(run), ["trainer.max_epochs=2"]), ()).steps_done


def reproducing(run, settings):
    verdict = reproduce(settings(f"run_dir={run}", f"compare_only={run}", "console=quiet", config_name="reproduce"))
    return verdict is not None and verdict.identical


DOORS = [listing, comparing, loading, evaluating, resuming, reproducing]


def contents(folder):
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("door", DOORS)
def test_a_whole_run_folder_is_refused_by_no_door(whole, settings, tmp_path, capsys, door):
    run = Path(shutil.copytree(whole, tmp_path / "outputs" / "tiny" / whole.name))
    came_of_it = door(run, settings)
    assert came_of_it or (door is comparing and "recognition.samples" in capsys.readouterr().out)


@pytest.mark.parametrize("seed", [pytest.param(n, marks=() if n < SHORT else pytest.mark.full) for n in range(ALL)])
def test_a_damaged_run_folder_is_read_or_refused_in_one_line(whole, settings, tmp_path, capsys, seed):
    run, outside = tmp_path / "outputs" / "tiny" / whole.name, tmp_path / "outside"
    shutil.copytree(whole, run)
    healthy = run.with_name("healthy")
    shutil.copytree(whole, healthy)
    outside.mkdir()
    done = damaged(run, seed, outside)
    before = contents(outside), contents(healthy)
    for door in DOORS:
        start = time.monotonic()
        try:
            door(run, settings)
        except LabError as error:
            line = str(error)
            assert "\n" not in line, (done, door.__name__, line)
            assert "Traceback" not in line, (done, door.__name__, line)
        except Exception as error:
            raise AssertionError(f"{door.__name__} after {done}: {type(error).__name__}: {error}") from error
        assert time.monotonic() - start < LONGEST, (done, door.__name__)
    assert not (tmp_path / "it ran").exists(), done
    assert (contents(outside), contents(healthy)) == before, done
    out, err = capsys.readouterr()
    assert all(c.isprintable() or c == "\n" for c in out + err), done


def commands(run, outputs):
    """Each script with its arguments."""
    again = f"paths.output_dir={outputs}"
    return {
        "resume": ("train", [f"resume={run}", "trainer.max_epochs=2"]),
        "init_from": ("train", [*TINY, f"init_from={run}", "trainer.max_epochs=1", again]),
        "sample": ("sample", [f"run_dir={run}", "num_samples=2"]),
        "evaluate": ("evaluate", [f"run_dir={run}", *JUDGED, "again=true"]),
        "reproduce": ("reproduce", [f"run_dir={run}", again]),
        "compare_draws": ("compare_draws", [str(run)]),
        "runs": ("runs", [str(run.parent)]),
        "compare": ("compare", [str(run.parent), f"out=[{outputs}/comparison.html]"]),
    }


@pytest.fixture(scope="module")
def healthy(whole, tmp_path_factory):
    """How each script ends on a whole folder."""
    top = tmp_path_factory.mktemp("healthy")
    run = Path(shutil.copytree(whole, top / "outputs" / "tiny" / whole.name))
    found = {}
    for name, (script, arguments) in commands(run, top / "again").items():
        found[name] = doors.typed(script, arguments, top / name)
        # Reproduced with another number of threads, it may differ in the last bits.
        assert found[name].status in ((0, 3) if name == "reproduce" else (0,)), (name, found[name])
    return found


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", PROCESSES)
def test_the_scripts_take_a_damaged_run_folder_or_refuse_it_in_one_line(whole, healthy, tmp_path, seed):
    run, outside = tmp_path / "outputs" / "tiny" / whole.name, tmp_path / "outside"
    shutil.copytree(whole, run)
    shutil.copytree(whole, run.with_name("healthy"))
    outside.mkdir()
    done = damaged(run, seed, outside)
    before = contents(outside), contents(run.with_name("healthy"))
    for name, (script, arguments) in commands(run, tmp_path / "again").items():
        ended = doors.typed(script, arguments, tmp_path / name)
        told = (done, name, ended)
        assert ended.status in (0, 1, 3), told
        assert "Traceback" not in ended.err, told
        errors = [line for line in ended.err.splitlines() if line.startswith("Error: ")]
        assert len(errors) == (ended.status == 1), told
        assert all("a traceback: " not in line for line in errors), told
        assert ended.seconds < healthy[name].seconds + LONGEST, told
        assert ended.memory < healthy[name].memory + 1024, told
        assert all(c.isprintable() or c == "\n" for c in ended.out + ended.err), told
    assert not (tmp_path / "it ran").exists(), done
    assert (contents(outside), contents(run.with_name("healthy"))) == before, done
