"""Four kinds of real project, each made ready by `doctor --repo` and worked on by the real agent.

The larger ones, public and fetched, are `make test-projects`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.bench import SCRIPTS, Done
from tests.e2e.conftest import Setting
from tests.e2e.projects import ALL, HOST, PAGES, PIP, Project
from tests.workspaces.outside import Site, site

from crewcap.core.runs import Verdict

pytestmark = [pytest.mark.agent, pytest.mark.sandbox]


@pytest.fixture(scope="module")
def index() -> Iterator[Site]:
    """Where the projects' packages come from."""
    with site(HOST, PAGES) as made:
        yield made


def findings(done: Done) -> dict[str, list[dict[str, Any]]]:
    """What doctor found, by name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.out)["findings"]:
        found.setdefault(finding["name"], []).append(finding)
    return found


@pytest.mark.parametrize("project", ALL, ids=lambda project: project.name)
def test_a_project_is_made_ready_and_its_check_is_green_before_and_after_an_agent(
    bench: Setting, index: Site, project: Project
) -> None:
    """Doctor runs setup, which is kept; the run reuses it and asks nobody for anything."""
    if project.missing:
        pytest.skip(project.missing)
    machine = bench(SCRIPTS / "goodbye.toml")
    project.lay_out(machine, port=index.port)
    doctor = machine.crewcap("doctor", "--repo", "shop", "--json")
    found = findings(doctor)
    assert found["setup"][0]["level"] == "ok", found["setup"][0]["text"]
    assert found["check"][0]["level"] == "ok", found["check"][0]["text"]
    assert found["setup"][0]["facts"]["kept"], found["setup"]
    assert [one["facts"]["reached"] for one in found.get("hosts", [])] == [[host] for host in project.hosts]

    done = machine.crewcap("run", "-p", "Say goodbye in the README")
    run = machine.run()
    assert (done.status, run.verdict) == (0, Verdict.FINISHED), done.out + done.err
    assert (run.check_before.result, run.check_after.result) == ("passed", "passed")
    assert machine.git("diff", "--name-only", "main", run.branch) == "README.md"
    story = [event.text for event in machine.story()]
    assert any(text.startswith(f"setup: {project.setup}: reused, ") for text in story), story
    network = machine.crewcap("show", "--network", "--json")
    assert json.loads(network.out)["connections"] == []


def test_a_setup_that_lacks_a_host_names_it_ready_to_paste(bench: Setting, index: Site) -> None:
    """By doctor, by the run, and by the run's own list; nothing is paid for."""
    machine = bench(SCRIPTS / "goodbye.toml")
    PIP.lay_out(machine, port=index.port, hosts=("npm",))
    line = f'hosts = ["npm", "{HOST}"]'
    found = findings(machine.crewcap("doctor", "--repo", "shop", "--json"))
    assert found["setup"][0]["level"] == "fail"
    assert [(one["level"], one["help"]) for one in found["hosts"]] == [("fail", line)]
    done = machine.crewcap("run", "-p", "Say goodbye in the README")
    run = machine.run()
    assert (done.status, run.verdict) == (1, Verdict.SETUP_FAILED)
    assert f"setup asked for {HOST}, which is not in hosts; add: {line}" in done.out
    assert f"asked for {HOST}" in run.reason
    assert line in machine.crewcap("show", "--network").out
    assert machine.simulator.meter.bills == []


def test_a_setup_whose_program_is_not_inside_is_told_how_it_gets_there(bench: Setting) -> None:
    """By doctor and by the run, which names the command that tries it again at no cost."""
    machine = bench(SCRIPTS / "goodbye.toml")
    machine.configure(repo='setup = "no-such-program --version"')
    way_round = 'a program that it calls is not inside: tools = ["~/.local/bin/PROGRAM"] under [repos.NAME] shows one'
    found = findings(machine.crewcap("doctor", "--repo", "shop", "--json"))
    assert [(one["level"], one["help"]) for one in found["setup"]] == [("fail", way_round)]
    done = machine.crewcap("run", "-p", "Say goodbye in the README")
    assert done.status == 1
    assert machine.run().reason.endswith(f"not found; {way_round}")
    assert f"setup: {way_round}" in [event.text for event in machine.story()]
    assert f"crewcap doctor --repo {machine.shop}" in done.out
    assert machine.simulator.meter.bills == []


def test_doctor_runs_a_setup_anew_when_it_is_told_to(bench: Setting) -> None:
    """And what it made this time is what later runs get."""
    machine = bench(SCRIPTS / "goodbye.toml")
    machine.configure(repo='setup = "date +%s.%N > made"\ncheck = "cat made && touch made"')
    seen = []
    for words in ((), (), ("--fresh",), ()):
        found = findings(machine.crewcap("doctor", "--repo", "shop", *words, "--json"))
        seen.append(found["setup"][0]["facts"]["reused"])
    assert seen == [False, True, False, True]
    lonely = machine.crewcap("doctor", "--fresh")
    assert (lonely.status, "crewcap doctor --repo PATH|NAME --fresh" in lonely.err) == (2, True)


def test_a_green_repository_without_settings_gets_them_ready_to_paste(bench: Setting) -> None:
    """What is usual for its kind is tried."""
    machine = bench(SCRIPTS / "goodbye.toml")
    (machine.shop / "Makefile").write_text("test:\n\ttest -f README.md && echo 1 passed\n")
    (machine.shop / "README.md").write_text("Hello.\n")
    machine.commit("a kind of project")
    machine.config.write_text(machine.config.read_text().partition("[repos.shop]")[0])
    done = machine.crewcap("doctor", "--repo", str(machine.shop))
    assert "it looks like a project that is checked by `make test`" in done.out, done.out + done.err
    assert 'check = "make test"' in done.out
