"""scripts/recipes.py on made-up runs, and the records, tables and recipes of this repository beside each other."""

import json
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib import image

from diffusion_lab.catalogue.recipes import recipe_of_run
from diffusion_lab.catalogue.recipes import record_recipes as record_recipes_module
from diffusion_lab.catalogue.recipes.quality_tables import points
from diffusion_lab.catalogue.recipes.recipe_record import read_records
from diffusion_lab.catalogue.recipes.recipe_tables import recipe_tables
from diffusion_lab.catalogue.recipes.record_recipes import MARKS, data_of_recipes, record_recipes
from diffusion_lab.config.reader_schema import RecipesConfig
from diffusion_lab.config.tree import conf_dir, options
from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.run_record import leaves
from diffusion_lab.sweeps.compose_run import compose_run
from fake_runs import fake_run

ROOT = conf_dir().parent
QUALITY = {"extractor": "own/MNIST@abc", "num_samples": 1000, "num_seeds": 3, "num_real": 10000}
NUCLEUS = {"_target_": "diffusion_lab.sampling.Nucleus", "temperature": 1.0, "top_p": 1.0}
MEASURES = ("fid", "kid", "precision", "recall", "coverage")


def quality(fid, evaluations, **more):
    numbers = dict.fromkeys(MEASURES, 0.5) | {"fid": fid}
    spreads = {f"{name}_spread": 0.01 for name in MEASURES}
    floors = {"fid_floor": 0.09, "fid_floor_spread": 0.02, "kid_floor": 0.0001}
    return {**QUALITY, **numbers, **spreads, **floors, "evaluations": evaluations, **more}


def evaluation(path, name, results, split="test", step=30, typed=("++sampler.num_steps=20", "split=test"), **more):
    (path / "evaluations").mkdir(exist_ok=True)
    asked = {"step": step, "evaluation": {key: {"split": split} for key in results}, **more}
    made_by = {"argv": ["scripts/evaluate.py", f"run_dir={path}", *typed]}
    content = {"asked": asked, "made_by": made_by, "results": results}
    (path / "evaluations" / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture(autouse=True)
def recipes(monkeypatch):
    """There are three recipes, and none that was not run."""
    monkeypatch.setattr(record_recipes_module, "data_of_recipes", dict)
    monkeypatch.setattr(
        recipe_of_run, "options", lambda group: ["tutorial", "one", "two"] if group == "experiment" else options(group)
    )


def recipe_run(outputs, name="tutorial", overrides=(), config=None, **facts):
    """The run of a recipe, finished after 30 steps."""
    session = {"versions": {"python": "3", "torch": "2", "pytorch-lightning": "2"}}
    path = fake_run(outputs, name=name, session=session, **(config or {}))
    manifest = json.loads((path / "manifest.json").read_text())
    manifest |= {"steps": 30, "weights": "0" * 32, "fingerprint": {"experiment": "0" * 16}, **facts}
    manifest["options"].setdefault("experiment", name)
    manifest["sessions"][0]["computing"] = {"device": "cpu", "name": "AMD EPYC", "threads": 2, "processes": 1}
    (path / "manifest.json").write_text(json.dumps(manifest))
    typed = [f"experiment={name}", "trainer=cpu", f"paths.output_dir={outputs}", *overrides]
    (path / "overrides.yaml").write_text(yaml.safe_dump(typed))
    (path / "samples").mkdir(exist_ok=True)
    np.save(path / "samples" / "final.npy", np.full((30, 1, 4, 4), -1.0, dtype=np.float32))
    return path


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "recipes.md").write_text(f"Above\n{MARKS[0]}\nold\n{MARKS[1]}\nBelow\n")
    return RecipesConfig(str(tmp_path / "records"), str(tmp_path / "recipes.md"), str(tmp_path / "recipes"))


