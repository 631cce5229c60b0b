"""Tokens kept elsewhere: in a keyring, or wherever an app wants them."""

from __future__ import annotations

from typing import Any

import keyring.backend
import keyring.errors
import pytest

import fieldsync
from fieldsync.testing import Fault

ORDER = {"title": "Replace the pump seal"}


class Vault:
    """A place for tokens in memory, which can fail and be looked into."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.is_locked = False

    def get(self, name: str) -> str | None:
        self._check()
        return self.secrets.get(name)

    def set(self, name: str, secret: str) -> None:
        self._check()
        self.secrets[name] = secret

    def delete(self, name: str) -> None:
        self._check()
        self.secrets.pop(name, None)

    def _check(self) -> None:
        if self.is_locked:
            raise fieldsync.AuthRequired(code="vault_locked")


@pytest.fixture
def vault() -> Vault:
    return Vault()


def meta(phone: Any) -> dict[str, str]:
    return dict(phone.client._engine._store.writer.execute("SELECT * FROM meta"))


def test_tokens_kept_elsewhere_are_not_in_the_store(new_phone: Any, vault: Vault) -> None:
    """Whoever copies the file cannot log in with it."""
    phone = new_phone(tokens=vault)

    phone.sync()

    facts = meta(phone)
    assert not {"access", "refresh"} & facts.keys()
    assert not any("access-" in value for value in facts.values())
    (secret,) = vault.secrets.values()
    assert "access-1" in secret


def test_refreshed_pair_is_kept_before_its_first_use(
    server: Any, new_phone: Any, vault: Vault
) -> None:
    """A process that dies right after a refresh goes on with the new pair."""
    phone = new_phone(tokens=vault)
    phone["work_orders"].create(ORDER)
    server.faults.extend([Fault.EXPIRED, None])
    kept: list[str] = []
    server.before_answer = lambda path: kept.append(str(vault.secrets))

    phone.sync()

    assert [("access-2" in now) for now in kept[:3]] == [False, False, True]


def test_lost_answer_of_a_refresh_is_repeated(server: Any, new_phone: Any, vault: Vault) -> None:
    """The same refresh token goes again, and the same successor comes."""
    phone = new_phone(tokens=vault)
    phone["work_orders"].create(ORDER)
    server.faults.extend([Fault.EXPIRED, Fault.LOST_ANSWER])

    assert phone.sync().pushed == 1

    refreshes = {body for _, path, body, _ in server.seen if path == "auth/refresh"}
    assert len(refreshes) == 1


def test_store_in_use_moves_its_tokens_out(server: Any, new_phone: Any, vault: Vault) -> None:
    """An app that begins to use a keyring asks nobody for a password."""
    phone = new_phone()
    phone.options["tokens"] = vault
    phone.restart()

    phone.sync()

    assert not {"access", "refresh"} & meta(phone).keys()
    assert len(vault.secrets) == 1


def test_store_opened_without_its_vault_says_so(new_phone: Any, vault: Vault) -> None:
    """A login would help as well, but is not what is missing."""
    phone = new_phone(tokens=vault)
    phone.options.pop("tokens")
    phone.restart()

    with pytest.raises(fieldsync.AuthRequired, match="kept elsewhere") as caught:
        phone.sync()

    assert caught.value.code == "tokens_elsewhere"
    phone.login("tess")
    phone.sync()


def test_tokens_of_another_user_are_never_used(server: Any, new_phone: Any, vault: Vault) -> None:
    """The process died between the vault and the store: tom's tokens, and tess's work."""
    phone = new_phone(tokens=vault)
    phone["work_orders"].create(ORDER)
    other = new_phone("tom", tokens=Vault())
    (name,) = vault.secrets
    (vault.secrets[name],) = other.options["tokens"].secrets.values()

    with pytest.raises(fieldsync.AuthRequired):
        phone.sync()

    assert server.applied == []
    assert phone.client.status().username == "tess"


def test_secret_that_nobody_can_read_is_no_login(new_phone: Any, vault: Vault) -> None:
    """And no crash."""
    phone = new_phone(tokens=vault)
    vault.secrets = dict.fromkeys(vault.secrets, "{")

    with pytest.raises(fieldsync.AuthRequired):
        phone.sync()


def test_locked_vault_costs_no_work_and_no_status(new_phone: Any, vault: Vault) -> None:
    """A client that syncs by itself waits for a login then; the counts are there always."""
    phone = new_phone(tokens=vault)
    phone["work_orders"].create(ORDER)
    vault.is_locked = True

    with pytest.raises(fieldsync.AuthRequired, match="vault_locked"):
        phone.sync()
    assert phone.client.status().pending + phone.client.status().sent == 1

    vault.is_locked = False
    assert phone.sync().pushed == 1


def test_login_that_cannot_be_kept_is_none(server: Any, new_phone: Any, vault: Vault) -> None:
    """The user before stays, with all that is theirs."""
    phone = new_phone(tokens=vault)
    vault.is_locked = True

    with pytest.raises(fieldsync.AuthRequired, match="vault_locked"):
        phone.login("tom")

    assert phone.client.status().username == "tess"


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_logout_forgets_the_tokens_and_keeps_the_work(
    server: Any, new_phone: Any, vault: Vault, *, is_elsewhere: bool
) -> None:
    """A shared tablet: the next shift logs in when this one's work is sent."""
    phone = new_phone(**({"tokens": vault} if is_elsewhere else {}))
    phone["work_orders"].create(ORDER)

    phone.client.logout()
    phone.client.logout()

    status = phone.client.status()
    assert (status.is_logged_in, status.username, status.pending) == (False, "tess", 1)
    assert not {"access", "refresh"} & meta(phone).keys()
    assert vault.secrets == {}
    with pytest.raises(fieldsync.AuthRequired):
        phone.sync()
    with pytest.raises(fieldsync.OtherUsersWork):
        phone.login("tom")
    phone.login("tess")
    assert phone.sync().pushed == 1


