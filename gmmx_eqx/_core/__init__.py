"""Axes, array types, numerical guards: no knowledge of mixtures."""
