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
    SourceNotAllowedError,
    TransientSourceError,
)
from forebay.sources import failures
from forebay.transport import Head, Headers, Kind, Outcome, TransportError
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


BLOB = parse("az://day/a.jpg")
AZURE_CODES = [
    # Some come with a status that says something else.
    (400, "AuthenticationFailed", "the key, SAS or token is wrong or has expired, or this machine's clock"),
    (403, "AuthorizationPermissionMismatch", "give them a role such as Storage Blob Data Reader, or"),
    (403, "AuthorizationFailure", "they are wrong or do not permit it, or the account's firewall refuses"),
    (403, "AuthorizationResourceTypeMismatch", "the SAS is not for this kind of request; it needs srt=sco"),
    (400, "InvalidAuthenticationInfo", "the token is not for this storage account, or has expired"),
    (409, "KeyBasedAuthenticationNotPermitted", "the account admits no keys; use `az login` or a managed"),
    (400, "NoAuthenticationInformation", "the container is not public; configure an account key, a SAS or"),
    (
        409,
        "PublicAccessNotPermitted",
        "the account is not public; configure an account key, a SAS or a login",
    ),
]


@pytest.mark.parametrize("told", ["in the body", "in a header"])
@pytest.mark.parametrize("credentials", ["the SAS", "no credentials (none are there)"])
@pytest.mark.parametrize(("status", "code", "remedy"), AZURE_CODES)
def test_each_refusal_of_azure_has_its_remedy(
    status: int, code: str, remedy: str, credentials: str, told: str
):
    if credentials.startswith("no") and code not in (
        "NoAuthenticationInformation",
        "PublicAccessNotPermitted",
    ):
        # Nothing was sent that could be wrong.
        remedy = "it is not public: give credentials that may read it"
    header, body = [b"x-ms-error-code: %s\r\n" % code.encode()], b"<Error><Code>%s</Code>" % code.encode()
    ended = outcome(Kind.REFUSED, "refused")
    ended.head = Head(status, Headers(header if told == "in a header" else []))
    ended.refusal = body if told == "in the body" else b""

    error = failures.failure_of(BLOB, ended, credentials=credentials)

    assert type(error) is AccessDeniedError
    assert f": {code}) with {credentials}; {remedy}" in str(error)


def test_a_server_of_ones_own_may_lack_a_bucket_that_another_has():
    error = failures.refusal(parse("minio://day/a.jpg"), 404, "NoSuchBucket")
    assert str(error).endswith(
        "no such bucket 'day' (404 Not Found: NoSuchBucket); if another server has it, give it credentials "
        "of its own in the setting credentials"
    )


def test_what_is_no_word_in_azures_header_is_not_repeated():
    ended = outcome(Kind.REFUSED, "refused")
    ended.head = Head(403, Headers([b"x-ms-error-code: sig=s3cr3t\r\n"]))

    assert "s3cr3t" not in str(failures.failure_of(BLOB, ended, credentials="the SAS"))


@pytest.mark.parametrize(
    ("status", "code", "kind", "message"),
    [
        (
            404,
            "ContainerNotFound",
            ObjectNotFoundError,
            "no such bucket 'day' (404 Not Found: ContainerNotFound); if another account has it, give it "
            "credentials of its own in the setting credentials",
        ),
        (404, "BlobNotFound", ObjectNotFoundError, "no such object ("),
        (
            404,
            "ResourceNotFound",
            ObjectNotFoundError,
            "no such object, or one that is not public (404 Not Found: ResourceNotFound) with no credentials "
            "(none are there); check the name of the storage account, and what they may see",
        ),
        (409, "BlobArchived", SourceError, "the object is archived ("),
        (409, "BlobBeingRehydrated", SourceError, "the object is archived ("),
        (403, "", AccessDeniedError, "it is not public: give credentials that may list it"),
    ],
)
def test_what_azure_says_of_what_is_not_there(status: int, code: str, kind: type[SourceError], message: str):
    error = failures.refusal(BLOB, status, code, credentials="no credentials (none are there)", to="list")

    assert type(error) is kind
    assert message in str(error)


def test_an_error_about_all_buckets_names_none():
    error = failures.refusal(MediaURI("", "s3", "", ""), 403, "AccessDenied", to="list")

    assert str(error).startswith("s3://: access denied")
    assert str(error).endswith("check that they may list the buckets")


def outcome(kind: Kind, reason: str, url: str = "https://me:secret@minio.lab/b/a?sig=secret") -> Outcome:
    return Outcome(error=TransportError(kind, url, reason))


@pytest.mark.parametrize(
    ("uri", "failed", "kind", "reason"),
    [
        (
            "s3://b/a",
            outcome(Kind.CONNECT, "cannot connect; check the host"),
            TransientSourceError,
            "cannot connect to https://minio.lab; check the host",
        ),
        ("s3://b/a", outcome(Kind.TLS, "not trusted"), SourceError, "not trusted (https://minio.lab)"),
        ("https://minio.lab/b/a", outcome(Kind.LOST, "lost"), TransientSourceError, "lost"),
        (
            "https://minio.lab/b/a",
            outcome(Kind.REFUSED_ADDRESS, "leads to the private address ::1, which is refused"),
            SourceNotAllowedError,
            "leads to the private address ::1; if it should, add https://minio.lab/ to allowed_sources",
        ),
        ("s3://b/a", Outcome(error=ValueError("odd")), SourceError, "ValueError: odd"),
        ("s3://b/a", Outcome(error=failures.changed(URI)), ObjectChangedError, None),
    ],
)
def test_what_the_transport_says(uri: str, failed: Outcome, kind: type[SourceError], reason: str | None):
    error = failures.failure_of(parse(uri), failed)

    assert type(error) is kind
    assert reason is None or error.reason == reason
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("body", "truncated_is"), [(Kind.TRUNCATED, "truncated"), (Kind.TIMEOUT, "connection")]
)
def test_a_truncated_answer_is_no_sign_of_a_lost_server(body: Kind, truncated_is: str):
    assert failures.failure_of(URI, outcome(body, "early")).kind == truncated_is


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("*.jpg", "give the pattern to --include"),
        ("a/{000..012}.jpg", "give the pattern to --include"),
        ("a.jpg?versionId=1", "versions cannot be chosen"),
        ("plain{x}.jpg", ""),
    ],
)
def test_what_looks_like_a_pattern_or_a_version_is_explained(key: str, hint: str):
    reason = failures.refusal(parse(f"s3://bucket/{key}"), 404, "NoSuchKey").reason

    assert hint in reason
    assert reason.endswith("(404 Not Found: NoSuchKey)") is not bool(hint)


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
