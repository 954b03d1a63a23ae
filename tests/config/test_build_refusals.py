import pytest
import yaml

from diffusion_lab.config.build import build, recordable
from diffusion_lab.errors import LabError


@pytest.mark.parametrize(
    ("override", "key", "says"),
    [
        ("network.base_channels=30", "network.base_channels", "a multiple of 8, got 30"),
        ("network.base_channels=0", "network.base_channels", "a multiple of 8, got 0"),
        ("network.channel_multipliers=[1,2,4]", "network.channel_multipliers", "data.image_size=28"),
        ("network.channel_multipliers=[]", "network.channel_multipliers", "got []"),
        ("network.time_dim=7", "network.time_dim", "even and at least 4, got 7"),
        ("data.batch_size=0", "data.batch_size", "at least 1, got 0"),
        ("data.limit_train=0", "data.limit_train", "at least 1 or null, got 0"),
        ("data.validation=tset", "data.validation", "one of test or an integer; did you mean test?"),
        ("sampler.variance=foo", "sampler.variance=foo", "one of beta, beta_tilde"),
        ("sampler.num_steps=2000", "sampler.num_steps", "schedule.steps=1000, got 2000"),
        ("sampler.num_steps=0", "sampler.num_steps", "got 0"),
        ("schedule.steps=20", "schedule.steps", "take more steps"),
        ("schedule.steps=1", "schedule.steps", "at least 2, got 1"),
        ("lr_schedule.warmup_steps=-1", "lr_schedule.warmup_steps", "must not be negative, got -1"),
        ("+network.base_chanels=64", "network.base_chanels", "did you mean base_channels?"),
        ("+optimizer.learning_rate=1", "optimizer.learning_rate", "lr"),
        ("schedule._target_=diffusion_lab.schedules.Cosin", "schedule._target_", "no such class"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_that_names_the_key(settings, override, key, says):
    chosen = settings(override)
    with pytest.raises(LabError) as caught:
        build(chosen)
    message = str(caught.value)
    assert key in message
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("network.base_channels=24", lambda parts: parts.network.encoder[0].conv.out_channels),
        ("network.channel_multipliers=[3]", lambda parts: [len(parts.network.encoder) * 3]),
        ("network.time_dim=4", lambda parts: parts.network.time_embedding[0].in_features),
        ("data.batch_size=1", lambda parts: parts.data.batch_size),
        ("sampler.num_steps=1000", lambda parts: len(parts.pipeline.sampler.steps)),
        ("schedule.steps=21", lambda parts: parts.process.schedule.steps),
    ],
)
def test_what_just_fits_is_built(settings, override, read):
    assert read(build(settings(override))) == yaml.safe_load(override.split("=")[1])


@pytest.mark.parametrize("name", ["${oc.env:HOME}", "\udcff"])
def test_what_could_not_be_read_again_from_a_run_folder_is_refused(settings, tmp_path, name):
    """Such as the name of a subfolder, which is a class."""
    (tmp_path / "cats").mkdir()
    (tmp_path / name).mkdir()
    chosen = settings("data=image_folder", f"data.path={tmp_path}")
    with pytest.raises(LabError, match=r"data\.classes\[\d\]=.*: a run cannot record a text that has") as caught:
        recordable(chosen)
    assert "\n" not in str(caught.value)
    (tmp_path / name).rename(tmp_path / "dogs")
    assert recordable(chosen).data["classes"] == ["cats", "dogs"]
