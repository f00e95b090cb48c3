"""When two runs may share a prepared tree, and when not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crewcap.workspaces.project.recipes import Recipe, copies_the_project, is_input, name_of, only_installs

BASE = Recipe(
    repository="shop-1a2b",
    tracked={"package.json": "100644 blob a", "src/main.js": "100644 blob b", "bin/setup": "100755 blob c"},
    setup="npm ci",
    workspace="/workspace",
    home="/home/agent",
    toolchains=("node 20.11.1 from nvm (.nvmrc)",),
    others=("hosts npm",),
)


def _with(path: str, what: str) -> Recipe:
    return replace(BASE, tracked={**BASE.tracked, path: what})


def test_the_same_recipe_has_the_same_name_whatever_else_the_commit_changed() -> None:
    assert name_of(BASE) == name_of(_with("src/main.js", "100644 blob other"))
    assert name_of(BASE) == name_of(replace(BASE, tracked=dict(sorted(BASE.tracked.items(), reverse=True))))
    assert name_of(BASE).startswith("shop-1a2b/")


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, repository="other"),
        replace(BASE, setup="npm install"),
        replace(BASE, workspace="/elsewhere"),
        replace(BASE, home="/elsewhere"),
        replace(BASE, toolchains=("node 22.0.0 from nvm (.nvmrc)",)),
        replace(BASE, others=("hosts npm python",)),
        _with("package.json", "100644 blob other"),
        _with("deep/er/package-lock.json", "100644 blob new"),
        _with("libs/thing", "160000 commit new"),
    ],
)
def test_whatever_setup_sees_makes_another_name(other: Recipe) -> None:
    assert name_of(other) != name_of(BASE)


def test_files_that_the_command_itself_names_count() -> None:
    ours = replace(BASE, setup="npm ci && ./bin/setup --fast")
    assert name_of(ours) != name_of(replace(ours, tracked={**ours.tracked, "bin/setup": "100755 blob other"}))


def test_a_setup_that_copies_the_project_depends_on_all_of_it() -> None:
    """A tree of an older commit would be tested in its place."""
    ours = replace(BASE, setup="pip install .")
    assert name_of(ours) != name_of(replace(ours, tracked={**ours.tracked, "src/main.js": "100644 blob other"}))


@pytest.mark.parametrize(
    ("setup", "copies"),
    [
        ("pip install .", True),
        ("python -m pip install '.[dev]'", True),
        ("uv pip install ./libs/one", True),
        ("uv sync --no-editable", True),
        ("npm ci && npm run build", True),
        ("pnpm build", True),
        ("python setup.py install", True),
        ("pip install -e .", False),
        ("pip install --editable '.[dev]' pytest", False),
        ("pip install -r ./requirements/dev.txt", False),
        ("uv sync", False),
        ("npm ci", False),
        ("cargo build", False),
        ("make", False),
        ("", False),
        ("echo 'unbalanced", False),
    ],
)
def test_what_copies_the_project_is_known_by_its_words(setup: str, copies: bool) -> None:  # noqa: FBT001  (a parameter)
    assert copies_the_project(setup) is copies


@pytest.mark.parametrize("setup", ["make setup", "sh scripts/setup.sh", "npm ci && ./bin/migrate", "just install"])
def test_a_setup_that_is_no_known_install_depends_on_all_of_the_commit(setup: str) -> None:
    """A script reads what it likes: the migrations of an older commit would be there instead of this one's."""
    ours = replace(BASE, setup=setup)
    assert name_of(ours) != name_of(replace(ours, tracked={**ours.tracked, "migrations/3.sql": "100644 blob new"}))


@pytest.mark.parametrize(
    ("setup", "installs"),
    [
        ("npm ci", True),
        ("npm --no-audit ci 2>&1 > npm.log", True),
        ("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt", True),
        ("cd web && CI=1 pnpm install; cd .. && uv sync --frozen", True),
        (". .venv/bin/activate && pip install -e '.[dev]'", True),
        ("npm ci && npx playwright install chromium", True),
        ("poetry install", True),
        ("yarn", True),
        ("cargo fetch && go mod download && bundle install", True),
        ("", True),
        ("pip install .", False),
        ("npm ci && npm run build", False),
        ("go build -o bin/app", False),
        ("python3 manage.py migrate", False),
        ("uv sync && uv run manage.py migrate", False),
        ("npm ci && make assets", False),
        ("bash -c 'npm ci'", False),
        ("npm ci `cat flags`", False),
        ("npm ci $(cat flags)", False),
    ],
)
def test_an_install_is_known_by_the_words_of_each_command(setup: str, installs: bool) -> None:  # noqa: FBT001  (a parameter)
    assert only_installs(setup) is installs


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("requirements-dev.txt", True),
        ("requirements/base.txt", True),
        ("a/b/pnpm-lock.yaml", True),
        ("Gemfile.lock", True),
        (".tool-versions", True),
        ("src/app.py", False),
        ("docs/requirements.md", False),
        ("notpackage.json", False),
    ],
)
def test_lock_files_and_manifests_are_known_by_name_at_any_depth(path: str, counts: bool) -> None:  # noqa: FBT001  (a parameter)
    assert is_input(path) is counts
