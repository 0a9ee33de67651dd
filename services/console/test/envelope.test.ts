import assert from "node:assert/strict";
import { test } from "node:test";
import { boundsOf, proposedCommand, proposedPaths } from "../src/state/envelope.ts";

const approval = (input: object, ...paths: string[]) => ({
  approvalId: "", runId: "", step: 1, digest: "", state: "", spec: { input },
  preview: { changes: paths.map((path) => ({ path, kind: "" })) },
});
const command = (text: string) => proposedCommand(approval({ runCommand: { command: text } }));

test("paths are proposed by directory, and names with wildcards as themselves", () => {
  assert.deepEqual(proposedPaths(approval({}, "src/a.py", "src/b.py", "README.md", "x/y/z", "a*b", "d[1]/f")), [
    "src/**", "README.md", "x/y/**", "a[*]b", "d[[]1]/**",
  ]);
  assert.equal(proposedPaths(approval({}, ...Array.from({ length: 80 }, (_, i) => `d${i}/f`))).length, 50);
});

test("commands are proposed by program and verb, and only plain ones", () => {
  assert.deepEqual(["make", "git add -A", "pytest -q x", "python3 x.py"].map(command), ["make", "git add", "pytest", "python3"]);
  for (const text of ["make && rm x", "$(x)", "x > y", "a;b", "X=1|y", "rm *", "a\nb"]) assert.equal(command(text), "", text);
  assert.equal(proposedCommand(approval({ runCommand: { argv: { items: ["go", "test", "./..."] } } })), "go test");
  assert.equal(proposedCommand(approval({ editFile: { path: "x" } })), "");
});

test("what was written becomes bounds", () => {
  assert.deepEqual(boundsOf(" src/** \n\n a b\n", "", 3), { paths: ["src/**", "a b"], maxSteps: 3 });
  assert.deepEqual(boundsOf("x", "git  add\nmake", 1).commands, [{ words: ["git", "add"] }, { words: ["make"] }]);
});
