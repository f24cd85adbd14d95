"""The version of the library, kept apart so that every module can read it."""

__all__ = ["__version__"]

__version__ = "0.8.0.dev0"
