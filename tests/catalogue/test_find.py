import pytest

from diffusion_lab.catalogue.find import find_runs
from diffusion_lab.errors import LabError
from fake_runs import fake_run, fake_sweep


def paths(*typed):
    return [run.path for run in find_runs(typed)]


def refusal(*typed):
    with pytest.raises(LabError) as caught:
        find_runs(typed)
    return str(caught.value)


def test_a_folder_stands_for_all_runs_below_it(tmp_path):
    made = fake_sweep(tmp_path)
    (tmp_path / "multirun").mkdir()
    assert paths(tmp_path) == made
    assert paths(str(tmp_path / "fake")) == made


def test_a_run_that_is_given_twice_is_found_once(tmp_path):
    made = fake_sweep(tmp_path)
    assert paths(made[3], tmp_path / "fake" / ".." / "fake" / made[3].name, made[1]) == [made[1], made[3]]
    assert paths(made[3], tmp_path) == made


def test_a_pattern_stands_for_the_folders_that_match_it(tmp_path, monkeypatch):
    made = fake_sweep(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in paths("fake/*cos16*")] == [path.name for path in made[9:]]
    assert len(paths(f"{tmp_path}/f*")) == 12


def test_links_below_are_not_followed(tmp_path):
    made = fake_run(tmp_path / "real")
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "link").symlink_to(made)
    assert "contains no run" in refusal(tmp_path / "outputs")
    assert paths(tmp_path / "outputs" / "link") == [tmp_path / "outputs" / "link"]


def test_a_config_inside_a_run_folder_is_no_other_run(tmp_path):
    made = fake_run(tmp_path)
    (made / "inner").mkdir()
    (made / "inner" / "config.yaml").write_text("a: 1")
    assert paths(tmp_path) == [made]


def test_a_misspelled_folder_gets_a_suggestion(tmp_path):
    fake_run(tmp_path, name="quickstart")
    assert refusal(tmp_path / "quickstrat") == f"there is no folder {tmp_path / 'quickstrat'}; did you mean quickstart?"
    assert refusal(tmp_path / "quikstart" / "x*").endswith("; did you mean quickstart?")
    assert refusal(tmp_path / "elsewhere") == f"there is no folder {tmp_path / 'elsewhere'}"


def test_a_folder_without_runs_and_a_file_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_text("")
    assert refusal(tmp_path / "a") == f"{tmp_path / 'a'} contains no run: a run folder has a config.yaml"
    assert refusal(tmp_path / "b").startswith(f"{tmp_path / 'b'} is a file")
