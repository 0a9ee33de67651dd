"""Tokens, delegations, who the caller is, and refused calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from google.protobuf.duration_pb2 import Duration

from interlock.client.connection import Connection
from interlock.v1 import access_pb2 as pb


class AccessCalls(Connection):
    """Calls of the Access service."""

    async def who_am_i(self) -> pb.Caller:
        """Who the services take this client for."""
        return (await self.call(self.access.WhoAmI, pb.WhoAmIRequest())).caller

    async def create_token(
        self,
        subject: str,
        roles: Iterable[int],
        *,
        scope: Mapping[str, str] | None = None,
        lifetime: float | None = None,
        note: str = "",
        owner: str = "",
        request_id: str = "",
    ) -> pb.CreateTokenResponse:
        """Issue a token; its text is in the answer and nowhere else.

        `lifetime` is in seconds, 90 days by default; `owner` is whose agent the subject is.
        """
        request = pb.CreateTokenRequest(
            request_id=self.request_id(request_id),
            subject=subject,
            roles=roles,  # type: ignore[arg-type]  # numbers of Role
            scope=scope or {},
            note=note,
            owner=owner,
        )
        if lifetime is not None:
            request.lifetime.CopyFrom(Duration(seconds=int(lifetime)))
        return await self.call(self.access.CreateToken, request)

    async def list_tokens(
        self, *, everything: bool = False, subject: str = "", limit: int = 1000
    ) -> list[pb.Token]:
        """Tokens, newest first; with `everything` also those that do not work any more."""
        found: list[pb.Token] = []
        request = pb.ListTokensRequest(all=everything, subject=subject)
        while len(found) < limit:
            request.page_size = min(500, limit - len(found))
            page = await self.call(self.access.ListTokens, request)
            found.extend(page.tokens)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        return found

    async def revoke_token(self, token_id: str) -> pb.Token:
        """Make a token useless; revoking it again changes nothing."""
        return (await self.call(self.access.RevokeToken, pb.RevokeTokenRequest(token_id=token_id))).token

    async def list_denials(self, *, subject: str = "", limit: int = 100) -> list[pb.Denial]:
        """Refused calls of known callers, newest first."""
        found: list[pb.Denial] = []
        request = pb.ListDenialsRequest(subject=subject)
        while len(found) < limit:
            request.page_size = min(500, limit - len(found))
            page = await self.call(self.access.ListDenials, request)
            found.extend(page.denials)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        return found

    async def delegate(
        self, to_subject: str, lifetime: float, *, note: str = "", request_id: str = ""
    ) -> pb.Delegation:
        """Let somebody else decide in the caller's place, for `lifetime` seconds."""
        request = pb.DelegateRequest(request_id=self.request_id(request_id), to_subject=to_subject, note=note)
        request.lifetime.CopyFrom(Duration(seconds=int(lifetime)))
        return (await self.call(self.access.Delegate, request)).delegation

    async def list_delegations(
        self, *, everything: bool = False, subject: str = "", limit: int = 1000
    ) -> list[pb.Delegation]:
        """Delegations, newest first; with `everything` also those that are over."""
        found: list[pb.Delegation] = []
        request = pb.ListDelegationsRequest(all=everything, subject=subject)
        while len(found) < limit:
            request.page_size = min(500, limit - len(found))
            page = await self.call(self.access.ListDelegations, request)
            found.extend(page.delegations)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        return found

    async def revoke_delegation(self, delegation_id: str) -> pb.Delegation:
        """End a delegation; ending it again changes nothing."""
        request = pb.RevokeDelegationRequest(delegation_id=delegation_id)
        return (await self.call(self.access.RevokeDelegation, request)).delegation
