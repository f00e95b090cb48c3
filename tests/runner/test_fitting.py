"""A run with everything that its project needs beside its tree: secrets, lent files, what setup made, a moved base."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.runner.fake_agent import finished, fixes
from tests.runner.rig import ISSUE, Rig, Shop, stepped

from crewcap.core.runs import RunState, Verdict
from crewcap.runner.fitting import limits_of
from crewcap.settings.keysource import KeySource
from crewcap.settings.models import RegistryFile, RepoSettings
from crewcap.workspaces import SANDBOXES
from crewcap.workspaces.egress.environ import system_bundle

SECRET = "tok-5f2a9c81d0e7"
SECRETS = {"SHOP_TOKEN": KeySource(kind="env", value="SHOP_TOKEN_HERE")}
SHOWS_IT = "echo \"token is $SHOP_TOKEN.\"; grep -q 'a + b' adder.py"
LENT = "PASSWORD=lent-9f8e7d6c5b\n"


def play(shop: Shop, act: Callable[[Rig], Awaitable[None]], *starts: Any, **options: Any) -> None:
    """Open a run of this agent and look at it."""

    async def main() -> None:
        async with shop.open(*starts, **options) as rig:
            await act(rig)

    asyncio.run(main())


def everything_written(rig: Rig) -> str:
    """All texts of a run: stored, told, logged, said by the agent."""
    told = repr(rig.moments) + repr(rig.reports) + repr(rig.stored()) + "\n".join(rig.story())
    return told + (rig.folder / "agent.jsonl").read_text("utf-8")


def test_a_secret_is_there_for_check_and_agent_and_in_no_text_of_ours(shop: Shop) -> None:
    """Not in the check's output, the agent's own lines, the story, the screen, the report, whatever is stored."""
    shop.environ["SHOP_TOKEN_HERE"] = SECRET

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (run.state, run.check_after.result) == (RunState.DONE, "passed")
        assert run.check_after.tail == "token is [secret removed]."
        assert "said I saw [secret removed]" in rig.story()
        assert SECRET not in everything_written(rig)

    says = ["say", f"I saw {SECRET}"]
    play(shop, act, [says, *fixes()], check=SHOWS_IT, secrets=SECRETS)


def test_a_registrys_token_that_an_answer_repeats_is_in_no_text_of_ours(shop: Shop) -> None:
    """It is added outside and is never in there; but the registry has it, and may say it."""
    shop.environ["TOKEN_HERE"] = SECRET
    registries = {"pypi.acme.example": RegistryFile(token=KeySource("env", "TOKEN_HERE"))}
    shop.settings = replace(shop.settings, registries=registries)

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert run.verdict == Verdict.SETUP_FAILED
        written = repr(rig.moments) + repr(rig.reports) + repr(rig.stored()) + "\n".join(rig.story())
        assert "auth=Bearer [secret removed]" in written
        assert SECRET not in written
        assert base64.b64encode(SECRET.encode()).decode() not in written

    says = f"echo auth=Bearer {SECRET}; echo auth=Bearer {SECRET} | base64; exit 9"
    play(shop, act, fixes(), setup=says, hosts=("pypi.acme.example",))


def test_setup_gets_no_secret(shop: Shop) -> None:
    """It talks to package hosts, and what it makes is kept for the runs of others."""
    shop.environ["SHOP_TOKEN_HERE"] = SECRET

    async def act(rig: Rig) -> None:
        assert (await rig.drive()).verdict == Verdict.FINISHED

    play(shop, act, fixes(), setup='test -z "$SHOP_TOKEN"', check='test -n "$SHOP_TOKEN"', secrets=SECRETS)


def test_who_may_not_write_to_the_repository_starts_no_run_with_secrets(shop: Shop) -> None:
    shop.environ["SHOP_TOKEN_HERE"] = SECRET
    shop.trust = "read"

    async def act(rig: Rig) -> None:
        assert (await rig.drive()).check_after.result == "passed"
        assert any(step.startswith("sandbox: secrets: SHOP_TOKEN: not given") for step in rig.steps())

    play(shop, act, fixes(), check='test -z "$SHOP_TOKEN"', secrets=SECRETS)


def test_a_branch_that_holds_a_secret_stays_in_the_mirror(shop: Shop) -> None:
    """The agent may write what it can read; that does not reach the user's repository."""
    shop.environ["SHOP_TOKEN_HERE"] = SECRET

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert run.commits == 1
        assert run.withheld.startswith("its commits hold the value of a secret (SHOP_TOKEN)")
        assert "branch: its commits hold the value of a secret (SHOP_TOKEN); the branch stays" in "\n".join(rig.steps())

    play(shop, act, finished(["write", "leak.txt", SECRET]), secrets=SECRETS)
    assert shop.branches() == ["main"]


