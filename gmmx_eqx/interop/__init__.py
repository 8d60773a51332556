"""The doors to other packages: the only place that imports optional ones."""

from .points import log_density as log_density
