"""A TOML table is read strictly."""

import pytest

from crewcap.errors import SettingsError
from crewcap.prices.tables import Table


def test_values_are_taken_by_name_and_defaults_stand_in() -> None:
    table = Table({"a": "1", "inner": {"b": "2"}, "many": [{}, {}]}, where="prices.toml")
    assert table.need("a", int) == 1
    assert table.take("z", int, 9) == 9
    assert table.table("inner").need("b", int) == 2
    assert [each.where for each in table.tables("many")] == ["prices.toml, [[many]] 1", "prices.toml, [[many]] 2"]
    table.finish()


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    table = Table({"provder": "x"}, where="prices.toml")
    table.take("provider", str, "")
    with pytest.raises(SettingsError, match="provder") as refused:
        table.finish()
    assert "provider" in refused.value.help


def test_a_missing_key_and_a_wrong_value_name_the_place() -> None:
    table = Table({"a": "x"}, where="prices.toml, [[price]] 2")
    with pytest.raises(SettingsError, match=r"\[\[price\]\] 2 lacks 'b'"):
        table.need("b", int)
    with pytest.raises(SettingsError, match=r"\[\[price\]\] 2: a = 'x'"):
        table.need("a", int)


@pytest.mark.parametrize("values", [[], "x", 3])
def test_what_is_no_table_is_refused(values: object) -> None:
    with pytest.raises(SettingsError):
        Table(values, where="here")


def test_one_table_where_an_array_belongs_is_refused() -> None:
    with pytest.raises(SettingsError, match="one table"):
        Table({"price": {"a": 1}}, where="here").tables("price")
