import pytest

from diffusion_lab.catalogue.metric_names import lower_is_better, unknown_metric_message


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("val/loss", True), ("val/loss_best", True), ("train/loss_by_t/0.00-0.25", True), ("val/loss_ema", True),
        ("fid", True), ("evaluation.kid", True), ("bits_per_dim", True), ("wall_time_s", True), ("parameters", True),
        ("recognition.samples", False), ("recognition.classes", False), ("speed/images_per_s", False),
        ("speed/sequences_per_s", False), ("tokens_per_s_mean", False),
        ("recognition.shuffled", True), ("memory/peak_MiB", True),
        ("quality.kid.mean", True), ("quality.density.mean", False), ("quality.inception_score.mean", False),
        ("quality.missing_classes.mean", True), ("quality.class_total_variation.mean", True),
        ("memorization.nearer", True), ("text_quality.ngram_nll_per_token", True), ("text_quality.overlap_8", True),
        ("text_quality.longest_copy", True), ("text_quality.distinct_2", False),
        ("bound.nats_per_character", True), ("masked_count.nats_per_token_error", True), ("bound.bits_per_token", True),
    ],
)  # fmt: skip
def test_whether_lower_is_better(metric, lower):
    assert lower_is_better(metric) is lower
    assert lower_is_better(metric, "higher") is False
    assert lower_is_better(metric, "lower") is True


def test_the_message_for_an_unknown_metric_suggests_what_is_compared():
    known = ["val/loss", "optimizer/lr", "step", "quality.fid"]
    there = "no run has it; there are val/loss, quality.fid"
    assert unknown_metric_message("xyz", known) == f"metric=xyz: {there}"
    near = "no run has it; did you mean val/loss? there are val/loss, quality.fid"
    assert unknown_metric_message("val/lss", known) == f"metric=val/lss: {near}"
    assert "did you mean optimizer/lr?" in unknown_metric_message("optimizer/l", known)