def test_a_run_is_recorded_and_tables_and_figures_are_made_of_the_record(tmp_path, settings, capsys):
    path = recipe_run(tmp_path / "outputs")
    evaluation(path, "a", {"quality": quality(4.0, 50)})
    evaluation(path, "b", {"quality": quality(9.0, 20, label_accuracy=0.991)})
    evaluation(path, "c", {"bound": {"bits_per_dim": 1.25, "bits_per_dim_error": 0.01}})
    evaluation(path, "of_validation_data", {"quality": quality(1.0, 20)}, split="val")
    evaluation(path, "of_earlier_weights", {"quality": quality(2.0, 20)}, step=20)
    record_recipes([str(path)], settings)
    record = json.loads((tmp_path / "records" / "tutorial.json").read_text())
    assert record["command"] == "python scripts/train.py experiment=tutorial trainer=cpu"
    assert len(record["evaluations"]) == 3
    run = f"run_dir=outputs/tutorial/{path.name}"
    typed = f"python scripts/evaluate.py {run} sampler.num_steps=20 split=test"
    assert {one["command"] for one in record["evaluations"]} == {typed}
    assert str(tmp_path) not in json.dumps(record)
    assert image.imread(tmp_path / "records" / "tutorial.png").shape[:2] == (4, 80)
    text = (tmp_path / "recipes.md").read_text()
    assert text.startswith(f"Above\n{MARKS[0]}\n| recipe |")
    assert text.endswith(f"{MARKS[1]}\nBelow\n")
    row = next(line for line in text.splitlines() if line.startswith("| `tutorial`"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:3] == ["`tutorial`", "4.000 ± 0.010 (50)", "9.000 ± 0.010"]
    assert "1.250 ± 0.010" in cells
    assert {"recipes-samples.png", "recipes-digits.png"} <= {file.name for file in tmp_path.iterdir()}


def test_commands_can_be_typed_and_name_no_place_of_the_machine(tmp_path, settings):
    path = recipe_run(tmp_path / "outputs")
    typed = ("-m", "++sampler.num_steps=10,20", "guidance.interval=[0.1, 1]", f"features.path={tmp_path}/weights")
    evaluation(path, "a", {"quality": quality(4.0, 20)}, typed=typed)
    file = path / "evaluations" / "a.json"
    content = json.loads(file.read_text())
    content["asked"]["features"] = {"path": f"{tmp_path}/weights"}
    file.write_text(json.dumps(content))
    record_recipes([str(path)], settings)
    text = (tmp_path / "records" / "tutorial.json").read_text()
    (one,) = json.loads(text)["evaluations"]
    run = f"run_dir=outputs/tutorial/{path.name}"
    typed = ["-m", run, "sampler.num_steps=10,20", "guidance.interval=[0.1, 1]", "features.path=weights"]
    assert shlex.split(one["command"]) == ["python", "scripts/evaluate.py", *typed]
    assert str(tmp_path) not in text


def test_the_sampler_is_named_with_what_was_changed_of_it_and_each_has_a_line_of_its_own(tmp_path, settings):
    path = recipe_run(tmp_path / "outputs")
    ddim = {"_target_": "diffusion_lab.sampling.DDIM", "num_steps": 10, "eta": 1.0}
    solver = {"_target_": "diffusion_lab.sampling.DPMSolverPP2M", "num_steps": 10, "stochastic": True}
    kind = {"_target_": "diffusion_lab.sampling.ClassifierFree"}
    guided = {"guidance": {**kind, "scale": 1.5, "min_log_snr": 0, "max_log_snr": math.inf, "rescale": 0.0}}
    evaluation(path, "a", {"quality": quality(4.0, 10)}, sampler=ddim, transforms={})
    evaluation(path, "b", {"quality": quality(3.0, 40)}, sampler=solver, transforms=guided)
    record_recipes([str(path)], settings)
    text = (tmp_path / "recipes.md").read_text()
    assert (
        "| `tutorial` | `dpmpp_2m_sde guidance.scale=1.5 guidance.min_log_snr=0` | 3.000 ± 0.010 (40) | 4.000 ± 0.010 |"
        in text
    )
    records = read_records(tmp_path / "records")
    guided = "tutorial, dpmpp_2m_sde\n  guidance.scale=1.5\n  guidance.min_log_snr=0"
    assert set(points(records.values())[0]) == {"tutorial, ddim eta=1.0", guided}
    written = (tmp_path / "records" / "tutorial.json").read_text()
    json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize(
    ("own", "asked", "named"),
    [
        (None, {}, "ddim"),
        (None, {"clip": {**NUCLEUS, "temperature": 0.7}}, "ddim clip=nucleus clip.temperature=0.7"),
        ({**NUCLEUS, "temperature": 0.7}, {"clip": {**NUCLEUS, "temperature": 0.7}}, "ddim"),
        ({**NUCLEUS, "temperature": 0.7}, {}, "ddim clip=none"),
    ],
)
def test_the_clip_is_named_where_it_is_not_that_of_the_run(tmp_path, settings, own, asked, named):
    path = recipe_run(tmp_path / "outputs", config={} if own is None else {"clip": own})
    ddim = {"_target_": "diffusion_lab.sampling.DDIM", "num_steps": 10, "eta": 0.0}
    evaluation(path, "a", {"quality": quality(4.0, 10)}, sampler=ddim, transforms=asked)
    record_recipes([str(path)], settings)
    assert f"| `tutorial` | `{named}` |" in (tmp_path / "recipes.md").read_text()


def test_a_sampler_within_another_is_named_by_its_option(tmp_path, settings):
    path = recipe_run(tmp_path / "outputs")
    kinds = {name: f"diffusion_lab.sampling.{name}" for name in ("Blocks", "FirstHitting", "Confidence")}
    confidence = {"_target_": kinds["Confidence"], "num_steps": 2, "block_length": None, "by": "entropy"}
    for number, within in enumerate(({"_target_": kinds["FirstHitting"]}, confidence)):
        node = {"_target_": kinds["Blocks"], "within": within}
        evaluation(path, f"{number}", {"quality": quality(4.0 - number, 10)}, sampler=node, transforms={})
    record_recipes([str(path)], settings)
    (record,) = read_records(tmp_path / "records").values()
    named = [found["sampler"] for found in record.content["evaluations"]]
    assert named == ["blocks within=first_hitting", "blocks within=confidence within.by=entropy"]


def test_a_row_says_what_real_images_reach(tmp_path, settings):
    path = recipe_run(tmp_path / "outputs")
    evaluation(path, "a", {"quality": quality(4.0, 50, recall_floor=0.875, recall_floor_spread=0.25)})
    record_recipes([str(path)], settings)
    lines = (tmp_path / "recipes.md").read_text().splitlines()
    headings = next(line for line in lines if line.startswith("| recipe")).split(" | ")
    cells = next(line for line in lines if line.startswith("| *1,000 real images*")).split(" | ")
    real = dict(zip(headings, cells, strict=True))
    assert real["best FID (evaluations)"] == "0.090 ± 0.020"
    assert real["recall"] == "0.88 ± 0.25"


def test_what_is_not_recorded_is_named_not_run():
    assert "Not run for these tables: `other`." in recipe_tables({}, {"other": "Other"})


def test_what_is_not_recorded_has_a_row_in_the_first_table_of_its_data(tmp_path, settings, monkeypatch):
    recipes = {"tutorial": "Digits", "one": "Digits", "two": "Other"}
    monkeypatch.setattr(record_recipes_module, "data_of_recipes", lambda: recipes)
    path = recipe_run(tmp_path / "outputs")
    evaluation(path, "a", {"quality": quality(4.0, 20)})
    evaluation(path, "b", {"quality": quality(0.5, 10, extractor="own/Other@abc")})
    record_recipes([str(path)], settings)
    text = (tmp_path / "recipes.md").read_text()
    rows = [line for line in text.splitlines() if "not run" in line.lower()]
    assert len(rows) == 2
    assert rows[0].startswith("| `one` | not run | – |")
    assert text.index(rows[0]) < text.index("`own/MNIST@abc`") < text.index("`own/Other@abc`")
    assert rows[1] == "Not run for these tables: `two`."


@pytest.mark.parametrize("name", options("experiment"))
def test_the_data_of_a_recipe_is_what_hydra_composes(name):
    settings, _ = compose_run([f"experiment={name}"])
    assert settings.as_node()["data"]["_target_"].rpartition(".")[2] == data_of_recipes()[name]


def test_numbers_of_two_feature_networks_are_in_two_tables(tmp_path, settings):
    for name, extractor in (("one", "own/MNIST@abc"), ("two", "own/FashionMNIST@abc")):
        path = recipe_run(tmp_path / "outputs", name)
        evaluation(path, "a", {"quality": quality(4.0, 20, extractor=extractor)})
        record_recipes([str(path)], settings)
    text = (tmp_path / "recipes.md").read_text()
    assert text.count("| recipe |") == 2
    assert text.index("`one`") < text.index("own/MNIST@abc") < text.index("`two`") < text.index("own/FashionMNIST@abc")


def test_numbers_of_two_feature_networks_of_one_run_are_in_two_tables(tmp_path, settings):
    path = recipe_run(tmp_path / "outputs", "one")
    evaluation(path, "a", {"quality": quality(4.0, 20)})
    evaluation(path, "b", {"quality": quality(0.5, 10, extractor="own/Other@abc")})
    record_recipes([str(path)], settings)
    text = (tmp_path / "recipes.md").read_text()
    first, second = (part.splitlines() for part in text.split("| recipe |")[1:])
    assert first[2].startswith("| `one` | 4.000 ± 0.010 (20) | 4.000 ± 0.010 |")
    assert second[2].startswith("| `one` | 0.500 ± 0.010 (10) | 0.500 ± 0.010 | 0.500 ± 0.010 |")
    pictures = {file.name for file in tmp_path.glob("recipes-digits*")}
    assert pictures == {"recipes-digits-own-MNIST-abc.png", "recipes-digits-own-Other-abc.png"}


def token_bound(nats, **more):
    bits = nats / math.log(2)
    numbers = {"nats_per_token": nats, "bits_per_token": bits, "num_items": 400, "tokens": 256}
    return numbers | {"nats_per_token_error": 0.01, "bits_per_token_error": 0.01} | more


def text_run(outputs, name, text):
    """The run of a recipe whose samples are text."""
    path = recipe_run(outputs, name)
    np.save(path / "samples" / "final.npy", np.zeros((2, 4), dtype=np.int64))
    (path / "samples" / "final.txt").write_text(f"[0]\n{text}\n\n[1]\nother\n")
    return path


def test_bounds_of_tokens_have_a_table_with_samples_of_text(tmp_path, settings):
    for name, nats in (("one", 2.0), ("two", 1.5)):
        path = text_run(tmp_path / "outputs", name, f"What, ```{name}\x1b```?\n\nNo.")
        per_character = {"nats_per_character": nats, "bits_per_character": 3.0}
        per_character |= {"nats_per_character_error": 0.25, "bits_per_character_error": 0.25}
        evaluation(path, "a", {"bound": token_bound(nats, **per_character)})
        evaluation(path, "b", {"masked_count": token_bound(nats + 0.25, **per_character)})
        record_recipes([str(path)], settings)
    text = (tmp_path / "recipes.md").read_text()
    first, second = (line for line in text.splitlines() if line.startswith("| `"))
    assert first.startswith("| `two` | 1.50 ± 0.25 | 1.50 ± 0.25 | 3.00 ± 0.25 |")
    assert second.startswith("| `one` | 2.00 ± 0.25")
    assert "400 sequences of 256 tokens" in text
    assert "```text\n[two]\nWhat, '''two'''?\n\nNo.\n\n[one]\n" in text
    assert not list((tmp_path / "records").glob("*.png"))


def text_quality(order, nats, **more):
    found = {"ngram_model": f"{order}-gram@abc", "evaluations": 128.0, "num_samples": 100, "num_seeds": 3}
    for name in ("ngram_nll_per_character", "entropy", "distinct_4", "overlap_8", "longest_copy"):
        for end, value in {"": 2.5, "_spread": 0.02, "_floor": nats, "_floor_spread": 0.01}.items():
            found[name + end] = value
    return found | more


def test_text_has_the_floors_of_n_gram_models_and_a_table_of_what_was_drawn(tmp_path, settings):
    for name, nats in (("one", 2.0), ("two", 1.5)):
        path = text_run(tmp_path / "outputs", name, "What")
        per_character = {"nats_per_character": nats, "bits_per_character": 3.0}
        per_character |= {"nats_per_character_error": 0.25, "bits_per_character_error": 0.25}
        evaluation(path, "a", {"bound": token_bound(nats, **per_character)})
        for order, floor in ((2, 2.5), (10, 1.75)):
            evaluation(path, f"of {order}", {"text_quality": text_quality(order, floor)})
        evaluation(path, "one seed", {"text_quality": text_quality(11, 1.0, num_seeds=1)})
        record_recipes([str(path)], settings)
    bounds, drawn = (part.splitlines() for part in (tmp_path / "recipes.md").read_text().split("| recipe |")[1:])
    rows = [row.split(" | ")[:2] for row in bounds if row.startswith("| `") or row.startswith("| *")]
    assert rows == [
        ["| `two`", "1.50 ± 0.25"],
        ["| *10-gram model*", "1.750 ± 0.010"],
        ["| `one`", "2.00 ± 0.25"],
        ["| *2-gram model*", "2.500 ± 0.010"],
    ]
    rows = [row.split(" | ")[:4] for row in drawn if row.startswith("| `") or row.startswith("| *")]
    assert [row[0] for row in rows] == ["| `two`", "| `one`", "| *real text*"]
    assert [row[2:] for row in rows] == [["128", "2.500 ± 0.020"]] * 2 + [["–", "1.750 ± 0.010"]]


def bound_and_text(outputs, name, nats, model="5-gram@abc", fingerprint="0", error=0.25, **more):
    """The run of a recipe of text with its bound and the quality of its samples."""
    path = text_run(outputs, name, "What")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["fingerprint"] = {"experiment": "0" * 16, "data": fingerprint}
    (path / "manifest.json").write_text(json.dumps(manifest))
    per_character = {"nats_per_character": nats, "bits_per_character": 3.0}
    per_character |= {"nats_per_character_error": error, "bits_per_character_error": 0.25}
    evaluation(path, "a", {"bound": token_bound(2 * nats, **per_character)})
    evaluation(path, "b", {"text_quality": text_quality(5, 1.75, ngram_model=model, **more)})
    return path


def rows_of(settings):
    lines = Path(settings.page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip("|` *") for cell in line.split(" | ")] for line in lines if line.startswith(("| `", "| *"))]


