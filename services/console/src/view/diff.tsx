// A diff: file by file, unified or side by side.
import { useMemo, useState } from "preact/hooks";
import type { Difference, FileChange } from "../api/types.ts";
import { compose, type Part, type Shown } from "../diff/compose.ts";
import { languageOf } from "../diff/highlight.ts";
import { type FileDiff, type Hunk, type Line, parse } from "../diff/parse.ts";
import { isNarrow, layout, wrap } from "../state/look.ts";
import { size } from "../text/bytes.ts";
import { changeName } from "../text/words.ts";
import { Code, Text, Unseen } from "./text.tsx";

const FIRST_LINES = 600;
const OPEN_FILES = 30;

export function Diff({ of }: { of: Difference }) {
  const diff = useMemo(() => parse(of.diff ?? ""), [of.diff]);
  const total = Number(of.changesTotal ?? of.changes?.length ?? diff.files.length);
  return (
    <div class="diff">
      {of.diffTruncated && (
        <p class="warning" role="note">
          This is not all of it: the difference is longer than what is shown. A decision is about everything.
        </p>
      )}
      {diff.files.map((file, i) => (
        <File key={`${i}:${file.path}`} file={file} open={i < OPEN_FILES} />
      ))}
      {diff.notes.map((note) => (
        <p key={note} class="note">
          <Text text={note} />
        </p>
      ))}
      {(of.diffTruncated || !diff.files.length) && <Changes changes={of.changes ?? []} total={total} />}
    </div>
  );
}

export function DiffLook() {
  if (isNarrow.value) return null;
  const choice = (value: "unified" | "split", words: string) => (
    <button type="button" aria-pressed={layout.value === value} onClick={() => (layout.value = value)}>
      {words}
    </button>
  );
  return (
    <div class="choice" role="group" aria-label="How the diff is shown">
      {choice("unified", "Unified")}
      {choice("split", "Side by side")}
      <button type="button" aria-pressed={wrap.value} onClick={() => (wrap.value = !wrap.value)}>
        Wrap
      </button>
    </div>
  );
}

function File({ file, open }: { file: FileDiff; open: boolean }) {
  const moved = file.kind === "renamed" && file.oldPath !== file.path;
  return (
    <details class="file" open={open}>
      <summary>
        <span class={`change ${file.kind}`}>{file.kind}</span>
        <span class="path">
          {moved && (
            <>
              <Code text={file.oldPath} /> <span aria-label="to">→</span>{" "}
            </>
          )}
          <Code text={file.path} />
        </span>
        {file.notes.map((note) => (
          <span key={note} class="note">
            <Text text={note} />
          </span>
        ))}
        <span class="counts">
          <span class="plus">+{file.added}</span> <span class="minus">−{file.removed}</span>
        </span>
      </summary>
      {file.hunks.length > 0 && <Hunks file={file} />}
    </details>
  );
}

function Hunks({ file }: { file: FileDiff }) {
  const [most, setMost] = useState(FIRST_LINES);
  const split = layout.value === "split" && !isNarrow.value;
  let left = most;
  const shown: Hunk[] = [];
  for (const hunk of file.hunks) {
    if (left <= 0) break;
    shown.push(hunk.lines.length <= left ? hunk : { ...hunk, lines: hunk.lines.slice(0, left) });
    left -= hunk.lines.length;
  }
  const all = file.hunks.reduce((sum, hunk) => sum + hunk.lines.length, 0);
  return (
    <div class={wrap.value ? "lines wrapped" : "lines"} tabIndex={wrap.value ? undefined : 0} dir="ltr">
      <table class={split ? "split" : "unified"}>
        {split && (
          <colgroup>
            <col class="number-column" />
            <col />
            <col class="number-column" />
            <col />
          </colgroup>
        )}
        <thead class="unseen">
          <tr>
            <th scope="col">Line before</th>
            {split && <th scope="col">Before</th>}
            <th scope="col">Line after</th>
            <th scope="col">{split ? "After" : "Text"}</th>
          </tr>
        </thead>
        {shown.map((hunk, i) => (
          <HunkRows key={i} hunk={hunk} language={languageOf(file.path)} split={split} />
        ))}
      </table>
      {all > most && (
        <button type="button" class="more" onClick={() => setMost(all)}>
          Show {all - most} more lines
        </button>
      )}
    </div>
  );
}

function HunkRows({ hunk, language, split }: { hunk: Hunk; language: string; split: boolean }) {
  const shown = useMemo(() => compose(hunk, language), [hunk, language]);
  return (
    <tbody>
      <tr class="hunk">
        <td colSpan={split ? 4 : 3}>
          <Text text={hunk.header} />
        </td>
      </tr>
      {split ? <SplitRows shown={shown} /> : <UnifiedRows hunk={hunk} shown={shown} />}
    </tbody>
  );
}

function UnifiedRows({ hunk, shown }: { hunk: Hunk; shown: Shown }) {
  return (
    <>
      {hunk.lines.map((line, i) => (
        <tr key={i} class={line.kind}>
          <td class="number">{line.old || ""}</td>
          <td class="number">{line.new || ""}</td>
          <Cell line={line} parts={shown.parts.get(line)} />
        </tr>
      ))}
    </>
  );
}

function SplitRows({ shown }: { shown: Shown }) {
  return (
    <>
      {shown.rows.map((row, i) => (
        <tr key={i}>
          <Side line={row.old} number={row.old?.old} parts={row.old ? shown.parts.get(row.old) : undefined} />
          <Side line={row.new} number={row.new?.new} parts={row.new ? shown.parts.get(row.new) : undefined} />
        </tr>
      ))}
    </>
  );
}

function Side({ line, number, parts }: { line: Line | null; number: number | undefined; parts: Part[] | undefined }) {
  return (
    <>
      <td class={`number ${line?.kind ?? "none"}`}>{number ?? ""}</td>
      {line ? <Cell line={line} parts={parts} /> : <td class="code none" />}
    </>
  );
}

const SIGNS = { same: " ", old: "−", new: "+" };
const WORDS = { same: "", old: "removed: ", new: "added: " };

function Cell({ line, parts }: { line: Line; parts: Part[] | undefined }) {
  return (
    <td class={`code ${line.kind}`}>
      {line.kind !== "same" && <Unseen>{WORDS[line.kind]}</Unseen>}
      <span class="sign" aria-hidden="true">
        {SIGNS[line.kind]}
      </span>
      {(parts ?? []).map((part, i) => (
        <span key={i} class={part.changed ? `${part.style} changed` : part.style || undefined}>
          <Text text={part.text} block />
        </span>
      ))}
      {line.unended && <span class="unended"> no newline at the end</span>}
    </td>
  );
}

function Changes({ changes, total }: { changes: FileChange[]; total: number }) {
  if (!changes.length) return null;
  return (
    <ul class="changes">
      {changes.map((change) => (
        <li key={change.path}>
          <span class={`change ${changeName(change.kind)}`}>{changeName(change.kind)}</span> <Code text={change.path} />{" "}
          <span class="fine">{change.binary ? `binary, ${size(change.newSize)}` : size(change.newSize)}</span>
        </li>
      ))}
      {total > changes.length && <li class="fine">and {total - changes.length} more</li>}
    </ul>
  );
}
