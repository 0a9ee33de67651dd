"""`interlock doctor`."""

from __future__ import annotations

from interlock.cli.command import command, group
from interlock.cli.settings import Output, Settings

app = group("Check this machine and say how to fix what is missing.")


@command(app)
async def doctor(settings: Settings) -> int:
    """Try the sandbox, the database, the model and the ports; exit 1 when something needed is missing."""
    from dataclasses import asdict

    from interlock.cli.doctor import Level, examine
    from interlock.cli.output import write_json, write_table
    from interlock.cli.safe import escape

    findings = await examine(settings.env())
    missing = any(finding.level is Level.MISSING for finding in findings)
    if settings.output is not Output.TABLE:
        write_json({"ok": not missing, "findings": [asdict(each) for each in findings]}, settings.output)
        return int(missing)
    write_table(("CHECK", "", "DETAIL"), [(each.check, each.level.value, each.detail) for each in findings])
    for each in findings:
        if each.level is not Level.OK and each.fix:
            print(escape(f"{each.check}: {each.fix}"))
    return int(missing)
