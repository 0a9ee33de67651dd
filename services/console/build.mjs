// Bundles the console: node build.mjs OUTPUT. Everything it needs at run time is in the files it writes.
import { cp, mkdir, rename, rm } from "node:fs/promises";
import { build } from "esbuild";

const output = process.argv[2] ?? "dist";
const making = `${output}.making`;

await rm(making, { recursive: true, force: true });
await mkdir(making, { recursive: true });
await build({
  entryPoints: { app: "src/main.tsx", style: "src/styles/main.css" },
  outdir: making,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome123", "firefox121", "safari17.5"],
  legalComments: "linked",
  logLevel: "warning",
});
for (const name of ["index.html", "icon.svg"]) await cp(`src/${name}`, `${making}/${name}`);
await rm(output, { recursive: true, force: true });
await rename(making, output);