def test_recipes_that_a_lower_n_gram_model_measured_have_a_table_of_their_own(tmp_path, settings):
    for name, model in (("one", "5-gram@abc"), ("two", "3-gram@abc")):
        record_recipes([str(bound_and_text(tmp_path / "outputs", name, 2.0, model))], settings)
    assert [row[0] for row in rows_of(settings)][4:] == ["one", "real text", "two", "real text"]


def test_rows_are_in_the_order_of_the_number_that_is_shown(tmp_path, settings):
    """The nats of a token are twice those of a character here."""
    record_recipes([str(bound_and_text(tmp_path / "outputs", "one", 1.5))], settings)
    assert [row[0] for row in rows_of(settings)][:2] == ["one", "5-gram model"]


def test_bounds_of_other_texts_of_the_same_kind_are_in_another_table(tmp_path, settings):
    for name, data in (("one", "aa"), ("two", "bb")):
        record_recipes([str(bound_and_text(tmp_path / "outputs", name, 2.0, fingerprint=data))], settings)
    assert Path(settings.page).read_text(encoding="utf-8").count("| recipe | nats/character") == 2


def test_samples_of_different_numbers_are_not_compared(tmp_path, settings):
    record_recipes([str(bound_and_text(tmp_path / "outputs", "one", 2.0))], settings)
    with pytest.raises(LabError, match="measures of text depend on the number and length of samples"):
        record_recipes([str(bound_and_text(tmp_path / "outputs", "two", 2.0, num_samples=10))], settings)


