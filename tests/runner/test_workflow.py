"""A run from state to state, with a real repository, real books, a real gateway and a sandboxed agent."""

from __future__ import annotations

import asyncio

from tests.runner.fake_agent import fixes
from tests.runner.rig import Shop

from crewcap.core.runs import RunState, Verdict


def test_an_issue_becomes_a_branch_in_the_users_repository(shop: Shop) -> None:
    async def main() -> None:
        async with shop.open(fixes()) as rig:
            run = await rig.drive()
            assert (run.state, run.verdict, run.reason) == (RunState.DONE, Verdict.FINISHED, "the check is green")
            assert run == rig.stored()

    asyncio.run(main())
