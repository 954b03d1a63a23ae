"""Through the door that a person uses: the command trains, says how good the network is, and keeps it."""

import pytest

from diffusion_lab.data import Digits
from diffusion_lab.metrics.feature_training import FeatureTraining
from diffusion_lab.metrics.feature_weights import read_features
from diffusion_lab.metrics.own_features import OwnFeatures
from doors import typed

QUICK = ("data=digits", "data.image_size=8", "device=cpu", "steps=10", "batch_size=32")


def test_the_defaults_of_the_command_are_those_of_networks_that_are_trained_where_they_are_needed(settings):
    cfg = settings(config_name="train_features")
    for key, value in vars(FeatureTraining()).items():
        assert getattr(cfg, key) == value
        assert type(getattr(cfg, key)) is type(value)


@pytest.mark.slow
def test_a_network_is_trained_kept_and_found_again(tmp_path):
    ended = typed("train_features", [*QUICK, "paths.data_dir=data"], tmp_path)
    assert ended.status == 0, ended.err
    (path,) = (tmp_path / "data" / "features").glob("*.safetensors")
    facts = read_features(path).facts
    assert f"finds the class of {facts.accuracy:.2%} of {facts.test_images} test images" in ended.out.splitlines()[-1]
    assert f"data/features/{path.name}" in ended.out
    assert "features.path" not in ended.out
    assert facts.command.endswith(
        "scripts/train_features.py data=digits data.image_size=8 device=cpu steps=10 batch_size=32 paths.data_dir=data"
    )
    data = Digits(image_size=8)
    data.setup()
    assert OwnFeatures(str(tmp_path / "data")).load_extractor(data).weights_hash == read_features(path).sha256
    again = typed("train_features", [*QUICK, "paths.data_dir=data"], tmp_path)
    assert again.status == 1
    assert again.err.startswith(f"Error: data/features/{path.name} exists, and results may have been measured with it")
    assert len(again.err.splitlines()) == 1


@pytest.mark.slow
def test_a_file_of_another_name_has_to_be_named_where_features_are_computed(tmp_path):
    ended = typed("train_features", [*QUICK, "data.limit_train=64", "out=new/mine.safetensors"], tmp_path)
    assert ended.status == 0, ended.err
    assert (tmp_path / "new" / "mine.safetensors").is_file()
    assert ended.out.endswith("; features=own takes it with features.path=new/mine.safetensors\n")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("steps=0",), "steps must be at least 1, got 0"),
        (("lr=-1",), "lr must be above 0, got -1"),
        (("step=3",), "there is no key step; did you mean steps?"),
        (("out=weights.pt",), "out must name a .safetensors file, got weights.pt"),
        (("data=nonsense",), "data=nonsense: there is no such option"),
        (("device=cpux",), "device=cpux is not available on this machine"),
        (("data=image_folder", "data.path=.", "data.classes=[]"), "learns from labels, and data=ImageFolder has none"),
        (("out=file/a.safetensors",), "cannot make the folder file"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_before_anything_is_trained(tmp_path, overrides, says):
    (tmp_path / "file").write_text("")
    ended = typed("train_features", [*QUICK, *overrides], tmp_path)
    assert ended.status == 1
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith("Error: ")
    assert says in ended.err
    assert not list(tmp_path.rglob("*.safetensors"))