def test_of_several_estimates_the_one_with_the_smallest_error_counts(tmp_path, settings):
    path = bound_and_text(tmp_path / "outputs", "one", 1.5)
    numbers = {"nats_per_character": 1.4, "bits_per_character": 3.0, "nats_per_token_error": 0.5}
    numbers |= {"nats_per_character_error": 0.5, "bits_per_character_error": 0.5}
    evaluation(path, "lower by chance", {"bound": token_bound(1.4, **numbers)})
    record_recipes([str(path)], settings)
    assert rows_of(settings)[0][:2] == ["one", "1.50 ± 0.25"]


def test_what_raw_weights_reached_is_not_that_of_their_average(tmp_path, settings):
    path = recipe_run(tmp_path / "outputs", ema_weights="1" * 32)
    evaluation(path, "a", {"quality": quality(4.0, 50)}, weights="ema")
    evaluation(path, "b", {"quality": quality(1.0, 50)}, weights="raw")
    record_recipes([str(path)], settings)
    assert rows_of(settings)[0][:2] == ["tutorial", "4.000 ± 0.010 (50)"]


def test_bounds_of_tokens_that_are_no_text_are_those_of_a_token(tmp_path, settings):
    path = recipe_run(tmp_path / "outputs", "one")
    evaluation(path, "a", {"bound": token_bound(2.0)})
    record_recipes([str(path)], settings)
    text = (tmp_path / "recipes.md").read_text()
    assert "| recipe | bits/token | parameters |" in text
    assert (tmp_path / "records" / "one.png").is_file()


