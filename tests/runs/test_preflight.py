"""Parts that do not fit each other are found before anything is written."""

import pytest
import torch

from diffusion_lab.config.build import build
from diffusion_lab.errors import LabError
from diffusion_lab.runs.preflight import check_parts_fit
from diffusion_lab.runs.validate import validated


@pytest.fixture
def parts(tiny):
    return build(tiny("network.dropout=0.5"))


def test_parts_that_fit_are_left_as_they_are(parts):
    parts.network.encoder[0].eval()  # a mode that is not its parent's
    modes = [part.training for part in parts.module.modules()]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    check_parts_fit(parts)
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in parts.module.modules()] == modes
    assert parts.module.denoiser.evaluations == 0


def test_a_network_with_another_number_of_outputs_is_refused_with_both_shapes(parts):
    parts.network.out = torch.nn.Conv2d(8, 2, 1)
    with pytest.raises(LabError, match=r"raw output has the shape \[1, 2, 8, 8\] and the target .* \[1, 1, 8, 8\]"):
        check_parts_fit(parts)


def test_a_network_that_cannot_take_the_data_is_refused_in_one_line(parts, monkeypatch):
    monkeypatch.setattr(parts.data, "example", lambda: torch.zeros(1, 3, 8, 8))
    with pytest.raises(LabError, match=r"the parts do not go together: .*RuntimeError") as caught:
        check_parts_fit(parts)
    assert "\n" not in str(caught.value)


def test_a_codec_that_says_another_shape_is_refused(parts):
    parts.pipeline.shape = (1, 4, 4)
    with pytest.raises(LabError, match=r"into codes of \[1, 8, 8\], and says that they are \[1, 4, 4\]"):
        check_parts_fit(parts)


def test_a_codec_that_decodes_to_another_shape_is_refused(parts, monkeypatch):
    monkeypatch.setattr(parts.pipeline.codec, "decode", lambda z: z[..., :4])
    with pytest.raises(LabError, match=r"codec: it decodes to \[1, 8, 4\], and the data is \[1, 8, 8\]"):
        check_parts_fit(parts)


def test_a_codec_that_cannot_show_the_data_is_refused_before_a_draw_needs_it(parts, monkeypatch):
    def show(sheet):
        raise ValueError("not enough values to unpack")

    monkeypatch.setattr(parts.pipeline.codec, "show", show)
    with pytest.raises(LabError, match=r"the parts do not go together: .*not enough values"):
        check_parts_fit(parts)


def test_a_term_that_is_no_number_for_each_sample_is_refused(parts, monkeypatch):
    objective = type(parts.module.objective)
    plain = objective.__call__
    monkeypatch.setattr(objective, "__call__", lambda *args: plain(*args) | {"vlb": torch.zeros(())})
    with pytest.raises(LabError, match="the term vlb must have one number for each sample"):
        check_parts_fit(parts)


@pytest.mark.parametrize(
    ("option", "named", "other"),
    [("ema=default", "ema", "ema=none"), ("optimizer=muon", "optimizer=muon", "optimizer=adamw")],
)
def test_what_needs_whole_weights_does_not_go_with_fsdp(tiny, monkeypatch, option, named, other):
    monkeypatch.setattr("diffusion_lab.runs.validate.check_hardware", lambda trainer: None)  # FSDP asks for GPUs
    said = rf"^{named} does not go with trainer.strategy=fsdp, .*: take trainer=ddp, or {other}$"
    with pytest.raises(LabError, match=said):
        validated(tiny(option, "trainer.strategy=fsdp"))
