"""Rates and budgets for a team of a given size, to begin with.

The bands are those that Anthropic publishes for Claude Code: tokens and requests a minute for each user, falling
with the size of the team because fewer of many work at the same moment. So they limit the *team's* pool (value x
users); a single user may take a larger part of it, never less than 60,000 tokens a minute, or one large prompt would
already be too much. The money is from the same source: nine of ten users stay below $30 a day, and a month comes to
$150 to $250.
"""

from __future__ import annotations

from dataclasses import dataclass

from crewcap.core.money import Money

_BANDS = (  # up to so many users: tokens a minute for each (lower, upper), hundredths of a request a minute (upper)
    (5, 200_000, 300_000, 700),
    (20, 100_000, 150_000, 350),
    (50, 50_000, 75_000, 175),
    (100, 25_000, 35_000, 87),
    (500, 15_000, 20_000, 47),
    (None, 10_000, 15_000, 35),
)
_LEAST_TPM_OF_A_USER = 60_000
_MONTH_OF_A_USER = 250
_DAY_OF_A_USER = Money.usd("30.00")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What to begin with."""

    users: int
    band: tuple[int, int]  # published tokens a minute for each user
    team_tpm: int
    team_rpm: int
    team_month: Money
    user_tpm: int
    user_day: Money


def preset(users: int) -> Preset:
    """The preset for a team of so many people, at least one."""
    lower, upper, centi_rpm = next(band[1:] for band in _BANDS if band[0] is None or users <= band[0])
    return Preset(
        users=users,
        band=(lower, upper),
        team_tpm=upper * users,
        team_rpm=-(-centi_rpm * users // 100),
        team_month=Money.usd(_MONTH_OF_A_USER * users),
        user_tpm=max(upper, _LEAST_TPM_OF_A_USER),
        user_day=_DAY_OF_A_USER,
    )
