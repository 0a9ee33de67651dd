import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameReader } from "../src/api/frames.ts";
import { Live } from "../src/state/live.ts";
import { parse } from "../src/state/route.ts";

const TEXT = "retry: 1000\n\nid: 1\ndata: {\"a\":1}\n\n: still here\n\nevent: heartbeat\nid: 2\ndata: {}\n\nevent: end\ndata: {}\n\n";
const FRAMES = [
  { id: "1", event: "message", data: '{"a":1}' },
  { id: "2", event: "heartbeat", data: "{}" },
  { id: "2", event: "end", data: "{}" },
];

test("frames, however the text is cut", () => {
  for (const size of [1, 2, 7, 1000]) {
    const reader = new FrameReader();
    const found = [];
    for (let at = 0; at < TEXT.length; at += size) found.push(...reader.push(TEXT.slice(at, at + size)));
    assert.deepEqual(found, FRAMES);
  }
});

const chunk = (offset: number, data: string | Buffer, attempt = 1) => ({
  runId: "run-1", step: 1, attempt, stream: "OUTPUT_STREAM_STDOUT", offset: String(offset), data: Buffer.from(data).toString("base64"),
});
const text = (live: Live | null) => live?.parts.get("OUTPUT_STREAM_STDOUT")?.text;

test("live output is told once, though it is sent again", () => {
  let live: Live | null = null;
  for (const each of [chunk(0, "one "), chunk(0, "one "), chunk(2, "e two"), chunk(7, "!")]) live = Live.after(live, each);
  assert.equal(text(live), "one two!");
  assert.equal(text(Live.after(live, chunk(0, "again", 2))), "again");
});

test("a character that is cut in two arrives whole, and what is kept is bounded", () => {
  const [first, second] = [Buffer.from("ä").subarray(0, 1), Buffer.from("ä").subarray(1)];
  assert.equal(text(Live.after(Live.after(null, chunk(0, first)), chunk(1, second))), "ä");
  let live: Live | null = null;
  for (let i = 0; i < 20; i++) live = Live.after(live, chunk(i * 65536, "x".repeat(65536)));
  assert.equal(text(live)?.length, 512 * 1024);
});

test("addresses", () => {
  assert.deepEqual(parse("#/pending/apr-1"), { page: "pending", approval: "apr-1" });
  assert.deepEqual(parse("#/runs/run-1/step-3"), { page: "run", run: "run-1", step: 3 });
  assert.deepEqual(parse("#/runs/run-1/step-x"), { page: "run", run: "run-1", step: 0 });
  assert.deepEqual(["", "#", "#/nothing/here"].map(parse), Array(3).fill({ page: "pending", approval: "" }));
});
