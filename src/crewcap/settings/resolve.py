"""What a settings file means: defaults filled in, names checked against one another."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from crewcap.agents import AGENTS
from crewcap.core.budget import ALL, WINDOWS, Scope
from crewcap.core.hostnames import is_name
from crewcap.core.limits import COUNT_KINDS, RATE_KINDS, bounds
from crewcap.core.money import Money
from crewcap.core.notices import OF_MONEY, parse_wish
from crewcap.core.routing import Rule
from crewcap.core.services import PORTS, nearest_service
from crewcap.settings.hosts import refuse_providers
from crewcap.settings.keysource import KeySource
from crewcap.settings.locate import dotted
from crewcap.settings.misplaced import Misplaced, Place, known
from crewcap.settings.models import (
    BudgetFile,
    ProviderFile,
    RegistryFile,
    RepoSettings,
    RouteFile,
    Settings,
    SettingsFile,
)
from crewcap.settings.served import DEFAULT, BudgetLine, DialectName, GatewaySettings, LimitLine, ProviderSettings
from crewcap.settings.unattended import check_notify, check_schedules, check_triggers, slots_of
from crewcap.settings.values import Wrong, is_loopback, nearest, quoted, read_host, read_scope
from crewcap.settings.variables import reigns

DEFAULT_DAY = Money.usd("25.00")
_IDENTITY = re.compile(r"[a-z]+:\S{1,200}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Vendor:
    """What holds for a provider that is named and nothing else."""

    dialect: DialectName
    base_url: str
    variable: str
    prices: str
    plan_variable: str = ""  # where a subscription's token is found; empty = as a key is


_PLAN = "CLAUDE_CODE_OAUTH_TOKEN"  # as `claude setup-token` prints it
VENDORS: Mapping[str, Vendor] = {
    "anthropic": Vendor("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY", "anthropic", _PLAN),
    "openai": Vendor("openai", "https://api.openai.com", "OPENAI_API_KEY", "openai"),
    "gemini": Vendor("gemini", "https://generativelanguage.googleapis.com", "GEMINI_API_KEY", "google"),
}


_FIRST_FREE_PORT = 1_024
_TAKEN_INSIDE: Mapping[int, str] = {8_787: "the gateway", 3_128: "setup's proxy"}


def resolve(
    written: SettingsFile,
    *,
    source: str,
    origin: Callable[[Place], str],
    said: Collection[Place],
    environ: Mapping[str, str],
) -> Settings:
    """Everything that a file means; `Misplaced` names the key that cannot be meant.

    The environment says which providers there are, where the file says none.
    """
    providers = _providers(_usual_providers(environ) if written.providers is None else written.providers)
    _check_names(written)
    _check_repos(written, providers)
    _check_agents(written)
    check_schedules(written)
    check_triggers(written)
    _check_prices(written)
    check_notify(written)
    budgets = _budgets(written)
    return Settings(
        providers=providers,
        defaults=written.defaults,
        budgets=budgets or (BudgetLine(scope=ALL, window="day", amount=DEFAULT_DAY),),
        rates=_rates(written),
        slots=slots_of(written),
        timezone=written.budgets.timezone,
        teams=written.teams,
        users=written.users,
        repos=written.repos,
        routes=tuple(rule_of(route) for route in _named_once(written.routes)),
        gateway=GatewaySettings(**dict(written.gateway)),
        price_overrides=written.prices.overrides or "",
        store_url=written.store.url or "",
        registries=_registries(written, providers),
        git=written.git,
        schedules=written.schedules,
        serve=written.serve,
        triggers={str(name): trigger for name, trigger in written.triggers.items()},
        notify=written.notify,
        tells_of_money=any(parse_wish(word).kind in OF_MONEY for each in written.notify for word in each.on),
        watch=written.watch,
        source=source,
        written_routes=written.routes,
        origins={**_origins(said, origin), **({} if budgets else {"budgets": DEFAULT})},
    )


def rule_of(route: RouteFile) -> Rule:
    """A route as the core's rule."""
    match = route.match
    return Rule(
        name=route.name or "",
        label=match.label,
        repo=match.repo,
        path=match.path,
        trigger=match.trigger,
        workflow=match.workflow,
        title=match.title,
        author_trust=match.author_trust,
        left_below=match.left_below,
        agent=route.agent,
        model=route.model,
        subagent_model=route.subagent_model,
        effort=route.effort,
        thinking_tokens=route.thinking_tokens,
        cap=route.cap,
        max_turns=route.max_turns,
        max_agents=route.max_agents,
        max_depth=route.max_depth,
        max_concurrent=route.max_concurrent,
        timeout_s=route.timeout_s,
        max_output=route.max_output,
        check=route.check,
        priority=route.priority,
        hours=route.hours,
    )


