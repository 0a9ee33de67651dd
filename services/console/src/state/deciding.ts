// A decision: sent with the digest of the preview that was shown, whatever has happened since.
import { signal } from "@preact/signals";
import { at, post } from "../api/client.ts";
import { problemOf } from "../api/problem.ts";
import type { Approval, EnvelopeBounds, StepInput } from "../api/types.ts";
import { said, VERDICTS } from "../text/words.ts";
import { notify } from "./announce.ts";
import { loadDelegations, standsFor } from "./delegations.ts";
import { isPending, keep } from "./feed.ts";
import { advance, load, placeOf } from "./inbox.ts";

export type Answer = { approve: { envelope?: EnvelopeBounds } } | { reject: { action: string } } | { skip: object } | { edit: { input: StepInput } };

export const sending = signal(false);

/** Record an answer. True when it counts; otherwise the page has said why. */
export async function decide(shown: Approval, answer: Answer, comment: string): Promise<boolean> {
  if (sending.value) return false;
  sending.value = true;
  const place = placeOf(shown.approvalId);
  try {
    const { approval } = await post<{ approval: Approval }>(at`/v1/approvals/${shown.approvalId}:decide`, {
      runId: shown.runId,
      step: shown.step,
      decision: {
        ...answer,
        comment,
        channel: "console",
        digest: shown.digest,
        ...(standsFor.value && { onBehalfOf: standsFor.value }),
      },
    });
    keep(approval);
    notify(isPending(approval) ? "Your approval counts; others have to approve too." : said(approval));
    if (!isPending(approval)) advance(shown.approvalId, place);
    return true;
  } catch (error) {
    const problem = problemOf(error);
    notify(`Not ${VERDICTS[Object.keys(answer)[0] ?? ""] ?? "recorded"}: ${problem.message} ${problem.fix}`.trim(), true);
    if (standsFor.value) void loadDelegations();
    if (problem.reason.startsWith("APPROVAL_")) void load(shown.approvalId);
    return false;
  } finally {
    sending.value = false;
  }
}
