// States, kinds and decisions in words.
import type { Approval, Cost, Decision, StepInput, StepSpec } from "../api/types.ts";
import { plain } from "./visible.ts";

export const VERDICTS: Record<string, string> = { approve: "approved", reject: "rejected", skip: "skipped", edit: "edited" };

const bare = (text: string | undefined, prefix: string): string => (text ?? "").replace(prefix, "").toLowerCase().replaceAll("_", " ");

export const stepState = (state: string | undefined): string => bare(state, "STEP_STATE_");
export const runState = (state: string | undefined): string => bare(state, "RUN_STATE_");
export const approvalState = (state: string | undefined): string => bare(state, "APPROVAL_STATE_");
export const gateName = (gate: string | undefined): string => bare(gate, "GATE_");
export const changeName = (kind: string | undefined): string => bare(kind, "CHANGE_KIND_");

export function kindOf(spec: StepSpec | undefined): string {
  const input = spec?.input ?? {};
  const kinds: [keyof StepInput, string][] = [
    ["runCommand", "run_command"],
    ["editFile", "edit_file"],
    ["readFile", "read_file"],
    ["analyze", "analyze"],
    ["summarize", "summarize"],
  ];
  return kinds.find(([field]) => input[field])?.[1] ?? "";
}

/** What a step does, in one line: its command, path or instruction. */
export function about(spec: StepSpec | undefined): string {
  const input = spec?.input ?? {};
  return (
    input.runCommand?.command ??
    input.runCommand?.argv?.items.join(" ") ??
    input.editFile?.path ??
    input.readFile?.path ??
    input.analyze?.instruction ??
    input.summarize?.instruction ??
    ""
  );
}

export const verdictOf = (decision: Decision | undefined): string =>
  Object.keys(VERDICTS).find((name) => decision && name in decision) ?? "";

/** What became of an approval, and by whom. */
export function said(approval: Approval): string {
  const state = approvalState(approval.state);
  if (state === "superseded") return "Replaced by a new preview";
  const word = state.charAt(0).toUpperCase() + state.slice(1);
  const { subject, channel, onBehalfOf } = approval.decision ?? {};
  return subject ? `${word} by ${plain(subject)}${onBehalfOf ? ` for ${plain(onBehalfOf)}` : ""}${channel ? ` (${plain(channel)})` : ""}` : word;
}

export const short = (id: string | undefined): string => {
  const text = (id ?? "").replace(/^sha256:/, "");
  return /^(run|ws|apr|tok)-/.test(text) ? `${text.split("-")[0]}-…${text.slice(-6)}` : text.slice(0, 10);
};

export function seconds(text: string | undefined): number {
  return Number.parseFloat(text ?? "0") || 0;
}

export function duration(value: number): string {
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  return `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)} min`;
}

export function ago(time: string | undefined, now: number): string {
  if (!time) return "";
  const gone = (now - Date.parse(time)) / 1000;
  if (gone < 5) return "just now";
  if (gone < 60) return `${Math.floor(gone)} s ago`;
  if (gone < 3600) return `${Math.floor(gone / 60)} min ago`;
  if (gone < 86400) return `${Math.floor(gone / 3600)} h ago`;
  return new Date(time).toLocaleDateString();
}

export function money(cost: Cost | undefined): string {
  if (!cost?.modelCalls && !cost?.total) return "";
  const dollars = Number(cost.total?.micros ?? 0) / 1e6;
  const price = cost.total ? `$${dollars.toFixed(dollars < 1 ? 4 : 2)}` : "price unknown";
  return cost.total && cost.unpricedCalls ? `at least ${price}` : price;
}

export const tokens = (cost: Cost | undefined): string => {
  const all = Number(cost?.promptTokens ?? 0) + Number(cost?.completionTokens ?? 0);
  return all ? `${all.toLocaleString("en")} tokens` : "";
};
