import assert from "node:assert/strict";
import { test } from "node:test";
import { calmly } from "../src/state/calmly.ts";

test("what is asked for while it is done is done once more", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  return (async () => {
    let done = 0;
    const ask = calmly(async () => void done++, 100);
    const settle = async (millis: number) => {
      for (let i = 0; i < 4; i++) await Promise.resolve();
      context.mock.timers.tick(millis);
      for (let i = 0; i < 4; i++) await Promise.resolve();
    };
    for (let i = 0; i < 50; i++) ask();
    assert.equal(done, 1);
    await settle(100);
    assert.equal(done, 2);
    await settle(1000);
    assert.equal(done, 2);
    ask();
    assert.equal(done, 3);
  })();
});
