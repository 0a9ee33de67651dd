import assert from "node:assert/strict";
import { test } from "node:test";
import { nonceOf } from "../src/state/signin.ts";

const token = (claims: object): string => `head.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.signature`;

test("a token's nonce is read, whatever else it says", () => {
  assert.equal(nonceOf(token({ nonce: "n-1", name: "Zoë ??>>" })), "n-1");
});

test("what is no token has none", () => {
  for (const text of ["", "a", "a.b.c", "a.%%.c", token({ nonce: 1 }), token({})]) assert.equal(nonceOf(text), "");
});
