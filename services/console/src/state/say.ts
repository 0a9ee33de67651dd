// Whether the caller can approve what is shown, by what is known here; the services judge in the end.
import type { Approval } from "../api/types.ts";

/** Why this person cannot approve it (any more); empty when nothing speaks against it. They may still refuse it. */
export function cannotApprove(approval: Approval, caller: string, standsFor = ""): string {
  const subject = standsFor || caller;
  if (approval.votes?.some((vote) => vote.subject === subject || vote.onBehalfOf === subject))
    return standsFor ? "They have approved. Others have to approve too." : "You have approved. Others have to approve too.";
  if (approval.excluded?.includes(caller)) return "You asked for this step, so that somebody else has to approve it.";
  if (approval.excluded?.includes(subject)) return "They asked for this step, so that somebody else has to approve it.";
  const named = (approval.stages ?? []).filter((stage) => stage.approvers?.length);
  const stages = approval.stages ?? [];
  // Who belongs to a group (`provider:leads`) the services know.
  const mayBe = (name: string): boolean => name === subject || name.includes(":");
  if (stages.length > 0 && named.length === stages.length && !named.some((stage) => stage.approvers?.some(mayBe)))
    return standsFor ? "They are not among those who have to approve." : "You are not among those who have to approve.";
  return "";
}
