"""Prices as gateways write them (US dollars as JSON numbers or text) → whole micro-US-dollars."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation

_MOST_DOLLARS = Decimal(1_000_000)


def micros_of_dollars(value: object) -> int | None:
    """Micro-dollars, rounded up so that a price is never shown as less than it was.

    ``None`` (unknown) for anything that is no sensible price: absent, negative, not finite. A float is not taken
    either: JSON numbers are read as Decimal, from their text.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        return None
    try:
        dollars = Decimal(value)
    except InvalidOperation:
        return None
    if not dollars.is_finite() or not 0 <= dollars <= _MOST_DOLLARS:
        return None
    return int((dollars * 1_000_000).to_integral_value(rounding=ROUND_CEILING))


def count_of(value: object) -> int | None:
    """A token count, or ``None`` when it is absent or no count."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None
