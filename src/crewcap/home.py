"""The state directory: one place that knows which file lies where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below the state directory. Making one touches nothing; `make` does."""

    root: Path

    @classmethod
    def find(cls, given: str | None, environ: Mapping[str, str]) -> Home:
        """`--home`, else $CREWCAP_HOME, else $XDG_STATE_HOME/crewcap, else ~/.local/state/crewcap."""
        if given or environ.get("CREWCAP_HOME"):
            return cls(Path(given or environ["CREWCAP_HOME"]).expanduser().absolute())
        state = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or "~", ".local", "state")
        return cls(Path(state).expanduser().absolute() / "crewcap")

    def make(self) -> None:
        """Make the folder, for its owner alone."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def ledger(self) -> Path:
        """The books."""
        return self.root / "ledger.db"

    @property
    def marker(self) -> Path:
        """What was last seen of the books, so that a lost ledger is not taken for a new one."""
        return self.root / "ledger.marker"

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever booked here; books that are gone have left their mark."""
        return not (self.ledger.exists() or self.marker.exists())

    @property
    def boots(self) -> Path:
        """One lock file for each living gateway."""
        return self.root / "boots"

    @property
    def gateway_note(self) -> Path:
        """Where a running gateway of this home can be reached (JSON)."""
        return self.root / "gateway.json"

    @property
    def engine(self) -> Path:
        """What the engine of unattended runs knows; no part of the books, and never needed to read them."""
        return self.root / "engine.db"

    @property
    def serve_lock(self) -> Path:
        """Held by a living `crewcap serve`, and by nothing else for longer than a look."""
        return self.root / "serve.lock"

    @property
    def worker_lock(self) -> Path:
        """Held by a living worker; what it is called stands in it."""
        return self.root / "worker.lock"

    @property
    def serve_note(self) -> Path:
        """What a `crewcap serve` says of itself (JSON)."""
        return self.root / "serve.json"

    @property
    def logs(self) -> Path:
        """Logs of the gateway, of `crewcap serve`, and of commands that carry out a run by themselves."""
        return self.root / "logs"

    @property
    def serve_log(self) -> Path:
        """What `crewcap serve`, its gateway and its worker have to say."""
        return self.logs / "serve.log"

    @property
    def mirrors(self) -> Path:
        """Trusted bare mirrors, one a repository."""
        return self.root / "mirrors"

    @property
    def price_table(self) -> Path:
        """The hash of the price table, and what it was made of; made again where it is gone."""
        return self.root / "price-table"

    @property
    def usage(self) -> Path:
        """What agents' transcripts told of past usage; no part of the books."""
        return self.root / "usage.db"

    @property
    def notices(self) -> Path:
        """What was told to whom."""
        return self.root / "notices.jsonl"

    @property
    def prepared(self) -> Path:
        """What setups left, for later runs with the same recipe."""
        return self.root / "prepared"

    @property
    def batches(self) -> Path:
        """Batch jobs, one folder each, by name."""
        return self.root / "batches"

    def run(self, run_id: str) -> Path:
        """Everything of one run: workspace, private home, session, logs."""
        return self.root / "runs" / run_id
