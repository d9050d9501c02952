"""The cloud storages of a stand-in for CVAT."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from tests.cvat.schema import Exchange
from tests.cvat.standin_buckets import AzureBucket, GCSBucket, S3Bucket
from tests.cvat.standin_forms import read_form
from tests.cvat.standin_state import ANNOTATOR, KEY_FILE, NOW, PlainText, RefusalError, State


class Storages(State):
    """Attaching, listing and asking after buckets."""

    def add_storage(self, **fields: Any) -> int:
        """A storage that was there before."""
        answer = self._create_storage({"display_name": fields["resource"], **fields}, check=False)
        return int(answer["id"])

    def _list_storages(self, exchange: Exchange, **_: Any) -> tuple[int, Any]:
        wanted = {
            name: exchange.query[name] for name in ("resource", "provider_type") if name in exchange.query
        }
        found = [each for each in self.storages.values() if wanted.items() <= each.items()]
        size, page = 2, int(exchange.query.get("page", 1))
        more = f"{self.url}/api/cloudstorages?page={page + 1}" if len(found) > page * size else None
        return 200, {**self._page(found[(page - 1) * size : page * size]), "count": len(found), "next": more}

    def _attach(self, exchange: Exchange, raw: bytes) -> tuple[int, Any]:
        if exchange.content_type.startswith("multipart/"):
            body = read_form(raw, exchange.content_type)
        else:
            body = json.loads(raw)
        return 201, self._create_storage(body)

    def _create_storage(self, body: dict[str, Any], *, check: bool = True) -> dict[str, Any]:
        secret = {name: body.pop(name, None) for name in ("key", "secret_key", "key_file", "session_token")}
        body.setdefault("specific_attributes", "")
        body.setdefault("manifests", [])
        body.setdefault("credentials_type", "KEY_SECRET_KEY_PAIR")
        number = self._next_id()
        answer = {
            "id": number,
            **body,
            "description": "",
            "organization": None,
            "owner": ANNOTATOR,
            "created_date": NOW,
            "updated_date": NOW,
        }
        self.storages[number], self.secrets[number] = answer, secret
        problem = self._problem_of(number) if check else None
        if problem is not None:
            del self.storages[number], self.secrets[number]
            raise RefusalError(400, PlainText(problem))
        return answer

    def _problem_of(self, number: int) -> str | None:
        """Why a storage is not taken, in CVAT's words."""
        name, bucket = self.storages[number]["resource"], self._bucket(number)
        status = bucket.status()
        if status == "FORBIDDEN":
            return f"credentials: Cannot create resource {name} with specified credentials. Access forbidden."
        if status != "AVAILABLE":
            return f"resource: The resource {name} not found. It may have been deleted."
        missing = [key for key in self.storages[number]["manifests"] if not bucket.has(key)]
        if missing:
            return f"manifests: The '{missing[0]}' file does not exist on '{name}' cloud storage"
        return None

    def _one_storage(self, number: int, **_: Any) -> tuple[int, Any]:
        if number not in self.storages:
            raise RefusalError(404, {"detail": "Not found."})
        if self.storages[number]["owner"]["id"] != 7:
            raise RefusalError(403, {"detail": "You do not have permission to perform this action."})
        return 200, self.storages[number]

    def _delete_storage(self, number: int, **_: Any) -> tuple[int, Any]:
        if self.keeps_storages:
            raise RefusalError(500, PlainText("<!doctype html><title>Server Error (500)</title>"))
        del self.storages[number]
        return 204, None

    def _status(self, number: int, **_: Any) -> tuple[int, Any]:
        return 200, self.status_after_attaching or self._bucket(number).status()

    def _bucket(self, number: int) -> S3Bucket | GCSBucket | AzureBucket:
        storage, secret = self.storages[number], self.secrets[number]
        if storage["provider_type"] == "GOOGLE_CLOUD_STORAGE":
            is_known = storage["credentials_type"] == "ANONYMOUS_ACCESS" or secret["key_file"] == KEY_FILE
            return GCSBucket(self.gcs_endpoint, storage["resource"], is_known)
        if storage["provider_type"] == "AZURE_CONTAINER":
            account = storage["account_name"]
            return AzureBucket(self.azure_endpoint, account, storage["resource"], secret["session_token"])
        attributes = dict(parse_qsl(storage["specific_attributes"]))
        return S3Bucket(storage["resource"], attributes, secret["key"], secret["secret_key"])
