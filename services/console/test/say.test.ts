import assert from "node:assert/strict";
import { test } from "node:test";
import { cannotApprove } from "../src/state/say.ts";

const approval = { approvalId: "", runId: "", step: 1, digest: "", state: "" };

test("who cannot approve is told why", () => {
  assert.equal(cannotApprove(approval, "ada"), "");
  assert.match(cannotApprove({ ...approval, votes: [{ subject: "ada" }] }, "ada"), /You have approved/);
  assert.match(cannotApprove({ ...approval, votes: [{ subject: "bob", onBehalfOf: "ada" }] }, "ada"), /You have approved/);
  assert.match(cannotApprove({ ...approval, excluded: ["ada"] }, "ada"), /somebody else/);
  const stages = [{ approvers: ["bob"] }, { approvers: ["sec"] }];
  assert.match(cannotApprove({ ...approval, stages }, "ada"), /not among/);
  assert.equal(cannotApprove({ ...approval, stages }, "sec"), "");
  assert.equal(cannotApprove({ ...approval, stages: [...stages, {}] }, "ada"), "");
});
