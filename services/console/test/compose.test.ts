import assert from "node:assert/strict";
import { test } from "node:test";
import { compose, cut } from "../src/diff/compose.ts";
import { highlight, languageOf } from "../src/diff/highlight.ts";
import { rows } from "../src/diff/pair.ts";
import { parse } from "../src/diff/parse.ts";

const hunk = (...body: string[]) => {
  const [old, now] = [body.filter((line) => line[0] !== "+").length, body.filter((line) => line[0] !== "-").length];
  const found = parse(`diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,${old} +1,${now} @@\n${body.join("\n")}\n`);
  return found.files[0]!.hunks[0]!;
};

test("alike lines stand beside one another", () => {
  const found = rows(hunk(" a", "-one = 1", "-two = 2", "+zero = 0", "+one = 10", "+two = 20", " b"));
  assert.deepEqual(
    found.map((row) => [row.old?.text ?? null, row.new?.text ?? null]),
    [["a", "a"], [null, "zero = 0"], ["one = 1", "one = 10"], ["two = 2", "two = 20"], ["b", "b"]],
  );
});

test("no line is lost or doubled, whatever is paired", () => {
  const body = Array.from({ length: 60 }, (_, i) => [`-old ${i}`, ...(i % 3 ? [] : [`+new ${i}`, ` same ${i}`])]).flat();
  const given = hunk(...body);
  const found = rows(given);
  assert.deepEqual(found.flatMap((row) => row.old ?? []), given.lines.filter((line) => line.kind !== "new"));
  assert.deepEqual(found.flatMap((row) => row.new ?? []), given.lines.filter((line) => line.kind !== "old"));
});

test("what changed within a line is marked, and the text is the line's", () => {
  const given = hunk("-return total(price)", "+return total(prices)");
  const { parts } = compose(given, "python");
  for (const line of given.lines) {
    const found = parts.get(line) ?? [];
    assert.equal(found.map((part) => part.text).join(""), line.text);
    assert.deepEqual(found.filter((part) => part.changed).map((part) => part.text), [line.kind === "old" ? "price" : "prices"]);
    assert.equal(found[0]?.style, "hljs-keyword");
  }
});

test("lines with little in common are not marked", () => {
  const given = hunk("-import os", "+class Shop:");
  const { parts } = compose(given, "");
  assert.ok(given.lines.every((line) => parts.get(line)?.every((part) => !part.changed)));
});

test("runs are cut where spans begin", () => {
  const runs = [{ text: "abc", style: "x" }, { text: "de", style: "" }];
  const spans = [{ length: 2, changed: false }, { length: 2, changed: true }];
  assert.deepEqual(cut(runs, spans), [
    { text: "ab", style: "x", changed: false },
    { text: "c", style: "x", changed: true },
    { text: "d", style: "", changed: true },
    { text: "e", style: "", changed: true },
  ]);
});

test("colouring changes no text", () => {
  const code = ['x = """<b>', "&amp; \u202e\r</b>\"\"\"", "", "\tif x: pass  # done"];
  for (const language of ["python", "xml", "markdown", "yaml", "typescript", ""])
    assert.deepEqual(highlight(code, language).map((runs) => runs.map((run) => run.text).join("")), code);
});

test("languages by name", () => {
  assert.deepEqual(["a/b.py", "Makefile", "x.tsx", "none", "a.PY", ".bashrc", "constructor"].map(languageOf), [
    "python", "makefile", "typescript", "", "python", "", "",
  ]);
});
