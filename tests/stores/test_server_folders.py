"""What killed test processes leave is removed by the next one, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stores.server_folders import PREFIX, folder_in, sweep

ROOT = Path(__file__).resolve().parents[2]
MAKER = """
import sys
from pathlib import Path
from tests.stores.server_folders import folder_in
with folder_in(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def maker(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another test process, and its folder."""
    words = [sys.executable, "-c", MAKER, str(parent)]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_a_folder_goes_with_whoever_made_it(tmp_path: Path) -> None:
    with folder_in(tmp_path) as folder:
        assert [folder] == list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    with maker(tmp_path) as (process, left):
        sweep(tmp_path)
        assert left.is_dir()  # its maker lives
        process.kill()
        process.wait()
        with folder_in(tmp_path) as folder:
            assert [folder] == list(tmp_path.iterdir())


def test_a_folder_whose_server_still_ends_is_left_to_the_one_after(tmp_path: Path) -> None:
    with maker(tmp_path) as (process, left):
        process.kill()
        process.wait()
        (left / "data").mkdir()
        with subprocess.Popen([sys.executable, "-c", "input()", str(left / "data")], stdin=subprocess.PIPE) as server:
            (left / "data" / "postmaster.pid").write_text(f"{server.pid}\n{left / 'data'}\n")
            sweep(tmp_path)
            assert left.is_dir()
            server.kill()
        sweep(tmp_path)
        assert not left.exists()


def test_a_folder_of_which_nothing_is_known_stays(tmp_path: Path) -> None:
    for name in (f"{PREFIX}somebodys", "another"):
        (tmp_path / name).mkdir()
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
