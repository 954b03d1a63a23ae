"""Run folders of older and newer versions of the layout."""

import json

import pytest

from diffusion_lab.catalogue.comparison.compare_runs import compare_runs
from diffusion_lab.config.reader_schema import CompareConfig
from diffusion_lab.errors import LabError
from diffusion_lab.reproduction.reproduce import reproduce
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.layout import _RENAMED_IN_2, _UPGRADES, LAYOUT_VERSION, upgraded
from diffusion_lab.run_folder.run_record import RunRecord
from diffusion_lab.runs import load_run
from diffusion_lab.runs.sample import sample
from diffusion_lab.runs.train import train
from fake_runs import fake_run


def write_version(folder, version):
    manifest = folder.read_json("manifest.json")
    manifest.pop("layout_version")
    folder.write_json("manifest.json", manifest if version is None else manifest | {"layout_version": version})


@pytest.fixture
def first_layout(copy):
    """The same run as version 1 left it."""
    config = copy.path / "config.yaml"
    text = config.read_text()
    for old, new in _RENAMED_IN_2.items():
        assert new in text
        text = text.replace(new, old)
    clip = "guidance: {}\nclip:\n  _target_: diffusion_lab.sampling.ClipX0\n"
    assert clip in text
    text = text.replace(clip, "").replace("\nsampling:\n", "\nsampling:\n  clip_x0: true\n")
    for line in ("ema: {}\n", "tags: []\n", "notes: ''\n", "deterministic: false\n"):
        assert f"\n{line}" in text
        text = text.replace(f"\n{line}", "\n", 1)
    config.write_text(text)
    write_version(copy, None)
    return copy


@pytest.mark.parametrize(("tokens", "kept"), [("words", 500), ("characters", None)])
def test_the_most_words_are_the_size_of_the_vocabulary(tokens, kept):
    data = {"tokens": tokens, "max_words": 500}
    assert upgraded({"data": data}, LAYOUT_VERSION) == {"data": {"tokens": tokens, "vocab_size": kept}}


def test_there_is_an_upgrade_to_each_version_after_the_first():
    assert len(_UPGRADES) == LAYOUT_VERSION - 1


def test_a_config_of_version_1_gets_what_version_2_has_besides():
    added = {"ema": {}, "tags": [], "notes": "", "deterministic": False}
    assert upgraded({"seed": 1}, 1) == {"seed": 1, **added}
    named = {"ema": {"decay": 0.9}, "tags": ["a"], "notes": "b", "deterministic": True}
    assert upgraded(named, 1) == named
    assert upgraded({"seed": 1}, LAYOUT_VERSION) == {"seed": 1}


@pytest.mark.parametrize(("clipped", "clip"), [(True, {"_target_": "diffusion_lab.sampling.ClipX0"}), (False, {})])
def test_whether_version_1_clipped_becomes_a_part(clipped, clip):
    found = upgraded({"sampling": {"clip_x0": clipped, "seed": 3}}, 1)
    assert {key: found[key] for key in ("sampling", "guidance", "clip")} == {
        "sampling": {"seed": 3}, "guidance": {}, "clip": clip,
    }  # fmt: skip


def test_a_class_of_version_1_has_its_present_name_wherever_it_stands():
    for old, new in _RENAMED_IN_2.items():
        config = {"a": [{"_target_": old, "of": {"_target_": old}}, "x"], "b": {"_target_": "mine.Net"}, "c": old}
        found = upgraded(config, 1)
        assert found["a"] == [{"_target_": new, "of": {"_target_": new}}, "x"]
        assert (found["b"], found["c"]) == ({"_target_": "mine.Net"}, old)


def test_a_sampler_without_a_grid_has_the_one_that_there_was():
    trailing = {"_target_": "diffusion_lab.sampling.grids.Trailing"}
    found = upgraded({"sampler": {"num_steps": 5}}, LAYOUT_VERSION)
    assert found == {"sampler": {"num_steps": 5}, "grid": trailing, "weight": {}}
    chosen = {"sampler": {}, "grid": {"_target_": "mine.Grid"}, "weight": {"_target_": "mine.Weight"}}
    assert upgraded(chosen, LAYOUT_VERSION) == chosen


def test_the_distribution_of_times_is_no_part_of_the_objective_any_more():
    times = {"_target_": "diffusion_lab.objectives.UniformTimes"}
    found = upgraded({"objective": {"_target_": "mine.Loss", "times": times}}, LAYOUT_VERSION)
    assert found == {"objective": {"_target_": "mine.Loss"}, "time_sampling": times}
    assert upgraded(found, LAYOUT_VERSION) == found


