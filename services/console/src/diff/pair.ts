// The lines of a hunk in rows: what was beside what is, alike lines beside one another.
import { newDistanceFn, newMatcherFn } from "diff2html/lib-esm/rematch.js";
import type { Hunk, Line } from "./parse.ts";

export interface Row {
  old: Line | null;
  new: Line | null;
}

const MOST_COMPARED = 400;
const LONGEST_COMPARED = 400;

const match = newMatcherFn(newDistanceFn((line: Line) => line.text));

export function rows(hunk: Hunk): Row[] {
  const found: Row[] = [];
  let gone: Line[] = [];
  let come: Line[] = [];
  const flush = (): void => {
    found.push(...pairs(gone, come));
    [gone, come] = [[], []];
  };
  for (const line of hunk.lines) {
    if (line.kind === "old") {
      if (come.length) flush();
      gone.push(line);
    } else if (line.kind === "new") come.push(line);
    else {
      flush();
      found.push({ old: line, new: line });
    }
  }
  flush();
  return found;
}

function pairs(gone: Line[], come: Line[]): Row[] {
  const small = gone.length * come.length <= MOST_COMPARED;
  const short = [...gone, ...come].every((line) => line.text.length <= LONGEST_COMPARED);
  // The matcher looks for the most alike of all; where that would take long, lines stand as they come.
  const groups = small && short && gone.length && come.length ? match(gone, come) : [[gone, come]];
  return groups.flatMap(([left = [], right = []]) =>
    Array.from({ length: Math.max(left.length, right.length) }, (_, i) => ({
      old: left[i] ?? null,
      new: right[i] ?? null,
    })),
  );
}
