"""Draws side by side: what they differ in, where each stands in the figure, and files that are damaged."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusion_lab.config.reader_schema import CompareDrawsConfig
from diffusion_lab.errors import LabError
from diffusion_lab.runs.compare_draws import compare_draws, draws_sheet, named_draws
from diffusion_lab.runs.recorded_draws import find_draws
from diffusion_lab.runs.sample import sample


@pytest.fixture
def place(tmp_path):
    """A function that writes a draw of two samples per label (or four without labels), whose pixels are its number."""

    def written(number, evaluations=10, labels=(0, 1, 0, 1), **sampler):
        folder = tmp_path / "run" / "samples" / f"draw{number}"
        folder.mkdir(parents=True)
        node = {"_target_": "diffusion_lab.sampling.DDIM", "num_steps": evaluations, "eta": 0.0, **sampler}
        record = {"sampler": node, "grid": {"_target_": "diffusion_lab.sampling.grids.Trailing"}, "transforms": {}}
        record |= {"condition": labels and list(labels), "evaluations": evaluations, "seed": 0}
        (folder / "draw.json").write_text(json.dumps(record))
        pixels = number + np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1) / 10
        np.save(folder / "samples.npy", np.broadcast_to(pixels, (4, 1, 2, 2)))
        return str(folder)

    return written


def named(*paths):
    draws, title, names = named_draws(find_draws(paths))
    return [draw.folder.name for draw in draws], title, names


def test_draws_are_named_by_what_they_differ_in_and_stand_by_rising_cost(place):
    target = "diffusion_lab.sampling.Heun"
    heun = {"_target_": target, "churn": 0.0, "churn_min": 0.0, "churn_max": 1.0, "churn_noise": 1.0}
    places = [place(0, 20), place(1, 10), place(2, 9, eta=1.0), place(3, 19, **heun)]
    order, title, names = named(*places)
    assert order == ["draw2", "draw1", "draw3", "draw0"]
    assert title == "Samples by sampler and sampler.eta and number of network evaluations"
    assert names == ["ddim\n1\n9", "ddim\n0\n10", "Heun\n0\n19", "ddim\n0\n20"]


def test_steps_are_named_where_all_cost_the_same(place):
    assert named(place(0, 10), place(1, 10, num_steps=5))[1:] == ("Samples by sampler.num_steps", ["5", "10"])
    assert named(place(2))[1:] == ("Samples", [""])


def test_what_was_given_to_draws_is_a_difference(place):
    places = [place(0), place(1)]
    for number, folder in enumerate(places):
        path = Path(folder, "draw.json")
        path.write_text(
            json.dumps(
                json.loads(path.read_text(encoding="utf-8")) | {"inpaint": {"mask": "half", "resamplings": number}}
            ),
            encoding="utf-8",
        )
    assert named(*places)[1:] == ("Samples by inpaint.resamplings", ["0", "1"])


def test_a_setting_shows_nothing_that_a_figure_would_read_as_a_formula(place):
    assert named(place(0, eta=r"$\frac$"), place(1, eta="x" * 99))[2] == ["??frac?", "x" * 40]


def test_rows_are_classes_and_each_draw_has_as_many_columns_as_fit(place):
    draws = find_draws([place(0), place(1, labels=(1, 0, 1, 2))])
    sheet = draws_sheet(draws, "title", ["a", "b"], per_row=24)
    assert sheet.names == ["0", "1"]  # the class 2 is in one of them alone
    assert [[round(float(x.mean()), 1) for x in row] for row in sheet.rows] == [[0, 1.1], [0.1, 1.0]]
    assert sheet.columns == ["a", "b"]
    two = draws_sheet(draws[:1] * 2, "title", ["a", "b"], per_row=5)
    assert [[round(float(x.mean()), 1) for x in row] for row in two.rows] == [[0, 0.2, 0, 0.2], [0.1, 0.3, 0.1, 0.3]]
    assert two.columns == ["a", "", "b", ""]
    assert len(draws_sheet(draws[:1] * 2, "title", ["a", "b"], per_row=1).rows[0]) == 2


def test_rows_are_draws_where_one_has_no_labels(place):
    sheet = draws_sheet(find_draws([place(0), place(1, labels=None)]), "title", ["a", "b"], per_row=3)
    assert [[round(float(x.mean()), 1) for x in row] for row in sheet.rows] == [[0, 0.1, 0.2], [1, 1.1, 1.2]]
    assert (list(sheet.names), sheet.columns) == (["a", "b"], ())


def test_what_cannot_be_compared_is_said(place, tmp_path):
    one, other = place(0, labels=(0, 0, 0, 0)), place(1, labels=(1, 1, 1, 1))
    with pytest.raises(LabError, match="no class in common"):
        draws_sheet(find_draws([one, other]), "", ["", ""], 9)
    with pytest.raises(LabError, match=r"there is no folder .*nowhere"):
        find_draws([str(tmp_path / "nowhere")])
    with pytest.raises(LabError, match=r"holds no draw: scripts/sample\.py run_dir=… writes them"):
        find_draws([str(tmp_path)])
    with pytest.raises(LabError, match="name the run folder whose draws"):
        compare_draws([], CompareDrawsConfig(None, 9))
    with pytest.raises(LabError, match="is no run folder"):
        compare_draws([one], CompareDrawsConfig(None, 9))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sampler": "ddim"}, "which sampler drew"),
        ({"evaluations": "many"}, "how many evaluations"),
        ({"condition": ["x"]}, "condition must be a list of labels"),
    ],
)
def test_a_damaged_record_is_named(place, change, said):
    folder = place(0)
    path = Path(folder, "draw.json")
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(LabError, match=rf"draw\.json is damaged: .*{said}"):
        find_draws([folder])


def test_damaged_samples_are_named(place):
    folder = place(0)
    np.save(f"{folder}/samples.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(LabError, match=r"samples\.npy is damaged"):
        find_draws([folder])[0].samples(slice(2))
    np.save(f"{folder}/samples.npy", np.zeros((2, 1, 2, 2)))
    with pytest.raises(LabError, match=r"samples\.npy is damaged"):
        find_draws([folder])[0].samples([0, 2])


@pytest.mark.parametrize("samples", [np.zeros(4, "f4"), np.zeros((4, 5, 8, 8), "f4"), np.zeros((4, 1, 8, 8), "u2")])
def test_samples_that_are_not_like_the_data_of_the_run_are_named(copy, settings, samples):
    folder = sample(settings(f"run_dir={copy.path}", "num_samples=4", "device=cpu", config_name="sample"))
    for damaged in (samples, np.zeros((0, 1, 8, 8), "f4")):
        np.save(folder / "samples.npy", damaged)
        with pytest.raises(LabError, match=r"samples\.npy is damaged, or of another run: it begins with \["):
            compare_draws([str(folder)], CompareDrawsConfig(None, 9))


def test_a_run_folder_stands_for_all_its_draws(copy, settings, tmp_path, capsys):
    for seed in (1, 2):
        sample(settings(f"run_dir={copy.path}", "num_samples=2", f"seed={seed}", "device=cpu", config_name="sample"))
    capsys.readouterr()
    assert compare_draws([str(copy.path)], CompareDrawsConfig(None, 9)) == copy.samples / "draws.png"
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == ["1", "2", "Written"]
    other = compare_draws([f"{copy.path}/samples/*seed1*"], CompareDrawsConfig(str(tmp_path / "one" / "picture"), 9))
    with Image.open(copy.samples / "draws.png") as both, Image.open(other) as one:
        assert both.height > one.height