def test_a_run_whose_samples_are_neither_images_nor_text_is_refused(tmp_path, settings):
    path = text_run(tmp_path / "outputs", "one", "")
    (path / "samples" / "final.txt").unlink()
    evaluation(path, "a", {"bound": token_bound(2.0)})
    with pytest.raises(LabError, match="holds neither images nor text"):
        record_recipes([str(path)], settings)


def test_numbers_of_two_data_sets_are_in_two_tables(tmp_path, settings):
    for name, data in (("one", "Digits"), ("two", "CIFAR10")):
        path = recipe_run(tmp_path / "outputs", name, config={"data": {"_target_": f"diffusion_lab.data.{data}"}})
        evaluation(path, "a", {"quality": quality(4.0, 20, extractor="inception@abc")})
        record_recipes([str(path)], settings)
    assert (tmp_path / "recipes.md").read_text().count("| recipe |") == 2
    assert {"recipes-cifar10.png", "recipes-digits.png"} <= {file.name for file in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"overrides": ["optimizer.lr=1"]}, "was trained with optimizer.lr=1"),
        ({"status": "interrupted"}, "is interrupted"),
        ({"steps": 31}, "has not been evaluated beside test data"),
        ({"fingerprint": None}, "does not say fingerprint"),
        ({"options": {"experiment": "../../tutorial"}}, "there is no such recipe"),
    ],
)
def test_other_runs_are_refused_and_nothing_is_written(tmp_path, settings, change, said):
    path = recipe_run(tmp_path / "outputs", **change)
    evaluation(path, "a", {"quality": quality(4.0, 50)})
    with pytest.raises(LabError, match=said):
        record_recipes([str(path)], settings)
    assert not (tmp_path / "records").exists()
    assert "old" in (tmp_path / "recipes.md").read_text()


