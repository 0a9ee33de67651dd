// Verifies a journal bundle: node verify.mjs FILE [--head sha256:…]. Prints findings, exits with 0, 1 (findings) or 2.
// It follows docs/journal-format.md, shares no code with Interlock and needs nothing but Node 20 or later.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const ZERO = "sha256:" + "0".repeat(64);
const EVENT_KEYS = "at,data,prev,run_id,seq,step,type,v";
const NAMES_OF_PEOPLE = ["env", "labels", "metadata"];
const MEDIA_TYPES = [
  "application/json",
  "application/octet-stream",
  "text/plain; charset=utf-8",
  "application/protobuf; type=interlock.v1.Effect",
  "application/protobuf; type=interlock.v1.PolicyInputs",
];
const MAX_DEPTH = 128;

const sha256 = (bytes) => "sha256:" + createHash("sha256").update(bytes).digest("hex");
const isDigest = (value) => typeof value === "string" && /^sha256:[0-9a-f]{64}$/.test(value);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const same = (bytes, text) => bytes.equals(Buffer.from(text, "utf8"));

/** RFC 8785 for what a journal may hold: integers to ±(2^53-1), 128 levels, no lone surrogates. */
export function canonical(value, depth = 0) {
  if (depth > MAX_DEPTH) throw new Error("nested too deeply");
  if (typeof value === "number" && (!Number.isSafeInteger(value) || Object.is(value, -0)))
    throw new Error("a number that is no integer within ±(2^53-1)");
  if (typeof value === "string" && !value.isWellFormed()) throw new Error("text with a lone surrogate");
  if (Array.isArray(value)) return "[" + value.map((item) => canonical(item, depth + 1)).join(",") + "]";
  if (!isObject(value)) return JSON.stringify(value);
  const keys = Object.keys(value).sort(); // by UTF-16 code units, as the RFC wants
  return "{" + keys.map((key) => canonical(key, depth) + ":" + canonical(value[key], depth + 1)).join(",") + "}";
}

function base64(text) {
  if (typeof text !== "string") return null;
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : null;
}

/** Each line with what it holds; null where it has not the one form a line may have. */
function* linesOf(file) {
  for (let start = 0; start < file.length; ) {
    const at = file.indexOf(10, start);
    const raw = file.subarray(start, at < 0 ? file.length : at);
    start += raw.length + 1;
    let value = null;
    try {
      value = at < 0 ? null : JSON.parse(raw.toString("latin1"));
    } catch {
      value = null; // the caller names the line
    }
    // Writing it again gives the same bytes: so there are no spaces, no other escapes, no doubled keys, only ASCII.
    yield isObject(value) && same(raw, JSON.stringify(value)) ? value : null;
  }
}

function references(value, found) {
  if (Array.isArray(value)) value.forEach((item) => references(item, found));
  else if (isObject(value))
    for (const [key, item] of Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      if (key.endsWith("_payload") && isDigest(item)) found.push(item);
      else if (!NAMES_OF_PEOPLE.includes(key)) references(item, found);
}

/** Checks one event's bytes; returns the digests of the payloads it refers to. */
function checkEvent(bytes, header, seq, prev, say) {
  const found = [];
  let event;
  try {
    event = JSON.parse(bytes.toString("utf8"));
    if (!same(bytes, canonical(event))) throw new Error("not in canonical form");
  } catch (error) {
    say(`its bytes are not canonical JSON: ${error.message}`);
    return found;
  }
  if (!isObject(event) || Object.keys(event).sort().join() !== EVENT_KEYS) say("it has not the fields of an event");
  else {
    if (event.v !== 1) say("its version is not 1");
    if (event.run_id !== header.run_id) say("it belongs to another run");
    if (event.seq !== seq) say(`its seq is ${event.seq}: an event was removed, added or moved`);
    if (event.prev !== prev) say("its prev is not the digest of the event before");
    if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(event.at)) say("its time is malformed");
    if (!/^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$/.test(event.type)) say("its type is malformed");
    if (!Number.isSafeInteger(event.step) || event.step < 0) say("its step is malformed");
    if (!isObject(event.data)) say("its data is no object");
  }
  if (isObject(event)) references(event.data, found);
  return found;
}

/** The findings in a bundle (a Buffer); none means that it is whole. `known`: a head noted before. */
export function verify(file, known = "") {
  const findings = [];
  const wanted = new Set();
  const payloads = [];
  let header = null;
  let [number, events, head, ended] = [0, 0, ZERO, false];
  for (const value of linesOf(file)) {
    number += 1;
    const say = (where) => (what) => findings.push(`line ${number}: ${where}: ${what}`);
    const keys = Object.keys(value ?? {}).join();
    if (ended) say("bundle")("there is something after the end line");
    else if (number === 1) {
      if (keys !== "bundle,version,run_id,events,head" || value.bundle !== "interlock-journal")
        return ["line 1: header: this is no journal bundle, or its first line was changed"];
      if (value.version !== 1) say("header")("its version is not 1");
      if (typeof value.run_id !== "string" || !isDigest(value.head)) say("header")("its run or head is malformed");
      header = value;
    } else if (keys === "event") {
      events += 1;
      const bytes = base64(value.event);
      if (payloads.length) say(`event ${events}`)("it stands after a payload");
      if (!bytes) say(`event ${events}`)("its base64 is malformed");
      else {
        checkEvent(bytes, header, events, head, say(`event ${events}`)).forEach((each) => wanted.add(each));
        head = sha256(bytes);
      }
    } else if (keys === "payload,media_type,data") {
      const bytes = base64(value.data);
      if (!isDigest(value.payload) || !bytes || sha256(bytes) !== value.payload)
        say(`payload ${value.payload}`)("its content is not what its digest names");
      if (!MEDIA_TYPES.includes(value.media_type)) say(`payload ${value.payload}`)("its media type is not known");
      payloads.push(value.payload);
    } else if (keys === "end,lines") {
      ended = true;
      if (value.end !== true || value.lines !== number) say("end")(`says ${value.lines} lines; this is ${number}`);
    } else say("bundle")("the line is not one of a bundle, in the one form it may have");
  }
  const say = (what) => findings.push(`bundle: ${what}`);
  if (!header) return ["bundle: the file is empty"];
  if (!ended) say("the end line is missing: the file was cut");
  if (header.events !== events) say(`the header says ${header.events} events; there are ${events}`);
  if (header.head !== head) say(`the header's head is not the digest of the last event, ${head}`);
  if (known && known !== head) say(`its head is ${head}, not the expected ${known}`);
  if (payloads.join() !== [...wanted].join()) say("its payloads are not those referred to, once each, in that order");
  return findings;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [path, flag, known] = process.argv.slice(2);
  if (!path || (flag && (flag !== "--head" || !isDigest(known)))) {
    console.error("usage: node verify.mjs FILE [--head sha256:…]");
    process.exit(2);
  }
  const findings = verify(readFileSync(path), known);
  console.log(findings.length ? findings.join("\n") : `${path}: whole`);
  process.exit(findings.length ? 1 : 0);
}
