"""Bad input of every kind, through the door that a person uses: one line, a status, and nothing left behind.

Runs in this process, by way of `cli.run`, which is all that scripts/train.py and scripts/sample.py do.
"""

import pytest

from conftest import TINY, a_third_quick
from option_recipes import choices

BASE = ("data=digits", "trainer=cpu")

#: What is typed, and what the line must say: the key, what was given or would be accepted, the nearest spelling.
BAD = {
    # Misspelled keys, at the top, in a group, in a nested node, elsewhere in the tree, of Hydra.
    "schedul=cosine": ["no key schedul", "did you mean schedule?", "accepted are data, codec"],
    "netwrok.base_channels=64": ["no key netwrok", "did you mean network?"],
    "network.base_chanels=64": ["no key network.base_chanels", "did you mean base_channels?", "time_dim"],
    "base_channels=64": ["no key base_channels", "did you mean network.base_channels?"],
    "data.batchsize=64": ["no key data.batchsize", "did you mean batch_size?"],
    "data.batch_size.x=3": ["no key data.batch_size.x", "data.batch_size is a value"],
    "sampling.num_sample=3": ["no key sampling.num_sample", "did you mean num_samples?"],
    "callbacks.checkpoints.every_n_epoch=3": ["no key callbacks.checkpoints.every_n_epoch", "every_n_epochs?"],
    "callbacks.checkpoint.every_n_epochs=3": ["no key callbacks.checkpoint", "did you mean checkpoints?"],
    "paths.datadir=x": ["no key paths.datadir", "did you mean data_dir?"],
    "hydra.rum.dir=x": ["no key hydra.rum.dir"],
    "~trainer.profiler": ["~trainer.profiler", "null already"],
    "~nothing": ["no key nothing", "accepted are data"],
    # Unknown arguments behind + and ++, in constructors, partials and the trainer.
    "+sede=3": ["no key sede", "did you mean seed?"],
    "+network.base_chanels=64": ["no key network.base_chanels", "did you mean base_channels?"],
    "++network.depth=3": ["no key network.depth", "accepted are base_channels"],
    "+optimizer.weight_decya=0.1": ["no key optimizer.weight_decya", "did you mean weight_decay?"],
    "+time_sampling.low=0": ["no key time_sampling.low"],
    "+trainer.max_epoch=3": ["no key trainer.max_epoch", "did you mean max_epochs?"],
    "+sampling.steps=3": ["no key sampling.steps", "accepted are num_samples"],
    "+evaluation.fid=3": ["evaluation.fid=3", "a node with a _target_"],
    "+callbacks.stop=true": ["callbacks.stop=True", "a node with a _target_"],
    # What follows from the rest cannot be given.
    "+network.in_channels=3": ["network.in_channels follows from the rest"],
    "+network.image_size=32": ["network.image_size follows from the rest"],
    "+trainer.logger=false": ["trainer.logger follows from the rest"],
    # Options that do not exist.
    "schedule=cosin": ["schedule=cosin", "did you mean cosine?", f"choose from {choices('schedule')}"],
    "schedule=Cosine": ["schedule=Cosine", "did you mean cosine?"],
    "network=resnet": ["network=resnet", f"choose from {choices('network')}"],
    "experiment=ddpm_mnits": ["experiment=ddpm_mnits", "did you mean ddpm_mnist?", "quickstart"],
    "trainer=cup": ["trainer=cup", "did you mean cpu?"],
    "hydra/launcher=slurm": ["hydra/launcher=slurm", "choose from basic"],
    "data=": ["data=", f"choose from {choices('data')}"],
    "data=null": ["data=null", f"choose from {choices('data')}"],
    "data=[mnist,digits]": ["no key data.validation"],
    "+schedule=cosine": ["schedule is chosen already", "without the +"],
    "+trainer.limit_train_batches=0": ["there is a key trainer.limit_train_batches already", "without the +"],
    # What is empty, as where a variable of the shell is not set.
    "resume=": ["resume is empty", "null stands for none"],
    "init_from=": ["init_from is empty", "null stands for none"],
    "name=": ["name is empty"],
    "paths.data_dir=": ["paths.data_dir is empty", "the working folder is ."],
    # What is missing.
    "~seed": ["seed is missing", "an integer"],
    "~data": ["data has no option", f"choose from {choices('data')}"],
    "~data.batch_size seed=1 ~trainer.devices ~schedule": [
        "schedule has no option",
        f"choose from {choices('schedule')}",
    ],
    "lr_schedule=warmup_cosine": ["lr_schedule.decay_steps must be given"],
    "seed=???": ["seed must be given"],
    # Types.
    "seed=abc": ["seed=abc", "an integer"],
    "seed=1.5": ["seed=1.5", "an integer"],
    "seed=null": ["seed=null", "an integer"],
    "seed=true": ["seed=true", "an integer"],
    "tags=baseline": ["tags=baseline", "a list of texts"],
    "notes=null": ["notes=null", "text"],
    "compile=1": ["compile=1", "true or false"],
    "compile=yes": ["compile=yes", "true or false"],
    "data.batch_size=12.5": ["data.batch_size=12.5", "an integer"],
    "data.batch_size=[128]": ["data.batch_size=[128]", "an integer"],
    "data.limit_train=2.5": ["data.limit_train=2.5", "an integer or null"],
    "data.image_size=true": ["data.image_size=true", "an integer"],
    "network.base_channels=abc": ["network.base_channels=abc", "an integer"],
    "network.channel_multipliers=2": ["network.channel_multipliers=2", "a list of integers"],
    "network.channel_multipliers=[1,x]": ["network.channel_multipliers=[1, 'x']", "a list of integers"],
    "schedule.steps=100.5": ["schedule.steps=100.5", "an integer"],
    "schedule=cosine schedule.offset=small": ["schedule.offset=small", "a number"],
    "sampler.num_steps=2.5": ["sampler.num_steps=2.5", "an integer or null"],
    "optimizer.lr=fast": ["optimizer.lr=fast", "a number"],
    "optimizer.lr=nan": ["optimizer.lr=nan", "a number"],
    "sampler=heun sampler.churn_max=.inf": ["sampler.churn_max=.inf: it must be a number; did you mean inf?"],
    "optimizer.betas=[0.9]": ["optimizer.betas=[0.9]", "a list of 2"],
    "~time_sampling.stratified time_sampling._target_=diffusion_lab.codecs.Pixels": [
        "time_sampling._target_",
        "known under time_sampling",
    ],
    "trainer.max_epochs=x": ["trainer.max_epochs=x", "an integer or null"],
    "trainer.precision=bf16mixed": ["trainer.precision=bf16mixed", "32-true", "did you mean bf16-mixed?"],
    "trainer.deterministic=maybe": ["trainer.deterministic=maybe", "true or false"],
    "sampling.clip_x0=1": ["sampling.clip_x0", "clip=x0, clip=dynamic or clip=none"],
    "sampling=3": ["sampling=3"],
    "+network._partial_=true": ["network._target_", "Module"],
    # Targets.
    "network._target_=diffusion_lab.networks.SimpleUnet": ["no such class", "did you mean diffusion_lab.networks.Simp"],
    "schedule._target_=nowhere.Schedule": ["schedule._target_=nowhere.Schedule", "no such class"],
    "process._target_=diffusion_lab.codecs.Pixels": [
        "process._target_=diffusion_lab.codecs.Pixels",
        "known under process",
    ],
    "codec._target_=diffusion_lab.processes.Gaussian": [
        "codec._target_=diffusion_lab.processes.Gaussian",
        "known under codec",
    ],
    # Ranges.
    "seed=-1": ["seed must be at least 0, got -1"],
    "seed=4294967296": ["seed must be below 2**32"],
    "name=a/b": ["name must be a folder's name", "'a/b'"],
    "name=..": ["name must be a folder's name"],
    "tags=[wide,a/b]": ["tags: a tag is a word", "'a/b'"],
    "data.batch_size=0": ["data.batch_size must be at least 1, got 0"],
    "data.limit_train=0": ["data.limit_train must be at least 1 or null"],
    "network.base_channels=12": ["network.base_channels must be a multiple of 8, got 12"],
    "schedule.steps=1": ["schedule.steps must be at least 2, got 1"],
    "schedule=cosine schedule.max_beta=1": ["schedule.max_beta"],
    "sampler.variance=betas": ["sampler.variance=betas", "one of beta, beta_tilde", "did you mean beta?"],
    "data=mnist data.validation=tets": ["data.validation=tets", "one of test or an integer", "did you mean test?"],
    "data=image_folder": ["data.path must be given"],
    "data=image_folder data.path=nowhere": ["data.path=", "nowhere: there is no such folder"],
    "data=image_folder data.path=. data.classes=[]": ["data.path=", "no picture is in it or below", ".png"],
    "data=image_folder data.path=. data.validation=0": ["data.validation must be a number of images"],
    "data=image_folder data.path=. data.channels=2": ["data.channels=2", "one of 1, 3"],
    "data=image_folder data.path=. data.in_memory=maybe": ["data.in_memory=maybe", "auto or true or false"],
    "sampling.num_samples=0": ["sampling.num_samples must be at least 1"],
    "optimizer.lr=1e308": ["optimizer.lr=1e+308: it is infinite in float32"],
    "optimizer.weight_decay=-1e39": ["optimizer.weight_decay=-1e+39: it is infinite in float32"],
    "callbacks.timestep_loss.buckets=1000000000": ["callbacks.timestep_loss.buckets must be from 1 to 1,000"],
    "sampling.num_samples=1000000000000": ["sampling.num_samples=1000000000000: they take", "GB are free"],
    "evaluation=quality evaluation.quality.num_samples=1000000000000": ["evaluation.quality.num_samples=10", "GB are"],
    "evaluation=memorization evaluation.memorization.num_samples=1000000000000": ["memorization.num_samples=10"],
    "evaluation=quality evaluation.quality.seeds=1001": ["evaluation.quality.seeds must be from 1 to 1,000, got 1001"],
    "callbacks.samples.num_samples=1000000000000": ["callbacks.samples.num_samples=1000000000000: they take"],
    "optimizer.lr=-1": ["optimizer", "learning rate: -1"],
    "optimizer.betas=[0.9,1.5]": ["optimizer", "1.5"],
    "optimizer=muon optimizer.momentum=-1": ["optimizer", "momentum", "-1"],
    "optimizer=muon optimizer.adamw_lr=-1": ["optimizer", "learning rate: -1"],
    "lr_schedule.warmup_steps=-5": ["lr_schedule.warmup_steps must not be negative"],
    "callbacks.checkpoints.every_n_epochs=0": ["callbacks.checkpoints.every_n_epochs", "at least 1"],
    "trainer.limit_val_batches=2.5": ["trainer", "2.5", "limit_val_batches"],
    "trainer.accelerator=tpu": ["trainer.accelerator=tpu", "choose from auto, cpu, gpu"],
    "trainer.strategy=dpp": ["trainer.strategy=dpp", "did you mean ddp?"],
    "trainer.profiler=simpel": ["trainer", "profiler", "simple"],
    # Combinations.
    "data.image_size=10 network.channel_multipliers=[1,2,4]": [
        "network.channel_multipliers has 3 levels",
        "image_size",
    ],
    "sampler.num_steps=2000": ["sampler.num_steps must lie between 1 and schedule.steps=1000, got 2000"],
    "trainer.devices=3 data.batch_size=2": ["data.batch_size=2 cannot be cut into 3 parts"],
    "trainer.accumulate_grad_batches=0": ["trainer.accumulate_grad_batches must be at least 1, got 0"],
    "trainer.accumulate_grad_batches=-2": ["trainer.accumulate_grad_batches must be at least 1, got -2"],
    "trainer.check_val_every_n_epoch=0": ["trainer.check_val_every_n_epoch must be at least 1, got 0"],
    "trainer.num_nodes=0": ["trainer.num_nodes must be at least 1, got 0"],
    "trainer.accumulate_grad_batches=200": ["data.batch_size=128 cannot be cut into 200 parts"],
    "trainer.precision=16-mixed": ["trainer.precision=16-mixed", "GPU"],
    "resume=a init_from=b": ["resume and init_from exclude each other"],
    "callbacks=early_stopping callbacks.early_stopping.monitor=val_loss": ["monitor=val_loss", "did you mean val/loss"],
    "callbacks=early_stopping trainer.limit_val_batches=0": ["callbacks.early_stopping waits for val/loss"],
    "trainer.limit_val_batches=0.1": ["trainer.limit_val_batches=0.1 of 2 batches is less than one", "0.5"],
    "trainer.val_check_interval=99": ["trainer.val_check_interval=99: an epoch has 12 batches"],
    "data.limit_train=1 evaluation=recognition": ["evaluation.recognition", "two classes", "data.limit_train"],
    "evaluation=text_quality": ["evaluation.text_quality: it is for runs on text, and this run has Digits"],
    "evaluation=token_bound": [
        "TokenBoundNLL needs a process of the kind DiscreteProcess",
        "take evaluation=likelihood",
    ],
    "data.image_size=8 network.channel_multipliers=[1,1,1] network.base_channels=8": ["network.channel_multipliers"],
    "trainer.devices=two": ["trainer.devices=two", "auto"],
    # The grammar of the command line.
    "seed=1,2": ["seed=1,2", "needs -m"],
    "schedule.steps=range(2,9)": ["schedule.steps=range(2,9)", "needs -m"],
    "network.channel_multipliers=[1": ["cannot read network.channel_multipliers=[1", "quote"],
    "cosine": ["cannot read cosine", "key=value"],
    "name='x": ["cannot read name='x"],
    "=3": ["key=value"],
    "name=${nowhere}": ["name=${nowhere}", "the key nowhere"],
}


