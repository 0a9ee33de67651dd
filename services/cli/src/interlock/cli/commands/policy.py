"""`interlock policy`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.command import command, group
from interlock.cli.settings import Output, Settings

app = group("Check, try and look at policies: rules about what steps do.")

POLICY = Annotated[
    str, typer.Argument(help="A file (with a / or . in its name), or a shipped policy's name.")
]


@command(app, "check")
def check(settings: Settings, policy: POLICY) -> int:
    """List every mistake of a policy with its line and column; exit 2 when there is one. Needs no service."""
    from interlock.cli.show.policy import show_problems
    from interlock.common.policy.document import check_policy
    from interlock.common.policy.named import text_of

    found, problems = check_policy(text_of(policy), policy)
    show_problems(settings, policy, found, problems)
    return 0 if found is not None else 2


@command(app, "test")
def test(settings: Settings, policy: POLICY) -> int:
    """Run a policy's own examples; exit 1 when one does not come out as it says. Needs no service."""
    from interlock.cli.show.policy import show_tried
    from interlock.common.policy.examples import try_examples
    from interlock.common.policy.judge import layer_of
    from interlock.common.policy.named import named_policy

    known = named_policy(policy)
    tried = list(try_examples(known, layer_of(known)))
    show_tried(settings, known, tried)
    return 0 if all(each.passed for each in tried) else 1


@command(app, "show")
async def show(
    settings: Settings,
    policy: Annotated[
        str, typer.Argument(help="A shipped policy or a file to print; default: what is in force.")
    ] = "",
    run: Annotated[str, typer.Option("--run", help="A run whose own policy is shown as well.")] = "",
) -> None:
    """Show the policy in force, or print the text of one."""
    from interlock.cli.output import write_json
    from interlock.cli.safe import escape_block
    from interlock.cli.show.policy import show_in_force
    from interlock.common.policy.named import named_policy, text_of

    if not policy:
        from interlock.cli.session import connect

        async with connect(settings) as client:
            show_in_force(settings, await client.policy(run))
        return
    known, text = named_policy(policy), text_of(policy)
    if settings.output is Output.TABLE:
        print(escape_block(text), end="")
    else:
        write_json(
            {"name": known.name, "version": known.version, "digest": known.digest, "text": text},
            settings.output,
        )


@command(app, "backtest")
async def backtest(
    settings: Settings,
    policy: POLICY,
    since: Annotated[
        str,
        typer.Option(help="Only runs of this long ago or later: 12h, 7d; or a time as 2026-11-22T12:00:00Z."),
    ] = "",
    run: Annotated[list[str] | None, typer.Option("--run", help="Only this run; repeatable.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what would have been decided the same.")
    ] = False,
    max_runs: Annotated[
        int, typer.Option(min=0, max=10_000, help="At most so many runs, the newest; 0 = 1,000.")
    ] = 0,
) -> None:
    """Replay a policy over the journal and list the steps that it would have decided otherwise. Changes nothing."""
    from interlock.cli.session import connect
    from interlock.cli.show.policy import show_backtest, since_time
    from interlock.common.policy.document import parse_policy
    from interlock.common.policy.named import text_of
    from interlock.v1.rules_pb2 import BacktestPolicyRequest

    text = text_of(policy)
    parse_policy(text, policy)
    request = BacktestPolicyRequest(document=text, run_ids=run or [], all=everything, max_runs=max_runs)
    if since:
        request.since.CopyFrom(since_time(since))
    async with connect(settings) as client:
        await show_backtest(settings, client.backtest(request))
