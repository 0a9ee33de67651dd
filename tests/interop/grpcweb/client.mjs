// What a browser's typed client sees through the gateway, as one JSON document on standard output.
//   node client.mjs URL TOKEN_FILE DESCRIPTORS [RUN]
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

const [url, tokenFile, descriptors, run] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const token = readFileSync(tokenFile, "utf-8").trim();

function client(authorization) {
  const withToken = (next) => (request) => {
    if (authorization) request.header.set("authorization", authorization);
    return next(request);
  };
  const transport = createGrpcWebTransport({ baseUrl: url, interceptors: [withToken] });
  return createClient(registry.getService("interlock.v1.Orchestrator"), transport);
}

async function failure(call) {
  try {
    await call();
    return null;
  } catch (error) {
    const raised = ConnectError.from(error);
    const types = raised.details.map((detail) => detail.type ?? detail.desc?.typeName);
    return { code: raised.code, message: raised.rawMessage, types };
  }
}

const runs = client(`Bearer ${token}`);
const found = await runs.getRun({ runId: run });
const seqs = [];
let cursor = "";
for await (const message of runs.watchRun({ runId: run, withoutOutput: true })) {
  if (message.update.case === "event") seqs.push(Number(message.update.value.seq));
  cursor = message.cursor;
}
const rest = [];
for await (const message of runs.watchRun({ runId: run, cursor })) rest.push(message);
process.stdout.write(JSON.stringify({
  run: { goal: found.run.goal, state: found.run.state, length: Number(found.run.journalLength) },
  seqs,
  rest: rest.length,
  unknown: await failure(() => runs.getRun({ runId: "run-unknown ü" })),
  invalid: await failure(() => runs.createRun({ goal: "" })),
  stranger: await failure(() => client("Bearer wrong").getRun({ runId: run })),
  nobody: await failure(() => client("").getRun({ runId: run })),
  streamed: await failure(async () => {
    for await (const message of runs.watchRun({ runId: "run-unknown" })) void message;
  }),
  late: await failure(() => runs.getRun({ runId: run }, { timeoutMs: 0.0001 })),
}));
