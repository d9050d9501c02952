"""Checks of a cache: its configuration and servers (`doctor`), its files against their sources (`audit`)."""