def test_evaluations_of_different_numbers_of_samples_are_not_put_into_one_table(tmp_path, settings):
    path = recipe_run(tmp_path / "outputs")
    evaluation(path, "a", {"quality": quality(4.0, 50)})
    evaluation(path, "b", {"quality": quality(3.0, 50, num_samples=10000)})
    with pytest.raises(LabError, match="have different ones: 1000, 10000"):
        record_recipes([str(path)], settings)
    assert not (tmp_path / "records").exists()


def test_damaged_results_and_records_are_named(tmp_path, settings):
    path = recipe_run(tmp_path / "outputs")
    evaluation(path, "a", {"quality": {key: value for key, value in quality(4.0, 50).items() if key != "fid"}})
    with pytest.raises(LabError, match="evaluations is damaged: it does not say fid"):
        record_recipes([str(path)], settings)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "x.json").write_text("{}")
    with pytest.raises(LabError, match=r"x\.json is damaged: it does not say evaluations"):
        record_recipes([], settings)


def test_a_likelihood_of_few_items_is_not_shown_for_being_low_by_chance(tmp_path, settings):
    path = recipe_run(tmp_path / "outputs")
    evaluation(path, "a", {"quality": quality(4.0, 50)})
    for name, bits, items in (("b", 0.9, 10), ("c", 1.25, 1000), ("d", 1.375, 1000)):
        evaluation(path, name, {"ode": {"bits_per_dim": bits, "bits_per_dim_error": 0.01, "num_items": items}})
    for name, accuracy, samples in (("e", 0.99, 100), ("f", 0.98, 10000)):
        evaluation(path, name, {"cas": {"accuracy": accuracy, "num_samples": samples}})
    record_recipes([str(path)], settings)
    row = next(line for line in (tmp_path / "recipes.md").read_text().splitlines() if "`tutorial`" in line)
    assert "| 98.0% | 1.250 ± 0.010 |" in row


def test_numbers_of_a_single_seed_are_not_recorded(tmp_path, settings):
    path = recipe_run(tmp_path / "outputs")
    evaluation(path, "a", {"quality": quality(3.0, 20, num_seeds=1, fid_spread=None, kid_spread=None)})
    with pytest.raises(LabError, match="has not been evaluated beside test data, with two or more seeds"):
        record_recipes([str(path)], settings)
    evaluation(path, "b", {"quality": quality(4.0, 20)})
    record_recipes([str(path)], settings)
    (one,) = json.loads((tmp_path / "records" / "tutorial.json").read_text())["evaluations"]
    assert one["results"]["quality"]["fid"] == 4.0


