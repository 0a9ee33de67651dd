"""HTTPS: the certificate that browsers see, taken anew when its files change."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Final

from interlock.common import logs
from interlock.common.errors import InterlockError, Reason
from interlock.gateway.config import Https

WATCH_SECONDS: Final = 10.0
_log = logs.get("tls")


def context(files: Https) -> ssl.SSLContext:
    """TLS 1.2 and newer. Raises INVALID_ARGUMENT when the files do not fit."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    try:
        _load(made, files)
    except OSError as error:  # ssl.SSLError is one
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"The certificate {files.cert} cannot be used with the key {files.key}: {_why(error)}.",
            field="INTERLOCK_GATEWAY_TLS_CERT",
            fix="Name a PEM certificate and its key without a password; `interlock certs init` makes some.",
        ) from None
    return made


async def keep_current(made: ssl.SSLContext, files: Https, seconds: float = WATCH_SECONDS) -> None:
    """Use new files for the connections after them; files that do not fit change nothing. Runs until cancelled."""
    seen: object = None
    while True:
        await asyncio.sleep(seconds)
        try:
            now = await asyncio.to_thread(_stamp, files)
            if now == seen:
                continue
            # Tried on another one first: a key that does not fit would stay behind with the old certificate.
            await asyncio.to_thread(_load, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files)
            _load(made, files)
        except OSError as error:
            _log.warning("the new certificate cannot be used", why=_why(error))
            continue
        seen = now
        _log.info("using a new certificate", cert=str(files.cert))


def _load(made: ssl.SSLContext, files: Https) -> None:
    made.load_cert_chain(files.cert, files.key, password=_no_password)


def _no_password() -> str:
    return ""  # never asked for on a terminal


def _stamp(files: Https) -> tuple[tuple[int, int], ...]:
    found = [os.stat(path) for path in (files.cert, files.key)]
    return tuple((each.st_mtime_ns, each.st_ino) for each in found)


def _why(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
