"""Mixtures and fits in safetensors files. The package is imported when it is needed."""

from .saving import load as load, save as save
