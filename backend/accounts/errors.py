"""Every error of logging in and of being logged in, as one tree.

    AccountError
    |- TenantRequired              400  tenant_required
    |- DeviceMissing               404  device_not_found
    |- ApiKeyMissing               404  api_key_not_found
    `- NotLoggedIn                 401
       |- CredentialsInvalid            invalid_credentials   one for all causes: no names leak
       |- TokenInvalid                  token_invalid
       |- TokenExpired                  token_expired         refresh, and repeat the request
       |- UserInactive                  user_inactive
       |- TenantInactive                tenant_inactive
       |- MembershipInactive            membership_inactive
       |- DeviceRevoked                 device_revoked        `wipe`: delete what is held
       |- LoginEnded                    login_ended           logged out, or in again, elsewhere
       |- TokenReused                   token_reused          somebody has a copy: all over
       |- ApiKeyInvalid                 api_key_invalid
       |- ApiKeyExpired                 api_key_expired
       `- ApiKeyRevoked                 api_key_revoked

Leaves have a stable `code`, an HTTP status and a title; `docs/errors.md` lists them. None of them
is helped by repeating the same request.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework.exceptions import APIException, AuthenticationFailed


class AccountError(APIException):
    """The root; a leaf says its own detail."""

    title: ClassVar[str]

    @property
    def members(self) -> dict[str, Any]:
        """Further members of the problem document."""
        return {}


class TenantRequired(AccountError):
    """The user is a member of several tenants and did not say which."""

    status_code = 400
    default_code = "tenant_required"
    default_detail = "This user belongs to several tenants: send the slug of one as `tenant`."
    title = "Which tenant?"

    def __init__(self, slugs: list[str]) -> None:
        super().__init__()
        self.slugs = slugs

    @property
    def members(self) -> dict[str, Any]:
        """The tenants to choose from; the password was right, so this tells nobody else."""
        return {"tenants": self.slugs}


class NotLoggedIn(AccountError, AuthenticationFailed):
    """The request is nobody's."""

    status_code = 401


class CredentialsInvalid(NotLoggedIn):
    """Unknown user, wrong password, no membership: the caller is not told which."""

    default_code = "invalid_credentials"
    default_detail = "The username, the password or the tenant is wrong."
    title = "Logging in failed"


class TokenInvalid(NotLoggedIn):
    """The token was not made here, was changed, or is of the other kind."""

    default_code = "token_invalid"
    default_detail = "Log in again."
    title = "The token is not one of ours"


class TokenExpired(NotLoggedIn):
    """The token was good once."""

    default_code = "token_expired"
    default_detail = "Refresh an access token; when the refresh token expired, log in again."
    title = "The token has expired"


class UserInactive(NotLoggedIn):
    """The user was deleted or deactivated since the token was made."""

    default_code = "user_inactive"
    default_detail = "This user may no longer log in."
    title = "The user is not active"


class TenantInactive(NotLoggedIn):
    """The tenant was deactivated since the token was made."""

    default_code = "tenant_inactive"
    default_detail = "This tenant is closed."
    title = "The tenant is not active"


class MembershipInactive(NotLoggedIn):
    """The user's membership in the tenant ended since the token was made."""

    default_code = "membership_inactive"
    default_detail = "This user no longer belongs to the tenant."
    title = "The membership is not active"


class DeviceRevoked(NotLoggedIn):
    """The device was revoked or removed."""

    default_code = "device_revoked"
    default_detail = "This device was locked out; ask the office."
    title = "The device is revoked"

    def __init__(self, *, must_wipe: bool = False) -> None:
        super().__init__()
        self.must_wipe = must_wipe

    @property
    def members(self) -> dict[str, Any]:
        """Whether the app is to delete what it holds."""
        return {"wipe": self.must_wipe}


class LoginEnded(NotLoggedIn):
    """The device has logged out, or in again, since the token was made."""

    default_code = "login_ended"
    default_detail = "This login is over: log in again."
    title = "The login has ended"


class TokenReused(NotLoggedIn):
    """A refresh token came again after its successor was used: two have it, one is a thief."""

    default_code = "token_reused"
    default_detail = "This token was used before. The login is over on all sides: log in again."
    title = "The token was used before"


class DeviceMissing(AccountError):
    """There is no such device, or none that the user may see."""

    status_code = 404
    default_code = "device_not_found"
    default_detail = "There is no device with that id, or none that you may see."
    title = "No such device"


class ApiKeyInvalid(NotLoggedIn):
    """There is no such key."""

    default_code = "api_key_invalid"
    default_detail = "Ask an admin of the tenant for a key."
    title = "The API key is not one of ours"


class ApiKeyExpired(NotLoggedIn):
    """The key was made for a time that is over."""

    default_code = "api_key_expired"
    default_detail = "The time of this API key is over: have an admin make another one."
    title = "The API key has expired"


class ApiKeyRevoked(NotLoggedIn):
    """An admin has revoked the key."""

    default_code = "api_key_revoked"
    default_detail = "This API key was revoked: have an admin make another one."
    title = "The API key is revoked"


class ApiKeyMissing(AccountError):
    """The tenant has no such key."""

    status_code = 404
    default_code = "api_key_not_found"
    default_detail = "There is no API key with that id."
    title = "No such API key"
