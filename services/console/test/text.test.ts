import assert from "node:assert/strict";
import { test } from "node:test";
import { runs } from "../src/text/ansi.ts";
import { size, textOf } from "../src/text/bytes.ts";
import { matches } from "../src/text/search.ts";
import { pieces, plain } from "../src/text/visible.ts";
import { ago, duration, money, said, short } from "../src/text/words.ts";

const shown = (text: string, block = false) => pieces(text, block).map((piece) => (typeof piece === "string" ? piece : `[${piece.mark}]`)).join("");

test("what cannot be seen is shown by its number", () => {
  assert.equal(shown("a\u202eb\u2066c\u200b\u00ad\ufeff"), "a[\\u202e]b[\\u2066]c[\\u200b\\xad\\ufeff]");
  assert.equal(shown("\x00\x1b[31m\x7f\x85\u2028\u2029"), "[\\x00\\x1b][31m[\\x7f\\x85\\u2028\\u2029]");
  assert.equal(shown("\u{e0041}\u3164\u2800\ud800"), "[\\U000e0041\\u3164\\u2800\\ud800]");
  assert.equal(shown("a\n\tb"), "a[\\x0a\\x09]b");
  assert.equal(shown("a\n\tb\r", true), "a\n\tb[\\x0d]");
  assert.equal(plain("x\u202e"), "x\\u202e");
});

test("a text of nothing else is one mark", () => {
  assert.equal(pieces("\u200b".repeat(250_000)).length, 1);
  assert.deepEqual(pieces("\u202e"), [{ mark: "\\u202e", name: "right-to-left override" }]);
  assert.deepEqual(pieces("\u200b\u200b")[0], { mark: "\\u200b\\u200b", name: "2 hidden characters" });
});

test("what can be seen stays as it is", () => {
  for (const text of ["", "plain <b>&amp;</b>", "naïve ñ 漢字 שלום 🙂", "a  b"]) assert.equal(shown(text), text);
});

test("every format character of Unicode is shown", () => {
  for (let code = 0; code < 0x30000; code++) {
    const char = String.fromCodePoint(code);
    if (/[\p{Cf}\p{Cc}\p{Zl}\p{Zp}]/u.test(char)) assert.notEqual(shown(char), char, code.toString(16));
  }
});

const styled = (text: string) => runs(text).map((run) => [run.text, run.style]);

test("colours are kept, as names", () => {
  assert.deepEqual(styled("a\x1b[31mb\x1b[1;4mc\x1b[0md"), [["a", ""], ["b", "red"], ["c", "red bold underline"], ["d", ""]]);
  assert.deepEqual(styled("\x1b[38;2;190;10;10mx\x1b[38;5;46my\x1b[94mz"), [["x", "red"], ["y", "green"], ["z", "bright-blue"]]);
});

test("nothing else is interpreted", () => {
  const link = "\x1b]8;;https://evil.example\x1b\\text\x1b]8;;\x1b\\";
  for (const text of [link, "\x1b[2J\x1b[1;1Hx", "\x1b]0;title\x07", "\x1bP1$r\x1b\\", "\x1b", "\x1b[", "\x1b[31", "a\x1b[?25lb"])
    assert.equal(runs(text).map((run) => run.text).join(""), text);
});

test("colours beyond measure are left out, and no text", () => {
  const text = "\x1b[31ma\x1b[32mb".repeat(100_000);
  const found = runs(text);
  assert.ok(found.length <= 20_001);
  assert.equal(found.map((run) => run.text).join(""), "ab".repeat(100_000));
});

test("text survives whatever is between its colours", () => {
  const noise = ["\x1b[31m", "\x1b[0m", "\x1b[2K", "<b>", "&", "\x1b", "\n", "\r", "é", "[31m", "\x1b[38;5;999m", "\x1b[99999999m"];
  let seed = 7;
  const next = (most: number) => (seed = (seed * 1103515245 + 12345) % 2147483648) % most;
  for (let i = 0; i < 500; i++) {
    const text = Array.from({ length: next(12) }, () => noise[next(noise.length)]).join("");
    assert.equal(runs(text).map((run) => run.text).join(""), text.replace(/\x1b\[[0-9;:]*m/g, ""), JSON.stringify(text));
  }
});

test("bytes as text", () => {
  assert.equal(textOf(Buffer.from("grün").toString("base64")), "grün");
  assert.equal(textOf(Buffer.from([0x61, 0xff]).toString("base64")), "a\ufffd");
  assert.deepEqual(["0", "1023", "1024", "5242880"].map((each) => size(each)), ["0 B", "1023 B", "1.0 KiB", "5.0 MiB"]);
});

test("searching finds every word", () => {
  assert.ok(matches("  Make TEST ", ["run_command: make", "unit tests"]));
  assert.ok(!matches("make deploy", ["run_command: make"]));
  assert.ok(matches("", []));
});

test("figures in words", () => {
  assert.deepEqual([0.0124, 1.26, 59.6, 61, 3725].map(duration), ["12 ms", "1.3 s", "60 s", "1 min 1 s", "1 h 2 min"]);
  assert.equal(money({ total: { micros: "12500" }, modelCalls: 2, unpricedCalls: 1 }), "at least $0.0125");
  assert.equal(money({ modelCalls: 1 }), "price unknown");
  assert.equal(money(undefined), "");
  assert.equal(ago("2026-11-22T12:00:00Z", Date.parse("2026-11-22T12:03:30Z")), "3 min ago");
  assert.equal(short("sha256:0123456789abcdef"), "0123456789");
  assert.equal(said({ approvalId: "", runId: "", step: 1, digest: "", state: "APPROVAL_STATE_REJECTED", decision: { subject: "ada", channel: "chat" } }), "Rejected by ada (chat)");
});
