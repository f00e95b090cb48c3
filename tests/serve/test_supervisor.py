"""What becomes of a supervisor's children, and of itself: real processes, real signals, stand-ins for the work."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest
from tests.serve.conftest import Served, is_alive, until


def test_the_gateway_is_started_first_and_alone_is_handed_the_keys(served: Served) -> None:
    """The worker knows which variables are set, and what none of them holds."""
    served.start()
    (gateway,), (worker,) = served.diary("gateway", "born"), served.diary("worker", "born")
    assert gateway["handed"] == {"ANTHROPIC_API_KEY": "sk-ant-fake-canary"}
    assert worker["said"] == {"ANTHROPIC_API_KEY": "set", "PLAIN_KEY": "plain"}
    assert served.said["worker"]["slots"] == 3
    noted = served.noted()
    assert (noted["pid"], noted["gateway_pid"], noted["worker_pid"]) == (served.pid, gateway["pid"], worker["pid"])
    assert noted["url"] == served.said["url"]


def test_a_gateway_that_was_killed_is_started_again_at_the_same_address_with_the_same_keys(served: Served) -> None:
    """The worker goes on meanwhile: it finds the new one by its note."""
    served.start()
    os.kill(served.said["gateway_pid"], signal.SIGKILL)
    first, second = until(lambda: (b := served.diary("gateway", "born"))[1:] and b, "it is started again")
    until(lambda: served.noted()["gateway_pid"] == second["pid"], "the note names it")
    assert second["handed"] == first["handed"]
    assert (first["first"], second["first"]) == (True, False)
    assert served.noted()["url"] == served.said["url"]
    with socket.create_connection(("127.0.0.1", int(served.said["url"].rpartition(":")[2]))):
        pass
    assert len(served.diary("worker")) == 1
    served.send(signal.SIGTERM)
    status, err = served.ended()
    assert status == 0
    assert "the gateway was killed by SIGKILL; it is started again" in err


def test_a_worker_that_was_killed_is_started_again(served: Served) -> None:
    served.start()
    os.kill(served.said["worker_pid"], signal.SIGKILL)
    _, second = until(lambda: (b := served.diary("worker", "born"))[1:] and b, "it is started again")
    until(lambda: served.noted()["worker_pid"] == second["pid"], "the note names it")
    assert len(served.diary("gateway")) == 1


def test_a_child_that_dies_five_times_within_a_minute_ends_it_with_one_line(served: Served) -> None:
    served.start("pause_s=0.001")
    killed: set[int] = set()

    def next_one() -> set[int]:
        return {int(served.noted()["worker_pid"])} - killed

    while len(killed) < 5:
        (pid,) = until(next_one, "it is ready again")
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
    status, err = served.ended()
    assert status == 1
    assert "error: the worker died 5 times within 60 s: the last one was killed by SIGKILL" in err
    assert "Traceback" not in err
    assert not is_alive(served.said["gateway_pid"])


def test_a_child_that_refuses_to_start_again_is_asked_until_it_does(served: Served) -> None:
    """The database is away, the disk is full: that passes, and counts for no death."""
    served.start("refused_s=0.01", "most_deaths=2")
    refusal = served.folder / "refuse-gateway"
    refusal.write_text("the database is away")
    os.kill(served.said["gateway_pid"], signal.SIGKILL)
    assert served.process is not None
    assert served.process.stderr is not None
    said = [line for _, line in zip(range(7), served.process.stderr, strict=False)]
    assert sum("the gateway does not start: the database is away" in line for line in said) >= 5
    refusal.unlink()
    until(lambda: served.diary("gateway", "born")[1:], "it works again")
    until(lambda: served.noted()["gateway_pid"] != served.said["gateway_pid"], "the note names it")
    served.send(signal.SIGTERM)
    assert served.ended()[0] == 0


def test_a_gateway_that_does_not_answer_for_long_is_killed_and_started_again(served: Served) -> None:
    """One that hangs ends nothing by itself."""
    served.start("look_s=0.05", "silent_s=0.2", "answer_s=0.2")
    os.kill(served.said["gateway_pid"], signal.SIGSTOP)
    until(lambda: served.diary("gateway", "born")[1:], "it is started again")
    assert not is_alive(served.said["gateway_pid"])


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGUSR1], ids=["stopped", "in a call that never comes back"])
def test_a_worker_that_is_alive_and_stuck_is_killed_and_started_again(served: Served, how: signal.Signals) -> None:
    """Its own loop says that it goes round; a process that is there and does nothing is no worker."""
    (served.folder / "stuck_s").write_text("1")
    served.start()
    os.kill(served.said["worker_pid"], how)
    _, second = until(lambda: (b := served.diary("worker", "born"))[1:] and b, "it is started again")
    until(lambda: served.noted()["worker_pid"] == second["pid"], "the note names it")
    assert not is_alive(served.said["worker_pid"])
    served.send(signal.SIGTERM)
    status, err = served.ended()
    assert status == 0
    assert "the worker gave no sign of life for 1 s: it is killed" in err
    assert "the worker was killed by SIGKILL; it is started again" in err
    assert "the worker works again" in err


def test_a_worker_that_goes_round_is_left_alone(served: Served) -> None:
    """However little it says beside that."""
    (served.folder / "stuck_s").write_text("0.5")
    (served.folder / "count").touch()
    served.start("look_s=0.05")
    until(lambda: len(served.diary("gateway", "GET /healthz HTTP/1.1")) >= 25, "well over a second has passed")
    assert len(served.diary("worker", "born")) == 1


def test_what_a_first_start_refuses_is_the_error_of_the_command_and_leaves_nothing_alive(served: Served) -> None:
    (served.folder / "refuse").write_text("3 slots are too few")
    served.start()
    status, err = served.ended()
    assert (status, served.said) == (2, {})
    assert [line for line in err.splitlines() if line.startswith(("error", "help"))] == [
        "error: 3 slots are too few",
        "help: do otherwise",
    ]
    (gateway,) = served.diary("gateway", "ended")
    assert not is_alive(gateway["pid"])
    assert not served.home.serve_note.exists()


def test_a_child_that_is_killed_in_its_first_start_has_refused_nothing(served: Served) -> None:
    (served.folder / "die once").touch()
    served.start()
    assert is_alive(served.said["worker_pid"])
    served.send(signal.SIGTERM)
    status, err = served.ended()
    assert status == 0
    assert "the worker ended while it started" in err


def test_the_end_tells_the_worker_first_and_then_the_gateway(served: Served) -> None:
    """What the worker still does needs a gateway."""
    (served.folder / "stubborn").touch()
    served.start()
    served.send(signal.SIGTERM)
    until(lambda: served.diary("worker", "told"), "the worker is told")
    assert is_alive(served.said["gateway_pid"])
    assert not served.diary("gateway", "ended")
    served.send(signal.SIGTERM)
    assert served.ended()[0] == 0
    assert [line["word"] for line in served.diary("worker")] == ["born", "told", "hurried"]
    assert served.diary("gateway", "ended")
    assert not served.home.serve_note.exists()


def test_a_worker_that_does_not_end_in_time_is_hurried_and_then_killed(served: Served) -> None:
    """Within `drain` and five seconds everything is gone, and the status is that of a clean end."""
    for name in ("stubborn", "deaf"):
        (served.folder / name).touch()
    served.start("drain_s=0.2", "hurry_s=0.2")
    begun = time.monotonic()
    served.send(signal.SIGINT)
    assert served.ended()[0] == 0
    assert time.monotonic() - begun < 5.2
    assert [line["word"] for line in served.diary("worker")] == ["born", "told", "hurried"]
    assert not is_alive(served.said["worker_pid"])


def test_it_can_be_ended_while_a_child_is_started_again(served: Served) -> None:
    served.start("pause_s=20")
    os.kill(served.said["gateway_pid"], signal.SIGKILL)
    until(lambda: not is_alive(served.said["gateway_pid"]), "it is gone")
    served.send(signal.SIGTERM)
    assert served.ended()[0] == 0
    assert served.diary("worker", "told")


def test_a_hangup_is_handed_on_to_both(served: Served) -> None:
    served.start()
    served.send(signal.SIGHUP)
    until(lambda: served.diary("gateway", "hangup") and served.diary("worker", "hangup"), "both are told")


def test_when_it_is_killed_both_notice_and_the_next_one_takes_over(served: Served) -> None:
    served.start()
    before = served.said
    served.send(signal.SIGKILL)
    until(lambda: served.diary("worker", "alone"), "the worker notices")
    until(lambda: not is_alive(before["worker_pid"]) and not is_alive(before["gateway_pid"]), "both end")
    assert served.home.serve_note.exists()
    served.start()
    assert served.noted()["pid"] == served.pid


def test_it_waits_for_children_of_one_that_was_killed(served: Served) -> None:
    """Two workers of one home would start runs twice."""
    served.start("drain_s=0.2")
    before = served.said
    os.kill(before["worker_pid"], signal.SIGSTOP)
    served.send(signal.SIGKILL)
    assert served.process is not None
    served.process.wait(timeout=30)  # its output stays open: the worker has it
    assert is_alive(before["worker_pid"])
    served.start("drain_s=0.2")
    assert not is_alive(before["worker_pid"])
    served.send(signal.SIGTERM)
    assert "is still ending" in served.ended()[1]


def test_nothing_is_polled_while_nothing_happens(served: Served) -> None:
    """Only the question whether the gateway answers, at its own pace."""
    (served.folder / "count").touch()
    served.start("look_s=0.05")
    until(lambda: len(served.diary("gateway", "GET /healthz HTTP/1.1")) >= 3, "it is asked")
    before = _processor_s(served.pid)
    asked = len(served.diary("gateway", "GET /healthz HTTP/1.1"))
    until(lambda: len(served.diary("gateway", "GET /healthz HTTP/1.1")) >= asked + 20, "twenty looks")
    assert _processor_s(served.pid) - before < 0.5


def test_systemd_is_told_when_it_is_ready_and_when_it_ends(served: Served) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path = served.folder / "notify"
        listener.bind(str(path))
        listener.settimeout(30)
        served.start(environ={"NOTIFY_SOCKET": str(path)})
        assert listener.recv(100).decode().splitlines()[0] == "READY=1"
        served.send(signal.SIGTERM)
        assert listener.recv(100) == b"STOPPING=1"
        assert served.ended()[0] == 0


def test_systemd_hears_that_its_loop_goes_round_until_the_end(served: Served) -> None:
    """Twice in the time after which it would be killed; children hear of none of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path = served.folder / "notify"
        listener.bind(str(path))
        listener.settimeout(30)
        served.start(environ={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "100000"})
        said = [""]
        while said.count("READY=1") == 0 or said[-2:] != ["WATCHDOG=1", "WATCHDOG=1"]:
            said.append(listener.recv(100).decode().splitlines()[0])
        assert set(said) == {"", "READY=1", "WATCHDOG=1"}
        served.send(signal.SIGTERM)
        assert served.ended()[0] == 0


def test_a_watchdog_of_another_process_is_not_ours(served: Served) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path = served.folder / "notify"
        listener.bind(str(path))
        listener.settimeout(30)
        environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
        served.start(environ=environ)
        assert listener.recv(100).decode().splitlines()[0] == "READY=1"
        served.send(signal.SIGTERM)
        assert listener.recv(100) == b"STOPPING=1"
        assert served.ended()[0] == 0


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
