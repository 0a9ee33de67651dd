"""Prices of models by the list of ``genai-prices`` (US dollars per token), as whole micro-US-dollars.

The list comes with the package and is not fetched. What it does not hold has no known price: ``None``, never 0.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from genai_prices import Usage, calc_price

from interlock.planner.gateways.base import GatewayInfo


def cost(model: str, prompt_tokens: int | None, completion_tokens: int | None) -> int | None:
    """What a call cost by its token counts, rounded up; None where a count or the price is not known."""
    if prompt_tokens is None or completion_tokens is None:
        return None
    return _price(model, prompt_tokens, completion_tokens)


def worst(model: str, prompt_bytes: int, max_tokens: int) -> int | None:
    """What a call may cost at most: no tokeniser makes more tokens of a text than it has bytes in UTF-8."""
    return _price(model, prompt_bytes, max_tokens)


def worst_of(info: GatewayInfo, prompt_bytes: int, max_tokens: int) -> int | None:
    """What asking a gateway once may cost at most; None where no price is known."""
    if info.free:
        return 0
    if info.price is not None:
        each: int | None = info.price.of(prompt_bytes, max_tokens)
    else:
        each = worst(info.model, prompt_bytes, max_tokens)
    return None if each is None else each * info.calls


def settled(info: GatewayInfo, prompt_tokens: int | None, completion_tokens: int | None) -> int | None:
    """What a call costs by the price that is settled for its gateway; None where there is none, or no count."""
    if info.free:
        return 0
    if info.price is None:
        return None
    if not (info.price.prompt or info.price.completion):
        return 0
    if prompt_tokens is None or completion_tokens is None:
        return None
    return info.price.of(prompt_tokens, completion_tokens)


def known(model: str) -> bool:
    """Whether the model's price is known."""
    return _price(model, 1, 1) is not None


def _price(model: str, prompt_tokens: int, completion_tokens: int) -> int | None:
    try:
        usage = Usage(input_tokens=prompt_tokens, output_tokens=completion_tokens)
        total = calc_price(usage, model_ref=model).total_price
    except (LookupError, ValueError):
        return None
    return int((Decimal(total) * 1_000_000).to_integral_value(rounding=ROUND_CEILING))
