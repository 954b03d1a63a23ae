import pytest
import torch
from PIL import Image

from diffusion_lab import figures
from diffusion_lab.figures.image_grid import to_uint8
from diffusion_lab.schedules import LinearSchedule


def images(count, channels=1, size=4):
    return torch.linspace(-1, 1, count * channels * size * size).reshape(count, channels, size, size)


def pixels(axes):
    return torch.as_tensor(axes.images[0].get_array())


def cells(figure, size=4):
    """The images of a sheet by row and column, and what is left of it."""
    (axes,) = figure.axes
    sheet = pixels(axes).clone()
    rows, columns = ((side + 1) // (size + 1) for side in sheet.shape[:2])  # a gap of one pixel
    found = {}
    for row in range(rows):
        for column in range(columns):
            cell = (
                slice(row * (size + 1), row * (size + 1) + size),
                slice(column * (size + 1), column * (size + 1) + size),
            )
            found[row, column] = sheet[cell].clone()
            sheet[cell] = 255
    assert (sheet == 255).all()
    return found


def labels_of(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_to_uint8_inverts_the_normalization_of_every_pixel_value():
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(to_uint8(every.float() / 127.5 - 1), every.permute(0, 2, 3, 1))


def test_to_uint8_clips_and_rounds():
    values = torch.tensor([-7.0, -1.0, -0.999, 0.002, 1.0, 42.0, torch.inf, -torch.inf]).reshape(1, 1, 1, 8)
    assert to_uint8(values).flatten().tolist() == [0, 0, 0, 128, 255, 255, 255, 0]


def test_to_uint8_puts_the_channels_last():
    x = images(2, channels=3)
    result = to_uint8(x)
    assert result.shape == (2, 4, 4, 3)
    assert result.dtype == torch.uint8
    assert torch.equal(result[..., 1], to_uint8(x[:, 1:2])[..., 0])


@pytest.mark.parametrize(("count", "columns", "shape"), [(1, 8, 1), (5, 8, 5), (8, 8, 8), (10, 8, 16), (10, 4, 12)])
def test_a_grid_shows_every_image_in_order_under_its_title(count, columns, shape):
    figure = figures.draw_image_grid(figures.grid_sheet(images(count), "Samples", columns=columns))
    assert figure.get_suptitle() == "Samples"
    found = list(cells(figure).values())
    assert len(found) == shape
    expected = to_uint8(images(count))[..., 0]
    assert all(torch.equal(one, image) for one, image in zip(found, expected, strict=False))
    assert all((cell == 255).all() for cell in found[count:])


def test_colour_images_are_shown_in_colour_and_grey_ones_on_a_fixed_scale():
    colour = figures.draw_image_grid(figures.grid_sheet(images(2, channels=3), "x"))
    assert pixels(colour.axes[0]).shape == (4, 9, 3)
    grey = figures.draw_image_grid(figures.grid_sheet(torch.zeros(2, 1, 4, 4), "x"))
    assert grey.axes[0].images[0].get_clim() == (0, 255)


def test_a_strip_has_a_labelled_column_per_state_and_a_row_per_image():
    states = [images(2), images(2) / 2, images(2) * 0]
    figure = figures.draw_image_grid(figures.strip_sheet(states, ["a", "b", "c"], "Denoising"))
    assert figure.get_suptitle() == "Denoising"
    assert labels_of(figure.axes[0].xaxis) == ["a", "b", "c"]
    found = cells(figure)
    assert len(found) == 6
    for row in range(2):
        for column, state in enumerate(states):
            assert torch.equal(found[row, column], to_uint8(state)[row, ..., 0])


def test_a_strip_with_too_few_labels_is_refused():
    with pytest.raises(ValueError, match="2 states need as many labels, got 1"):
        figures.strip_sheet([images(1), images(1)], ["a"], "x")


def test_the_forward_strip_names_its_step_indices():
    sheet = figures.forward_sheet([images(1)] * 3, [1 / 1000, 251 / 1000, 1.0], 1000, "image")
    assert list(sheet.columns) == ["t = 0", "t = 250", "t = 999"]
    assert sheet.title == "Forward process: real images, ever more destroyed"
    assert list(figures.forward_sheet([images(1)], [0.25], None, "image").columns) == ["t = 0.25"]


@pytest.mark.parametrize(
    ("count", "steps", "labels"),
    [
        (11, 1000, ["start", *(f"t = {t}" for t in range(900, -1, -100))]),
        (51, 50, ["start", *(f"t = {t}" for t in range(45, -1, -5))]),
        (24, None, ["start", *(f"t = {1 - k / 23:.2f}" for k in (2, 5, 7, 9, 12, 14, 16, 18, 21)), "t = 0.00"]),
        (20, 19, ["start", *(f"t = {t}" for t in (17, 15, 13, 11, 9, 8, 6, 4, 2, 0))]),
        (3, 2, ["start", "t = 1", "t = 0"]),
    ],
)
def test_the_denoising_strip_goes_from_the_first_state_to_the_last(count, steps, labels):
    states = [images(6) * k / count for k in range(count)]
    figure = figures.draw_image_grid(
        figures.denoising_sheet(states, [1 - k / (count - 1) for k in range(count)], steps)
    )
    assert labels_of(figure.axes[0].xaxis) == labels
    found = cells(figure)
    assert len(found) == 4 * len(labels)
    for row in range(4):
        for column, state in ((0, states[0]), (len(labels) - 1, states[-1])):
            assert torch.equal(found[row, column], to_uint8(state)[row, ..., 0])


def test_real_images_are_shown_above_generated_ones():
    real, generated = images(3), -images(3)
    figure = figures.draw_image_grid(figures.real_and_generated_sheet(real, generated, "image"))
    assert figure.get_suptitle() == "Real images above generated ones"
    assert labels_of(figure.axes[0].yaxis) == ["real", "generated"]
    expected = to_uint8(torch.cat([real, generated]))[..., 0]
    assert all(torch.equal(one, image) for one, image in zip(cells(figure).values(), expected, strict=True))


def test_the_loss_curve_shows_each_loss_where_it_was_measured():
    epochs = [{"epoch": 0, "train/loss": 1.0}, {"epoch": 1, "train/loss": 0.5, "val/loss": 0.75}]
    figure = figures.loss_curve(epochs, "nats")
    (axes,) = figure.axes
    assert (axes.get_title(), axes.get_xlabel()) == ("Loss per epoch", "epoch")
    assert (axes.get_ylabel(), axes.get_yscale()) == ("nats", "linear")
    curves = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
    assert curves == {"training": ([0, 1], [1.0, 0.5]), "validation, fixed noise": ([1], [0.75])}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(curves)


@pytest.mark.parametrize(
    ("losses", "scale"), [((2.5, 0.49), "log"), ((2.5, 0.5), "linear"), ((0.5, -1.0), "linear"), ((1.0, 0.0), "linear")]
)
def test_losses_of_which_one_is_more_than_five_times_another_have_a_logarithmic_scale(losses, scale):
    first, last = losses
    figure = figures.loss_curve([{"epoch": 0, "train/loss": first, "val/loss": last}], "nats")
    assert figure.axes[0].get_yscale() == scale


def test_curves_stand_side_by_side_with_their_labels():
    figure = figures.curves_figure(LinearSchedule(50).curves(), "Schedule: linear, T = 50")
    assert figure.get_suptitle() == "Schedule: linear, T = 50"
    left, right = figure.axes
    assert (left.get_ylabel(), right.get_ylabel()) == (r"$\beta_t$", r"$\bar\alpha_t$")
    assert all(axes.get_title() and axes.get_xlabel() == "step index t" for axes in (left, right))
    assert left.lines[0].get_ydata().tolist() == LinearSchedule(50).betas.tolist()


def test_the_comparison_has_a_named_curve_per_schedule():
    times = torch.tensor([0.0, 1.0])
    signals = {"a": torch.tensor([1.0, 0.5]), "b": torch.tensor([1.0, 0.25])}
    (axes,) = figures.signal_comparison(signals, times, "label").axes
    assert [(line.get_label(), line.get_ydata().tolist()) for line in axes.lines] == [("a", [1, 0.5]), ("b", [1, 0.25])]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("label", "time t")


def test_with_labels_each_class_is_a_row_with_its_name():
    sheet = figures.grid_sheet(images(5), "x", torch.tensor([3, 0, 3, 0, 3]))
    assert list(sheet.names) == ["0", "3"]
    assert torch.equal(sheet.rows[0], images(5)[[1, 3]])
    assert torch.equal(sheet.rows[1], images(5)[[0, 2, 4]])
    assert labels_of(figures.draw_image_grid(sheet).axes[0].yaxis) == ["0", "3"]


class Logger:
    def __init__(self):
        self.experiment = self
        self.added = []

    def add_image(self, tag, drawn, step, dataformats):
        assert dataformats == "HWC"
        self.added.append((tag, drawn.shape, step))

    def add_text(self, tag, text, step):
        self.added.append((tag, text, step))


class Silent:
    experiment = None


@pytest.mark.parametrize(("tag", "expected"), [(None, "grid"), ("samples/grid", "samples/grid")])
def test_a_recorded_figure_is_a_file_and_an_entry_of_each_logger_that_takes_figures(tmp_path, tag, expected):
    figure, logger = figures.draw_image_grid(figures.grid_sheet(images(2), "x")), Logger()
    path = figures.save_figure(figure, tmp_path / "new" / "folder", "grid", [Silent(), logger], 7, tag)
    assert path == tmp_path / "new" / "folder" / "grid.png"
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert logger.added == [(expected, (image.height, image.width, 3), 7)]


def test_a_text_is_a_file_and_a_text_of_the_loggers_that_show_some(tmp_path):
    logger = Logger()
    path = figures.save_figure("two\nlines", tmp_path, "samples", [Silent(), logger], 7)
    assert path == tmp_path / "samples.txt"
    assert path.read_text(encoding="utf-8") == "two\nlines\n"
    assert logger.added == [("samples", "```\ntwo\nlines\n```", 7)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("count", "columns", "cells"), [(3, 2, (2, 2)), (2, 8, (2, 1)), (1, 8, (1, 1))])
def test_the_animation_has_a_frame_per_state_and_stays_at_the_last(tmp_path, count, columns, cells, channels):
    states = [images(count, channels) * scale for scale in (-1.0, -0.5, 0.5, 1.0)]
    path = figures.animation(states, tmp_path / "new" / "x.gif", columns=columns, scale=3, seconds=2.0)
    durations = []
    with Image.open(path) as image:
        assert image.format == "GIF"
        assert image.n_frames == 4
        assert image.size == (cells[0] * 12, cells[1] * 12)
        assert image.info["loop"] == 0
        for frame in range(image.n_frames):
            image.seek(frame)
            durations.append(image.info["duration"])
    assert durations == [500, 500, 500, 1500]


def test_states_that_repeat_keep_their_frames_or_their_time(tmp_path):
    """GIF writers merge equal frames; the time that they are shown must remain."""
    path = figures.animation([images(1)] * 3 + [-images(1)], tmp_path / "x.gif", seconds=2.0)
    total = 0
    with Image.open(path) as image:
        for frame in range(image.n_frames):
            image.seek(frame)
            total += image.info["duration"]
    assert total == 3 * 500 + 1500


def test_the_pixels_of_a_frame_are_those_of_its_images(tmp_path):
    path = figures.animation([images(2), -images(2)], tmp_path / "x.gif", scale=1)
    left, right = to_uint8(images(2))[..., 0]
    with Image.open(path) as image:
        found = torch.tensor(list(image.convert("L").tobytes())).reshape(4, 8)
    assert torch.equal(found, torch.cat([left, right], dim=1).long())


def test_nearest_training_images_stand_under_the_samples_the_nearest_pair_first():
    samples, nearest = images(4), -images(4)
    sheet = figures.nearest_training_sheet(samples, nearest, torch.tensor([3.0, 0.5, 2.0, 1.25]), "image", columns=3)
    assert torch.equal(sheet.rows[0], samples[[1, 3, 2]])
    assert torch.equal(sheet.rows[1], nearest[[1, 3, 2]])
    assert list(sheet.columns) == ["0.5", "1.25", "2"]
    assert list(sheet.names) == ["generated", "training"]
    assert sheet.title.endswith("(3 nearest pairs of 4)")


def test_samples_by_typicality_go_from_the_top_left_and_include_the_first_and_the_last():
    order = torch.randperm(101, generator=torch.Generator().manual_seed(0))
    sheet = figures.typicality_sheet(images(101), order, "image", rows=3, columns=2)
    assert torch.equal(torch.cat(list(sheet.rows)), images(101)[order[[0, 20, 40, 60, 80, 100]]])
    assert list(sheet.names) == ["most typical", "", "least typical"]
    assert sheet.title == "Generated images from most to least typical: 6 of 101, evenly spaced"


@pytest.mark.parametrize("count", [1, 5, 6])
def test_a_few_samples_by_typicality_are_all_shown(count):
    order = torch.arange(count).flip(0)
    sheet = figures.typicality_sheet(images(count), order, "image", rows=3, columns=5)
    assert torch.equal(torch.cat(list(sheet.rows)), images(count)[order])
    assert sheet.title == "Generated images from most to least typical"
    figures.draw_image_grid(sheet)


def test_columns_that_belong_together_stand_together():
    rows = [torch.ones(4, 1, 8, 8)]
    drawn = [
        figures.draw_image_grid(figures.Sheet("x", rows, group=group)).axes[0].images[0].get_array() for group in (0, 2)
    ]
    plain, grouped = ((array == 255).all(0) for array in drawn)
    whites = -torch.ones(4, 1, 8, 8)
    drawn = figures.draw_image_grid(figures.Sheet("x", [whites], group=2)).axes[0].images[0].get_array()
    gaps = [len(run) for run in "".join("g" if column else " " for column in (drawn == 255).all(0)).split()]
    assert gaps == [1, 4, 1]
    assert len(grouped) == len(plain) + 3


@pytest.mark.parametrize("columns", [1, 3, 20])
def test_a_title_fits_into_the_figure(columns):
    title = "Real images to noise and back again, with an error of 0.0012, and a few more words"
    figure = figures.draw_image_grid(figures.Sheet(title, [images(columns)]))
    figure.canvas.draw()
    box = figure._suptitle.get_window_extent()
    assert " ".join(figure.get_suptitle().split()) == title
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
