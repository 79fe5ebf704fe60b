"""Passwords: no odd character lets one into what is printed, raised, stored or logged."""

import logging
from urllib.parse import quote

import pytest
from postgres import PASSWORD
from sqlalchemy import text
from stores import SPACE, make, on_postgres, state_after
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.storage.credentials import is_secret, scrubbed, shown
from l2l_snn.storage.database import explained
from l2l_snn.storage.driver import drive
from l2l_snn.storage.store import Store, StoreError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://me:p@ss:w/rd@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("postgresql://me:p%40ss%2F@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@corp:secret@host/db", "postgresql://me@corp:***@host/db"),
        ("postgresql://:secret@host/db", "postgresql://:***@host/db"),
        ("postgresql://me:a?b=c@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:se\ncret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=x&sslmode=require", "postgresql://host/db?user=me&password=***&sslmode=require"),
        ("postgresql://host/db?p%61ssword=x", "postgresql://host/db?p%61ssword=***"),
        ("postgresql://host/db?PASSWORD=x;sslpassword=y", "postgresql://host/db?PASSWORD=***;sslpassword=***"),
        ("postgresql://host/db?password=se&cret&user=me", "postgresql://host/db?password=***&***&user=me"),
        ("postgresql://host/db?passfile=/net/me/.pgpass", "postgresql://host/db?passfile=/net/me/.pgpass"),
        ("postgresql://host/db?genomes=s3://key:secret@bucket/x", "postgresql://host/db?genomes=s3://key:***@bucket/x"),
        ("postgresql://host/db?genomes=ftp%3A%2F%2Fu%3Asecret%40h%2Fx", "postgresql://host/db?genomes=ftp://u:***@h/x"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:///C:/a@b/l2l.db", "sqlite:///C:/a@b/l2l.db"),
        ("sqlite:///l2l.db?genomes=g", "sqlite:///l2l.db?genomes=g"),
        ("l2l.db", "l2l.db"),
    ],
)  # fmt: skip
def test_passwords_are_not_shown(url, expected):
    assert shown(url) == expected


def test_more_is_hidden_rather_than_less():
    assert "pw" not in shown("postgresql://me:pw@host/db?genomes=ftp://u:pw@h/x")
    assert "x" not in shown("postgresql://me:x@y?a=x@host/db").removeprefix("postgresql")


def test_secret_options():
    assert all(map(is_secret, ("password", "sslpassword", "PassWord", "p%61ssword", "oauth_client_secret", "token")))
    assert not any(map(is_secret, ("passfile", "user", "sslkey", "host", "genomes")))


@pytest.mark.parametrize("secret", ["p@ss", "a b", "x%y", "q'\"r", "sl/ash", "co:lon", "plus+plus", "ünï"])
def test_what_a_driver_says_is_shown_without_the_password_in_any_of_its_forms(secret):
    forms = {secret, quote(secret, safe="")}
    urls = [f"postgresql://me:{quote(secret, safe='')}@h/db", f"postgresql://h/db?password={quote(secret, safe='')}"]
    for url in urls:
        for form in forms:
            assert scrubbed(f'cannot log in as "me" with "{form}"', url) == 'cannot log in as "me" with "***"'
            with pytest.raises(StoreError) as caught, explained("opening", url):
                raise OSError(f"bad: {form}")
            assert form not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sec@ret@host/db",
        "postgresql://me:sec@ret:x@host/db",
        "postgresql://me:secret@host:54x2/db",
        "postgresql://me:secret@ho st:x@/db",
        "postgresql://me:secret@nowhere.invalid/db",
        "postgresql://nowhere.invalid/db?password=secret",
        "postgresql://me:secret@/db?host=/nowhere&sslpassword=secret",
        "postgresql://me:secret@/db?host=/nowhere&nonsense=1",
        "mysql://me:secret@host/db",
        "://me:secret@host/db",
    ],
)
def test_what_cannot_be_opened_is_told_without_the_password(url, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreError) as caught:
        Store(url)
    result = CliRunner().invoke(app, ["runs", "--store", url])
    unreachable = "nowhere" in url and "nonsense" not in url
    assert result.exit_code == (75 if unreachable else 2)
    for printed in (str(caught.value), repr(caught.value), result.output, caplog.text):
        assert not any(part in printed for part in ("secret", "sec@", "ret@", "ret:x"))
    assert len(result.output.splitlines()) == 1


def test_an_at_sign_in_a_password_is_told_how_to_write():
    with pytest.raises(StoreError, match="its password has an @; in a password, write @ as %40"):
        Store("postgresql://me:p@ss@host/db")


@on_postgres
def test_a_refused_password_is_not_told(store_url, postgres):
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        Store(store_url.replace(quote(PASSWORD, safe=""), "wr%40ng"))
    assert not any(part in str(caught.value) for part in ("wr@ng", "wr%40ng"))


@on_postgres
def test_a_password_with_odd_characters_works_in_both_places(store_url):
    password = quote(PASSWORD, safe="")
    with Store(store_url.replace(f":{password}@", "@") + f"&password={password}") as store:
        assert store.runs() == []
        for text_ in (repr(store), store.url_shown, repr(store._engine), str(store._engine.url)):
            assert PASSWORD not in text_
            assert password not in text_


@on_postgres
def test_the_password_is_in_no_table_and_no_log(store_url, caplog, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    with Store(store_url) as store:
        store.create("a", "job", {"seed": 1}, SPACE)
        with drive(store, "a") as driver:
            driver.commit(make(0), state_after(0))
        with pytest.raises(StoreError), drive(store, "a"), explained("opening", store_url):
            raise OSError(f"bad: {PASSWORD}")
        assert "ended by StoreError: opening postgresql://l2l:***@" in store.load("a").message
        with store.read() as connection:
            dump = [
                connection.execute(text(f"SELECT {table}::text FROM {table}")).scalars().all()
                for table in ("runs", "generations", "individuals", "states", "workers", "identity")
            ]
        found = str(dump) + caplog.text + CliRunner().invoke(app, ["show", "a", "--store", store_url]).output
    assert not any(part in found for part in (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD)))
