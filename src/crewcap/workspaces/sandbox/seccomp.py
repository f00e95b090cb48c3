"""The filter of system calls for a rung that shares the machine's network: what Landlock does not close.

Landlock knows TCP by its port and nothing else of the internet. So every socket is refused but local ones and the
kernel's own; where a port of ours is open (setup's proxy), TCP is let through as well, and only what Landlock then
judges: a stream with the plain protocol (not MPTCP, which it does not see), connected by `connect` and not by a first
packet that carries data (`MSG_FASTOPEN` passes it by), never turned into something else (`TCP_ULP`). Nothing may
listen then, for Landlock judges `bind` alone, and a listener without one gets a port on every interface. Rings of
calls (io_uring) could do all of that without the calls that are looked at here; there are none, and no keyrings of
the kernel's.

A filter is a small program for the kernel: steps that load a number, compare it and jump forward, or give the answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Numbers of one kind of processor."""

    audit: int  # of its native table of calls
    foreign: int  # the lowest call of another table that shares this number
    socket: int
    listen: int
    setsockopt: int
    keys: tuple[int, ...]  # the kernel's keyrings: those of a user are open to all its processes
    sends: tuple[tuple[int, int], ...]  # (call, which argument has the flags)


MACHINES = {
    "x86_64": Machine(
        audit=0xC000003E,
        foreign=0x40000000,
        socket=41,
        listen=50,
        setsockopt=54,
        keys=(248, 249, 250),
        sends=((44, 3), (46, 2), (307, 3)),
    ),
    "aarch64": Machine(
        audit=0xC00000B7,
        foreign=0xFFFFFFFF,
        socket=198,
        listen=201,
        setsockopt=208,
        keys=(217, 218, 219),
        sends=((206, 3), (211, 2), (269, 3)),
    ),
}
_IO_URING_SETUP = 425  # on every machine
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _KIND = 1, 0xF  # beside the kind of a socket stand flags
_TCP, _TCP_ULP, _FASTOPEN = 6, 31, 0x20000000
_ALLOW, _EACCES, _ENOSYS = 0x7FFF0000, 0x0005000D, 0x00050026
_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_OF, _GIVE = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_AT_CALL, _AT_TABLE, _AT_ARGUMENTS = 0, 4, 16

# (operation, operand, where to if so, where to if not); a word alone is a place to go to; "" = the next step
Step = tuple[int, int, str, str] | str


def filter_program(machine: str, *, tcp: bool) -> bytes:
    """The filter for this machine; `tcp` = a port is open to it."""
    return _assembled([*_steps(MACHINES[machine], tcp=tcp)])


def _steps(numbers: Machine, *, tcp: bool) -> Iterator[Step]:
    yield from (_load(_AT_TABLE), (_EQUAL, numbers.audit, "", "unknown"), _load(_AT_CALL))
    yield from ((_AT_LEAST, numbers.foreign, "unknown", ""), (_EQUAL, _IO_URING_SETUP, "unknown", ""))
    yield from ((_EQUAL, call, "unknown", "") for call in numbers.keys)
    yield (_EQUAL, numbers.socket, "socket", "")
    if tcp:
        yield from ((_EQUAL, numbers.listen, "refuse", ""), (_EQUAL, numbers.setsockopt, "option", ""))
        yield from ((_EQUAL, call, f"flags-{argument}", "") for call, argument in numbers.sends)
    yield from (_give(_ALLOW), "socket", *_sockets(tcp=tcp))
    if tcp:
        yield from ("option", _argument(1), (_EQUAL, _TCP, "", "allow"), _argument(2), (_EQUAL, _TCP_ULP, "", "allow"))
        yield from (_give(_EACCES), "flags-2", _argument(2), (_ANY_OF, _FASTOPEN, "refuse", "allow"))
        yield from ("flags-3", _argument(3), (_ANY_OF, _FASTOPEN, "refuse", "allow"))
    yield from ("refuse", _give(_EACCES), "unknown", _give(_ENOSYS), "allow", _give(_ALLOW))


def _sockets(*, tcp: bool) -> Iterator[Step]:
    """Which sockets may be made."""
    yield from (_argument(0), (_EQUAL, _UNIX, "allow", ""), (_EQUAL, _NETLINK, "allow", ""))
    if tcp:
        yield from ((_EQUAL, _INET, "internet", ""), (_EQUAL, _INET6, "internet", "refuse"), "internet")
        yield from (_argument(1), (_AND, _KIND, "", ""), (_EQUAL, _STREAM, "", "refuse"))
        yield from (_argument(2), (_EQUAL, 0, "allow", ""), (_EQUAL, _TCP, "allow", "refuse"))
    else:
        yield _give(_EACCES)


def _load(at: int) -> Step:
    return (_LOAD, at, "", "")


def _argument(number: int) -> Step:
    """Load the lower half of one of the call's arguments: all of these are numbers of 32 bits."""
    return _load(_AT_ARGUMENTS + 8 * number)


def _give(answer: int) -> Step:
    return (_GIVE, answer, "", "")


def _assembled(steps: Sequence[Step]) -> bytes:
    """Places become distances, as the kernel wants them."""
    places: dict[str, int] = {}
    real: list[tuple[int, int, str, str]] = []
    for step in steps:
        if isinstance(step, str):
            places[step] = len(real)
        else:
            real.append(step)
    return b"".join(
        struct.pack("=HBBI", operation, *(places[to] - at - 1 if to else 0 for to in (yes, no)), operand)
        for at, (operation, operand, yes, no) in enumerate(real)
    )