def test_where_the_data_lies_is_said_by_the_paths_alone():
    config = {"data": {"data_dir": "/data", "batch_size": 4}, "paths": {"data_dir": "/data"}}
    found = upgraded(config, LAYOUT_VERSION)
    assert found == {"data": {"batch_size": 4}, "paths": {"data_dir": "/data"}}


def test_a_new_run_records_the_version(recorded):
    assert recorded.read_json("manifest.json")["layout_version"] == LAYOUT_VERSION


def test_a_run_of_version_1_is_loaded_and_its_files_stay(first_layout):
    before = (first_layout.path / "config.yaml").read_bytes()
    assert load_run(first_layout.path).sample(2).shape == (2, 1, 8, 8)
    assert (first_layout.path / "config.yaml").read_bytes() == before


def test_a_run_of_version_1_is_sampled(first_layout, settings):
    written = sample(settings(f"run_dir={first_layout.path}", "num_samples=2", "device=cpu", config_name="sample"))
    assert (written / "samples.npy").is_file()


def test_without_clipping_it_stays_without(first_layout):
    config = first_layout.path / "config.yaml"
    assert load_run(first_layout.path).settings.clip == {"_target_": "diffusion_lab.sampling.ClipX0"}
    config.write_text(config.read_text().replace("clip_x0: true", "clip_x0: false"))
    assert load_run(first_layout.path).settings.clip == {}


def test_a_run_of_version_1_is_not_resumed_but_its_weights_start_another(first_layout, tiny, tmp_path):
    """Its checkpoints hold what the trainer's callbacks remember in another form."""
    typed = [f"resume={first_layout.path}", "trainer.max_epochs=3"]
    with pytest.raises(LabError, match=r"has version 1 of the run folder's layout.*init_from="):
        train(tiny("console=quiet", *typed), typed)
    started = train(tiny("console=quiet", f"init_from={first_layout.path}", f"paths.output_dir={tmp_path}/new"), [])
    assert started.read_json("manifest.json")["status"] == "finished"


def test_a_run_of_version_1_is_reproduced_without_a_difference(first_layout, settings, tmp_path):
    typed = (f"run_dir={first_layout.path}", f"paths.output_dir={tmp_path}/again", "console=quiet")
    verdict = reproduce(settings(*typed, config_name="reproduce"))
    assert verdict.line == "identical: 8 steps, weights, metrics, samples"
    assert verdict.differences == {}


def test_a_run_of_version_1_is_compared_with_a_new_one(first_layout, recorded, capsys):
    paths = [str(first_layout.path), str(recorded.path)]
    compare_runs(paths, CompareConfig(metric=["val/loss"], direction=None, by=[], sort="metric", all=False, out=[]))
    assert "There is only one config" in capsys.readouterr().out
    assert RunRecord(first_layout.path).config == RunRecord(recorded.path).config


def test_an_upgrade_leaves_the_new_form_as_it_is(settings):
    config = settings().as_node()
    assert upgraded(config, 1) == config


def test_a_newer_version_is_refused_in_one_line_that_says_what_to_do(copy, tiny):
    newer = LAYOUT_VERSION + 1
    write_version(copy, newer)
    typed = [f"resume={copy.path}", "trainer.max_epochs=3"]
    begun = [f"init_from={copy.path}"]
    uses = (lambda: load_run(copy.path), lambda: train(tiny(*typed), typed), lambda: train(tiny(*begun), begun))
    for use in (*uses, copy.read_config):
        with pytest.raises(LabError, match=rf"has version {newer} of the run folder's layout.*: update Diffusion Lab$"):
            use()


def test_a_run_of_a_newer_version_is_listed_in_its_state(tmp_path):
    path = fake_run(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"layout_version": LAYOUT_VERSION + 1}))
    assert RunRecord(path).state == "finished"


@pytest.mark.parametrize("version", [0, -1, "2", 1.5, None, True, []])
def test_what_is_no_version_is_damage(tmp_path, version):
    folder = RunFolder(fake_run(tmp_path))
    folder.write_json("manifest.json", folder.read_json("manifest.json") | {"layout_version": version})
    with pytest.raises(LabError, match=r"manifest\.json is damaged: layout_version is"):
        folder.read_config()
    assert RunRecord(folder.path).state == "damaged"
