"""Values as people read them. Pure functions, no terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from interlock.v1.cost_pb2 import Cost


def enum_text(wrapper: object, number: int) -> str:
    """`RUNNING` of RUN_STATE_RUNNING; a number this version does not know stays a number.

    The prefix of a proto enum's values is the enum's own name in capitals.
    """
    descriptor = wrapper.DESCRIPTOR  # type: ignore[attr-defined]
    value = descriptor.values_by_number.get(number)
    if value is None:
        return str(number)
    unspecified = descriptor.values_by_number[0].name
    return str(value.name.removeprefix(unspecified.removesuffix("UNSPECIFIED")))


def enum_number(wrapper: object, text: str) -> int | None:
    """The inverse of `enum_text`, in any case; None when there is no such value."""
    descriptor = wrapper.DESCRIPTOR  # type: ignore[attr-defined]
    prefix = descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")
    value = descriptor.values_by_name.get(prefix + text.upper().replace("-", "_"))
    return None if value is None or value.number == 0 else int(value.number)


def enum_choices(wrapper: object) -> list[str]:
    """Every name `enum_number` knows."""
    numbers = wrapper.DESCRIPTOR.values_by_number  # type: ignore[attr-defined]
    return [enum_text(wrapper, number) for number in numbers if number]


def money_text(micros: int) -> str:
    """Micro-US-dollars as dollars: two decimals, more where they matter."""
    dollars, rest = divmod(micros, 1_000_000)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"${dollars:,}.{decimals}"


def counted(number: int, noun: str) -> str:
    """`1 step`, `1,200 steps`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def cost_text(cost: Cost) -> str:
    """`$0.0123, 1,234 tokens, 3 calls`. What is not known is said, never shown as zero."""
    if not cost.model_calls:
        return "no model calls"
    calls = counted(cost.model_calls, "model call")
    priced = money_text(cost.total.micros) if cost.HasField("total") else "price unknown"
    if cost.HasField("total") and cost.unpriced_calls:
        priced = f"at least {priced} ({cost.unpriced_calls} unpriced)"
    tokens = [getattr(cost, name) for name in ("prompt_tokens", "completion_tokens") if cost.HasField(name)]
    used = f"{sum(tokens):,} tokens" if tokens else "tokens unknown"
    return f"{priced}, {used}, {calls}"


def size_text(count: int) -> str:
    """Bytes with a binary unit."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def seconds_text(seconds: float) -> str:
    """`0.4s`, `12s`, `3m 05s`, `2h 03m`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def time_text(moment: Timestamp) -> str:
    """RFC 3339 UTC with seconds; empty when it is not set."""
    return moment.ToDatetime().strftime("%Y-%m-%dT%H:%M:%SZ") if moment.seconds else ""


def short_digest(digest: str) -> str:
    """The first 12 hex digits, as people compare them; the JSON output has all."""
    return digest.removeprefix("sha256:")[:12]


def first_line(text: str, limit: int = 100) -> str:
    """The first line, cut visibly."""
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= limit and line == text.strip() else line[: limit - 1] + "…"


def labels_text(labels: Iterable[tuple[str, str]]) -> str:
    """`a=1,b=2` in order of the keys."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels))
