import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from diffusion_lab.figures.recipe_figures import rows_figure


def test_rows_of_grey_pixels_stay_as_grey_as_they_are(tmp_path):
    levels = np.tile(np.arange(20, 60, dtype=np.uint8), (4, 1))
    colours = np.stack([levels] * 3, axis=2)
    for name, pixels in (("grey", levels), ("rgb", colours)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    figure = rows_figure({name: tmp_path / f"{name}.png" for name in ("grey", "rgb")})
    shown = [axes.images[0].make_image(None, unsampled=True)[0][..., :3].astype(int) for axes in figure.axes]
    for pixels in shown:
        np.testing.assert_allclose(pixels, colours.astype(int), atol=1)


def test_no_name_is_cut_off(tmp_path):
    Image.fromarray(np.zeros((28, 560), np.uint8)).save(tmp_path / "row.png")
    figure = rows_figure(
        {"guided_fashion_mnist": tmp_path / "row.png"} | {f"{n}": tmp_path / "row.png" for n in range(9)}
    )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert min(axes.yaxis.label.get_window_extent(canvas.get_renderer()).x0 for axes in figure.axes) >= 0
