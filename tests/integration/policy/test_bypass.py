"""The same effect gets the same verdict, however the command that has it is written: real steps in the real sandbox."""

from __future__ import annotations

import base64

from tests.support.stack import command, open_place, stack

from interlock.common.policy.document import parse_policy
from interlock.v1 import rules_pb2, step_pb2

RULES = """
name: guard
rules:
  - name: nothing-is-gone
    effect: deny
    when: observed.deleted.exists(p, p == "precious.txt") || observed.emptied.exists(p, p == "precious.txt")
  - name: nothing-is-replaced
    effect: deny
    when: observed.modified.exists(p, p == "precious.txt")
  - name: no-new-programs
    effect: deny
    when: observed.made_executable.size() > 0 || observed.mode_changed.exists(p, p == "precious.txt")
  - name: the-rest-is-free
    effect: allow
    when: "true"
"""


def encoded(line: str) -> str:
    return base64.b64encode(line.encode()).decode()


GONE = {
    "plain": "rm precious.txt",
    "compound": "true && { cd . ; rm -f precious.txt ; } || false",
    "in a subshell": "(rm precious.txt)",
    "sh -c": "sh -c 'rm precious.txt'",
    "nested": """sh -c "sh -c 'sh -c \\"rm precious.txt\\"'" """,
    "env": "env A=1 rm precious.txt",
    "absolute": "/bin/rm -- ./precious.txt",
    "by name in a variable": "x=r; y=m; $x$y precious.txt",
    "escaped": "\\r\\m prec'io'us.txt",
    "by glob": "rm prec*.t?t",
    "xargs": "echo precious.txt | xargs rm",
    "find -delete": "find . -name precious.txt -delete",
    "find -exec": "find . -name 'prec*' -exec rm {} +",
    "git clean": "git init -q . && git clean -qfdx -e kept -e script.sh && rm -rf .git; test ! -e precious.txt",
    "moved away": "mv precious.txt elsewhere.txt",
    "moved over": "cp kept tmp && mv tmp precious.txt && mv precious.txt kept",
    "python -c": "python3 -c 'import os; os.unlink(\"precious.txt\")'",
    "perl -e": "perl -e 'unlink q(precious.txt)'",
    "base64 | sh": f"echo {encoded('rm precious.txt')} | base64 -d | sh",
    "octal": "printf '\\162\\155 precious.txt' | sh",
    "eval": 'eval "$(printf %s%s r m) precious.txt"',
    "here document": "sh <<'E'\nrm precious.txt\nE",
    "script": "sh script.sh",
    "script by interpreter line": "cp script.sh /tmp/s && chmod +x /tmp/s && /tmp/s",
    "in the background": "(sleep 0; rm precious.txt) & wait",
    "with a trap": "trap 'rm precious.txt' EXIT; true",
    "by a link": 'ln -s .. /tmp/up && cd /tmp && rm "$OLDPWD/precious.txt"',
    "truncated": ": > precious.txt",
    "truncate(1)": "truncate -s 0 precious.txt",
    "cp /dev/null": "cp /dev/null precious.txt",
    "a directory in its place": "rm precious.txt && mkdir precious.txt && touch precious.txt/x",
    "a link in its place": "ln -sf kept precious.txt",
    "dd": "dd if=/dev/null of=precious.txt 2>/dev/null",
}
REPLACED = {
    "by redirection": "echo other > precious.txt",
    "by append": "echo more >> precious.txt",
    "by move": "echo other > n && mv n precious.txt",
    "by link and write": "ln precious.txt alias && echo other > alias && rm alias",
    "by symbolic link": "ln -s precious.txt alias && echo other > alias && rm alias",
    "by sed -i": "sed -i s/worth/cost/ precious.txt",
    "by tee": "echo other | tee precious.txt >/dev/null",
    "by python": 'python3 -c \'open("precious.txt", "w").write("other")\'',
}
PROGRAMS = {
    "chmod": "chmod +x precious.txt",
    "octal mode": "chmod 0755 precious.txt",
    "python": "python3 -c 'import os; os.chmod(\"precious.txt\", 0o755)'",
    "install": "install -m 0755 /dev/null tool2",
    "copied from a program": "cp -p /bin/true prog",
    "an unreadable file": "chmod 000 precious.txt",
}
HARMLESS = {"looks like it": "echo rm precious.txt", "in a fork's own /tmp": "touch /tmp/p && rm /tmp/p"}


async def test_the_effect_decides_not_the_words(database_url: str) -> None:
    """Every command is one step of one run: nothing of a denied one is published, so they all begin alike."""
    expected = {
        **dict.fromkeys(GONE, "nothing-is-gone"),
        **dict.fromkeys(REPLACED, "nothing-is-replaced"),
        **dict.fromkeys(PROGRAMS, "no-new-programs"),
        **dict.fromkeys(HARMLESS, ""),
    }
    with open_place() as place:
        live = place / "live"
        live.mkdir()
        (live / "precious.txt").write_text("worth keeping\n")
        (live / "kept").write_text("kept\n")
        (live / "script.sh").write_text("#!/bin/sh\nrm precious.txt\n")
        async with stack(place, database_url, policy=parse_policy(RULES)) as both:
            steps = [
                command(line, name=name, on_failure=step_pb2.ON_FAILURE_CONTINUE)
                for name, line in {**GONE, **REPLACED, **PROGRAMS, **HARMLESS}.items()
            ]
            run_id = await both.run(await both.executor.workspace(live), *steps, policy=None)
            run = await both.until(run_id, "COMPLETED")
            assert (live / "precious.txt").read_text() == "worth keeping\n"
            assert {path.name for path in live.iterdir()} == {"precious.txt", "kept", "script.sh"}
    wrong = {step.spec.name: said for step in run.steps if (said := _said(step, expected[step.spec.name]))}
    assert wrong == {}


def _said(step: step_pb2.Step, rule: str) -> str:
    """What is not as it should be; empty when all is."""
    observed = step.rulings[-1]
    rules = [hit.rule for hit in observed.rules]
    if step.approval_id:
        return "somebody was asked"
    if not rule:
        allowed = observed.verdict == rules_pb2.POLICY_VERDICT_ALLOW
        return "" if allowed and step.state == step_pb2.STEP_STATE_SUCCEEDED else f"not allowed: {rules}"
    if step.failure.reason != "POLICY_DENIED":
        return f"not denied: {step.failure.reason} {step.failure.message} {step.effect.stderr.head!r}"
    return "" if observed.observed and rule in rules else f"denied by {rules}"
