"""The contenders of the benchmark compute the same, and its numbers are right; nothing is timed here."""

import json
import runpy
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from contender_work import break_down, log_each_step, vanish  # noqa: E402

from benchmarks import architectures, arithmetic, ceilings, lab, library, plain, rounds, text  # noqa: E402
from diffusion_lab.config.build import build  # noqa: E402
from diffusion_lab.sampling import State  # noqa: E402

CPU = torch.device("cpu")
INDEX = torch.tensor([0, 3, 500, 999])


@pytest.fixture
def same():
    """The project's parts, the plain network with the same weights, a batch of images and its noise."""
    torch.manual_seed(0)
    parts = build(lab.composed(["data=digits", "data.image_size=28"]))
    network = plain.PlainUNet(1, 1, 28)
    network.load_state_dict(parts.network.state_dict())
    return parts, network, torch.rand(4, 1, 28, 28) * 2 - 1, torch.randn(4, 1, 28, 28)


def test_all_contenders_compute_the_same_loss_from_the_same_weights_batch_and_noise(same):
    parts, network, x0, eps = same
    noised = parts.process.mix(x0, (INDEX.double() + 1) / 1000, eps)
    ours = (parts.module.denoiser.raw(noised.z_t, noised.t) - eps).square().mean()
    plainly = plain.loss(network, plain.tables(CPU), x0, INDEX, eps)
    by_library = library.loss(network, library.scheduler(), x0, INDEX, eps)
    torch.testing.assert_close(plainly, ours, rtol=1e-5, atol=0)
    torch.testing.assert_close(by_library, ours, rtol=1e-5, atol=0)


@pytest.mark.parametrize("index", [1, 400, 999])
def test_all_contenders_take_the_same_sampling_step(same, index):
    parts, network, _, x = same
    noise = torch.randn_like(x)

    class Fixed:
        def normal(self, shape):
            return noise

    t, s = torch.full((4,), (index + 1) / 1000).double(), torch.full((4,), index / 1000).double()
    with torch.no_grad():
        ours = parts.pipeline.sampler.step(State(x, t), t, s, parts.pipeline.denoiser, Fixed()).z
        plainly = plain.step(network, plain.tables(CPU), x, index, noise)
        eps = network(x, torch.full((4,), index))
    torch.testing.assert_close(plainly, ours, rtol=0, atol=1e-4)
    ddpm = library.scheduler()
    ddpm.set_timesteps(1000)
    mean = ddpm.step(eps, index, x, generator=torch.Generator().manual_seed(0)).prev_sample
    drawn = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    expected = plain.step(network, plain.tables(CPU), x, index, drawn)
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-3)  # its tables are float32, and cancel near t = 0


@pytest.mark.slow
def test_contenders_take_turns_and_keep_their_state(tmp_path):
    path = tmp_path / "log"
    contenders = [rounds.Contender(n, "float32", 1, partial(log_each_step, n, path)) for n in ("(a)", "(b)")]
    rounds.compete(contenders, 3, 1e-9, CPU, 1, lambda text: None)
    warm_up, turn = 1 + rounds.SETTLE + 2, rounds.SETTLE + 1
    expected = ["(a)"] * warm_up + ["(b)"] * warm_up
    for first, second in (("(a)", "(b)"), ("(b)", "(a)"), ("(a)", "(b)")):
        expected += [first] * turn + [second] * turn
    assert path.read_text().split() == expected
    assert all(len(c.seconds) == 3 and c.first > 0 for c in contenders)


@pytest.mark.slow
@pytest.mark.parametrize(("work", "says"), [(break_down, "out of order"), (vanish, "its process has ended")])
def test_an_error_in_a_contender_ends_the_measurement(work, says):
    with pytest.raises(RuntimeError, match=rf"^\(a\): .*{says}"):
        rounds.compete([rounds.Contender("(a)", "float32", 1, work)], 1, 1e-9, CPU, 1, lambda text: None)


def test_rows_hold_medians_ratios_within_rounds_and_shares():
    a = rounds.Contender("(a) plain", "float32", 10, None, seconds=[2.0, 4.0, 3.0])
    b = rounds.Contender("(b) ours", "bfloat16", 10, None, compiled=True, first=6.0, seconds=[1.0, 1.0, 2.0])
    first, second = rounds.rows([a, b], 6e9, {"float32": 1e11, "bfloat16": 3e11})
    assert (first["ratio"], first["ratio_range"], first["compile_seconds"]) == (1, [1, 1], None)
    assert first["seconds_per_step"] == 3
    assert first["quartiles"] == [2.5, 3.5]
    assert first["share"] == pytest.approx(10 / 3 * 6e9 / 1e11)
    assert (second["ratio"], second["ratio_range"]) == (2, [1.5, 4])
    assert second["images_per_second"] == 10
    assert second["share"] == pytest.approx(0.2)
    assert second["compile_seconds"] == 5
    lines = rounds.table("title", [first, second]).splitlines()
    assert len(lines) == 4
    assert "1.50-4.00" in lines[3]
    assert lines[3].endswith(" 5")


