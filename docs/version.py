"""The version beside the name of the site. A hook of MkDocs."""

import pathlib
import re
from typing import Any


def on_config(config: Any) -> Any:
    package = pathlib.Path(config.config_file_path).parent / "gmmx_eqx"
    text = (package / "__init__.py").read_text("utf-8")
    (version,) = re.findall(r'^__version__ = "(.*)"$', text, re.MULTILINE)
    config.site_name = f"{config.site_name} {version}"
    return config
