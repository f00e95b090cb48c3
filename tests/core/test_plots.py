"""What plots show."""

from __future__ import annotations

from datetime import date

from crewcap.core.money import Money
from crewcap.core.plots import Bars, Fan, Stack, course, quantile, running, shortened


def usd(*amounts: str) -> list[Money]:
    return [Money.usd(amount) for amount in amounts]


def test_a_run_is_seen_over_the_band_of_earlier_ones() -> None:
    """A run that has ended stays where it ended."""
    earlier = [usd("1", "1"), usd("2"), usd("3", "3", "3"), usd("4"), usd("5"), usd()]
    shown = course("r", usd("2", "2"), earlier, cap=Money.usd(9))
    assert shown.costs == tuple(usd("2", "4"))
    assert shown.runs == 5
    assert [each.show() for each in shown.low] == ["$1.00", "$2.00", "$2.00"]
    assert [each.show() for each in shown.middle] == ["$3.00", "$4.00", "$4.00"]
    assert [each.show() for each in shown.high] == ["$5.00", "$6.00", "$9.00"]
    assert shown.shows_cap


def test_too_few_runs_make_no_band() -> None:
    shown = course("r", usd("2"), [usd("1")] * 4, cap=Money.usd(50))
    assert (shown.high, shown.runs, shown.shows_cap) == ((), 4, False)


def test_the_cheapest_series_are_one() -> None:
    bars = Bars(series=("a", "b", "c"), bars=(Stack(label="x", parts=tuple(usd("3", "2", "1"))),))
    assert shortened(bars, 3) is bars
    cut = shortened(bars, 2)
    assert (cut.series, cut.bars[0].parts) == (("a", "others"), tuple(usd("3", "3")))
    assert cut.bars[0].whole == bars.bars[0].whole


def test_a_fan_is_a_forecasts_band_turned_round() -> None:
    day, other = date(2026, 11, 23), date(2026, 11, 24)
    one, two, three, four, six = usd("1", "2", "3", "4", "6")
    fan = Fan.of([(day, one, two, three), (other, two, four, six)])
    assert (fan.days, fan.low, fan.high) == ((day, other), tuple(usd("1", "2")), tuple(usd("3", "6")))


def test_quantiles_are_amounts_that_were_seen() -> None:
    amounts = usd("1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
    assert [quantile(amounts, percent).show() for percent in (0, 10, 50, 90, 100)] == [
        "$1.00",
        "$1.00",
        "$5.00",
        "$9.00",
        "$10.00",
    ]
    assert quantile([], 50) == Money(0)
    assert running([]) == ()
