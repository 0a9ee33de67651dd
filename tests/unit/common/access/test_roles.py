from __future__ import annotations

import pytest
from google.protobuf import descriptor_pool

from interlock.common.access.held import has_role
from interlock.common.access.roles import check_role, required_role, role_name, role_value
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import ROLES, Identity
from interlock.common.interceptors.base import Rpc
from interlock.v1 import (
    access_pb2,
    approval_pb2,
    executor_pb2,
    orchestrator_pb2,
    planner_pb2,
    role_pb2,
    webhook_pb2,
)

FILES = (access_pb2, approval_pb2, executor_pb2, orchestrator_pb2, planner_pb2, webhook_pb2)
RPCS = [
    method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.mark.parametrize("method", RPCS, ids=lambda method: str(method.full_name))
def test_every_rpc_declares_a_role(method: object) -> None:
    declared = method.GetOptions().Extensions[role_pb2.role]  # type: ignore[attr-defined]
    assert declared in set(role_pb2.Role.values()) - {0}


def test_no_service_is_forgotten_here() -> None:
    pool = descriptor_pool.Default()
    imported = {service for file in FILES for service in file.DESCRIPTOR.services_by_name}
    assert imported == {"Access", "Approval", "Executor", "Orchestrator", "Planner", "Webhooks"}
    assert pool.FindServiceByName("interlock.v1.Access").file.package == "interlock.v1"


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("/interlock.v1.Approval/Decide", "approver"),
        ("/interlock.v1.Orchestrator/GetRun", "viewer"),
        ("/interlock.v1.Orchestrator/CreateRun", "operator"),
        ("/interlock.v1.Executor/Apply", "service"),
        ("/interlock.v1.Access/CreateToken", "admin"),
        ("/interlock.v1.Approval/NoSuchRpc", "service"),
        ("/somebody.Else/Call", "service"),
    ],
)
def test_the_role_of_an_rpc(path: str, role: str) -> None:
    assert required_role(Rpc(path, False, False)) == role


GRANTED = {
    "viewer": {"viewer"},
    "operator": {"viewer", "operator"},
    "approver": {"viewer", "approver"},
    "admin": {"viewer", "operator", "approver", "admin"},
    "service": {"service"},
}


@pytest.mark.parametrize("held", sorted(ROLES))
@pytest.mark.parametrize("wanted", sorted(ROLES))
def test_what_a_role_includes(held: str, wanted: str) -> None:
    caller = Identity("ada", frozenset({held}))
    allowed = wanted in GRANTED[held]
    assert has_role(caller, wanted) is allowed
    if allowed:
        check_role(caller, wanted, "Decide")
        return
    with pytest.raises(InterlockError, match=f"asks for the role {wanted}") as caught:
        check_role(caller, wanted, "Decide")
    assert caught.value.reason is Reason.PERMISSION_DENIED


def test_nobody_without_a_role_may_do_anything() -> None:
    assert not any(has_role(Identity("ada"), role) for role in ROLES)


def test_names_and_numbers_of_roles_are_the_same_thing() -> None:
    assert {role_name(role_value(role)) for role in ROLES} == ROLES
