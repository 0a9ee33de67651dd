"""Signatures, against the specification's example and against the test receiver's own check."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.webhook_receiver import Received

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.webhooks.outbox import delivery_id
from interlock.orchestrator.webhooks.settings import WebhookSettings
from interlock.orchestrator.webhooks.signing import headers, key_of, new_secret

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_specifications_example() -> None:
    made = headers(key_of(SECRET), ID, AT, BODY)
    assert made == {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}
    assert Received("/", made, BODY).is_signed_by(SECRET)


@given(body=st.binary(max_size=200), seconds=st.integers(0, 2**33))
def test_another_body_time_or_secret_does_not_pass(body: bytes, seconds: int) -> None:
    secret = new_secret()
    made = headers(key_of(secret), delivery_id("whk-1", seconds), seconds, body)
    assert Received("/", made, body).is_signed_by(secret)
    assert not Received("/", made, body + b" ").is_signed_by(secret)
    assert not Received("/", {**made, "webhook-timestamp": str(seconds + 1)}, body).is_signed_by(secret)
    assert not Received("/", made, body).is_signed_by(new_secret())


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_short", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%"]
)
def test_secrets_that_are_refused(secret: str) -> None:
    with pytest.raises(InterlockError) as caught:
        key_of(secret)
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "secret")


def test_ids_follow_from_endpoint_and_position() -> None:
    made = {delivery_id(hook, position) for hook in ("whk-1", "whk-2") for position in range(100)}
    assert len(made) == 200
    assert delivery_id("whk-1", 7) in made
    assert {len(each) for each in made} == {30}


def test_waits_double_up_to_a_limit_and_are_spread() -> None:
    settings = WebhookSettings(first=1.0, longest=10.0)
    waits = [settings.delay(tried) for tried in (1, 2, 3, 4, 5, 100)]
    for wait, whole in zip(waits, (1, 2, 4, 8, 10, 10), strict=True):
        assert whole / 2 <= wait <= whole
