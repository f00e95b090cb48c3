"""The filter of system calls, run by a small machine as the kernel would run it."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from crewcap.workspaces.sandbox.seccomp import MACHINES, Machine, filter_program

ALLOWED = 0
KINDS = sorted(MACHINES)
UNIX, INET, INET6, NETLINK, PACKET, SMC = 1, 2, 10, 16, 17, 43
STREAM, DATAGRAM, RAW = 1, 2, 3
MPTCP, UDPLITE = 262, 136
FASTOPEN = 0x20000000
FOREIGN_TABLE = 0x40000003  # 32-bit programs have calls of their own


def _answer(program: bytes, call: int, *arguments: int, table: int) -> int:
    """What the kernel would say: 0 = go on, else the error."""
    seen = struct.pack("=IIQ6Q", call, table, 0, *arguments, *[0] * (6 - len(arguments)))
    steps = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at = held = 0
    while True:
        operation, yes, no, operand = steps[at]
        at += 1
        if operation == 0x20:
            held = struct.unpack_from("=I", seen, operand)[0]
        elif operation == 0x54:
            held &= operand
        elif operation == 0x06:
            return operand & 0xFFFF if operand >> 16 == 5 else ALLOWED
        else:
            is_so = {0x15: held == operand, 0x35: held >= operand, 0x45: bool(held & operand)}[operation]
            at += yes if is_so else no


class Asked:
    """One machine's filter."""

    def __init__(self, machine: str, *, tcp: bool) -> None:
        self.numbers: Machine = MACHINES[machine]
        self._program = filter_program(machine, tcp=tcp)

    def call(self, number: int, *arguments: int) -> int:
        return _answer(self._program, number, *arguments, table=self.numbers.audit)

    def foreign(self, number: int) -> int:
        return _answer(self._program, number, table=FOREIGN_TABLE)

    def socket(self, family: int, kind: int = STREAM, protocol: int = 0) -> int:
        return self.call(self.numbers.socket, family, kind, protocol)


@pytest.fixture(params=KINDS)
def closed(request: pytest.FixtureRequest) -> Asked:
    """Without any way out of its own."""
    return Asked(request.param, tcp=False)


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest) -> Asked:
    """With a port."""
    return Asked(request.param, tcp=True)


def test_without_a_port_there_are_local_sockets_alone(closed: Asked) -> None:
    assert closed.socket(UNIX) == closed.socket(NETLINK, RAW) == ALLOWED
    assert {closed.socket(family) for family in (INET, INET6, PACKET, SMC)} == {errno.EACCES}


def test_with_a_port_there_are_plain_streams_beside(opened: Asked) -> None:
    """With whatever flags stand beside the kind."""
    flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    for family in (INET, INET6):
        assert opened.socket(family, STREAM | flags) == opened.socket(family, STREAM, 6) == ALLOWED
    assert opened.socket(UNIX, DATAGRAM) == ALLOWED


@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [(INET, DATAGRAM, 0), (INET6, DATAGRAM, 17), (INET, RAW, 1), (INET, STREAM, MPTCP), (INET6, STREAM, MPTCP),
     (INET, DATAGRAM, UDPLITE), (INET, STREAM, 132), (PACKET, RAW, 0), (SMC, STREAM, 0), (38, 5, 0), (40, STREAM, 0)],
    ids=["udp", "udp6", "raw", "mptcp", "mptcp6", "udplite", "sctp", "packet", "smc", "alg", "vsock"],
)  # fmt: skip
def test_what_landlock_does_not_judge_is_refused(opened: Asked, family: int, kind: int, protocol: int) -> None:
    assert opened.socket(family, kind, protocol) == errno.EACCES


def test_a_first_packet_with_data_does_not_pass_landlock_by(opened: Asked) -> None:
    for call, at in opened.numbers.sends:
        plain = [0] * 6
        assert opened.call(call, *plain) == ALLOWED
        plain[at] = FASTOPEN | socket.MSG_NOSIGNAL
        assert opened.call(call, *plain) == errno.EACCES


def test_nothing_listens_and_no_stream_becomes_something_else(opened: Asked) -> None:
    assert opened.call(opened.numbers.listen, 3, 1) == errno.EACCES
    assert opened.call(opened.numbers.setsockopt, 3, 6, 31) == errno.EACCES
    assert (
        opened.call(opened.numbers.setsockopt, 3, 6, 1) == opened.call(opened.numbers.setsockopt, 3, 1, 31) == ALLOWED
    )


def test_without_a_port_local_sockets_may_listen(closed: Asked) -> None:
    assert closed.call(closed.numbers.listen, 3, 1) == ALLOWED


@pytest.mark.parametrize("tcp", [True, False])
@pytest.mark.parametrize("machine", KINDS)
def test_other_tables_of_calls_and_rings_do_not_exist(machine: str, *, tcp: bool) -> None:
    asked = Asked(machine, tcp=tcp)
    assert asked.call(425) == errno.ENOSYS
    assert {asked.call(number) for number in asked.numbers.keys} == {errno.ENOSYS}
    assert asked.foreign(1) == errno.ENOSYS
    assert asked.call(asked.numbers.foreign) == errno.ENOSYS
    assert asked.call(0) == ALLOWED