def _origins(said: Collection[Place], origin: Callable[[Place], str]) -> dict[str, str]:
    return {dotted(path): origin(path) for path in said}


GOOGLES_OWN = "GOOGLE_API_KEY"  # what Google's SDK looks for as well
_KEY_VARIABLES = frozenset({vendor.variable for vendor in VENDORS.values()} | {_PLAN, GOOGLES_OWN})


def _usual_providers(environ: Mapping[str, str]) -> dict[str, ProviderFile]:
    """The vendors whose usual key variable is set; Anthropic, where none is."""
    found = {name: ProviderFile() for name, vendor in VENDORS.items() if environ.get(vendor.variable)}
    if "gemini" not in found and environ.get(GOOGLES_OWN):
        found["gemini"] = ProviderFile(key=KeySource("env", GOOGLES_OWN))
    return found or {"anthropic": ProviderFile()}


def _providers(files: Mapping[str, ProviderFile]) -> dict[str, ProviderSettings]:
    providers = {name: _provider(name, file) for name, file in files.items()}
    spoken: dict[str, str] = {}
    for name, provider in providers.items():
        if provider.dialect in spoken:
            raise Misplaced(
                ("providers", name),
                f"{spoken[provider.dialect]} speaks the {provider.dialect} dialect already",
                "keep one provider for each dialect",
            )
        spoken[provider.dialect] = name
    return providers


def _provider(name: str, file: ProviderFile) -> ProviderSettings:
    here = ("providers", name)
    vendor = VENDORS.get(name)
    dialect = file.dialect or (vendor.dialect if vendor else None)
    if dialect is None:
        near = nearest(name, VENDORS)
        hint = f"did you mean [providers.{near}]? else " if near else ""
        raise Misplaced(here, "`dialect` is missing", f'{hint}say which protocol it speaks: dialect = "anthropic"')
    base_url = file.base_url or (vendor.base_url if vendor else None)
    if base_url is None:
        raise Misplaced(here, "`base_url` is missing", 'write it as base_url = "https://..."')
    theirs = VENDORS[dialect]
    is_theirs = urlsplit(base_url).hostname == urlsplit(theirs.base_url).hostname
    if file.prices is None and not is_theirs:
        raise Misplaced(
            (*here, "base_url") if file.base_url else here,
            f"this is not {dialect}'s own address, so its prices are not known",
            f'name the price list that holds there: prices = "{theirs.prices}"',
        )
    is_plan = file.billing == "subscription"
    variable = (is_plan and vendor.plan_variable) or vendor.variable if vendor else ""
    key = file.key or (KeySource("env", variable) if variable else None)
    return ProviderSettings(
        name=name,
        dialect=dialect,
        key=key,
        base_url=base_url,
        billing=file.billing,
        share=file.share,
        prices=file.prices or theirs.prices,
    )


def _scopes(written: SettingsFile) -> Mapping[str, BudgetFile]:
    return written.budgets.__pydantic_extra__ or {}


def _budgets(written: SettingsFile) -> tuple[BudgetLine, ...]:
    lines = []
    for text, budget in _scopes(written).items():
        try:
            scope = read_scope(text)
        except Wrong as error:
            near = nearest(text, ["timezone", "all"])
            raise Misplaced(
                ("budgets", text), error.message, f"did you mean `{near}`?" if near else error.help
            ) from None
        for window in WINDOWS:
            amount = getattr(budget, window)
            if amount is not None:
                lines.append(BudgetLine(scope=scope, window=window, amount=amount))
    return tuple(lines)