def test_the_operations_are_those_of_the_convolutions():
    network = plain.PlainUNet(1, 1, 28)
    convolutions = 2 * (
        9 * 32 * 784 + 9 * 32 * 64 * 196 + 9 * 64 * 64 * 49 + 9 * 128 * 32 * 196 + 9 * 64 * 32 * 784 + 32 * 784
    )
    forward = ceilings.flops_per_image(network, (1, 28, 28), training=False)
    assert forward == pytest.approx(convolutions, rel=2e-3)
    # Every convolution but the first has two gradients.
    step = ceilings.flops_per_image(network, (1, 28, 28), training=True)
    assert step == pytest.approx(3 * forward, rel=1e-2)
    assert all(p.grad is None for p in network.parameters())


def test_a_rate_is_the_highest_that_was_seen():
    rates = {"matmul": {"float32": 2.0, "bfloat16": 5.0}, "convolution": {"float32": 1.0, "bfloat16": 1.0}}
    ceilings.raise_to(rates, {"matmul": {"float32": 3.0, "bfloat16": 4.0}, "convolution": {"float32": 9.0}})
    assert rates == {"matmul": {"float32": 3, "bfloat16": 5}, "convolution": {"float32": 9, "bfloat16": 1}}
    assert ceilings.limits(rates) == {"float32": 9, "bfloat16": 5}


def test_pictures_are_the_images_of_the_project():
    images = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8)
    pictures = plain.Pictures(images, torch.tensor([4, 5, 6]))
    image, label = pictures[1]
    torch.testing.assert_close(image, images[1].float() / 127.5 - 1)
    assert (len(pictures), label) == (3, 5)


