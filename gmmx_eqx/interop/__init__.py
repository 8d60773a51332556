"""The doors to other packages: the only place that imports optional ones."""
