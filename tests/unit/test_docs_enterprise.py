"""The page for those who come from FiftyOne's paid edition: each name of its page, and what it is here.

``python -m tests.unit.test_docs_enterprise`` writes the table anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from forebay.config import MediaCacheConfig

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "from-fiftyone-enterprise.md"
_BEGIN = "<!-- names: written by tests/unit/test_docs_enterprise.py -->\n"
_END = "<!-- end of names -->"
KINDS = ("same", "wider", "other", "not here")


@dataclass(frozen=True)
class Row:
    """One name of the paid edition's page.

    Attributes:
        name: as the page shows it, in Markdown.
        kind: one of `KINDS`.
        note: how it is wider or other, or why it is not here.
        test: what shows it; a file below ``tests``, and a test in it.
    """

    name: str
    kind: str
    test: str = ""
    note: str = ""


_MEDIA, _STORAGE = "fiftyone/test_cloud_media.py", "fiftyone/storage"
_AZURE, _S3 = "unit/test_sources_azure.py", "unit/test_sources_aws.py"
_SETTINGS = f"{_MEDIA}::test_settings_come_from_a_file"

ROWS = (
    # Samples and collections
    Row("`sample.local_path`", "same", f"{_MEDIA}::test_local_path_is_where_the_pixels_are"),
    Row("`frame.local_path`", "same", f"{_MEDIA}::test_local_path_of_frames"),
    Row("`download_media(media_fields, group_slices, update, skip_failures, progress)`", "wider",
        "integration/test_update_checksums.py::test_equal_bytes_under_a_new_etag_are_not_downloaded",
        "through a fleet, too; `update=True` compares etags first, then checksums"),
    Row("`download_context(batch_size, target_size_bytes, …, clear)`", "same",
        f"{_MEDIA}::test_download_context_has_each_batch_at_hand"),
    Row("`download_scenes()`", "same",
        f"{_MEDIA}::test_methods_have_the_signatures_of_fiftyones_paid_edition"),
    Row("`get_local_paths()`", "same", f"{_MEDIA}::test_get_local_paths_stands_in_for_values_filepath"),
    Row("`cache_stats()`", "same", f"{_MEDIA}::test_cache_stats_tell_what_of_a_collection_is_cached"),
    Row("`clear_media()`", "same", f"{_MEDIA}::test_clear_media_removes_cached_copies_only"),
    Row("`media_cache.stats()`, `media_cache.clear()`", "same", f"{_MEDIA}::test_the_whole_cache"),
    Row("`media_cache.get_local_path()`", "same", f"{_MEDIA}::test_the_whole_cache"),
    # The App and annotation
    Row("images in the App, cached where `cache_app_images` says so", "same",
        "fiftyone/app/test_route.py::test_looking_at_an_image_caches_it_where_the_settings_say_so"),
    Row("videos in the App, never cached by looking", "same",
        "fiftyone/app/test_route.py::test_looking_at_a_video_never_caches_it"),
    Row("`FIFTYONE_SIGNED_URL_EXPIRATION`", "same", f"{_STORAGE}/test_publishing.py::test_it_expires",
        "hours of signed URLs; the App signs only with `app_signed_urls`"),
    Row('`annotate(cloud_manifest="s3://…", or True)`', "wider",
        "fiftyone/cvat/test_annotate.py::test_labels_there_and_back",
        "S3, GCS, MinIO and Azure; `forebay cvat manifest` writes the manifest"),
    Row("MCAP files in the App", "same",
        "fiftyone/app/test_recordings.py::test_an_mcap_file_is_shown_by_the_ranges_that_the_browser_asks_for",
        "streamed by the ranges that the browser asks for"),
    Row("LeRobot datasets", "same", "fiftyone/test_recordings.py::test_from_a_bucket",
        "from buckets, in the SDK and in the App; not from `http(s)` URLs"),
    # Storage
    Row("`fos.copy_file()`, `move_file()`, `delete_file()`, and those of many files and folders", "same",
        f"{_STORAGE}/test_moving.py::test_from_anywhere_to_anywhere"),
    Row("`fos.open_file()`, `read_file()`, `write_file()`, `read_json()`, …", "same",
        f"{_STORAGE}/test_contents.py::test_through_the_cache"),
    Row("`fos.list_files()`, `list_subdirs()`, `get_glob_matches()`", "same",
        f"{_STORAGE}/test_paths.py::test_listing"),
    Row("`fos.list_buckets()`, `list_available_file_systems()`, `FileSystem`", "same",
        f"{_STORAGE}/test_paths.py::test_buckets"),
    Row("`fos.get_url()`", "same", f"{_STORAGE}/test_publishing.py::test_anyone_can_read"),
    Row("`fos.upload_media(…, cache=True)`", "same",
        f"{_STORAGE}/test_publishing.py::test_gives_the_remote_paths_in_order"),
    Row("`annotate(cloud_storage_id=…)`", "same",
        "fiftyone/cvat/test_annotate.py::test_labels_there_and_back"),
    Row('`fos.upload_media(…, cache="move")`', "same",
        f"{_STORAGE}/test_publishing.py::test_can_move_the_files_into_the_cache",
        "a file that the cache has no room for stays where it is"),
    # Settings
    Row("`cache_dir`, `cache_size_bytes`, `num_workers`, `cache_app_images`", "same", _SETTINGS),
    Row("`FIFTYONE_MEDIA_CACHE_SIZE_BYTES=-1`", "same",
        "integration/test_short_lived.py::test_nothing_runs_when_it_has_ended",
        "no limit; and no process is left behind"),
    Row("`download_size_bytes`", "same",
        f"{_MEDIA}::test_download_context_makes_batches_of_download_size_bytes"),
    Row("`FIFTYONE_MEDIA_CACHE_CONFIG_PATH`", "same", f"{_MEDIA}::test_the_file_may_lie_elsewhere"),
    Row("`extra_client_kwargs`", "wider",
        f"{_S3}::test_words_of_the_configuration_may_stand_beside_those_of_the_client",
        "an unknown word is an error that names those that are near"),
    # Credentials
    Row("`AWS_ACCESS_KEY_ID`, `AWS_CONFIG_FILE`, `AWS_PROFILE`, `aws_config_file`, `aws_profile`", "same",
        "integration/test_wrong_credentials.py::test_each", "whatever boto3 finds"),
    Row("`GOOGLE_APPLICATION_CREDENTIALS`, `google_application_credentials`", "same",
        "integration/test_wrong_credentials.py::test_each"),
    Row("`AZURE_STORAGE_CONNECTION_STRING`", "same", f"{_AZURE}::test_a_connection_string"),
    Row("`AZURE_STORAGE_ACCOUNT`, `AZURE_STORAGE_KEY`", "same", f"{_AZURE}::test_a_key"),
    Row("`AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET`, `AZURE_TENANT_ID`", "same",
        f"{_AZURE}::test_an_application"),
    Row("`AZURE_CREDENTIALS_FILE`, `AZURE_PROFILE`, `azure_credentials_file`, `azure_profile`", "same",
        f"{_AZURE}::test_its_sections"),
    Row("`DefaultAzureCredential`", "same",
        "integration/test_azure.py::test_reads_lists_and_writes_with_one_token"),
    Row("`MINIO_ACCESS_KEY`, `MINIO_SECRET_ACCESS_KEY`, `MINIO_ENDPOINT_URL`, `MINIO_REGION`", "same",
        f"{_S3}::test_is_configured_by_variables"),
    Row("`MINIO_CONFIG_FILE`, `MINIO_PROFILE`, `minio_config_file`, `minio_profile`", "same",
        f"{_S3}::test_is_configured_by_a_section_of_a_file"),
    Row("`MINIO_ALIAS`, `AZURE_ALIAS`, `alias`", "same", "unit/test_aliases.py::test_of_azure"),
    Row("`https://account.blob.core.windows.net/container/blob`", "same",
        "integration/test_azure.py::test_of_one_blob"),
    Row("`${endpoint_url}/bucket/key`", "same", "unit/test_server_urls.py::"),
    Row("credentials of a bucket, in the pages of the deployment", "other",
        "integration/test_credentials.py::test_in_one_job", "the setting `credentials`"),
    Row("`AZURE_STORAGE_SAS_TOKEN`, `sas_token`", "same", f"{_AZURE}::test_a_sas"),
    Row("`AZURE_STORAGE_ACCOUNT_URL`, `account_url`", "same",
        f"{_AZURE}::test_the_account_is_found_in_its_url"),
    Row("V7 Darwin's `external_storage`, Labelbox's `upload_media=False`", "not here",
        note="FiftyOne 1.22 has neither"),
    Row("`%%` in INI files", "same", f"{_S3}::test_interpolates_values_as_configparser_does"),
)  # fmt: skip


def table() -> str:
    """The page's table."""
    lines = ["| in the paid edition | here | shown by |", "|---|---|---|"]
    for row in ROWS:
        here = f"**{row.kind}**" + (f": {row.note}" if row.note else "")
        shown = _breakable(row.test) if row.test else ""
        lines.append(f"| {row.name} | {here} | {shown} |")
    return "\n".join(lines)


