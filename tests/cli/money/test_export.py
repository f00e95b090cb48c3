"""`crewcap export`: FOCUS 1.2 by its own rules, CSV, JSON lines, and a dashboard of metrics that exist."""

from __future__ import annotations

import csv
import io
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.cli.focus_rules import broken
from tests.cli.run_home import RunHome
from tests.cli.spent_home import SpentHome

from crewcap.core.budget import ALL
from crewcap.gateway.watching.metrics import Metrics, Snapshot


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def cost_of(home: RunHome) -> Decimal:
    totals = home.ledger.totals(ALL)
    return Decimal((totals.spent + totals.uncertain).exact())


@pytest.mark.parametrize("words", [(), ("--by-run",), ("--tz", "Asia/Kolkata"), ("--since", "today")])
def test_every_row_keeps_the_rules_of_focus(spent: SpentHome, words: tuple[str, ...]) -> None:
    rows = rows_of(spent.home.out("export", "focus", *words))
    assert rows
    for row in rows:
        assert list(broken(list(row), row)) == []


@pytest.mark.parametrize("words", [(), ("--by-run",)])
def test_what_is_billed_is_the_ledger_to_the_last_unit(spent: SpentHome, words: tuple[str, ...]) -> None:
    rows = rows_of(spent.home.out("export", "focus", *words))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == cost_of(spent.home)
    uncertain = [row for row in rows if row["x_State"] == "uncertain"]
    assert sum(Decimal(row["BilledCost"]) for row in uncertain) == Decimal("0.5")
    assert {row["x_State"] for row in rows} == {"measured", "uncertain", "by word", "notional"}


def test_what_a_plan_paid_is_billed_at_nothing(spent: SpentHome) -> None:
    plan = [row for row in rows_of(spent.home.out("export", "focus")) if row["x_State"] == "notional"]
    assert {row["BilledCost"] for row in plan} == {"0.000000000000"}
    totals = spent.home.ledger.totals(ALL)
    assert sum(Decimal(row["ListCost"]) for row in plan) == Decimal(totals.notional.exact())


def test_prices_have_twelve_decimals_and_kinds_rows_of_their_own(spent: SpentHome) -> None:
    rows = rows_of(spent.home.out("export", "focus"))
    assert {row["x_TokenKind"] for row in rows if row["ChargeCategory"] == "Usage"} == {
        "input", "cache_read", "write_5m", "write_1h", "output", "web_search",
    }  # fmt: skip
    (write,) = [row for row in rows if row["x_TokenKind"] == "write_1h"]
    assert (write["ListUnitPrice"], write["RegionId"]) == ("0.000004400000", "us")
    (search,) = [row for row in rows if row["x_TokenKind"] == "web_search"]
    assert (search["ConsumedQuantity"], search["ConsumedUnit"]) == ("2", "Requests")
    assert {row["SubAccountId"] for row in rows} == {"", "core"}
    tags = [json.loads(row["Tags"]) for row in rows]
    assert any(each.get("workflow") == "nightly" for each in tags)
    assert {each.get("phase") for each in tags} == {"work", None}  # what a program had on a key has none


def test_a_row_that_breaks_a_rule_is_found(spent: SpentHome) -> None:
    """The rules themselves can say no."""
    row = next(row for row in rows_of(spent.home.out("export", "focus")) if row["ChargeCategory"] == "Usage")
    for change in (
        {"BilledCost": "x"},
        {"ListUnitPrice": "-1"},
        {"ChargeCategory": "Gift"},
        {"SkuId": ""},
        {"BillingCurrency": ""},
    ):
        assert list(broken(list(row), {**row, **change})), change


def test_entries_go_out_as_csv_and_as_lines_of_json(spent: SpentHome) -> None:
    objects = [json.loads(line) for line in spent.home.out("export", "json").splitlines()]
    rows = rows_of(spent.home.out("export", "csv"))
    assert len(objects) == len(rows) == 8
    for amounts in ([each["cost_usd"] for each in objects], [row["cost_usd"] for row in rows]):
        assert sum(map(Decimal, amounts)) == cost_of(spent.home)
    assert [each["hold"] for each in objects] == [row["hold"] for row in rows]
    assert {each["user"] for each in objects} == {"ana", "bo"}


def test_a_file_is_there_whole_or_not_at_all(spent: SpentHome, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    assert spent.home.out("export", "csv", "--output", str(file)) == ""
    assert file.read_text(encoding="utf-8").replace("\r\n", "\n") == spent.home.out("export", "csv").replace(
        "\r\n", "\n"
    )
    assert spent.home.refused("export", "csv", "-o", str(tmp_path / "no" / "out.csv"))[0] == 2
    assert spent.home.refused("export", "focus", "-o", str(tmp_path))[0] == 2
    assert [each.name for each in tmp_path.iterdir() if "part" in each.name] == []


def test_a_home_without_books_exports_a_head(home: RunHome) -> None:
    assert home.out("export", "focus").count("\n") == 1
    assert home.out("export", "json") == ""
    assert not home.home.root.exists()


@pytest.fixture
def dashboard(home: RunHome) -> Any:
    return json.loads(home.out("export", "grafana"))


def test_the_dashboard_has_the_shape_that_grafana_imports(dashboard: Any) -> None:
    assert dashboard["schemaVersion"] >= 39
    assert dashboard["title"] == "crewcap"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert panel["type"] == "row" or all(target["expr"] and target["refId"] for target in panel["targets"])
        assert panel["type"] in {"row", "stat", "timeseries"}
    assert {each["name"] for each in dashboard["templating"]["list"]} == {"datasource", "provider", "model"}


def test_every_metric_of_the_dashboard_is_one_of_the_gateways(dashboard: Any) -> None:
    now = Snapshot(boot="b", book="h", started_at=1.0, is_draining=False, waiting=0, held=(), doors=0, frozen=())
    families = set(re.findall(r"^# TYPE (\S+)", Metrics().render(now).decode(), re.MULTILINE))
    said = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    said += [each.get("definition", "") for each in dashboard["templating"]["list"]]
    named = {name for text in said for name in re.findall(r"\bcrewcap_\w+", text)}
    assert {re.sub(r"_(?:bucket|sum|count)\Z", "", name) for name in named} <= families
    assert len(named) > 12
