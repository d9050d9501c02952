"""From an answer to an error."""

from __future__ import annotations

import pickle

import pytest

from forebay.errors import (
    AccessDeniedError,
    NotModifiedError,
    ObjectChangedError,
    ObjectNotFoundError,
    SourceError,
    TransientSourceError,
)
from forebay.sources import failures
from forebay.uri import MediaURI, parse

URI = parse("s3://bucket/a/b.jpg")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (304, "", NotModifiedError),
        (400, "", SourceError),
        (400, "InvalidRequest", SourceError),
        (400, "RequestTimeout", TransientSourceError),
        (400, "ExpiredToken", AccessDeniedError),
        (400, "InvalidToken", AccessDeniedError),
        (401, "", AccessDeniedError),
        (403, "AccessDenied", AccessDeniedError),
        (403, "SignatureDoesNotMatch", AccessDeniedError),
        (403, "RequestTimeTooSkewed", AccessDeniedError),
        (403, "InvalidObjectState", SourceError),
        (404, "NoSuchKey", ObjectNotFoundError),
        (404, "NoSuchBucket", ObjectNotFoundError),
        (404, "", ObjectNotFoundError),
        (405, "MethodNotAllowed", SourceError),
        (408, "", TransientSourceError),
        (409, "OperationAborted", TransientSourceError),
        (410, "", ObjectNotFoundError),
        (412, "PreconditionFailed", ObjectChangedError),
        (416, "InvalidRange", SourceError),
        (429, "", TransientSourceError),
        (500, "InternalError", TransientSourceError),
        (501, "NotImplemented", SourceError),
        (502, "", TransientSourceError),
        (503, "SlowDown", TransientSourceError),
        (503, "Slow Down", TransientSourceError),
        (504, "", TransientSourceError),
        (599, "", TransientSourceError),
    ],
)
def test_each_answer_has_its_error(status: int, code: str, kind: type[SourceError]):
    error = failures.refusal(URI, status, code)

    assert type(error) is kind
    assert str(error).startswith("s3://bucket/a/b.jpg: ")
    assert status == 304 or kind is ObjectChangedError or f"({status}" in str(error)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (failures.refusal(URI, 404, "NoSuchKey"), "no such object (404 Not Found: NoSuchKey)"),
        (failures.refusal(URI, 404, "NotFound"), "no such object (404 Not Found)"),
        (failures.refusal(URI, 404, "NoSuchBucket"), "no such bucket 'bucket' (404 Not Found: NoSuchBucket)"),
        (failures.refusal(URI, 404), "no such object, or no such bucket (404 Not Found)"),
        (
            failures.refusal(URI, 403, "AccessDenied", credentials="the credentials of profile 'lab'"),
            "access denied (403 Forbidden: AccessDenied) with the credentials of profile 'lab';"
            " check that they may read it",
        ),
        (
            failures.refusal(URI, 403, "AccessDenied", credentials="the AWS credentials", to="delete"),
            "access denied (403 Forbidden: AccessDenied) with the AWS credentials;"
            " check that they may delete it",
        ),
        (
            failures.refusal(URI, 403, credentials="the AWS credentials"),
            "access denied (403 Forbidden) with the AWS credentials;"
            " the server does not say why: check that they are the right ones, and what they may do",
        ),
        (
            failures.refusal(URI, 403, "InvalidObjectState"),
            "the object is archived (403 Forbidden: InvalidObjectState); restore it first",
        ),
        (failures.truncated(URI, 1000, 20000), "the answer ended after 1,000 of 20,000 bytes"),
    ],
)
def test_messages_say_what_happened_and_what_to_do(error: SourceError, message: str):
    assert str(error) == f"s3://bucket/a/b.jpg: {message}"


def test_an_error_about_all_buckets_names_none():
    error = failures.refusal(MediaURI("", "s3", "", ""), 403, "AccessDenied", to="list")

    assert str(error).startswith("s3://: access denied")
    assert str(error).endswith("check that they may list the buckets")


@pytest.mark.parametrize(
    ("uri", "text", "words"),
    [
        ("s3://b/a", 'at "http://127.0.0.1:9000/b/a?list-type=2": refused', " to http://127.0.0.1:9000"),
        ("s3://b/a", "GET https://me:secret@minio.lab/b/a in 1ms", " to https://minio.lab"),
        ("s3://b/a", "refused", ""),
        ("https://minio.lab/b/a", "GET https://minio.lab/b/a", ""),
    ],
)
def test_a_server_that_the_uri_does_not_tell_is_named_without_secrets(uri: str, text: str, words: str):
    assert failures.at_server(parse(uri), text) == words


def test_errors_travel_between_processes():
    error = failures.refusal(URI, 503, "SlowDown")

    again = pickle.loads(pickle.dumps(error))

    assert (type(again), str(again), again.transient) == (TransientSourceError, str(error), True)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("<Error><Code>NoSuchKey</Code><Message>no</Message></Error>", "NoSuchKey"),
        ("<?xml version='1.0'?>\n<Error>\n <Code> SlowDown </Code></Error>", "SlowDown"),
        ("<html>Bad Gateway</html>", ""),
        ("<Code>" + "x" * 100 + "</Code>", ""),
        ("<Code>a secret of many words</Code>", ""),
        ("", ""),
    ],
)
def test_only_a_codes_own_shape_is_taken_from_a_body(body: str, code: str):
    assert failures.error_code(body) == code