def left_behind(tmp_path):
    return [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("typed", a_third_quick(BAD))
def test_it_is_refused_in_one_line_and_nothing_is_written(door, tmp_path, typed):
    base = [argument for argument in BASE if not typed.startswith(argument.split("=")[0] + "=")]
    status, line = door(*base, *typed.split())
    assert status == 1
    assert line.startswith("Error: ")
    for said in BAD[typed]:
        assert said in line
    assert left_behind(tmp_path) == []
    assert not (tmp_path / "outputs").exists()


def test_there_are_more_than_sixty_kinds():
    assert len(BAD) >= 60


@pytest.mark.parametrize("flag", ["--bogus", "--cfg", "--multirum"])
def test_an_unknown_flag_is_one_line(door, flag):
    status, line = door("data=digits", flag)
    assert status == 2
    assert flag.split("=")[0] in line
    assert "--help" in line


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["network.base_channels=16,12"], "multiple of 8, got 12"),
        (["schedule=linear,cosin"], "did you mean cosine?"),
        (["seed=1,x"], "seed=x: it must be an integer"),
        (["+sampler.variances=beta,beta_tilde"], "did you mean variance?"),
        (["trainer.precision=32-true,16-mixed"], "trainer.precision=16-mixed"),
        (["optimizer.lr=1e-3,-1"], "learning rate: -1"),
    ],
)
def test_no_job_of_a_sweep_starts_if_one_of_them_is_refused(door, tmp_path, typed, said):
    """In the order typed, the first job of each is in order."""
    status, line = door(*TINY, "-m", *typed, f"paths.output_dir={tmp_path}/outputs")
    assert status == 1
    assert said in line
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([], "run_dir must be given"),
        (["run_dir="], "run_dir is empty; the working folder is ."),
        (["run_dir=nowhere"], "there is no run folder nowhere"),
        (["run_dir=."], "is no run folder: it has no config.yaml"),
        (["run_dir=x", "num_samples=0"], "num_samples must be at least 1"),
        (["run_dir=x", "num_samples=many"], "num_samples=many: it must be an integer"),
        (["run_dir=x", "sampler=ancestrl"], "did you mean ancestral?"),
        (["run_dir=x", "sampler.num_steps=20"], "there is no run folder x"),
        (["run_dir=x", "labels=[]"], "labels must name at least one class"),
        (["run_dir=x", "labels=three"], "labels=three: it must be an integer or a list of integers or null"),
        (["run_dir=x", "num_sampls=3"], "did you mean num_samples?"),
        (["run_dir=x", "+schedule=cosine"], "schedule"),
        (["run_dir=x", "inpaint.mask=half"], "inpaint.mask needs inpaint.image, too"),
        (["run_dir=x", "inpaint.image=val:3"], "inpaint.image needs inpaint.mask, too"),
        (["run_dir=x", "inpaint.imge=val:3"], "no key inpaint.imge; did you mean image?"),
        (["run_dir=x", "inpaint.image=val:3", "inpaint.mask=half", "invert=val"], "invert and inpaint exclude each"),
        (["run_dir=x", "inpaint.resamplings=0"], "inpaint.resamplings must be at least 1, got 0"),
        (["run_dir=x", "inpaint.resamplings=5"], "inpaint.resamplings needs inpaint.image and inpaint.mask, too"),
        (["run_dir=x", "inpaint.jump_length=5"], "inpaint.jump_length needs inpaint.image and inpaint.mask, too"),
        (["run_dir=x", "trajectory=maybe"], "trajectory=maybe: it must be true or false"),
        (["run_dir=x", "clip_x0=true"], "there is no key clip_x0 any more: type clip=x0"),
    ],
)
def test_what_is_typed_behind_sample_is_held_against_its_keys(door, tmp_path, typed, said):
    status, line = door(*typed, script="sample")
    assert status == 1
    assert said in line
    assert left_behind(tmp_path) == []
