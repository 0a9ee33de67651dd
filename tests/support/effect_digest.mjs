// Recomputes docs/vectors/effect-digest.json with nothing but Node: `node effect_digest.mjs FILE`.
// Written from docs/effect-digest.md alone. Prints one line per difference; the exit code is their number, at most 99.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const sha = (...parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return "sha256:" + hash.digest("hex");
};

// RFC 8785: JavaScript's own number and string forms, keys sorted by UTF-16 code units (as `<` does).
const canonical = (value) => {
  if (Array.isArray(value)) return "[" + value.map(canonical).join(",") + "]";
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const keys = Object.keys(value).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return "{" + keys.map((key) => JSON.stringify(key) + ":" + canonical(value[key])).join(",") + "}";
};

const problems = [];
const expect = (where, found, wanted) => {
  if (found !== wanted) problems.push(`${where}: ${found} is not ${wanted}`);
};

const checkDocument = (name, domain, part) => {
  const text = canonical(part.document);
  expect(`${name} domain`, part.domain, domain);
  expect(`${name} canonical`, text, part.canonical);
  expect(`${name} digest`, sha(Buffer.from(domain + "\n" + text, "utf8")), part.digest);
};

const at = (vector, place) => {
  const [part, ...path] = place.split(".");
  return path.reduce((value, key) => value?.[key], vector[part]?.document);
};

const file = JSON.parse(readFileSync(process.argv[2], "utf8"));
for (const vector of file.vectors) {
  checkDocument(`${vector.name}: request`, "interlock.executor.request.v1", vector.request);
  if (vector.effect) {
    checkDocument(`${vector.name}: effect`, "interlock.executor.effect.v1", vector.effect);
    expect(`${vector.name}: the request of the effect`, vector.effect.document.request, vector.request.digest);
  }
  for (const [place, base64] of Object.entries(vector.texts)) {
    const bytes = Buffer.from(base64, "base64");
    expect(`${vector.name}: ${place} bytes`, at(vector, place)?.bytes, bytes.length);
    expect(`${vector.name}: ${place} digest`, at(vector, place)?.digest, sha(bytes));
  }
}
for (const problem of problems) console.log(problem);
if (file.vectors.length === 0) console.log("there are no vectors");
process.exitCode = Math.min(problems.length + (file.vectors.length === 0), 99);
