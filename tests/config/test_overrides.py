"""Values as people type them: read as Hydra reads them, or as text where nothing else can be meant."""

import shlex

import pytest

from diffusion_lab.config.annotations import text_keys
from diffusion_lab.config.cli import readable_arguments
from diffusion_lab.config.overrides import as_text, parsed, readable_overrides, searchpath
from diffusion_lab.config.reader_schema import SampleConfig
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.tree import options, use_config_dirs
from diffusion_lab.errors import LabError
from diffusion_lab.sweeps.compose_run import compose_run

TEXTS = {"notes", "name"}

#: Every sign of ASCII, and some beyond, within a word and alone.
SIGNS = [chr(n) for n in range(32, 127)] + ["ü", "«", "–", "漢", "\N{NO-BREAK SPACE}"]


def read(argument, texts=TEXTS, sweeps=False):
    """The value that Hydra reads in what is made of an override."""
    (readable,) = readable_overrides([argument], texts, sweeps)
    override = parsed(readable)
    assert not override.is_sweep_override()
    return override.value()


@pytest.mark.parametrize("sign", [sign for sign in SIGNS if sign not in "'\"\\"])
@pytest.mark.parametrize("form", ["a{}b", "{}a", "a{}", "a {} b"])
def test_a_text_may_hold_any_sign(sign, form):
    value = form.format(sign)
    assert read(f"notes={value}") == value.strip(" ")


@pytest.mark.parametrize(
    "value", ["what's new", 'say "hi"', 'it\'s "so"', "/data/a=b", "~/x", "a, b", "[a]", "3", "1e3", "true"]
)
def test_what_is_no_text_to_hydra_is_one_where_a_text_is_wanted(value):
    assert read(f"notes={value}") == value


def test_quotes_around_a_text_are_none_of_it():
    assert read("notes='a, b'") == read('notes="a, b"') == "a, b"
    assert read("notes=null") is None
    assert read("notes=") == ""


@pytest.mark.parametrize("value", ["grün", "/data/a=b", "~/x", "a#b", "what's new", "a;b&c"])
def test_what_hydra_has_no_meaning_for_is_text_of_any_key(value):
    assert read(f"data.path={value}") == read(f"+data.path={value}") == value


@pytest.mark.parametrize(
    "typed", ["seed=3", "network.channel_multipliers=[1,2]", "seed=1,2", "x=${seed}", "~logger", "x={a:1}"]
)
def test_what_hydra_reads_stays(typed):
    assert readable_overrides([typed], TEXTS, False) == [typed]


def test_several_values_of_a_text_are_a_sweep_where_there_are_some():
    assert readable_overrides(["notes=a,b"], TEXTS, True) == ["notes=a,b"]


@pytest.mark.parametrize(
    "typed", ["data.path=[1", "data.path=a(b)", "notes='x", 'notes="x', "data.path=a{b", "+notes='"]
)
def test_what_may_mean_several_things_is_refused_with_the_form_that_works(typed):
    key, _, value = typed.partition("=")
    with pytest.raises(LabError, match="cannot read") as caught:
        readable_overrides([typed], TEXTS, False)
    form = as_text(key, value)
    assert f"as text it is typed {form}" in str(caught.value)
    assert read(*shlex.split(form)) == value  # as a shell hands it over


@pytest.mark.parametrize("typed", ["cosine", "a b", "=3", "+", "~", "a+b=3"])
def test_what_is_no_override_is_refused(typed):
    with pytest.raises(LabError, match="key=value"):
        readable_overrides([typed], TEXTS, False)


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A function that makes a folder of config files with an experiment, in the working folder."""
    monkeypatch.chdir(tmp_path)

    def made(name, option):
        (tmp_path / name / "experiment").mkdir(parents=True)
        (tmp_path / name / "experiment" / f"{option}.yaml").write_text("# @package _global_\nseed: 3\n")
        return tmp_path / name

    yield made
    use_config_dirs([])


def test_flags_stand_anywhere(own_folder):
    own_folder("mine", "x")
    typed = ["data=digits", "--config-dir", "mine", "experiment=x", "-m", "seed=1,2", "--resolve"]
    flags = ["--config-dir", "mine", "-m", "--resolve"]
    assert readable_arguments(typed, "train") == [*flags, "data=digits", "experiment=x", "seed=1,2"]


def test_a_flag_s_value_may_look_like_an_override(own_folder):
    own_folder("a=b", "x")
    typed = ["--config-dir", "a=b", "seed=1", "name=a=b"]
    assert readable_arguments(typed, "train") == ["--config-dir", "a=b", "seed=1", 'name="a=b"']


def test_folders_of_one_s_own_are_known_to_all_that_composes_or_suggests(own_folder):
    folders = [own_folder("mine", "xylophone"), own_folder("two words", "zither")]
    readable_arguments(["--config-dir", "mine", f"hydra.searchpath=['file://{folders[1]}']"], "train")
    assert {"xylophone", "zither", "ddpm_mnist"} <= set(options("experiment"))
    assert compose_run(["experiment=[xylophone,zither]", *searchpath()])[0].seed == 3
    with pytest.raises(LabError, match=r"experiment=xylophon: there is no such option; did you mean xylophone\?"):
        compose_run(["experiment=xylophon", *searchpath()])


@pytest.mark.parametrize(
    "typed", [["--config-dir", "nowhere"], ["hydra.searchpath=[file://nowhere]"], ["hydra.searchpath=[pkg://no.where]"]]
)
def test_a_folder_of_one_s_own_that_does_not_exist_is_named(own_folder, typed):
    with pytest.raises(LabError, match=r"(--config-dir|hydra\.searchpath)=.*no.?where: there is no such folder"):
        readable_arguments(typed, "train")


def test_keys_of_the_options_of_a_sweep_are_set_in_each_job():
    typed = [
        "-m",
        "network=unet,dit",
        "network.depth=2",
        "+network.x=[1,2]",
        "seed=1",
        "optimizer.lr=1,2",
        "hydra.verbose=1",
    ]
    assert readable_arguments(typed, "train") == [
        "-m", "network=unet,dit", "network.depth=choice(2)", "+network.x=choice([1,2])", "seed=1", "optimizer.lr=1,2",
        "hydra.verbose=1",
    ]  # fmt: skip
    alone = ["-m", "network=dit", "network.depth=2", "seed=1,2"]
    assert readable_arguments(alone, "train") == alone


def test_a_sweep_over_recipes_takes_keys_that_the_default_does_not_have(door):
    """Each job is composed and checked; here one is refused for a value that goes with its own network alone."""
    status, line = door(
        "-m", "experiment=quickstart_text,mdlm_shakespeare", "data=python_docs", "network.depth=1", "network.heads=5"
    )
    assert status == 1
    assert "network.heads" in line
    assert "in the job experiment=quickstart_text" in line


@pytest.mark.parametrize(
    "typed", ["network=[1,[2]]", "optimizer=[true]", "evaluation=[null]", "schedule=3", "sampler={a:1}", "grid=1.5"]
)
def test_a_group_takes_names_of_options_alone(typed):
    group = typed.partition("=")[0]
    with pytest.raises(LabError, match=rf"{group}=.*: choose from "):
        readable_arguments([typed], "train")


def test_the_keys_of_texts_are_those_of_the_schema():
    assert {"name", "notes", "paths.data_dir", "paths.output_dir", "resume"} <= text_keys(TrainConfig)
    assert {"run_dir", "prompt", "inpaint.image"} <= text_keys(SampleConfig)
    assert not {"seed", "tags", "trainer"} & text_keys(TrainConfig)
