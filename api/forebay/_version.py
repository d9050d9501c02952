"""The version of the package, apart from its top so that every room can import it."""

__version__ = "0.1.0"
