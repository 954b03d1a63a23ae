"""A run as TensorBoard's event files and the CSV tell it, without a browser."""

import csv

import pytest
import torch

from conftest import TINY
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.training.lr_schedule import LearningRateSchedule
from tensorboard_runs import events, typed

EACH_STEP = (
    "train/loss_step", "optimizer/learning_rate", "optimizer/gradient_norm", "optimizer/weight_norm",
    "speed/images_per_s", "memory/peak_MiB",
)  # fmt: skip
PARTS = [f"train/loss_by_t/{part}" for part in ("0.00-0.25", "0.25-0.50", "0.50-0.75", "0.75-1.00")]
EACH_EPOCH = ("train/loss_epoch", "val/loss", *PARTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of three epochs of four steps, logged at every second one."""
    path = tmp_path_factory.mktemp("outputs")
    return typed(
        *TINY, "trainer.max_epochs=3", "trainer.log_every_n_steps=2", "callbacks.samples.every_n_epochs=1",
        "lr_schedule=warmup_cosine", "lr_schedule.warmup_steps=3", "lr_schedule.decay_steps=12",
        f"paths.output_dir={path}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def read(folder):
    return events(folder)


def steps(points):
    return [point.step for point in points]


def test_each_step_that_is_logged_and_each_epoch_has_its_scalars(read):
    for tag in EACH_STEP:
        assert steps(read.Scalars(tag)) == [1, 3, 5, 7, 9, 11], tag
    for tag in EACH_EPOCH:
        assert steps(read.Scalars(tag)) == [3, 7, 11], tag
    for tag in ("speed/images_per_s", "memory/peak_MiB", "optimizer/gradient_norm", "optimizer/weight_norm"):
        assert all(point.value > 0 for point in read.Scalars(tag)), tag


def test_the_learning_rate_is_that_of_the_schedule(read):
    factor = LearningRateSchedule(3, 12).factor
    for point in read.Scalars("optimizer/learning_rate"):
        assert point.value == pytest.approx(1e-3 * factor(point.step))


def test_the_last_weight_norm_is_nearly_that_of_the_weights(folder, read):
    """It is taken before the last step, whose rate is small."""
    state = torch.load(folder.path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    norm = torch.cat([weight.flatten() for weight in state.values()]).norm()
    assert read.Scalars("optimizer/weight_norm")[-1].value == pytest.approx(float(norm), rel=1e-4)


def test_the_parts_of_the_time_axis_make_up_the_loss_of_the_epoch(read):
    for epoch, whole in enumerate(read.Scalars("train/loss_epoch")):
        parts = [read.Scalars(tag)[epoch].value for tag in PARTS]
        assert min(parts) < whole.value < max(parts)
        assert parts[0] == max(parts)  # where there is little noise, it is hard to tell
        assert whole.value == pytest.approx(sum(parts) / 4, rel=0.05)  # times are uniform


def test_samples_and_their_denoising_are_one_series_each_up_to_the_finished_run(folder, read):
    for tag in ("samples/grid", "samples/denoising"):
        assert steps(read.Images(tag)) == [4, 8, 12], tag
    for tag, step in (
        ("samples/real_and_generated", 12), ("train/loss_curve", 12), ("schedule/curves", 0),
        ("schedule/comparison", 0), ("schedule/forward_process", 0),
    ):  # fmt: skip
        assert steps(read.Images(tag)) == [step], tag
    strips = read.Images("samples/denoising")
    assert len({strip.encoded_image_string for strip in strips}) == 3
    assert len({(strip.width, strip.height) for strip in strips}) == 1
    drawn = {path.name for path in folder.figures.iterdir()}
    assert {"samples_epoch_0001.png", "denoising_epoch_0002.png", "samples.png", "denoising.png"} <= drawn
    assert "samples_epoch_0003.png" not in drawn


def test_the_config_and_what_was_typed_are_there_as_text(folder, read):
    def text(name):
        (point,) = read.Tensors(f"config/{name}/text_summary")
        return point.tensor_proto.string_val[0].decode()

    config = (folder.path / "config.yaml").read_text()
    assert text("resolved") == f"```yaml\n{config}```"
    assert text("overrides").startswith("```\ndata=digits\n")
    assert "\nlr_schedule.warmup_steps=3\n" in text("overrides")


def rows(folder):
    with (folder.path / "csv" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_the_csv_has_the_same_numbers_under_one_header(folder, read):
    table = rows(folder)
    for tag in (*EACH_STEP, *EACH_EPOCH):
        told = [(int(row["step"]), float(row[tag])) for row in table if row[tag]]
        points = read.Scalars(tag)
        assert [step for step, _ in told] == steps(points), tag
        assert [value for _, value in told] == pytest.approx([point.value for point in points]), tag
    assert not any(tag.startswith("Final") for tag in table[0])


@pytest.mark.slow
def test_a_csv_that_lacks_columns_gets_them_when_its_run_is_resumed(tmp_path):
    """A run from before there was telemetry, say: its rows stay, and the new columns are empty in them."""
    plain = ("callbacks.telemetry=null", "callbacks.timestep_loss=null")
    folder = typed(*TINY, *plain, f"paths.output_dir={tmp_path}")
    before = rows(folder)
    assert not set(EACH_STEP[1:]) & before[0].keys()
    config = RunFolder(folder.path).read_config()
    config["callbacks"]["telemetry"] = {"_target_": "diffusion_lab.training.telemetry.Telemetry"}
    folder.write_config(config, [])
    typed(f"resume={folder.path}", "trainer.max_epochs=3")
    after = rows(folder)
    assert len((folder.path / "csv" / "metrics.csv").read_text().split("learning_rate")) == 2  # one header
    assert [{key: row[key] for key in before[0]} for row in after[: len(before)]] == before
    assert not any(row["optimizer/gradient_norm"] for row in after[: len(before)])
    assert [int(row["step"]) for row in after if row["optimizer/gradient_norm"]] == [8, 9, 10, 11]