def _rates(written: SettingsFile) -> tuple[LimitLine, ...]:
    lines = tuple((text, line) for text, file in _scopes(written).items() for line in _rates_of(read_scope(text), file))
    for text, line in lines:
        _, most = bounds(line.kind)
        if line.count > most:
            here = ("budgets", text, line.kind, *((line.window,) if line.window else ()))
            raise Misplaced(here, f"{line.count} is more than anybody could use", f"write at most {most:_}")
    return tuple(line for _, line in lines)


def _rates_of(scope: Scope, budget: BudgetFile) -> Iterator[LimitLine]:
    for rate in RATE_KINDS:
        if (count := getattr(budget, rate)) is not None:
            yield LimitLine(scope=scope, kind=rate, count=count)
    for kind in COUNT_KINDS:
        table = getattr(budget, kind)
        for window in WINDOWS:
            if table is not None and (count := getattr(table, window)) is not None:
                yield LimitLine(scope=scope, kind=kind, window=window, count=count)


def _check_names(written: SettingsFile) -> None:
    """Names that will stand in a scope must fit into one; a name elsewhere belongs to one user."""
    for table, kind in (("teams", "team"), ("users", "user"), ("repos", "repo")):
        for name in getattr(written, table):
            try:
                read_scope(f"{kind}:{name}")
            except Wrong:
                raise Misplaced((table, name), "this name has a space, a quote or is too long") from None
    owner: dict[str, str] = {}
    for user, identities in written.users.items():
        for index, identity in enumerate(identities):
            here = ("users", user, index)
            if not _IDENTITY.match(identity):
                raise Misplaced(here, f"{quoted(identity)} does not say where", 'write it as "github:ana-dev"')
            if owner.setdefault(identity, user) != user:
                raise Misplaced(here, f"{quoted(identity)} is {owner[identity]} already", "keep one of them")


def _check_repos(written: SettingsFile, providers: Mapping[str, ProviderSettings]) -> None:
    for name, repo in written.repos.items():
        here = ("repos", name)
        known(repo.team, written.teams, (*here, "team"), "team")
        _check_secrets(repo, providers, here)
        _check_ports(repo, providers, here)
        check_repo(repo, providers, here=here)


def check_repo(repo: RepoSettings, providers: Mapping[str, ProviderSettings], *, here: Place) -> None:
    """What holds for a repository's settings whoever wrote them."""
    for service in repo.services:
        if service not in PORTS:
            near = nearest_service(service) or nearest(service, PORTS)
            hint = f'did you mean "{near}"?' if near else f"there is {', '.join(PORTS)}; others come in with `ports`"
            raise Misplaced((*here, "services"), f"there is no service {quoted(service)}", hint)
    try:
        refuse_providers(repo.hosts, more=_hosts_of(providers))
    except Wrong as error:
        raise Misplaced((*here, "hosts"), error.message, error.help) from None


def _hosts_of(providers: Mapping[str, ProviderSettings]) -> list[str]:
    return [urlsplit(provider.base_url).hostname or "" for provider in providers.values()]


def _check_secrets(repo: RepoSettings, providers: Mapping[str, ProviderSettings], here: Place) -> None:
    """An agent can read a repository's secrets, so a provider's key is none of them."""
    keys = {provider.key for provider in providers.values()}
    for variable, source in repo.secrets.items():
        path = (*here, "secrets", variable)
        if not _VARIABLE.match(variable):
            raise Misplaced(path, "this is not the name of an environment variable")
        if source in keys or variable in _KEY_VARIABLES:
            raise Misplaced(
                path,
                "a provider's key may not be given to agents: they would spend past every cap",
                "take it out; agents reach models through the gateway",
            )
        if reigns(variable):
            raise Misplaced(
                path,
                "programs obey this variable: it says what they load or where they connect, and is no secret",
                f"give the secret a name that only your tests read, like SHOP_{variable.upper()[:24]}",
            )


def _check_ports(repo: RepoSettings, providers: Mapping[str, ProviderSettings], here: Place) -> None:
    """A port inside must be free there, and may not lead to a provider."""
    taken = {**_TAKEN_INSIDE, **{PORTS[service]: service for service in repo.services if service in PORTS}}
    for inside, address in repo.ports.items():
        path = (*here, "ports", str(inside))
        if inside < _FIRST_FREE_PORT or inside in taken:
            whose = taken.get(inside, "the system")
            raise Misplaced(path, f"port {inside} inside belongs to {whose}", "give it another number")
        _refuse_metered(address, providers, path)


