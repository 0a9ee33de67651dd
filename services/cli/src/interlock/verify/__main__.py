"""`python -m interlock.verify FILE`: exit 0 when the bundle is whole, 1 when not, 2 when there is no bundle to read."""

from __future__ import annotations

import argparse
import sys

from interlock.verify import heads
from interlock.verify.bundle import verify_file
from interlock.verify.signed import read_keys


def main() -> int:
    """Verify the file named on the command line and say what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m interlock.verify", description="Verify a journal bundle."
    )
    parser.add_argument("file")
    parser.add_argument(
        "--head",
        action="append",
        default=[],
        metavar="DIGEST[@N]",
        help="digest of the last event, or of event N, as known from elsewhere; repeatable",
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="FILE",
        help="public key (PEM) of whoever signs journals; again for an older one",
    )
    parser.add_argument("--heads", metavar="FILE", help="the same, as lines of RUN SEQ DIGEST")
    parser.add_argument(
        "--parent",
        action="append",
        default=[],
        help="bundle of the run this one is a fork of; again for that one's parent",
    )
    arguments = parser.parse_args()
    try:
        known = [heads.parse(each) for each in arguments.head]
        known += heads.read(arguments.heads) if arguments.heads else []
        keys = read_keys(arguments.key) if arguments.key else None
        report = verify_file(arguments.file, parents=arguments.parent, heads=known, keys=keys)
    except ValueError as error:
        print(ascii(str(error))[1:-1], file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Cannot read {error.filename or arguments.file}: {error.strerror}", file=sys.stderr)
        return 2
    for problem in report.problems:
        print(ascii(str(problem))[1:-1], file=sys.stderr)
    if report.origin is not None:
        checked = "compared with its journal" if report.linked else "whose journal was not given (--parent)"
        print(ascii(f"a fork of {report.origin.run_id} after event {report.origin.seq}, {checked}")[1:-1])
    if report.foreign:
        return 2
    if arguments.heads:
        print(f"compared with {report.noted} heads that were noted before")
    for each in report.erased:
        print(ascii(f"erased: {each}")[1:-1])
    if report.signed_by:
        print(
            f"signed with {report.signed_by}, {report.anchors} anchors, {'' if report.checked else 'not '}checked"
        )
    verdict = "verified" if report.ok else f"NOT verified: {len(report.problems)} problems"
    print(f"{verdict}: {report.events} events, {report.payloads} payloads, head {report.head}")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
