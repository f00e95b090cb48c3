"""Presets by team size: the published bands, as a pool for the team and a share for each."""

from __future__ import annotations

import pytest

from crewcap.core.money import Money
from crewcap.core.presets import preset


@pytest.mark.parametrize(
    ("users", "band", "team_tpm", "team_rpm", "user_tpm"),
    [
        (1, (200_000, 300_000), 300_000, 7, 300_000),
        (5, (200_000, 300_000), 1_500_000, 35, 300_000),
        (6, (100_000, 150_000), 900_000, 21, 150_000),
        (50, (50_000, 75_000), 3_750_000, 88, 75_000),
        (100, (25_000, 35_000), 3_500_000, 87, 60_000),
        (500, (15_000, 20_000), 10_000_000, 235, 60_000),
        (1_000, (10_000, 15_000), 15_000_000, 350, 60_000),
    ],
)
def test_the_pool_is_the_teams_and_no_user_gets_less_than_a_large_prompt(
    users: int, band: tuple[int, int], team_tpm: int, team_rpm: int, user_tpm: int
) -> None:
    found = preset(users)
    assert (found.band, found.team_tpm, found.team_rpm, found.user_tpm) == (band, team_tpm, team_rpm, user_tpm)
    assert found.team_month == Money.usd(250 * users)


@pytest.mark.parametrize(
    ("sizes", "band"),
    [
        ((1, 5), (200_000, 300_000)),
        ((6, 20), (100_000, 150_000)),
        ((21, 50), (50_000, 75_000)),
        ((51, 100), (25_000, 35_000)),
        ((101, 500), (15_000, 20_000)),
        ((501, 1_000_000), (10_000, 15_000)),
    ],
)
def test_the_bands_are_the_published_ones(sizes: tuple[int, int], band: tuple[int, int]) -> None:
    """1-5, 5-20, 20-50, 50-100, 100-500 and more users; where two bands meet, the smaller team's holds."""
    for users in sizes:
        found = preset(users)
        assert found.band == band
        assert found.team_tpm == band[1] * users
        assert found.user_tpm == max(band[1], 60_000)
