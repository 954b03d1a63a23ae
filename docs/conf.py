"""How Sphinx builds the documentation: `make docs`. Neither the build nor its pages need a network."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "Diffusion Lab"
author = "The Diffusion Lab authors"
copyright = author
release = metadata.version("diffusion-lab")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_copybutton",
    "api_reference",
    "config_reference",
    "built_math",
]
exclude_patterns = ["_build", "reference/notes", "**.ipynb_checkpoints"]

# Pages are Markdown, as it is read on GitHub, too.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_update_mathjax = False

# Notebooks are shown with the results that they have been stored with.
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}

# Docstrings are in Google's style, with code in single backticks.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
autodoc_inherit_docstrings = False
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"Diffusion Lab {release}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_search_summary = False  # a page that is read from a file cannot read others
html_math_renderer = "built_math"
copybutton_prompt_text = "$ "