def test_two_runs_of_one_recipe_are_refused(tmp_path, settings):
    for outputs in ("a", "b"):
        evaluation(recipe_run(tmp_path / outputs), "a", {"quality": quality(4.0, 50)})
    with pytest.raises(LabError, match="are runs of tutorial: name the one to record"):
        record_recipes([str(tmp_path / "a"), str(tmp_path / "b")], settings)
    assert not (tmp_path / "records").exists()


def _as_of_another_kind(content, key):
    """Yield copies of plain content with a value of another kind in the place of one."""
    number = isinstance(content[key], int | float)
    for other in (None, "a", [1], {"a": 1}, float("nan") if number else 1):
        if number or key == "machine" or type(other) is not type(content[key]):
            yield {**content, key: other}


@pytest.mark.parametrize("key", ["evaluations", "machine", "parameters", "minutes", "command", "config"])
def test_records_of_other_kinds_are_named(tmp_path, settings, key):
    path = recipe_run(tmp_path / "outputs")
    evaluation(path, "a", {"quality": quality(4.0, 50)})
    record_recipes([str(path)], settings)
    file = tmp_path / "records" / "tutorial.json"
    for content in _as_of_another_kind(json.loads(file.read_text()), key):
        file.write_text(json.dumps(content))
        with pytest.raises(LabError, match=rf"tutorial\.json is damaged: {key} is .*, and must be a"):
            record_recipes([], settings)


@pytest.mark.parametrize("key", ["extractor", "fid", "num_seeds", "kid_spread", "precision", "evaluations"])
def test_results_of_other_kinds_are_named(tmp_path, settings, key):
    path = recipe_run(tmp_path / "outputs")
    for content in _as_of_another_kind(quality(4.0, 50), key):
        evaluation(path, "a", {"quality": content})
        with pytest.raises(LabError, match=rf"evaluations is damaged: {key} is .*, and must be a"):
            record_recipes([str(path)], settings)


@pytest.mark.parametrize("key", ["asked", "results", "argv", "quality", "evaluation"])
def test_evaluations_of_other_kinds_are_named(tmp_path, settings, key):
    path = recipe_run(tmp_path / "outputs")
    evaluation(path, "a", {"quality": quality(4.0, 50)})
    file = path / "evaluations" / "a.json"
    content = json.loads(file.read_text())
    for parent in (content, content["made_by"], content["results"], content["asked"]):
        if key in parent:
            parent[key] = 3
    file.write_text(json.dumps(content))
    said = "not been evaluated beside test data" if key == "evaluation" else r"a\.json is damaged: it is no record"
    with pytest.raises(LabError, match=said):
        record_recipes([str(path)], settings)


def test_a_run_that_was_killed_once_is_refused_since_its_minutes_are_not_known(tmp_path, settings):
    path = recipe_run(tmp_path / "outputs")
    evaluation(path, "a", {"quality": quality(4.0, 50)})
    manifest = json.loads((path / "manifest.json").read_text())
    killed = {key: value for key, value in manifest["sessions"][0].items() if key not in ("ended", "wall_time_s")}
    (path / "manifest.json").write_text(json.dumps(manifest | {"sessions": [killed, *manifest["sessions"]]}))
    with pytest.raises(LabError, match="was killed once, and its minutes are not known"):
        record_recipes([str(path)], settings)


def test_a_page_without_the_two_lines_is_refused(tmp_path, settings):
    (tmp_path / "recipes.md").write_text("nothing")
    with pytest.raises(LabError, match="needs two lines"):
        record_recipes([], settings)


def test_the_page_s_tables_are_those_of_the_records():
    tables = recipe_tables(read_records(ROOT / "docs" / "recipes"), data_of_recipes())
    assert f"{MARKS[0]}\n{tables}{MARKS[1]}" in (ROOT / "docs" / "results" / "recipes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(read_records(ROOT / "docs" / "recipes")))
def test_a_recorded_recipe_is_what_its_experiment_says_today(name):
    content = read_records(ROOT / "docs" / "recipes")[name].content
    settings, _ = compose_run(content["command"].split()[2:])
    composed = dict(leaves(settings.as_node()))
    changed = {key for key, value in content["config"].items() if composed.get(key) != value}
    assert not changed - {"data.vocabulary"}  # which is found in the text, where the recipe names none
    assert composed.get("data.vocabulary") is None
