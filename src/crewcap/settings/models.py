"""What a settings file may say, and the frozen `Settings` that everything else reads.

`SettingsFile` is the file as written (its keys are the promise to users, others are refused); `Settings` is what it
means, with every default filled in. A field whose unit is in its name (`timeout_s`) is written
without it (`timeout = "45m"`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from crewcap.core.admission import Slots
from crewcap.core.money import Money
from crewcap.core.routing import Rule
from crewcap.core.schedules import CatchUp, Overlap
from crewcap.core.watch_rules import MEANINGS, RuleName, Rules
from crewcap.settings import watch
from crewcap.settings.kinds import (
    Amount,
    Attempts,
    BaseUrl,
    Cap,
    Count,
    Cron,
    Duration,
    Effort,
    Endpoint,
    FileSize,
    Hosts,
    HoursOfDay,
    InnerPaths,
    Keeping,
    Listen,
    ModelName,
    Offers,
    Places,
    Ports,
    Priority,
    SandboxChoice,
    Share,
    Size,
    Source,
    StoreUrl,
    Text,
    Texts,
    UserName,
    WatchRule,
    Wishes,
    Zone,
)
from crewcap.settings.locate import dotted
from crewcap.settings.served import DialectName, Served

_TIMEOUT = "Wall clock of a run's setup, first check and agent; the check of its work has 30 minutes of its own."


class Part(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)


class ProviderFile(Part):
    """One provider of models, as written."""

    dialect: DialectName | None = Field(None, description="The protocol it speaks; by default the provider's name.")
    key: Source | None = Field(None, description="Where its key is kept. A pasted key is refused.")
    base_url: BaseUrl | None = Field(None, description="Where requests go; plain http only to loopback.")
    billing: Literal["metered", "subscription"] = Field("metered", description="How the provider charges.")
    share: Share = Field(100, description="The part of the organisation's rate limits that crewcap may use.")
    prices: Text | None = Field(None, description="Whose price list holds; must be said where base_url is not theirs.")


class Defaults(Part):
    """What holds for a run when no route says otherwise."""

    user: UserName = Field(
        "",
        description="Whose money a run or exec from the keyboard is; empty = who has `local:LOGIN` in [users], else "
        "the login, unless people are named or user:unknown is limited: then unknown.",
    )
    agent: Text = Field("claude", description="The agent's command line.")
    model: ModelName = Field("sonnet", description="Resolved once; the full id is kept on the run.")
    subagent_model: ModelName = Field("", description="Model of subagents; empty = the main model.")
    effort: Effort = Field("", description="How hard the model thinks; empty leaves it to the agent.")
    thinking_tokens: Count | None = Field(None, description="Thinking budget of each answer.")
    cap: Cap = Field(Money.usd("5.00"), description="The most that one run may cost.")
    issue_cap: Cap = Field(Money.usd("10.00"), description="The most that all runs of one issue may cost.")
    max_turns: Count = Field(40, description="Requests that a run may send, subagents included.")
    max_agents: Count | None = Field(None, description="Subagents that a run may have in all; none said = no limit.")
    max_depth: Count | None = Field(None, description="How deep subagents may be nested: 1 = they start none.")
    max_concurrent: Count | None = Field(None, description="Requests of a run at the same time; more of them wait.")
    timeout_s: Duration = Field(2_700, alias="timeout", description=_TIMEOUT)
    no_progress_s: Duration = Field(900, alias="no_progress", description="A run without any sign of life is stopped.")
    sandbox: SandboxChoice = Field("auto", description="auto = bubblewrap or Landlock, never weaker.")
    memory_bytes: Size = Field(8 << 30, alias="memory", description="The most that a run may use of it.")
    cpus: Count | None = Field(None, description="Processors that a run may keep busy; none said = all.")
    disk_bytes: Size = Field(20 << 30, alias="disk", description="What a run's folders may hold.")
    processes: Count = Field(2_000, description="Processes and threads of a run at the same time.")
    fix_attempts: Attempts = Field(2, description="How often a red check goes back into the session.")
    max_output: Count = Field(16_000, description="Output limit of one answer, in tokens.")
    agent_path: Mapping[str, Text] = Field(default_factory=dict, description="Where an agent's program lies.")
    waiting_expires_s: Keeping = Field(
        14 * 86_400,
        alias="waiting_expires",
        description="A run that waits longer for an answer ends; its branch stays.",
    )
    retention_s: Keeping = Field(
        14 * 86_400, alias="retention", description="How long the workspace of a run that has ended is kept."
    )
    disk_floor_bytes: Size = Field(
        2 << 30, alias="disk_floor", description="With less room than this on the disk no run starts."
    )
    questions: Offers = Field(
        (Money.usd(2), Money.usd(5)), description="Dollars that can be added with one word when a run is at its cap."
    )


class RouteMatch(Part):
    """When a route holds: every key that is said must match."""

    label: Texts = Field((), description="One of the issue's labels.")
    repo: Texts = Field((), description="The repository's name; * matches anything.")
    path: Texts = Field((), description="Path of the issue's file; * matches anything.")
    trigger: Texts = Field((), description="What started the run.")
    workflow: Texts = Field((), description="The workflow's name.")
    title: Texts = Field((), description="Part of the issue's title; * matches anything.")
    author_trust: Texts = Field((), description="What the author may do in the repository.")
    left_below: Amount | None = Field(None, description="Holds when less than this is left in some budget.")


class RouteFile(Part):
    """One route; the first that matches wins."""

    name: Text | None = Field(None, description="Lets a repository's own file choose this route.")
    match: RouteMatch = Field(default_factory=RouteMatch, description="When it holds; nothing said = always.")
    agent: Text | None = Field(None, description="The agent's command line.")
    model: ModelName | None = Field(None, description="Resolved once; the full id is kept on the run.")
    subagent_model: ModelName | None = Field(None, description="Model of subagents.")
    effort: Effort | None = Field(None, description="How hard the model thinks.")
    thinking_tokens: Count | None = Field(None, description="Thinking budget of each answer.")
    cap: Cap | None = Field(None, description="The most that one run may cost; the smallest of all caps binds.")
    max_turns: Count | None = Field(None, description="Requests that a run may send, subagents included.")
    max_agents: Count | None = Field(None, description="Subagents that a run may have in all.")
    max_depth: Count | None = Field(None, description="How deep subagents may be nested: 1 = they start none.")
    max_concurrent: Count | None = Field(None, description="Requests of a run at the same time; more of them wait.")
    timeout_s: Duration | None = Field(None, alias="timeout", description=_TIMEOUT)
    max_output: Count | None = Field(None, description="Output limit of one answer, in tokens.")
    check: Text | None = Field(None, description="Instead of the repository's own check.")
    priority: Priority | None = Field(
        None, description="Of two queued runs the higher is first; -100 to 100, 0 = usual."
    )
    hours: HoursOfDay | None = Field(None, description='When such runs may start, in budgets.timezone: "20:00-07:00".')


class CountsPerWindow(Part):
    """How many of something in a window."""

    total: Count | None = Field(None, description="Ever.")
    day: Count | None = Field(None, description="A day of the calendar.")
    week: Count | None = Field(None, description="A week of the calendar.")
    month: Count | None = Field(None, description="A month of the calendar.")


class BudgetFile(Part):
    """Budgets and limits of one scope."""

    total: Amount | None = Field(None, description="Money, ever.")
    day: Amount | None = Field(None, description="Money a day of the calendar.")
    week: Amount | None = Field(None, description="Money a week of the calendar.")
    month: Amount | None = Field(None, description="Money a month of the calendar.")
    tpm: Count | None = Field(None, description="Tokens a minute, without cache reads; a request waits for them.")
    rpm: Count | None = Field(None, description="Requests a minute; a request waits for its turn.")
    concurrent: Count | None = Field(None, description="Requests at the same time; a request waits for its turn.")
    runs: CountsPerWindow | None = Field(None, description="Runs that begin in a window: `{ day = 40 }`.")
    tokens: CountsPerWindow | None = Field(None, description="Tokens in a window, cache reads included.")
    hours: CountsPerWindow | None = Field(None, description="Hours of runs at work in a window, added up.")


class BudgetsFile(Part):
    """Money and limits by scope."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, BudgetFile] = Field(init=False)
    timezone: Zone = Field("UTC", description="The zone whose midnights begin a day, a week and a month.")


