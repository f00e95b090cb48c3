"""A repository that is reached over the network, served by git's own HTTP back end on loopback."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from tests.workspaces.repos import PLAIN, git, make_repository

from crewcap.errors import UnsafeEnvironment, UsageError
from crewcap.workspaces.repository.mirrors import Mirrors


class _BackEnd(BaseHTTPRequestHandler):
    """The smallest gateway to `git http-backend`."""

    root: ClassVar[Path]

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers["content-length"])))

    def _serve(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        variables = {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], env={**PLAIN, **variables}, input=body, capture_output=True, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in {**fields, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where `shop.git` is served."""
    make_repository(tmp_path / "origin")
    git(tmp_path, "clone", "--quiet", "--bare", "origin", "served/shop.git")
    handler = type("Handler", (_BackEnd,), {"root": tmp_path / "served"})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/shop.git"
        server.shutdown()
        thread.join()


def test_a_run_can_start_from_an_address(mirrors: Mirrors, address: str, tmp_path: Path) -> None:
    repository = mirrors.repository(address)
    base = mirrors.update(repository)
    assert (repository.name, base.branch) == ("shop", "main")
    branch = mirrors.take_branch(repository, "x", base=base)
    made = mirrors.make_workspace(
        repository, base=base, branch=branch, folder=tmp_path / "w", objects_inside=str(mirrors.objects(repository))
    )
    assert made.files == 2
    assert mirrors.left_out(repository).count == 0
    assert mirrors.publish(repository, branch).reason == "shop is not on this machine"


def test_the_commit_of_an_earlier_run_is_found_again_after_the_branch_moved(
    mirrors: Mirrors, address: str, tmp_path: Path
) -> None:
    """A resumed run starts from where it started, whatever was pushed meanwhile."""
    repository = mirrors.repository(address)
    first = mirrors.update(repository)
    git(tmp_path / "origin", "commit", "--quiet", "--allow-empty", "-m", "more")
    git(tmp_path / "origin", "push", "--quiet", str(tmp_path / "served/shop.git"), "main")
    assert mirrors.update(repository, at=first.commit).commit == first.commit
    assert mirrors.update(repository).commit != first.commit


def test_a_working_tree_for_people_is_linked_to_the_mirror(mirrors: Mirrors, address: str, tmp_path: Path) -> None:
    """They have no repository here that it could be linked to."""
    repository = mirrors.repository(address)
    base = mirrors.update(repository)
    git(mirrors.mirror(repository), "update-ref", "refs/heads/crewcap/x-1", base.commit)
    mirrors.checkout(repository, "crewcap/x-1", tmp_path / "there")
    assert (tmp_path / "there" / "README").exists()


def test_what_cannot_be_reached_is_said_in_one_line(mirrors: Mirrors, address: str) -> None:
    with pytest.raises(UnsafeEnvironment, match=r"git ls-remote: .*not found"):
        mirrors.update(mirrors.repository(address.replace("shop", "shed")))


def test_a_branch_that_is_not_there_is_refused(mirrors: Mirrors, address: str) -> None:
    with pytest.raises(UsageError, match="has no branch, tag or commit 'nope'"):
        mirrors.update(mirrors.repository(address), at="nope")


def test_ssh_is_never_asked_for_a_password(mirrors: Mirrors, tmp_path: Path) -> None:
    """An unattended run must fail, not wait at a prompt."""
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nexit 255\n')
    ssh.chmod(0o755)
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    ours = Mirrors(tmp_path / "other", environ={"PATH": path})
    with pytest.raises(UnsafeEnvironment):
        ours.update(ours.repository("git@example.invalid:acme/shop.git"))
    assert "BatchMode=yes" in (tmp_path / "asked").read_text()
    assert mirrors is not ours
