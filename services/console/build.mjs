// Bundles the console: node build.mjs OUTPUT. Everything it needs at run time is in the files it writes.
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const output = process.argv[2] ?? "dist";
const making = `${output}.making`;

await rm(making, { recursive: true, force: true });
await mkdir(making, { recursive: true });
const { metafile } = await build({
  metafile: true,
  entryPoints: { app: "src/main.tsx", style: "src/styles/main.css" },
  outdir: making,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome123", "firefox121", "safari17.5"],
  legalComments: "none",
  logLevel: "warning",
});
for (const name of ["index.html", "icon.svg"]) await cp(`src/${name}`, `${making}/${name}`);
await writeFile(`${making}/licenses.txt`, await licenses(metafile));
await rm(output, { recursive: true, force: true });
await rename(making, output);

/** The licences of every package that is part of the bundle. */
async function licenses({ inputs }) {
  const named = Object.keys(inputs).flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []);
  const texts = [...new Set(named)].sort().map(async (name) => {
    const place = `node_modules/${name}`;
    const files = (await readdir(place)).filter((file) => /^licen[cs]e/i.test(file));
    const { version, license } = JSON.parse(await readFile(`${place}/package.json`, "utf8"));
    const text = await Promise.all(files.map((file) => readFile(`${place}/${file}`, "utf8")));
    return [`${name} ${version} (${license})`, ...text].join("\n\n");
  });
  return `${(await Promise.all(texts)).join(`\n${"-".repeat(80)}\n`)}\n`;
}
