"""Settings and prices that another process reads: the same values, the same errors, and no key there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crewcap import config, prices
from crewcap.cli.gateway.handover import Handover, read
from crewcap.errors import SettingsError

SECRET = "sk-ant-fake-never-there"


def test_what_is_handed_over_is_what_would_have_been_read_here(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[budgets]\nall = { day = 7 }\n[gateway]\nwait = "2m"\n')
    environ = {"HOME": str(tmp_path), "OPENAI_API_KEY": SECRET}
    settings, book = read(tmp_path / "config.toml", environ)
    assert settings == config.load(tmp_path / "config.toml", environ).served()
    assert list(settings.providers) == ["openai"]
    assert book.hash == prices.load().hash


def test_what_is_wrong_with_the_settings_is_said_as_if_they_were_read_here(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[defaults]\nmodle = 1\n")
    with pytest.raises(SettingsError, match=r"line 2: defaults\.modle") as there:
        read(tmp_path / "config.toml", {})
    with pytest.raises(SettingsError) as here:
        config.load(tmp_path / "config.toml", {})
    assert (there.value.message, there.value.help) == (here.value.message, here.value.help)


def test_a_price_list_that_is_not_there_comes_instead_of_the_prices(tmp_path: Path) -> None:
    """A gateway that began would refuse each of its requests; so it does not begin."""
    (tmp_path / "config.toml").write_text('[providers.gemini]\nprices = "gemini"\n')
    with pytest.raises(SettingsError, match=r"providers\.gemini\.prices: there is no price list 'gemini'") as error:
        read(tmp_path / "config.toml", {"HOME": str(tmp_path)})
    assert error.value.help.startswith("did you mean google? the lists there are: anthropic, ")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_process_that_reads_is_given_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others of the same user can look into its environment, as they cannot into the gateway's."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    (tmp_path / "config.toml").write_text("")
    handover = Handover(tmp_path / "config.toml", dict(os.environ))
    seen = Path(f"/proc/{handover.pid}/environ").read_bytes()
    assert b"PATH=" in seen
    assert SECRET.encode() not in seen
    assert next(iter(handover.settings().providers)) == "anthropic"
    assert handover.book().compiled


def test_a_gateway_imports_neither_models_of_settings_nor_the_library_of_prices() -> None:
    script = (
        "import sys\n"
        "import crewcap.cli.gateway.serving, crewcap.gateway.assemble, crewcap.gateway.reload\n"
        "import crewcap.gateway.watching.telemetry\n"
        "import crewcap.app, crewcap.stores.sqlite.ledger, crewcap.stores.sqlite.savings, crewcap.prices\n"
        "print([name for name in sys.modules if name in ('pydantic', 'genai_prices', 'httpx2', 'rich')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