class SlotsFile(Part):
    """How many runs are at work at once; the others are queued. 0 = no limit."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Places] = Field(init=False)
    all: Places = Field(8, description="All runs together.")
    team: Places = Field(0, description="Runs of each team.")
    repo: Places = Field(4, description="Runs in each repository.")


class RepoSettings(Part):
    """One repository."""

    url: Text = Field("", description="Where it is cloned from: an address or a local path.")
    team: Text = Field("", description="Whose budget its runs count against.")
    setup: Text = Field("", description="Run in the sandbox before the agent; kept and reused.")
    check: Text = Field("", description="Run before and after the agent; costs no tokens.")
    hosts: Hosts = Field((), description="Named lists or host names, reachable during setup only.")
    services: Texts = Field((), description="Started inside the sandbox: postgres, redis.")
    include: InnerPaths = Field(
        (), description="Ignored files of your working folder that a run needs; `*` and `**` may be used."
    )
    instructions: Text = Field("", description="Added to the prompt of every run.")
    hosts_during_run: StrictBool = Field(False, description="The agent and the check reach the same hosts as setup.")
    tools: Texts = Field((), description='Toolchains outside of /usr, shown read-only at their own paths: "~/.nvm".')
    ports: Ports = Field(default_factory=dict, description="A port inside -> one host and port of yours; a loosening.")
    paths: InnerPaths = Field((), description="The folders of a big repository that a workspace holds; none = all.")
    submodules: StrictBool = Field(True, description="Submodules are fetched by crewcap before the agent starts.")
    lfs: StrictBool = Field(True, description="Large files (Git LFS) are fetched by crewcap before the agent starts.")
    memory_bytes: Size | None = Field(None, alias="memory", description="Instead of defaults.memory.")
    cpus: Count | None = Field(None, description="Instead of defaults.cpus.")
    disk_bytes: Size | None = Field(None, alias="disk", description="Instead of defaults.disk.")
    secrets: Mapping[str, Source] = Field(
        default_factory=dict, description="Variables for check and agent, which can read them; not for setup."
    )
    cap: Cap | None = Field(None, description="The most that one run may cost here; only ever lowers.")
    issue_cap: Cap | None = Field(None, description="The most that one issue may cost here; only ever lowers.")


class RegistryFile(Part):
    """A package host of your own: its credential is added outside, to requests that read, and is never inside."""

    token: Source | None = Field(None, description="Sent as `Authorization: Bearer`; this, or user and password.")
    user: Text = Field("", description="Sent with the password as `Authorization: Basic`.")
    password: Source | None = Field(None, description="Where the user's password is kept.")
    address: Endpoint | None = Field(
        None, description="Where it is, if names do not tell or it lies in a private network; a loosening."
    )
    ca: Text = Field("", description="PEM file of the authority that vouches for it; a whole path.")
    repos: Texts = Field((), description="Repositories that may use it, by their names here; none said = all.")


class GitFile(Part):
    """What stands in the commits that runs bring home."""

    author: Text = Field("crewcap", description="Name of their author and committer.")
    email: Text = Field("crewcap@users.noreply.invalid", description="Their address.")
    sign_off: StrictBool = Field(False, description="Add a `Signed-off-by` line.")
    signing_key: Text = Field("", description="An SSH key's file that signs them; empty = they are not signed.")


class GatewayFile(Part):
    """The metering gateway."""

    allow: frozenset[str] = Field(frozenset(), description="Fields, tools and betas that capped keys may use, by name.")
    wait_s: Duration = Field(300, alias="wait", description="How long a request waits for money that others hold.")
    drain_s: Duration = Field(120, alias="drain", description="How long an answer is read after its client left.")
    idle_s: Duration = Field(300, alias="idle", description="How long a provider may be silent inside an answer.")
    retries: Attempts = Field(5, description="How often a provider is asked again that failed before it answered.")
    retry_s: Duration = Field(180, alias="retry_for", description="How long all of that may take, waits included.")
    geo: Literal["us", "global"] = Field("us", description="The dearest region that a request may be billed for.")
    strict_betas: StrictBool = Field(False, description="Refuse betas that this version does not know.")
    batch_share: Share = Field(50, description="The part of a budget's window that batch jobs may hold.")
    batch_poll_s: Duration = Field(30, alias="batch_poll", description="How often the provider is asked after a batch.")


class PricesFile(Part):
    """What models cost, where you know better than the shipped price list."""

    overrides: Text | None = Field(None, description="A price file of your own, laid over the shipped one.")


class StoreFile(Part):
    """Where the ledger is kept."""

    url: StoreUrl | None = Field(
        None,
        description="A PostgreSQL database that gateways share, made by `crewcap ledger migrate`; its password is in"
        " `$PGPASSWORD` or `~/.pgpass`. By default `ledger.db` in the state directory.",
    )


class ScheduleFile(Part):
    """A run that starts by the clock."""

    name: Text = Field(description="What it is called; its runs are too.")
    cron: Cron = Field(description="Minute, hour, day, month, weekday; or @hourly, @daily, @weekly, @monthly, @yearly.")
    repo: Text = Field(description="The repository, by its name in these settings or by its whole path.")
    prompt: Text | None = Field(None, description="What is asked; this, or a file.")
    prompt_file: Text | None = Field(
        None, description="A file with what is asked; beside these settings, or a whole path."
    )
    timezone: Zone | None = Field(
        None, description="Whose wall clock the cron line means; by default budgets.timezone."
    )
    jitter_s: Duration | None = Field(
        None, alias="jitter", description="Each start is later by up to this, always the same for the same due time."
    )
    catch_up: CatchUp = Field(
        "one",
        description="What is run of due times that passed while nothing served; the newest is on time up to 5 minutes"
        " late.",
    )
    overlap: Overlap = Field("skip", description="What is done about a due time while a run of the schedule is open.")
    cap: Cap | None = Field(None, description="The most that one such run may cost; only ever lowers.")
    model: ModelName | None = Field(None, description="Instead of what a route or the defaults say.")
    agent: Text | None = Field(None, description="Instead of what a route or the defaults say.")
    hours: HoursOfDay | None = Field(
        None, description="When its runs may start, in its time zone; they queue until then."
    )
    priority: Priority | None = Field(
        None, description="Of two queued runs the higher is first; -100 to 100, 0 = usual."
    )
    workflow: Text = Field("", description="What its runs are counted and compared under; empty = the schedule's name.")

    @property
    def workflow_name(self) -> str:
        """The name behind `workflow:` in budgets."""
        return self.workflow or self.name


class ServeFile(Part):
    """What `crewcap serve` does beside running runs."""

    listen: Listen = Field("127.0.0.1:8787", description="Where it is reached: an address of this machine and a port.")
    drain_s: Duration = Field(
        120, alias="drain", description="How long its end waits for requests under way and for agents."
    )
    log_bytes: FileSize = Field(50 << 20, description="A log that has become so large is put aside.")
    logs_kept: Count = Field(5, description="How many logs that were put aside are kept.")
    watch_usage: StrictBool = Field(
        False, description="Import the transcripts of agents on this machine continuously: every 30 s what has changed."
    )
    follow_edits: StrictBool = Field(
        True, description="A run is told when its issue is changed, and goes on where it had ended."
    )


class TriggerFile(Part):
    """A tracker that starts runs."""

    repos: Texts = Field((), description="Repositories by their names in these settings; none = all.")
    label: Text | None = Field(None, description="Issues with this label are taken.")
    team: Text | None = Field(None, description="Issues of this team of the tracker are taken (Linear).")
    url: BaseUrl | None = Field(None, description="Where the tracker is, when it is not the vendor's own.")
    token: Source | None = Field(None, description="Where the token is kept (GitHub, GitLab).")
    key: Source | None = Field(None, description="Where the key is kept (Linear).")
    secret: Source | None = Field(None, description="Proves that a webhook is genuine.")


class NotifyFile(Part):
    """Who is told about what."""

    on: Wishes = Field(description='Words: `"waiting"`, `"failed"`, `"done"`, `"budget 80%"`, `"forecast 100%"`.')
    webhook: Source | None = Field(None, description="Where the address is kept; it is a secret. Slack, Discord, ...")
    command: Texts = Field((), description="A program of yours: the words come as its last argument.")
    desktop: StrictBool = Field(False, description="A message on this machine's desktop.")
    log: Text | None = Field(None, description="A file that gets a line of JSON for each.")
    quiet: HoursOfDay | None = Field(None, description="Hours without messages.")


def _rule(name: RuleName) -> Any:
    """One rule of the watch, as usual, and in words."""
    usual, meaning = watch.USUAL[name], MEANINGS[name]
    bounds = f"a note at {usual.note_at}, more at {usual.act_at} {meaning.unit}"
    return Field(usual, description=f"{meaning.looks_for[:1].upper()}{meaning.looks_for[1:]}; {bounds}.")


class WatchFile(Part):
    """What is done about signs of a runaway."""

    spend: WatchRule = _rule("spend")
    repeats: WatchRule = _rule("repeats")
    no_change: WatchRule = _rule("no_change")
    cache: WatchRule = _rule("cache")
    storm: WatchRule = _rule("storm")
    fan_out: WatchRule = _rule("fan_out")
    context: WatchRule = _rule("context")
    stalled: WatchRule = _rule("stalled")
    projection: WatchRule = _rule("projection")
    spend_floor: Amount = Field(watch.USUAL.spend_floor, description="Less than this in five minutes is no runaway.")
    prompt_floor: Count = Field(watch.USUAL.prompt_floor, description="Tokens from which on a prompt is large.")
    depth_at: Count = Field(watch.USUAL.depth_at, description="Agents nested so deep are noted.")


class SettingsFile(Part):
    """A whole settings file, as users write it."""

    providers: dict[str, ProviderFile] | None = Field(None, description="Where models come from.")
    defaults: Defaults = Field(default_factory=Defaults, description="What holds when no route says otherwise.")
    budgets: BudgetsFile = Field(default_factory=BudgetsFile, description="Money and limits by scope.")
    slots: SlotsFile = Field(default_factory=SlotsFile, description="How many runs are at work at once.")
    teams: dict[str, Texts] = Field(default_factory=dict, description="Team -> users.")
    users: dict[str, Texts] = Field(
        default_factory=dict, description='User -> names elsewhere: "github:ana-dev", "local:ana".'
    )
    repos: dict[str, RepoSettings] = Field(default_factory=dict, description="Repositories by name.")
    routes: tuple[RouteFile, ...] = Field((), description="Which agent, model and cap; the first match wins.")
    registries: dict[str, RegistryFile] = Field(default_factory=dict, description="Package hosts with a credential.")
    git: GitFile = Field(default_factory=GitFile, description="What stands in the commits of runs.")
    gateway: GatewayFile = Field(default_factory=GatewayFile, description="The metering gateway.")
    prices: PricesFile = Field(default_factory=PricesFile, description="What models cost.")
    store: StoreFile = Field(default_factory=StoreFile, description="Where the ledger is kept.")
    schedules: tuple[ScheduleFile, ...] = Field((), description="Runs that start by the clock.")
    serve: ServeFile = Field(default_factory=ServeFile, description="What `crewcap serve` does.")
    triggers: dict[Literal["github", "gitlab", "linear"], TriggerFile] = Field(
        default_factory=dict, description="Trackers that start runs."
    )
    notify: tuple[NotifyFile, ...] = Field((), description="Who is told about what.")
    watch: WatchFile = Field(default_factory=WatchFile, description="Signs of a runaway, and what is done about them.")


@dataclass(frozen=True, kw_only=True)
class Settings(Served):
    """Everything that was set, and what holds where nothing was."""

    defaults: Defaults = field(default_factory=Defaults)
    teams: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    repos: Mapping[str, RepoSettings] = field(default_factory=dict)
    routes: tuple[Rule, ...] = ()
    registries: Mapping[str, RegistryFile] = field(default_factory=dict)
    git: GitFile = field(default_factory=GitFile)
    slots: Slots = field(default_factory=Slots)
    schedules: tuple[ScheduleFile, ...] = ()
    serve: ServeFile = field(default_factory=ServeFile)
    triggers: Mapping[str, TriggerFile] = field(default_factory=dict)
    notify: tuple[NotifyFile, ...] = ()
    watch: WatchFile = field(default_factory=WatchFile)
    written_routes: tuple[RouteFile, ...] = ()

    @property
    def watch_rules(self) -> Rules:
        """The rules of the watch."""
        return watch.rules_of(self.watch)

    def zone_of(self, schedule: ScheduleFile) -> str:
        """Whose wall clock a schedule goes by."""
        return schedule.timezone or self.timezone

    def prompt_file_of(self, schedule: ScheduleFile) -> Path | None:
        """The file that holds what a schedule asks; a path that does not begin at the top lies beside the settings."""
        if schedule.prompt_file is None:
            return None
        return Path(self.source).parent / Path(schedule.prompt_file).expanduser()

    def where(self, *path: str) -> str:
        """`/etc/crewcap.toml, line 7`: where a key was said, as far as it was."""
        name, _, line = self.origins.get(dotted(path), self.source).rpartition(":")
        return f"{name}, line {line}" if name and line.isdigit() else self.source

    def team_of(self, user: str) -> tuple[str, ...]:
        """The teams that a user is in."""
        return tuple(name for name, members in self.teams.items() if user in members)

    def user_of(self, identity: str) -> str:
        """The user behind a name elsewhere (`github:ana-dev`), else `unknown` (MONEY 4)."""
        return next((user for user, names in self.users.items() if identity in names), "unknown")
