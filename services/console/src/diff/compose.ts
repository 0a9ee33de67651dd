// What one line of a diff shows: its text in runs, coloured by syntax, with what changed within the line marked.
import { diffWordsWithSpace } from "diff";
import { highlight, type Run } from "./highlight.ts";
import { type Row, rows } from "./pair.ts";
import type { Hunk, Line } from "./parse.ts";

export interface Part extends Run {
  changed: boolean;
}

export interface Shown {
  rows: Row[];
  parts: ReadonlyMap<Line, Part[]>;
}

interface Span {
  length: number;
  changed: boolean;
}

const LONGEST_COMPARED = 500;
// Where less than this is common, marking words says nothing.
const LEAST_COMMON = 0.5;

export function compose(hunk: Hunk, language: string): Shown {
  const found = rows(hunk);
  const runs = coloured(hunk, language);
  const parts = new Map<Line, Part[]>();
  for (const line of hunk.lines) parts.set(line, cut(runs.get(line) ?? [], [{ length: line.text.length, changed: false }]));
  for (const row of found) {
    if (!row.old || !row.new || row.old === row.new) continue;
    const spans = words(row.old.text, row.new.text);
    if (!spans) continue;
    parts.set(row.old, cut(runs.get(row.old) ?? [], spans[0]));
    parts.set(row.new, cut(runs.get(row.new) ?? [], spans[1]));
  }
  return { rows: found, parts };
}

/** Both sides are coloured as the code they are, so that what spans lines keeps its colour. */
function coloured(hunk: Hunk, language: string): Map<Line, Run[]> {
  const found = new Map<Line, Run[]>();
  for (const side of ["old", "new"] as const) {
    const lines = hunk.lines.filter((line) => line.kind === "same" || line.kind === side);
    const runs = highlight(lines.map((line) => line.text), language);
    lines.forEach((line, i) => found.set(line, runs[i] ?? []));
  }
  return found;
}

function words(before: string, after: string): [Span[], Span[]] | null {
  if (Math.max(before.length, after.length) > LONGEST_COMPARED) return null;
  const [left, right]: [Span[], Span[]] = [[], []];
  let common = 0;
  for (const each of diffWordsWithSpace(before, after)) {
    const length = each.value.length;
    if (!each.added) left.push({ length, changed: each.removed });
    if (!each.removed) right.push({ length, changed: each.added });
    if (!each.added && !each.removed) common += each.value.trim().length;
  }
  return common >= LEAST_COMMON * Math.max(before.trim().length, after.trim().length) ? [left, right] : null;
}

/** Runs of one kind, cut where spans of another kind begin. */
export function cut(runs: Run[], spans: Span[]): Part[] {
  const found: Part[] = [];
  let left = 0;
  let next = -1;
  for (const run of runs) {
    let text = run.text;
    while (text) {
      while (left === 0 && next < spans.length - 1) left = spans[++next]?.length ?? 0;
      const size = left === 0 ? text.length : Math.min(left, text.length);
      found.push({ text: text.slice(0, size), style: run.style, changed: spans[next]?.changed ?? false });
      text = text.slice(size);
      left -= left === 0 ? 0 : size;
    }
  }
  return found;
}