def _breakable(test: str) -> str:
    """A test as code that browsers may break between its words, because it is longer than a column."""
    file, _, name = test.partition("::")
    text = f"{file}::{name}" if name else file
    broken = re.sub(r"(::|[/_])", r"\1<wbr>", text)
    return f"<code>{broken}</code>"


def test_the_page_has_every_row() -> None:
    shown = PAGE.read_text().partition(_BEGIN)[2].partition(_END)[0].strip()
    assert shown == table(), "run python -m tests.unit.test_docs_enterprise"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_said_to_be_the_same_is_tested(row: Row) -> None:
    assert row.kind in KINDS
    assert row.test or row.kind == "not here"
    assert row.note or row.kind in ("same",)
    if row.test:
        file, _, name = row.test.partition("::")
        text = (REPOSITORY / "tests" / file).read_text()
        assert re.search(rf"\bdef {name}\(" if name else "def test_", text)


def test_no_setting_that_both_have_is_left_out() -> None:
    ours = [
        name
        for name in MediaCacheConfig.model_fields
        if name.startswith(("aws_", "google_", "azure_", "minio_", "cache_", "extra_"))
    ]
    assert len(ours) == 11
    named = " ".join(row.name for row in ROWS)
    for setting in ours:
        assert re.search(rf"\b{setting}\b", named)


if __name__ == "__main__":
    before, begin, rest = PAGE.read_text().partition(_BEGIN)
    end = rest.partition(_END)[2]
    PAGE.write_text(f"{before}{begin}\n{table()}\n\n{_END}{end}")
