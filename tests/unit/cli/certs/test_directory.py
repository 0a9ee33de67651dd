from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from interlock.cli.certs.authority import is_from, load
from interlock.cli.certs.directory import NAMES, ensure, init, renew, show
from interlock.cli.settings import Output, Settings
from interlock.cli.show.certs import show_certificates
from interlock.common.errors import InterlockError, Reason

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "data" / "certs"


def cert(place: Path, name: str) -> x509.Certificate:
    return load((place / f"{name}.crt").read_bytes(), name)


def test_everybody_gets_one_for_their_name(place: Path) -> None:
    made = {each.name: each for each in init(place, NOW, days=30, hosts=("box.lan", "10.0.0.7"))}
    assert list(made) == ["ca", *NAMES]
    assert made["executor"].names == ("executor", "localhost", "box.lan", "127.0.0.1", "::1", "10.0.0.7")
    assert made["client"].names == ("client",)
    assert {each.expires for name, each in made.items() if name != "ca"} == {NOW + timedelta(days=30)}
    assert all(is_from(cert(place, name), cert(place, "ca")) for name in NAMES)


def test_keys_are_their_owners_alone(place: Path) -> None:
    init(place, NOW, days=1)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.glob("*.key")} == {0o600}
    assert len(list(place.iterdir())) == 2 * (len(NAMES) + 1)


def test_what_each_may_be_used_for(place: Path) -> None:
    init(place, NOW, days=1)
    client = cert(place, "client").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(client) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    for name in NAMES:
        basic = cert(place, name).extensions.get_extension_for_class(x509.BasicConstraints)
        assert basic.critical
        assert not basic.value.ca
    authority = cert(place, "ca").extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (authority.ca, authority.path_length) == (True, 0)


def test_nothing_is_overwritten(place: Path) -> None:
    init(place, NOW, days=1)
    before = {path: path.read_bytes() for path in place.iterdir()}
    with pytest.raises(InterlockError) as caught:
        init(place, NOW, days=1)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    (place / "ca.crt").rename(place / "elsewhere")
    with pytest.raises(InterlockError):
        init(place, NOW, days=1)
    (place / "elsewhere").rename(place / "ca.crt")
    assert {path: path.read_bytes() for path in place.iterdir()} == before


def test_renewed_ones_are_of_the_same_authority_and_for_the_same(place: Path) -> None:
    init(place, NOW, days=1, hosts=("box.lan",))
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    found = {each.name: each for each in renew(place, NOW, days=9, hosts=("new.lan",))}
    assert found["planner"].expires == NOW + timedelta(days=9)
    assert {"planner", "box.lan", "new.lan", "127.0.0.1"} <= set(found["planner"].names)
    assert found["client"].names == ("client",)
    assert all(each.ours for each in found.values())
    same = {name for name, content in before.items() if (place / name).read_bytes() == content}
    assert same == {"ca.crt", "ca.key"}


@pytest.mark.parametrize("host", ["executor", "Client", "gateway"])
def test_no_other_ones_certificate_is_for_a_services_name(place: Path, host: str) -> None:
    with pytest.raises(InterlockError) as caught:
        init(place, NOW, days=1, hosts=(host,))
    assert caught.value.field == "host"
    init(place, NOW, days=1)
    with pytest.raises(InterlockError):
        renew(place, NOW, days=1, hosts=(host,))


def test_a_bad_host_leaves_nothing_behind(place: Path) -> None:
    with pytest.raises(InterlockError):
        init(place, NOW, days=1, hosts=("ä.example",))
    assert not place.exists()


def test_where_there_is_nothing_it_says_what_to_do(place: Path) -> None:
    for call in (lambda: show(place), lambda: renew(place, NOW, days=1)):
        with pytest.raises(InterlockError) as caught:
            call()
        assert "certs init" in caught.value.fix


def test_another_authoritys_key_makes_nothing(place: Path, tmp_path: Path) -> None:
    init(place, NOW, days=1)
    init(tmp_path / "other", NOW, days=1)
    (place / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    with pytest.raises(InterlockError):
        renew(place, NOW, days=1)


def test_what_is_shown(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(place, NOW, days=1)
    init(tmp_path / "other", NOW, days=1)
    (place / "planner.crt").write_bytes((tmp_path / "other" / "planner.crt").read_bytes())
    show_certificates(Settings(), show(place), NOW + timedelta(days=2))
    table = capsys.readouterr().out
    assert "2026-01-03, expired" in table
    assert "of another authority" in table
    show_certificates(Settings(output=Output.JSON), show(place), NOW)
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["certificates"]}
    assert (rows["executor"]["daysLeft"], rows["executor"]["expires"]) == (1, "2026-01-03T00:00:00Z")
    assert (rows["planner"]["ours"], rows["executor"]["ours"]) == (False, True)


def test_certificates_are_renewed_a_month_before_they_end(place: Path) -> None:
    ensure(place, NOW)
    first = cert(place, "executor")
    ensure(place, NOW + timedelta(days=330))
    assert cert(place, "executor") == first
    ensure(place, NOW + timedelta(days=340))
    assert cert(place, "executor").not_valid_after_utc == NOW + timedelta(days=340 + 365)
    assert is_from(cert(place, "executor"), cert(place, "ca"))