def test_logout_during_a_refresh_stays_one(server: Any, new_phone: Any) -> None:
    """The new pair comes too late to be kept."""
    phone = new_phone()
    phone["work_orders"].create(ORDER)
    server.faults.append(Fault.EXPIRED)

    def log_out(path: str) -> None:
        if path == "auth/refresh":
            phone.client.logout()

    server.before_answer = log_out

    with pytest.raises(fieldsync.AuthRequired):
        phone.sync()

    assert not phone.client.status().is_logged_in


def test_login_is_told_by_the_status(new_phone: Any, vault: Vault) -> None:
    """Without asking the vault, which may be slow."""
    phone = new_phone(None, tokens=vault)
    assert not phone.client.status().is_logged_in
    phone.login()
    vault.is_locked = True

    assert phone.client.status().is_logged_in


# --- the server that a store belongs to ----------------------------------------------------


def test_store_knows_its_server_after_a_login(server: Any, phone: Any) -> None:
    """Later starts need no address."""
    phone.client.close()

    with fieldsync.Client(store=phone.path, http=server.client()) as client:
        assert client.url == "http://server"
        client.sync()


def test_store_without_a_server_can_be_worked_on(new_phone: Any, tmp_path: Any) -> None:
    """Only a login needs one, and says so."""
    with fieldsync.Client(store=tmp_path / "new.db") as client:
        client.collection("notes").create({"text": "x"})
        with pytest.raises(fieldsync.AuthRequired):
            client.sync()
        with pytest.raises(ValueError, match="URL"):
            client.login("tess", "fieldsync")


# --- the keyring of the system -------------------------------------------------------------


class Drawer(keyring.backend.KeyringBackend):
    """A backend in memory, in place of the desktop's."""

    priority = 1  # as the library wants it

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the library's
        self.passwords: dict[tuple[str, str], str] = {}
        self.is_locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.is_locked:
            raise keyring.errors.KeyringLocked("no")
        return self.passwords.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.is_locked:
            raise keyring.errors.PasswordSetError("no")
        self.passwords[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.passwords.pop((service, username), None) is None:
            raise keyring.errors.PasswordDeleteError("none")


def test_keyring_keeps_one_secret_for_each_store(new_phone: Any) -> None:
    """Two stores of one person do not share a login."""
    drawer = Drawer()
    tokens = fieldsync.KeyringTokens(keyring=drawer)
    one, two = new_phone(tokens=tokens), new_phone(tokens=tokens)

    one.sync()
    assert len(drawer.passwords) == 2
    assert {service for service, _ in drawer.passwords} == {"fieldsync"}
    one.client.logout()
    one.client.logout()

    assert len(drawer.passwords) == 1
    two.sync()


def test_locked_keyring_asks_for_a_login(new_phone: Any) -> None:
    """As an error of the SDK, not of a library below it."""
    drawer = Drawer()
    phone = new_phone(tokens=fieldsync.KeyringTokens(keyring=drawer))
    drawer.is_locked = True

    for work in (phone.sync, phone.login):
        with pytest.raises(fieldsync.AuthRequired) as caught:
            work()
        assert caught.value.code == "keyring_unavailable"
