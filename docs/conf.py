"""How Sphinx builds the site: `make docs`. What the pages cannot hold themselves is written to docs/generated/ first."""

import os
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import vaekit  # noqa: E402

project = "vaekit"
author = "The vaekit authors"
copyright = "the vaekit authors"
release = version = vaekit.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "docstrings",  # docstrings.py beside this file: docstrings are plain text with `code`
    "pages",  # pages.py beside this file: what is made from the program and from benchmarks/results
]
exclude_patterns = ["_build", "gallery/*.rst", "sg_execution_times.rst", "gallery/*.py", "images/*.py"]

# -- Markdown ----------------------------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

# -- Python ------------------------------------------------------------------------------------------------------------

autodoc_typehints = "none"  # signatures and docstrings say it
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# Links to other projects need their inventories from the network. Without them the build works offline.
intersphinx_mapping = (
    {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
    }
    if os.environ.get("DOCS_ONLINE")
    else {}
)

# -- gallery -----------------------------------------------------------------------------------------------------------

warnings.filterwarnings("ignore", message="Matplotlib is currently using agg")
# A note of a script is shown without the place of the file that it comes from.
warnings.formatwarning = lambda message, category, *rest: f"{category.__name__}: {message}\n"
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": "plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "min_reported_time": 1,
    "abort_on_example_error": True,
    "plot_gallery": "True",
}

# -- the site ----------------------------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "vaekit"
html_static_path = ["static"]
html_css_files = ["vaekit.css"]
html_show_sourcelink = False
html_favicon = "images/favicon.svg"
html_theme_options = {
    "logo": {"text": "vaekit", "image_light": "images/logo.svg", "image_dark": "images/logo-dark.svg"},
    "github_url": "https://github.com/vaekit/vaekit",
    "show_toc_level": 2,
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "install": [], "limits": []}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
suppress_warnings = ["config.cache"]
