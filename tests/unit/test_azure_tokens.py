"""How tokens of Microsoft Entra are asked for, kept, renewed and done without, and what lists with them."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.identity import CredentialUnavailableError

from forebay.config import MediaCacheConfig
from forebay.errors import AccessDeniedError, SourceError, TransientSourceError
from forebay.sources import azure_tokens
from forebay.sources.azure import AzureSource, azure_source
from forebay.sources.azure_tokens import AzureTokens
from forebay.sources.listings import PageQuery
from forebay.transport import Head, Headers, Kind, Outcome, TransportError
from forebay.uri import parse
from tests.unit.azure_login import HOST, Credential, source_with

URI = parse("az://day/a.jpg")
KEY = "c2VjcmV0LWtleQ=="


def refused(status: int = 401) -> Outcome:
    return Outcome(head=Head(status, Headers([])))


def authorization(source: AzureSource) -> str | None:
    return dict(source.request(URI).headers).get("Authorization")


class TestTokens:
    def test_are_asked_for_once_for_storage(self, monkeypatch: pytest.MonkeyPatch) -> None:
        credential = Credential()
        source = source_with(AzureTokens(credential, "a login"), monkeypatch)
        assert [authorization(source) for _ in range(3)] == ["Bearer t1"] * 3
        assert credential.asked == ["https://storage.azure.com/.default"]
        assert ("x-ms-version", "2021-12-02") in source.request(URI).headers

    @pytest.mark.parametrize(("lasts", "expected"), [(3600, "Bearer t1"), (290, "Bearer t2")])
    def test_are_renewed_when_they_have_less_than_five_minutes_left(
        self, lasts: float, expected: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = source_with(AzureTokens(Credential(lasts), "a login"), monkeypatch)
        authorization(source)
        assert authorization(source) == expected

    def test_that_a_server_refuses_are_renewed_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Given a request with a token that was got some time ago
        credential = Credential()
        source = source_with(AzureTokens(credential, "a login"), monkeypatch)
        request = source.request(URI, span=(0, 9))
        monkeypatch.setattr(azure_tokens, "_ASKING_SECONDS", -1.0)

        # When it is refused, then another one is sent with all the rest
        again = source.follow(URI, request, refused())
        assert again is not None
        assert dict(again.headers) == {**dict(request.headers), "Authorization": "Bearer t2"}
        assert (again.url, again.accept) == (request.url, request.accept)

        # And a request that was refused meanwhile takes what the first one got
        other = source.follow(URI, request, refused())
        assert other is not None
        assert dict(other.headers)["Authorization"] == "Bearer t2"
        assert len(credential.asked) == 2

    def test_that_were_asked_for_just_now_are_not_renewed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        credential = Credential()
        source = source_with(AzureTokens(credential, "a login"), monkeypatch)
        monkeypatch.setattr(azure_tokens, "_ASKING_SECONDS", 3600.0)
        assert source.follow(URI, source.request(URI), refused()) is None
        assert len(credential.asked) == 1

    def test_are_not_renewed_for_other_refusals(self, monkeypatch: pytest.MonkeyPatch) -> None:
        credential = Credential()
        source = source_with(AzureTokens(credential, "a login"), monkeypatch)
        monkeypatch.setattr(azure_tokens, "_ASKING_SECONDS", -1.0)
        assert source.follow(URI, source.request(URI), refused(403)) is None
        assert len(credential.asked) == 1

    def test_that_cannot_be_renewed_are_the_error_of_the_request(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        credential = Credential()
        source = source_with(AzureTokens(credential, "a login"), monkeypatch)
        request, outcome = source.request(URI), refused()
        monkeypatch.setattr(azure_tokens, "_ASKING_SECONDS", -1.0)
        credential.error = ServiceRequestError("s3cr3t")
        assert source.follow(URI, request, outcome) is None
        assert isinstance(outcome.error, TransientSourceError)

    def test_a_request_without_one_is_not_sent_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        source = source_with(AzureTokens(None, ""), monkeypatch)
        request = source.request(URI)
        assert "Authorization" not in dict(request.headers)
        assert source.follow(URI, request, refused()) is None

    @pytest.mark.parametrize(
        ("error", "kind", "said"),
        [
            (
                ClientAuthenticationError("AADSTS7000215: Invalid client secret s3cr3t"),
                AccessDeniedError,
                "a login cannot be used: Microsoft Entra refused with AADSTS7000215; check client_id",
            ),
            (
                ClientAuthenticationError("s3cr3t"),
                AccessDeniedError,
                "a login cannot be used: Microsoft Entra refused; check client_id",
            ),
            (
                ServiceRequestError("s3cr3t"),
                TransientSourceError,
                "a login cannot be renewed: Microsoft Entra cannot be reached",
            ),
            (ServiceResponseError("s3cr3t"), TransientSourceError, "Microsoft Entra cannot be reached"),
            (RuntimeError("s3cr3t"), AccessDeniedError, "azure-identity failed with RuntimeError"),
        ],
    )
    def test_what_goes_wrong_is_named_and_not_repeated(
        self, error: Exception, kind: type[SourceError], said: str
    ) -> None:
        with pytest.raises(kind) as raised:
            AzureTokens(Credential(error=error), "a login").current(URI)
        assert type(raised.value) is kind
        assert said in str(raised.value)
        assert "s3cr3t" not in str(raised.value)

    @pytest.mark.parametrize(
        ("where", "token"),
        [(f"{HOST}/day/b.jpg", "Bearer t1"), ("https://secondary.example/day/a.jpg", None)],
    )
    def test_goes_along_with_a_redirect_to_the_same_host_only(
        self, where: str, token: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = source_with(AzureTokens(Credential(), "a login"), monkeypatch)
        outcome = Outcome(
            head=Head(307, Headers([f"Location: {where}\r\n".encode()])),
            error=TransportError(Kind.REFUSED, HOST, "refused"),
        )
        again = source.follow(URI, source.request(URI), outcome)
        assert again is not None
        assert (again.url, dict(again.headers).get("Authorization")) == (where, token)

    def test_a_request_that_is_refused_names_the_login(self, monkeypatch: pytest.MonkeyPatch) -> None:
        source = source_with(AzureTokens(Credential(), "a login"), monkeypatch)
        outcome = refused(403)
        outcome.error = TransportError(Kind.REFUSED, HOST, "refused")
        assert "(403 Forbidden) with a login; check that they may read it" in str(
            source.failure(URI, outcome)
        )

    def test_no_login_at_all_is_none_where_it_is_optional(self, monkeypatch: pytest.MonkeyPatch) -> None:
        credential = Credential(error=CredentialUnavailableError("none"))
        tokens = AzureTokens(credential, "a login", optional=True)
        source = source_with(tokens, monkeypatch)
        assert (authorization(source), authorization(source)) == (None, None)
        assert len(credential.asked) == 1, "it is asked for once"
        assert tokens.description.startswith("no credentials (DefaultAzureCredential asked the environment")
        # Public blobs need no signature.
        assert source.sign(URI) == "https://photos.blob.core.windows.net/day/a.jpg"

    def test_a_login_that_is_refused_is_an_error_even_where_it_is_optional(self) -> None:
        error = ClientAuthenticationError("AADSTS700016: no such application")
        with pytest.raises(AccessDeniedError, match="refused with AADSTS700016"):
            AzureTokens(Credential(error=error), "a login", optional=True).current(URI)

    def test_the_package_writes_nothing_to_stderr(self) -> None:
        assert any(
            isinstance(one, logging.NullHandler) for one in logging.getLogger("azure.identity").handlers
        )


def page_of(*names: str, marker: str = "") -> bytes:
    """A page of containers, and one of blobs."""
    blobs = "".join(f"<Blob><Name>{name}</Name><Properties/></Blob>" for name in names)
    containers = "".join(f"<Container><Name>{name}</Name></Container>" for name in names)
    return (
        f"<EnumerationResults><Blobs>{blobs}</Blobs><Containers>{containers}</Containers>"
        f"<NextMarker>{marker}</NextMarker></EnumerationResults>"
    ).encode()


class TestListings:
    @pytest.fixture
    def asked(self) -> list[tuple[Any, ...]]:
        return []

    @pytest.fixture(autouse=True)
    def answered(self, asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        """What is answered to the next requests; they, and what they come with, are in ``asked``."""
        answers: list[bytes] = []

        def read(transport: object, *arguments: Any) -> bytes:
            asked.append(arguments)
            return answers.pop(0)

        monkeypatch.setattr("forebay.sources.bearer_reader.read_page", read)
        return answers

    @pytest.fixture
    def by_key(self, monkeypatch: pytest.MonkeyPatch) -> AzureSource:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "photos")
        monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
        return azure_source(MediaCacheConfig())

    def test_have_a_sas_beside_their_question(
        self, by_key: AzureSource, asked: list[tuple[Any, ...]], answered: list[bytes]
    ) -> None:
        answered.append(page_of("a/b"))
        assert by_key.page(parse("az://day/a/"), PageQuery("a/")).keys == ["a/b"]
        parts = urlsplit(asked[0][0].url)
        query = parse_qs(parts.query)
        assert (parts.path, query["prefix"], query["sp"]) == ("/day", ["a/"], ["rl"])
        assert ("x-ms-version", "2021-12-02") in asked[0][0].headers

    def test_of_containers_go_on_until_there_are_no_more(
        self, by_key: AzureSource, asked: list[tuple[Any, ...]], answered: list[bytes]
    ) -> None:
        answered += [page_of("one", "two", marker="2!a&amp;b"), page_of("three")]
        assert by_key.containers() == ["one", "two", "three"]
        queries = [parse_qs(urlsplit(request.url).query) for request, *_ in asked]
        assert [query.get("marker") for query in queries] == [None, ["2!a&b"]]
        assert {query["srt"][0] for query in queries} == {"s"}, "a SAS that lists them"

    def test_of_containers_that_make_no_sense_are_an_error(
        self, by_key: AzureSource, answered: list[bytes]
    ) -> None:
        answered.append(b"<html/>")
        with pytest.raises(SourceError, match="az://: the answer is no listing"):
            by_key.containers()

    def test_by_a_login_have_its_token_which_is_renewed(
        self, asked: list[tuple[Any, ...]], answered: list[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = source_with(AzureTokens(Credential(), "a login"), monkeypatch)
        answered.append(page_of())
        source.page(parse("az://day/"), PageQuery(""))
        request, follow, failure = asked[0]
        assert dict(request.headers)["Authorization"] == "Bearer t1"
        monkeypatch.setattr(azure_tokens, "_ASKING_SECONDS", -1.0)
        assert dict(follow(request, refused()).headers)["Authorization"] == "Bearer t2"
        outcome = refused(403)
        outcome.error = TransportError(Kind.REFUSED, HOST, "refused")
        said = str(failure(outcome))
        assert "with a login" in said
        assert "may list it" in said