@pytest.mark.parametrize("name", architectures.NAMES)
def test_both_networks_of_a_pair_have_the_same_parameters_and_operations(name, monkeypatch):
    pytest.importorskip("diffusers")
    for theirs, ours in architectures.sizes(name).values():
        assert ours == pytest.approx(theirs, rel=0.02)
    assert architectures.spared(name) == pytest.approx(0.087 if name == "unet" else 0, abs=1e-3)
    monkeypatch.setattr(architectures, "TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match=f"{name}: parameters of diffusers and of this project differ"):
        architectures.sizes(name)


class Enough(Exception):
    pass


@pytest.mark.parametrize("name", architectures.NAMES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("autocast", [True, False])
def test_both_networks_of_a_pair_run_in_the_same_loop(name, training, autocast):
    pytest.importorskip("diffusers")

    def stop():
        raise Enough

    for own in (True, False):
        with pytest.raises(Enough):
            architectures.run(name, own, training, autocast, False, 2, CPU, stop)


@pytest.mark.slow
def test_what_is_not_the_network_is_the_arithmetic(monkeypatch):
    monkeypatch.setattr(arithmetic, "NETWORKS", {"simple_unet": ("network.base_channels=8",)})
    monkeypatch.setattr(arithmetic, "SAMPLES", 2)
    rows = arithmetic.shares(CPU, 1, ["data=digits", "data.image_size=8"], lambda text: None)
    assert {row["sampler"] for row in rows} >= {"ancestral", "ddim", "heun"}
    for row in rows:
        assert 0 < row["share"] < 1
        assert row["arithmetic_seconds"] == pytest.approx(row["share"] * row["seconds_per_step"])
    lines = arithmetic.table(rows).splitlines()
    assert len(lines) == 2 + len(rows)


def test_the_transformer_of_text_has_the_size_of_torchs_encoder(monkeypatch):
    for theirs, ours in text.sizes().values():
        assert ours == pytest.approx(theirs, rel=0.02)
    monkeypatch.setattr(text, "TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match=r"text: parameters of torch's encoder and of this project differ"):
        text.sizes()


@pytest.mark.parametrize("autocast", [False, True])
def test_both_transformers_train_in_the_same_loop_and_learn(autocast):
    for own in (True, False):
        step = text.Step(own, autocast, False, 2, CPU)
        before = [weight.clone() for weight in step.network.parameters()]
        step()
        moved = [not torch.equal(a, b) for a, b in zip(before, step.network.parameters(), strict=True)]
        assert sum(moved) > len(moved) / 2 or own  # ours starts with a last layer of zeros
        assert any(moved)


def test_a_network_of_text_is_asked_no_more_often_than_there_are_states():
    for steps in (3, 200):
        calls, states = text.calls_in_sampling(steps)
        assert 1 < calls <= states <= min(steps, 33)


def test_the_shares_of_a_step_add_up():
    found = text.shares(False, 2, CPU, steps=1)
    assert sum(found.values()) == pytest.approx(1)
    assert found["matrix products"] > found["cross-entropy"] > 0
    assert all(0 < share < 1 for share in text.ends(2, CPU, rounds=1).values())
    assert 0 < text.draws_in_sampling(2, CPU, num_steps=2, rounds=1) < 1


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", ["training", "sampling", "exactness"])
def test_the_script_prints_a_table_and_saves_every_row(what, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DIFFUSION_LAB_DATA_DIR", str(tmp_path))
    out = tmp_path / "new" / "benchmark.json"
    options = [what, "--batch-sizes", "4", "8", "--rounds", "2", "--seconds", "0.001", "--threads", "1", "--no-compile"]
    runpy.run_path(str(SCRIPTS / "benchmark.py"))["main"]([*options, "--device", "cpu", "--out", str(out)])
    printed, progress = capsys.readouterr()
    assert progress == ""
    saved = json.loads(out.read_text())
    assert "digits" in saved["data"]
    assert saved["machine"]["threads"] == 1
    assert all(rate > 0 for rates in saved["ceilings"].values() for rate in rates.values())
    one = {(row["name"][:3], row["precision"]) for row in saved["rows"]}
    both = {"float32", "bfloat16"}
    if what == "training":
        assert one >= {(name, precision) for name in ("(a)", "(b)") for precision in both}
    elif what == "sampling":
        assert one >= {("(a)", "float32"), ("(b)", "float32"), ("(b)", "bfloat16")}
    else:
        assert one == {("(a)", "float32"), ("(b)", "float32")}
    if what != "exactness" and library.INSTALLED:
        assert ("(c)", "float32") in one
    assert {row["batch_size"] for row in saved["rows"]} == {4, 8}
    for row in saved["rows"]:
        assert row["what"] == what
        assert len(row["rounds"]) == 2
        assert f"{row['images_per_second']:,.0f}" in printed
    assert str(out) in printed


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_script_prints_a_table_for_each_pair_of_networks(tmp_path, capsys, monkeypatch):
    pytest.importorskip("diffusers")
    monkeypatch.setenv("DIFFUSION_LAB_DATA_DIR", str(tmp_path))
    out = tmp_path / "benchmark.json"
    options = ["networks", "--batch-sizes", "2", "--rounds", "2", "--seconds", "0.001", "--threads", "1"]
    runpy.run_path(str(SCRIPTS / "benchmark.py"))["main"](
        [*options, "--no-compile", "--device", "cpu", "--out", str(out)]
    )
    printed = capsys.readouterr().out
    rows = json.loads(out.read_text())["rows"]
    kinds = {(row["network"], row["training"], row["precision"], row["name"]) for row in rows}
    assert len(rows) == len(kinds) == 2 * 2 * 2 * 2
    assert {row["name"] for row in rows} == {"(a) diffusers", "(b) Diffusion Lab"}
    assert printed.count("dit, training") == 2


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_script_prints_the_shares_and_the_tables_of_text(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DIFFUSION_LAB_DATA_DIR", str(tmp_path))
    out = tmp_path / "benchmark.json"
    options = ["text", "--batch-sizes", "2", "--rounds", "2", "--seconds", "0.001", "--threads", "1", "--no-compile"]
    runpy.run_path(str(SCRIPTS / "benchmark.py"))["main"]([*options, "--device", "cpu", "--out", str(out)])
    printed = capsys.readouterr().out
    kinds = {(row["what"], row["precision"], row["name"]) for row in json.loads(out.read_text())["rows"]}
    contenders = ("(a) torch's encoder", "(b) Diffusion Lab")
    training = {("text", precision, name) for precision in ("float32", "bfloat16") for name in contenders}
    recording = {
        ("recording", "float32", f"({a}) {b}") for a, b in (("a", "without callbacks and loggers"), ("b", "with them"))
    }
    assert kinds == training | recording
    for said in ("a draw of 1000 steps: ", "a step in bfloat16: ", "of a step in float32: ", "of an ancestral draw: "):
        assert printed.count(said) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["everything"], "everything"),
        (["networks", "--networks", "mlp"], "mlp"),
        (["--batch-sizes", "0"], "--batch-sizes"),
        (["--rounds", "0"], "--rounds"),
        (["--seconds", "nan"], "--seconds"),
        (["--threads", "0"], "--threads"),
        (["--device", "abacus"], "abacus"),
        (["--out", "table.txt"], ".json"),
        (["--out", f"{__file__}/x.json"], "test_benchmark.py"),
    ],
)
def test_bad_input_ends_in_one_line_and_status_2(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(SCRIPTS / "benchmark.py"))["main"](arguments)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