def test_a_secret_in_the_issues_title_is_not_in_the_commits_message(shop: Shop) -> None:
    """The commit is named after the issue; its branch would have to stay in the mirror for words of ours."""
    shop.environ["SHOP_TOKEN_HERE"] = SECRET

    async def act(rig: Rig) -> None:
        assert (await rig.drive()).withheld == ""

    play(shop, act, fixes(), secrets=SECRETS, issue=replace(ISSUE, title=f"Why is {SECRET} refused?"))
    assert shop.git("log", "-1", "--format=%s", "crewcap/fix-sum-1") == "Why is [secret removed] refused?"


def test_a_lent_file_is_there_for_the_check_and_never_on_the_branch(shop: Shop) -> None:
    """Ignored by git and named in `include`; a second start of the run still keeps it at home."""
    _ = shop.repository
    (shop.user / "test.env").write_text(LENT)

    async def act(rig: Rig) -> None:
        run = await rig.drive()
        assert (run.check_before.result, run.check_after.result) == ("passed", "passed")
        assert run.check_after.tail == "[secret removed]"
        assert run.files_changed == 1

    play(shop, act, fixes(), check="sed s/.*=// test.env", include=("test.env",))
    assert shop.git("show", "--name-only", "--format=", "crewcap/fix-sum-1") == "adder.py"


def test_where_every_run_has_paths_of_its_own_a_setup_runs_each_time_and_says_why(shop: Shop) -> None:
    """Without a wall there are no fixed places; with one, `tests/e2e/test_projects` sees the tree reused."""

    async def act(rig: Rig) -> None:
        await rig.drive()
        assert rig.steps()[1].startswith("setup: mkdir deps: done in ")
        assert any("every run has paths of its own" in text for text in rig.story())
        assert rig.totals().requests == 0

    play(shop, act, fixes(), setup="mkdir deps")


def test_where_the_network_is_open_package_tools_trust_what_this_machine_trusts(shop: Shop) -> None:
    """A company's own authority is in the system's bundle, and npm and pip do not look there by themselves."""
    bundle = system_bundle()
    if bundle is None:
        pytest.skip("this machine has no bundle of certificates")

    async def act(rig: Rig) -> None:
        assert (await rig.drive()).verdict == Verdict.FINISHED

    trusts = f'test "$npm_config_cafile" = {bundle} && test "$PIP_CERT" = {bundle}'
    play(shop, act, fixes(), setup=trusts, check=trusts)


def test_what_setup_and_check_leave_lying_about_is_not_the_agents_work(shop: Shop) -> None:
    """But what the agent adds is, also beside it."""

    async def act(rig: Rig) -> None:
        await rig.drive()

    check = "mkdir -p build && touch build/out 'odd *[name' && true"
    play(shop, act, finished(["write", "build.py", "new"], ["write", "odd x", "new"]), check=check)
    names = shop.git("show", "--name-only", "--format=", "crewcap/fix-sum-1").splitlines()
    assert names == ["build.py", "odd x"]


def test_a_base_that_moved_is_said_with_what_it_means(shop: Shop) -> None:
    async def act(rig: Rig) -> None:
        rig.on(stepped("check before"), lambda _: shop.git("commit", "--quiet", "--allow-empty", "-m", "later"))
        run = await rig.drive()
        assert run.merge == "main moved by 1 commit; merges cleanly"
        assert f"base: {run.merge}" in rig.steps()

    play(shop, act, fixes())


@pytest.mark.parametrize(
    ("project", "held"),
    [
        (RepoSettings(), (8 << 30, None, 20 << 30)),
        (RepoSettings(memory="2G", cpus=3, disk="1G"), (2 << 30, 3, 1 << 30)),
    ],
)
def test_a_projects_own_sizes_hold_else_those_of_all(shop: Shop, project: RepoSettings, held: tuple[Any, ...]) -> None:
    limits = limits_of(shop.settings, project)
    assert (limits.memory_bytes, limits.cpus, limits.disk_bytes) == held


@pytest.mark.sandbox
def test_an_agent_that_is_a_script_starts_in_a_sandbox_at_its_own_place(shop: Shop) -> None:
    """npm installs agents as scripts: beside its one file it needs its package and its interpreter."""
    sandbox = SANDBOXES["bubblewrap"]()
    if reason := sandbox.missing():
        pytest.skip(f"bubblewrap: {reason}")
    package = shop.folder / "prefix/lib/node_modules/an-agent"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "an-agent"}')
    (package / "words.txt").write_text("hello from its package")
    program = package / "agent.py"
    program.write_text("#!/usr/bin/env python3\nprint(open(__file__.replace('agent.py', 'words.txt')).read())\n")
    program.chmod(0o755)

    async def act(rig: Rig) -> None:
        fitted = shop.fitted(rig.run, rig.plan, sandbox=sandbox, binary=program)
        for folder in (fitted.rooms.site.workspace, fitted.rooms.site.home):
            folder.mkdir(parents=True)
        sandbox.prepare(uid=shop.uid, owned=(fitted.rooms.site.workspace, fitted.rooms.site.home))
        async with fitted.rooms.opened("agent") as site:
            done = await site.perform((site.layout.binary,), timeout_s=30)
        assert (done.status, done.stdout) == (0, b"hello from its package\n"), done.stderr

    play(shop, act)