def _refuse_metered(address: str, providers: Mapping[str, ProviderSettings], path: Place) -> None:
    """No way of a project's may lead to where models are reached: by a host's name, on this machine by its port."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    theirs = [urlsplit(provider.base_url) for provider in providers.values()]
    try:
        refuse_providers([host], more=[each.hostname or "" for each in theirs if not is_loopback(each.hostname or "")])
    except Wrong as error:
        raise Misplaced(path, error.message, error.help) from None
    here = {_port_of(each) for each in theirs if is_loopback(each.hostname or "")}
    if is_loopback(host) and int(port) in here:
        raise Misplaced(path, "this is the address of a model provider", "agents reach models through the gateway")


def _port_of(address: SplitResult) -> int:
    return address.port or (443 if address.scheme == "https" else 80)


def _registries(written: SettingsFile, providers: Mapping[str, ProviderSettings]) -> Mapping[str, RegistryFile]:
    """Package hosts by name, each with at most one credential, and a whole one; none of them is a provider's."""
    for host, registry in written.registries.items():
        here = ("registries", host)
        try:
            refuse_providers([read_host(host)], more=_hosts_of(providers))
        except Wrong as error:
            raise Misplaced(here, error.message, error.help) from None
        if not is_name(host):
            raise Misplaced(
                here, "a registry is one host, in lower case", 'write it as [registries."npm.acme.example"]'
            )
        _check_registry(registry, here)
        if registry.address is not None:
            _refuse_metered(registry.address, providers, (*here, "address"))
            _refuse_gateway(registry.address, written.serve.listen, (*here, "address"))
        for index, repo in enumerate(registry.repos):
            known(repo, written.repos, (*here, "repos", index), "repository")
    return written.registries


def _refuse_gateway(address: str, listen: str, path: Place) -> None:
    """What answers there is `crewcap serve`, whatever name of this machine it is called by."""
    (host, _, port), (ours, _, our_port) = address.rpartition(":"), listen.rpartition(":")
    is_here = is_loopback(host.strip("[]")) or host == ours
    if is_here and port == our_port:
        raise Misplaced(path, f"this is where crewcap's own gateway listens ({listen})", "name the registry's own port")


def _check_registry(registry: RegistryFile, here: Place) -> None:
    has_user, has_password = bool(registry.user), registry.password is not None
    if has_user != has_password or (has_user and registry.token is not None):
        raise Misplaced(here, "a registry has a `token`, or a `user` and a `password`", 'token = { env = "NAME" }')
    if registry.token is None and not has_user and registry.address is None and not registry.ca:
        raise Misplaced(here, "nothing is said about this registry", 'token = { env = "NAME" }')
    if registry.ca and not registry.ca.startswith(("/", "~/")):
        raise Misplaced((*here, "ca"), f"{quoted(registry.ca)} is not a whole path", "start it with / or ~/")


def _check_agents(written: SettingsFile) -> None:
    known(written.defaults.agent, AGENTS, ("defaults", "agent"), "agent")
    for name, path in written.defaults.agent_path.items():
        known(name, AGENTS, ("defaults", "agent_path", name), "agent")
        if not path.startswith(("/", "~/")):
            raise Misplaced(("defaults", "agent_path", name), f"{quoted(path)} is not a whole path", "start it with /")
    for index, route in enumerate(written.routes):
        known(route.agent or "", AGENTS, ("routes", index, "agent"), "agent")


def _named_once(routes: tuple[RouteFile, ...]) -> tuple[RouteFile, ...]:
    seen: set[str] = set()
    for index, route in enumerate(routes):
        if route.name in seen:
            raise Misplaced(("routes", index, "name"), f"there is a route {quoted(route.name)} already", "rename one")
        seen.update([route.name] if route.name else [])
    return routes


def _check_prices(written: SettingsFile) -> None:
    """A path that begins somewhere else for each command would be another file for each."""
    path = written.prices.overrides
    if path is not None and not path.startswith(("/", "~/")):
        raise Misplaced(("prices", "overrides"), f"{quoted(path)} is not a whole path", "start it with / or ~/")
