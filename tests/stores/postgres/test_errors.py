"""What fails between us and the server is told in one line that names the database and the fix, and no secret."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.stores.books import reserve
from tests.stores.postgres_server import Server, serving
from tests.stores.postgres_shelf import Shelf

from crewcap.core.budget import Granted
from crewcap.errors import InternalError, LedgerError
from crewcap.home import Home
from crewcap.stores.postgres.errors import explain, shown
from crewcap.stores.postgres.ledger import PostgresLedger

ROOT = Path(__file__).parents[3]


def _open(url: str, tmp_path: Path) -> None:
    PostgresLedger(Home(tmp_path / "home"), url, monotonic=lambda: 0.0).close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_server_that_nobody_runs(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="/books cannot be reached: Connection refused") as caught:
        _open(f"postgresql://ana@127.0.0.1:{_free_port()}/books", tmp_path)
    assert "nothing paid is sent" in caught.value.help
    assert not (tmp_path / "home").exists()


def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be reached: No such file"):
        _open(f"postgresql://ana@/books?host={tmp_path}", tmp_path)


def test_a_database_that_is_not_there(postgres: Server, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match='does not let us in: database "nowhere" does not exist') as caught:
        _open(postgres.url("nowhere"), tmp_path)
    assert "createdb" in caught.value.help


def test_a_role_without_its_password_is_told_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the network, with a real password: given in the environment it is enough, and it is in no message."""
    port = _free_port()
    with serving(port=port) as server:
        desk = Shelf(server, tmp_path)
        server.sql("postgres", "CREATE ROLE ana LOGIN PASSWORD 'hunter2'")
        server.require_passwords()
        url = desk.url.replace("postgres@", f"ana@127.0.0.1:{port}").partition("?")[0]
        monkeypatch.setenv("PGPASSWORD", "hunter3")
        with pytest.raises(LedgerError, match="does not let us in: password authentication failed") as caught:
            _open(url, tmp_path)
        assert "PGPASSWORD" in caught.value.help
        assert "hunter" not in caught.value.message + caught.value.help + repr(caught.value)
        monkeypatch.setenv("PGPASSWORD", "hunter2")
        with pytest.raises(LedgerError, match="does not allow this") as caught:
            _open(url, tmp_path)
        assert "grant the role" in caught.value.help
        desk.sql("GRANT USAGE ON SCHEMA crewcap TO ana")
        desk.sql("GRANT ALL ON ALL TABLES IN SCHEMA crewcap TO ana")
        desk.sql("GRANT ALL ON ALL SEQUENCES IN SCHEMA crewcap TO ana")
        ledger = PostgresLedger(Home(tmp_path / "home"), url, monotonic=lambda: 0.0)
        ledger.start_boot()  # a role that owns nothing is enough, and can see that the fence is whole
        assert ledger.verify().problems == ()
        ledger.close()


def test_a_ledger_that_somebody_holds_is_not_waited_for_for_ever(desk: Shelf) -> None:
    ledger, boot = desk.filled()
    with desk.held():
        impatient = desk.open(busy_s=0.2)
        with pytest.raises(LedgerError, match="is locked by another program") as caught:
            reserve(impatient, boot, "second", "0.10")
        assert "psql" in caught.value.help
    assert isinstance(reserve(ledger, boot, "second", "0.10"), Granted)


def test_without_the_library_it_is_said_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['asyncpg'] = None\n"
        "from pathlib import Path\nfrom crewcap.home import Home\n"
        "from crewcap.stores.postgres.ledger import PostgresLedger\n"
        "from crewcap.errors import UsageError\n"
        "try: PostgresLedger(Home(Path(sys.argv[1])), 'postgresql://h/d', monotonic=lambda: 0.0)\n"
        "except UsageError as error: print(error.message, '|', error.help)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "home"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == (
        "the settings keep the ledger in PostgreSQL, and asyncpg is not installed | "
        "install it with: pip install 'crewcap[postgres]'\n"
    )


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://ana@db.example/books", "db.example/books"),
        ("postgresql://db.example:6432/books?sslmode=require", "db.example:6432/books"),
        ("postgresql://ana@/books?host=/run/postgresql", "/run/postgresql/books"),
        ("postgres://ana@db.example", "db.example/ana"),
    ],
)
def test_a_store_is_shown_by_host_and_database(url: str, name: str) -> None:
    assert shown(url) == name


class _Said(Exception):
    def __init__(self, sqlstate: str, text: str = "the server's words\nand more") -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("53100", LedgerError, "has no room left on its disk"),
        ("25006", LedgerError, "is read-only"),
        ("57P01", LedgerError, "was stopped"),
        ("XX001", LedgerError, "is damaged"),
        ("40P01", LedgerError, "is locked by another program"),
        ("42P01", LedgerError, "has lost a table"),
        ("42883", LedgerError, "has lost a function"),
        ("CC001", InternalError, "the server's words"),
        ("CC002", LedgerError, "the server's words"),
        ("CC003", InternalError, "refused to book this: the server's words"),
        ("23505", InternalError, "refused to book this"),
        ("12345", LedgerError, "cannot be used"),
    ],
)
def test_every_kind_of_trouble_has_its_line(code: str, kind: type[Exception], says: str) -> None:
    error = explain(_Said(code), "postgresql://h/d")
    assert isinstance(error, kind)
    assert says in error.message
    assert "\n" not in error.message


def test_the_network_says_why_in_the_systems_words() -> None:
    error = OSError(errno.EHOSTUNREACH, "Connect call failed ('10.0.0.1', 5432)")
    assert "No route to host" in str(explain(error, "postgresql://h/d"))
