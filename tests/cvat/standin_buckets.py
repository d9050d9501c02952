"""The buckets that a stand-in for CVAT reads, by the credentials that it was given."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


class S3Bucket:
    """A bucket, by the credentials that CVAT was given."""

    def __init__(
        self, name: str, attributes: dict[str, str], key: str | None, secret_key: str | None
    ) -> None:
        self._name = name
        self._client = boto3.session.Session().client(
            "s3",
            endpoint_url=attributes.get("endpoint_url"),
            region_name=attributes.get("region", "us-east-1"),
            aws_access_key_id=key,
            aws_secret_access_key=secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def read(self, key: str) -> bytes:
        body: bytes = self._client.get_object(Bucket=self._name, Key=key)["Body"].read()
        return body

    def modified(self, key: str) -> float:
        """When an object was last modified, in whole seconds, as HTTP tells it."""
        head = self._client.head_object(Bucket=self._name, Key=key)
        return head["LastModified"].timestamp()

    def has(self, key: str) -> bool:
        try:
            self._client.head_object(Bucket=self._name, Key=key)
        except ClientError:
            return False
        return True

    def status(self) -> str:
        try:
            self._client.head_bucket(Bucket=self._name)
        except ClientError as error:
            return "FORBIDDEN" if error.response["Error"]["Code"] in ("403", "401") else "NOT_FOUND"
        except BotoCoreError:
            return "NOT_FOUND"
        return "AVAILABLE"


class AzureBucket:
    """A container of an account, by the SAS token that CVAT was given."""

    def __init__(self, endpoint: str, account: str, name: str, token: str | None) -> None:
        # The real one goes to the account's host, which the endpoint stands for here.
        self._is_there = endpoint.endswith(f"/{account}")
        self._url, self._token = f"{endpoint}/{name}", token or ""

    def read(self, key: str) -> bytes:
        response = self._ask(key)
        response.raise_for_status()
        return response.content

    def modified(self, key: str) -> float:
        return parsedate_to_datetime(self._ask(key).headers["Last-Modified"]).timestamp()

    def has(self, key: str) -> bool:
        return self._ask(key).ok

    def status(self) -> str:
        if not self._is_there:
            return "NOT_FOUND"
        answer = requests.get(f"{self._url}?restype=container&comp=list&{self._token}", timeout=30)
        return {200: "AVAILABLE", 403: "FORBIDDEN"}.get(answer.status_code, "NOT_FOUND")

    def _ask(self, key: str) -> requests.Response:
        return requests.get(f"{self._url}/{quote(key)}?{self._token}", timeout=30)


class GCSBucket:
    """A GCS bucket; it checks credentials here, because the stand-in for GCS accepts any."""

    def __init__(self, endpoint: str, name: str, is_known: bool) -> None:
        self._url = f"{endpoint}/storage/v1/b/{name}"
        self._is_known = is_known

    def read(self, key: str) -> bytes:
        if not self._is_known:
            raise PermissionError(f"{self._url}: 401 Unauthorized")
        response = requests.get(f"{self._url}/o/{quote(key, safe='')}?alt=media", timeout=30)
        response.raise_for_status()
        return response.content

    def modified(self, key: str) -> float:
        answer = requests.get(f"{self._url}/o/{quote(key, safe='')}", timeout=30).json()
        return datetime.fromisoformat(answer["updated"].replace("Z", "+00:00")).timestamp()

    def has(self, key: str) -> bool:
        return requests.get(f"{self._url}/o/{quote(key, safe='')}", timeout=30).ok

    def status(self) -> str:
        if not self._is_known:
            return "FORBIDDEN"
        return "AVAILABLE" if requests.get(self._url, timeout=30).ok else "NOT_FOUND"
