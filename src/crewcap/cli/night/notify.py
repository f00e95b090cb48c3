"""`crewcap notify`: whether people can be told, what they were told, and looking at the budgets now (for cron)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, remember, with_call
from crewcap.core.notices import Notice
from crewcap.errors import UsageError

if TYPE_CHECKING:
    from crewcap.notify.notebook import Delivery


@click.group(epilog="Example: crewcap notify test")
@common
@click.pass_context
def notify(ctx: click.Context, /, **options: object) -> None:
    """Who is told of waiting, failed and finished runs, and of budgets: [[notify]] in the settings."""
    remember(ctx, options)


@notify.command("test", epilog="Example: crewcap notify test")
@common
@with_call
def test(call: Call) -> None:
    """Send a test notice to everybody whom the settings name, also in quiet hours; exit 1 where one did not arrive."""
    now = call.clock()
    notice = Notice(once=f"test/{now.isoformat()}", kind="test", text="this is a test; nothing has happened", at=now)
    _tell(call, [notice], only_now=True)


@notify.command("check", epilog="Example: crewcap notify check")
@common
@with_call
def check(call: Call) -> None:
    """Look at the budgets and the forecast now, and send what is new or did not arrive before; made for cron."""
    from crewcap.cli.night.telling import budget_notices  # noqa: PLC0415  (not for --help)

    _tell(call, [] if call.app.is_new else budget_notices(call))


@notify.command("list", epilog="Example: crewcap notify list")
@common
@with_call
def list_(call: Call) -> None:
    """What was told, and to whom."""
    from crewcap.cli.night.telling import told  # noqa: PLC0415  (not for --help)

    found = told(call)
    if call.as_json:
        call.emit([{**_object(notice), "told": list(targets)} for notice, targets in found])
        return
    for notice, targets in found:
        call.out(f"{notice.at:%Y-%m-%d %H:%M}  {notice.kind:<8}  {notice.text}  ({', '.join(targets) or 'nobody yet'})")


def _tell(call: Call, notices: Sequence[Notice], *, only_now: bool = False) -> None:
    from crewcap.cli.night.telling import tell  # noqa: PLC0415  (not for --help)

    if not call.app.settings.notify:
        raise UsageError("the settings name nobody to tell", help='add [[notify]] with on = ["waiting", "budget 80%"]')
    done = tell(call, notices, only_now=only_now)
    if call.as_json:
        call.emit([{**_object(each.notice), "target": each.target, "problem": each.problem or None} for each in done])
    else:
        for each in done:
            call.out(_said(each))
    if any(each.problem for each in done):
        call.note("what did not arrive is sent again with the next notice, for a week")
        click.get_current_context().exit(1)


def _said(each: Delivery) -> str:
    return (
        f"not sent  {each.target}: {each.problem}" if each.problem else f"sent      {each.target}: {each.notice.text}"
    )


def _object(notice: Notice) -> dict[str, object]:
    return {"at": notice.at.isoformat(), "event": notice.kind, "text": notice.text, "id": notice.once}
