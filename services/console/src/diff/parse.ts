// A unified diff with git's headers, read by counting: a hunk's header says how many lines it has, and whatever these
// lines look like, they are its lines. Content can so never pass for a header of another file.
import { bytesOf } from "../text/bytes.ts";

export type LineKind = "same" | "old" | "new";

export interface Line {
  kind: LineKind;
  text: string;
  old: number;
  new: number;
  /** True for the last line of a file that does not end with a newline. */
  unended?: boolean;
}

export interface Hunk {
  header: string;
  lines: Line[];
}

export interface FileDiff {
  path: string;
  oldPath: string;
  kind: "added" | "deleted" | "renamed" | "modified";
  /** What else is said about it: modes, that it is binary, that something is left out. */
  notes: string[];
  hunks: Hunk[];
  added: number;
  removed: number;
}

export interface Diff {
  files: FileDiff[];
  /** Lines that belong to no file. */
  notes: string[];
}

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/;
const DIRECTORY = /^interlock: directory /;

export function parse(text: string): Diff {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  const diff: Diff = { files: [], notes: [] };
  let file: FileDiff | null = null;
  let i = 0;
  while (i < lines.length) {
    const line = lines[i] ?? "";
    const hunk = HUNK.exec(line);
    if (hunk && file) {
      i = readHunk(lines, i, hunk, file);
      continue;
    }
    if (line.startsWith("diff --git ")) diff.files.push((file = begin(line)));
    else if (DIRECTORY.test(line) || /^interlock: \d+ more/.test(line)) {
      file = null;
      diff.notes.push(line.replace(/^interlock: /, ""));
    } else if (file) header(file, line);
    else diff.notes.push(line);
    i++;
  }
  return diff;
}

function begin(line: string): FileDiff {
  const [oldPath, path] = names(line.slice("diff --git ".length));
  return { path, oldPath, kind: "modified", notes: [], hunks: [], added: 0, removed: 0 };
}

/** The two names of a header: quoted, or the same twice. Others are told by the lines that follow. */
function names(text: string): [string, string] {
  const quoted = /^("(?:[^"\\]|\\.)*"|\S+) ("(?:[^"\\]|\\.)*"|\S+)$/.exec(text);
  if (quoted) return [name(quoted[1] ?? ""), name(quoted[2] ?? "")];
  const half = (text.length - 1) / 2;
  return [name(text.slice(0, half)), name(text.slice(half + 1))];
}

function name(text: string): string {
  return unquote(text).replace(/^[ab]\//, "");
}

const ESCAPES: Record<string, string> = { a: "\x07", b: "\b", t: "\t", n: "\n", v: "\v", f: "\f", r: "\r" };

/** git's quoting of unusual names: C escapes, and bytes in octal. */
function unquote(marked: string): string {
  // A name with a space ends with a tab.
  const text = marked.replace(/\t$/, "");
  if (!text.startsWith('"')) return text;
  const bytes: number[] = [];
  const encoder = new TextEncoder();
  for (const each of text.slice(1, -1).matchAll(/\\([0-7]{3})|\\(.)|([^\\]+)/gs)) {
    if (each[1]) bytes.push(Number.parseInt(each[1], 8));
    else bytes.push(...encoder.encode(each[2] ? (ESCAPES[each[2]] ?? each[2]) : (each[3] ?? "")));
  }
  return new TextDecoder().decode(bytesOf(btoa(String.fromCharCode(...bytes))));
}

function header(file: FileDiff, line: string): void {
  if (line.startsWith("--- ")) {
    if (line !== "--- /dev/null") file.oldPath = name(line.slice(4));
  } else if (line.startsWith("+++ ")) {
    if (line !== "+++ /dev/null") file.path = name(line.slice(4));
  } else if (line.startsWith("rename from ")) {
    file.oldPath = unquote(line.slice(12));
    file.kind = "renamed";
  } else if (line.startsWith("rename to ")) file.path = unquote(line.slice(10));
  else if (line.startsWith("new file mode ")) mode(file, "added", line.slice(14));
  else if (line.startsWith("deleted file mode ")) mode(file, "deleted", line.slice(18));
  else if (!line.startsWith("similarity index ")) file.notes.push(line.replace(/^interlock: /, ""));
}

function mode(file: FileDiff, kind: "added" | "deleted", value: string): void {
  file.kind = kind;
  if (value === "120000") file.notes.push("symbolic link");
  else if (value !== "100644") file.notes.push(`mode ${value}`);
}

function readHunk(lines: string[], at: number, found: RegExpExecArray, file: FileDiff): number {
  const hunk: Hunk = { header: lines[at] ?? "", lines: [] };
  file.hunks.push(hunk);
  let [old, now] = [Number(found[1]), Number(found[3])];
  const [lastOld, lastNew] = [old + Number(found[2] ?? 1), now + Number(found[4] ?? 1)];
  let i = at + 1;
  for (; i < lines.length; i++) {
    const line = lines[i] ?? "";
    const sign = line[0];
    if (sign === "\\") {
      const last = hunk.lines.at(-1);
      if (last) last.unended = true;
      continue;
    }
    if (old >= lastOld && now >= lastNew) break;
    const text = line.slice(1);
    if (sign === "-" && old < lastOld) hunk.lines.push({ kind: "old", text, old: old++, new: 0 });
    else if (sign === "+" && now < lastNew) hunk.lines.push({ kind: "new", text, old: 0, new: now++ });
    else if ((sign === " " || line === "") && old < lastOld && now < lastNew)
      hunk.lines.push({ kind: "same", text, old: old++, new: now++ });
    else break;
  }
  file.added += hunk.lines.filter((line) => line.kind === "new").length;
  file.removed += hunk.lines.filter((line) => line.kind === "old").length;
  return i;
}
