"""The settings that keep FiftyOne off the database and files of the user who runs the tests."""

from __future__ import annotations

from pathlib import Path


def environment(home: Path, database_uri: str) -> dict[str, str]:
    """The variables for FiftyOne, whose files are below ``home``; the adapter is not on by them."""
    settings = home / ".fiftyone"
    return {
        "HOME": str(home),
        "FIFTYONE_CONFIG_PATH": str(settings / "config.json"),
        "FIFTYONE_APP_CONFIG_PATH": str(settings / "app_config.json"),
        "FIFTYONE_ANNOTATION_CONFIG_PATH": str(settings / "annotation_config.json"),
        "FIFTYONE_EVALUATION_CONFIG_PATH": str(settings / "evaluation_config.json"),
        "FIFTYONE_BRAIN_CONFIG_PATH": str(settings / "brain_config.json"),
        "FIFTYONE_DEFAULT_DATASET_DIR": str(home / "fiftyone"),
        "FIFTYONE_DATABASE_URI": database_uri,
        "FIFTYONE_DATABASE_NAME": "forebay-tests",
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
        "MPLBACKEND": "agg",
    }
