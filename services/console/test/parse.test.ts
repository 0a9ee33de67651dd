import assert from "node:assert/strict";
import { test } from "node:test";
import { parse } from "../src/diff/parse.ts";

const lines = (text: string) =>
  parse(text).files.flatMap((file) => file.hunks.flatMap((hunk) => hunk.lines.map((line) => `${line.kind} ${line.text}`)));

test("a file's lines with their numbers", () => {
  const { files } = parse("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -3,2 +3,3 @@\n same\n-old\n+new\n+more\n");
  assert.equal(files.length, 1);
  assert.deepEqual(
    files[0]?.hunks[0]?.lines.map((line) => [line.kind, line.old, line.new]),
    [["same", 3, 3], ["old", 4, 0], ["new", 0, 4], ["new", 0, 5]],
  );
  assert.deepEqual([files[0]?.added, files[0]?.removed, files[0]?.path], [2, 1, "x"]);
});

test("content that looks like headers is content", () => {
  const text =
    "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,4 @@\n--- a/other\n-@@ -1 +1 @@\n+++ b/other\n+@@ -1 +1 @@\n+diff --git a/y b/y\n+\\ No newline at end of file\n";
  assert.deepEqual(lines(text), [
    "old -- a/other", "old @@ -1 +1 @@", "new ++ b/other", "new @@ -1 +1 @@", "new diff --git a/y b/y",
    "new \\ No newline at end of file",
  ]);
  assert.deepEqual(parse(text).files.map((file) => file.path), ["x"]);
});

test("a carriage return ends no line", () => {
  assert.deepEqual(lines("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+a\rdiff --git a/y b/y\n"), [
    "new a\rdiff --git a/y b/y",
  ]);
});

test("files after one another, with every kind of header", () => {
  const { files, notes } = parse(
    [
      "diff --git a/new b/new", "new file mode 100755", "--- /dev/null", "+++ b/new", "@@ -0,0 +1 @@", "+x",
      "\\ No newline at end of file",
      "diff --git a/gone b/gone", "deleted file mode 100644", "--- a/gone", "+++ /dev/null", "@@ -1 +0,0 @@", "-x",
      "diff --git a/from b/to", "similarity index 100%", "rename from from", "rename to to",
      "interlock: directory d added, mode 0755",
      "diff --git a/mode b/mode", "old mode 100644", "new mode 100755",
      "diff --git a/bin b/bin", "Binary files a/bin and b/bin differ",
      "interlock: 3 more changed paths are not shown",
    ].join("\n"),
  );
  assert.deepEqual(
    files.map((file) => [file.kind, file.oldPath, file.path, file.notes]),
    [
      ["added", "new", "new", ["mode 100755"]],
      ["deleted", "gone", "gone", []],
      ["renamed", "from", "to", []],
      ["modified", "mode", "mode", ["old mode 100644", "new mode 100755"]],
      ["modified", "bin", "bin", ["Binary files a/bin and b/bin differ"]],
    ],
  );
  assert.equal(files[0]?.hunks[0]?.lines[0]?.unended, true);
  assert.deepEqual(notes, ["directory d added, mode 0755", "3 more changed paths are not shown"]);
});

test("names in quotes, with spaces, and in other scripts", () => {
  const of = (head: string) => parse(head).files[0]?.path;
  assert.equal(of('diff --git "a/\\303\\244 \\"x\\"\\n\\\\" "b/\\303\\244 \\"x\\"\\n\\\\"\n'), 'ä "x"\n\\');
  assert.equal(of("diff --git a/one two b/one two\nold mode 100644\nnew mode 100755\n"), "one two");
  assert.equal(of('diff --git "a/\\"q\\" b" "b/\\"q\\" b"\n--- /dev/null\n+++ "b/\\"q\\" b"\t\n'), '"q" b');
  assert.equal(of("diff --git a/x y b/x y\n--- a/x y\t\n+++ b/x y\t\n"), "x y");
});

test("what is cut off, empty or nonsense is shown and not lost", () => {
  assert.deepEqual(parse("").files, []);
  assert.deepEqual(parse("nonsense\n").notes, ["nonsense"]);
  assert.deepEqual(lines("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n a\n-b\n"), ["same a", "old b"]);
  assert.deepEqual(
    parse("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+x\ninterlock: the rest of this file's difference is left out\n").files[0]?.notes,
    ["the rest of this file's difference is left out"],
  );
});
