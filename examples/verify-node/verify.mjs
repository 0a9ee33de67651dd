// Verifies a journal bundle. Exits with 0, 1 (findings) or 2. It follows docs/journal-format.md, shares no code with
// Interlock and needs nothing but Node 20 or later: node verify.mjs FILE [--head DIGEST[@N]] [--key PUBLIC.pem] …
import { createHash, createPublicKey, verify as isSigned } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
const [ZERO, NAMES_OF_PEOPLE] = ["sha256:" + "0".repeat(64), ["env", "labels", "metadata"]];
const PROTO = "application/protobuf; type=interlock.v1.";
const MEDIA = ["application/json", "application/octet-stream", "text/plain; charset=utf-8", PROTO + "Effect", PROTO + "PolicyInputs"];
const hash = (...parts) => parts.reduce((all, each) => all.update(each), createHash("sha256")).digest();
const sha256 = (bytes) => "sha256:" + hash(bytes).toString("hex");
const isDigest = (value) => typeof value === "string" && /^sha256:[0-9a-f]{64}$/.test(value);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isCanonical = (value, bytes) => same(bytes, canonical(value) ?? "");
const decoded = (text) => Buffer.from(typeof text === "string" ? text : "", "base64");
const base64 = (text) => (decoded(text).toString("base64") === text ? decoded(text) : null);
const same = (bytes, text) => bytes.equals(Buffer.from(text, "utf8"));
/** RFC 8785 for what a journal may hold: integers to ±(2^53-1), 128 levels, no lone surrogates; undefined for the rest. */
export function canonical(value, depth = 0) {
  const odd = typeof value === "number" && (!Number.isSafeInteger(value) || Object.is(value, -0));
  if (depth > 128 || odd || (typeof value === "string" && !value.isWellFormed())) return undefined;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const isList = Array.isArray(value);
  const parts = Object.keys(value).sort(isList ? () => 0 : undefined).map((key) => [canonical(key), canonical(value[key], depth + 1)]);
  if (parts.some((pair) => pair.includes(undefined))) return undefined;
  return isList ? `[${parts.map(([, item]) => item).join(",")}]` : `{${parts.map((pair) => pair.join(":")).join(",")}}`;
}
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // the caller names what it was
  }
}
/** Each line with what it holds, null where it has not the one form a line may have, and where it begins. */
function* linesOf(file) {
  for (let start = 0, at; start < file.length; start = at < 0 ? file.length : at + 1) {
    at = file.indexOf(10, start);
    const raw = file.subarray(start, at < 0 ? file.length : at);
    const value = at < 0 ? null : parsed(raw.toString("latin1"));
    // Writing it again gives the same bytes: so there are no spaces, no other escapes, no doubled keys, only ASCII.
    yield [isObject(value) && same(raw, JSON.stringify(value)) ? value : null, start];
  }
}
function references(value, found) {
  if (Array.isArray(value)) value.forEach((item) => references(item, found));
  else if (isObject(value))
    for (const [key, item] of Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      if (key.endsWith("_payload") && isDigest(item)) found.add(item);
      else if (!NAMES_OF_PEOPLE.includes(key)) references(item, found);
}
/** Checks one event's bytes and returns the event, or an empty one. */
function checkEvent(bytes, run_id, seq, prev, say) {
  const event = parsed(bytes.toString("utf8"));
  const whole = isCanonical(event, bytes) && Object.keys(event ?? {}).join() === "at,data,prev,run_id,seq,step,type,v";
  if (!whole) return say("its bytes are not canonical JSON with the fields of an event"), {};
  if (event.v !== 1 || event.run_id !== run_id) say("its version is not 1, or it belongs to another run");
  if (event.seq !== seq) say(`its seq is ${event.seq}: an event was removed, added or moved`);
  if (event.prev !== prev) say("its prev is not the digest of the event before");
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(event.at);
  const fine = time && /^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$/.test(event.type) && isCount(event.step);
  return fine && isObject(event.data) ? event : (say("its time, type, step or data is malformed"), {});
}
/** Whether a leaf's path leads to the root: a node without one beside it goes up as it is (RFC 6962, section 2.1). */
function isUnder(root, node, index, size, path) {
  const beside = path.map((text) => Buffer.from(text.slice(7), "hex"));
  for (; size > 1; [index, size] = [Math.floor(index / 2), Math.ceil(size / 2)])
    if (index % 2) node = hash("\x01", beside.shift() ?? "", node);
    else if (index + 1 < size) node = hash("\x01", node, beside.shift() ?? "");
  return !beside.length && "sha256:" + node.toString("hex") === root;
}
/** `keys`: public ones by id; without any, nothing is said about signatures but their form. */
function checkSignature(key, signature, kind, text, keys, say) {
  const [message, bytes] = [Buffer.from(`interlock.journal.${kind}.v1\n${text}`), base64(signature)];
  const good = bytes?.length === 64 && (!keys.size || (keys.has(key) && isSigned(null, message, keys.get(key), bytes)));
  if (!good) say(`its signature is malformed, or not one of a key that was given; it names ${key}`);
}
function checkAnchor({ anchor, signature, seq, head, leaf, path }, run_id, digests, keys, say) {
  const text = base64(anchor) ?? Buffer.alloc(0);
  const said = parsed(text.toString("utf8"));
  if (!isObject(said) || !isCanonical(said, text) || said.v !== 1 || !Array.isArray(path)) return say("it is malformed");
  if (digests[seq - 1] !== head) say("its event is not the one it was made over");
  const isIn = isCount(leaf) && leaf < said.heads && path.every(isDigest);
  if (!isIn || !isUnder(said.root, hash("\x00", canonical({ head, run_id, seq })), leaf, said.heads, path)) say("it leads elsewhere");
  checkSignature(said.key, signature, "anchor", text, keys, say);
}
/** The findings in a bundle (a Buffer); none means that it is whole. `known`: heads noted before, `DIGEST[@N]`. */
export function verify(file, known = [], keys = new Map()) {
  const [findings, payloads, digests, anchors, wanted, erased] = [[], [], [], [], new Set(), new Map()];
  let [header, signed, ended, number] = [null, null, false, 0];
  const say = (where) => (what) => findings.push(`line ${number}: ${where}: ${what}`);
  for (const [value, start] of linesOf(file)) {
    number += 1;
    const [form, newer] = [Object.keys(value ?? {}).join(), header?.version === 2];
    const isProof = newer && !signed && ["anchor,signature,seq,head,leaf,path", "signature,key"].includes(form);
    const late = payloads.length + anchors.length || signed;
    if (ended) say("bundle")("there is something after the end line");
    else if (number === 1) {
      if (form !== "bundle,version,run_id,events,head" || value.bundle !== "interlock-journal")
        return ["line 1: header: this is no journal bundle, or its first line was changed"];
      if (![1, 2].includes(value.version) || typeof value.run_id !== "string") say("header")("a field is malformed");
      header = value;
    } else if (form === "event") {
      const bytes = base64(value.event) ?? Buffer.alloc(0);
      const at = say(`event ${digests.length + 1}`);
      if (late) at("it stands after a payload or a signature");
      const event = checkEvent(bytes, header.run_id, digests.length + 1, digests.at(-1) ?? ZERO, at);
      digests.push(sha256(bytes));
      references(event.data, wanted);
      for (const each of event.type === "run.erased" && Array.isArray(event.data.erased) ? event.data.erased : [])
        if (!erased.has(each)) erased.set(each, digests.length);
    } else if (form === "payload,media_type,data" || (newer && form === "erased,event")) {
      const [digest, bytes] = [value.payload ?? value.erased, base64(value.data)];
      const at = say(`payload ${digest}`);
      if (anchors.length || signed) at("it stands after a signature");
      if (erased.get(digest) !== value.event) at("the events do not say the same of its erasure");
      const fine = bytes && sha256(bytes) === digest && MEDIA.includes(value.media_type);
      if ("payload" in value && !fine) at("its content is not what its digest names, or its media type not known");
      payloads.push(digest);
    } else if (isProof) "anchor" in value ? anchors.push(value) : (signed = value);
    else if (form === (newer ? "end,lines,digest" : "end,lines")) {
      const fine = value.end === true && (!newer || value.digest === sha256(file.subarray(0, start)));
      if (!fine || value.lines !== number) say("end")("its digest is not that of what is before, or its count is not right");
      ended = true;
    } else say("bundle")("the line is not one of a bundle, in the one form it may have");
  }
  if (!ended) return [...findings, "bundle: the end line is missing: the file is empty or was cut"];
  const [head, events, bundle] = [digests.at(-1) ?? ZERO, digests.length, say("bundle")];
  if (header.events !== events || header.head !== head) bundle(`there are ${events} events and the head is ${head}`);
  for (const [digest, at = events] of known.map((each) => each.split("@")))
    if ((digests[at - 1] ?? ZERO) !== digest) bundle(`event ${at} of ${events} has not the digest ${digest}: cut or rewritten`);
  if (payloads.join() !== [...wanted].join()) bundle("its payloads are not those referred to, once each, in that order");
  anchors.forEach((each, at) => checkAnchor(each, header.run_id, digests, keys, say(`anchor ${at + 1}`)));
  if (keys.size && !signed) bundle("its head is not signed");
  const said = (key) => canonical({ events, head, key, run_id: header.run_id });
  if (signed) checkSignature(signed.key, signed.signature, "head", said(signed.key), keys, say("signature"));
  return findings;
}

const idOf = (key) => "ed25519:" + hash(key.export({ type: "spki", format: "der" }).subarray(-32)).toString("hex").slice(0, 32);
/** Public keys (PEM) by their ids. */
export const keysOf = (pems) => new Map(pems.map((pem) => createPublicKey(pem)).map((key) => [idOf(key), key]));
if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [path, ...options] = process.argv.slice(2);
  const [heads, pems] = ["--head", "--key"].map((name) => options.filter((_, at) => options[at - 1] === name));
  const right = path && options.length === 2 * (heads.length + pems.length) && heads.every((each) => /^sha256:\S{64}/.test(each));
  const findings = right ? verify(readFileSync(path), heads, keysOf(pems.map((each) => readFileSync(each)))) : ["usage: verify.mjs FILE [--head …] [--key …]"];
  console.log(findings.length ? findings.join("\n") : `${path}: whole`);
  process.exitCode = right ? Math.min(findings.length, 1) : 2;
}
