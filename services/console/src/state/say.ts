// Whether the caller can approve what is shown, by what is known here; the services judge in the end.
import type { Approval } from "../api/types.ts";

/** Why this person cannot approve it (any more); empty when nothing speaks against it. They may still refuse it. */
export function cannotApprove(approval: Approval, subject: string): string {
  if (approval.votes?.some((vote) => vote.subject === subject || vote.onBehalfOf === subject))
    return "You have approved. Others have to approve too.";
  if (approval.excluded?.includes(subject)) return "You asked for this step, so that somebody else has to approve it.";
  const named = (approval.stages ?? []).filter((stage) => stage.approvers?.length);
  const stages = approval.stages ?? [];
  if (stages.length > 0 && named.length === stages.length && !named.some((stage) => stage.approvers?.includes(subject)))
    return "You are not among those who have to approve.";
  return "";
}
