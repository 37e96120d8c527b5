"""Who we are to a server: the options, and the constant headers and parameters they mean."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from headrace import ComponentConfig, Duration
from headrace_plugins.http.fields import HeaderName
from headrace_plugins.http.tls import TlsOptions
from headrace_plugins.http.url import parse_url

__all__ = ["AuthOptions", "OAuth2Options"]


def _printable(secret: SecretStr) -> SecretStr:
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", secret.get_secret_value()):
        raise ValueError("has line breaks or control characters")
    if not secret.get_secret_value():
        raise ValueError("is empty")
    return secret


Credential = Annotated[SecretStr, AfterValidator(_printable)]
"""A secret that goes into a header or a parameter as it is; never a template."""


class BasicOptions(ComponentConfig):
    """A user and a password."""

    user: str = Field(description="User name; without a colon.", pattern=r"^[^:\x00-\x1f\x7f]*$")
    password: SecretStr = Field(description="Password.")


class ApiKeyOptions(ComponentConfig):
    """A key in a header or in the query."""

    key: Credential = Field(description="The key.")
    name: HeaderName = Field("X-Api-Key", description="Name of the header or parameter.")
    place: Literal["header", "query"] = Field("header", description="Where the key goes.")


class OAuth2Options(ComponentConfig):
    """OAuth2 client credentials: a token is fetched and renewed as needed."""

    token_url: str = Field(description="Address of the token endpoint.", repr=False)
    client_id: str = Field(description="Our name.")
    client_secret: SecretStr = Field(description="Our secret.")
    scope: str = Field("", description="Scopes wanted, separated by spaces.")
    parameters: dict[str, str] = Field(
        default_factory=dict, description="More parameters of the token request, such as audience."
    )
    send: Literal["body", "basic"] = Field(
        "body", description="Where id and secret go: into the form, or into an Authorization header."
    )
    timeout: Duration = Field(5.0, gt=0, description="Longest wait for a token.")
    tls: TlsOptions | None = Field(None, description="Certificates for the token endpoint; default is the connector's.")

    @field_validator("token_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parse_url(url)
        if "${" in url:
            raise ValueError("there is no event here: the URL is literal")
        return url


class AuthOptions(ComponentConfig):
    """Exactly one way to say who we are."""

    basic: BasicOptions | None = Field(None, description="A user and a password.")
    bearer: Credential | None = Field(None, description="A token that does not change.")
    api_key: ApiKeyOptions | None = Field(None, description="A key in a header or in the query.")
    oauth2: OAuth2Options | None = Field(None, description="OAuth2 client credentials.")

    @model_validator(mode="after")
    def _one(self) -> AuthOptions:
        if len([way for way in (self.basic, self.bearer, self.api_key, self.oauth2) if way is not None]) != 1:
            raise ValueError("give one of basic, bearer, api_key and oauth2")
        return self

    @property
    def header_name(self) -> str:
        """The header that it uses, in lower case; empty if it uses none."""
        if self.api_key is None:
            return "authorization"
        return self.api_key.name.lower() if self.api_key.place == "header" else ""

    @property
    def header(self) -> tuple[str, str] | None:
        """The header that is the same in every request."""
        if self.bearer is not None:
            return "Authorization", f"Bearer {self.bearer.get_secret_value()}"
        if self.basic is not None:
            pair = f"{self.basic.user}:{self.basic.password.get_secret_value()}".encode()
            return "Authorization", f"Basic {base64.b64encode(pair).decode()}"
        if self.api_key is not None and self.api_key.place == "header":
            return self.api_key.name, self.api_key.key.get_secret_value()
        return None

    @property
    def secrets(self) -> list[str]:
        """What of it may come back in an answer."""
        header, parameter = self.header, self.parameter
        found = [header[1].rpartition(" ")[2]] if header else [parameter[1]] if parameter else []
        return found + ([self.basic.password.get_secret_value()] if self.basic else [])

    @property
    def parameter(self) -> tuple[str, str] | None:
        """The parameter that it adds to every query."""
        if self.api_key is not None and self.api_key.place == "query":
            return self.api_key.name, self.api_key.key.get_secret_value()
        return None
