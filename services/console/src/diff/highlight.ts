// Syntax colours: lowlight's tree of a piece of code, as runs with a style, line by line.
import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import cpp from "highlight.js/lib/languages/cpp";
import csharp from "highlight.js/lib/languages/csharp";
import css from "highlight.js/lib/languages/css";
import dockerfile from "highlight.js/lib/languages/dockerfile";
import go from "highlight.js/lib/languages/go";
import ini from "highlight.js/lib/languages/ini";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import kotlin from "highlight.js/lib/languages/kotlin";
import makefile from "highlight.js/lib/languages/makefile";
import markdown from "highlight.js/lib/languages/markdown";
import php from "highlight.js/lib/languages/php";
import protobuf from "highlight.js/lib/languages/protobuf";
import python from "highlight.js/lib/languages/python";
import ruby from "highlight.js/lib/languages/ruby";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import swift from "highlight.js/lib/languages/swift";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { createLowlight } from "lowlight";

export interface Run {
  text: string;
  style: string;
}

const lowlight = createLowlight({
  bash, c, cpp, csharp, css, dockerfile, go, ini, java, javascript, json, kotlin, makefile, markdown, php, protobuf,
  python, ruby, rust, sql, swift, typescript, xml, yaml,
});

const LANGUAGES = new Map(
  Object.entries({
    bash: "bash sh zsh", c: "c h", cpp: "cc cpp hpp", csharp: "cs", css: "css scss", dockerfile: "dockerfile", go: "go",
    ini: "ini cfg toml", java: "java", javascript: "js jsx mjs cjs", json: "json", kotlin: "kt", makefile: "makefile mk",
    markdown: "md", php: "php", protobuf: "proto", python: "py pyi", ruby: "rb", rust: "rs", sql: "sql", swift: "swift",
    typescript: "ts tsx", xml: "html svg xml", yaml: "yaml yml",
  }).flatMap(([language, endings]) => endings.split(" ").map((ending) => [ending, language] as const)),
);
const MOST_CHARS = 60_000;

export function languageOf(path: string): string {
  const base = path.split("/").at(-1) ?? "";
  return LANGUAGES.get((base.split(".").at(-1) ?? "").toLowerCase()) ?? "";
}

/** The runs of each line; without a language, or when there is too much, each line as it is. */
export function highlight(lines: string[], language: string): Run[][] {
  const code = lines.join("\n");
  if (!language || code.length > MOST_CHARS) return lines.map((text) => [{ text, style: "" }]);
  const found: Run[][] = [[]];
  walk(lowlight.highlight(language, code).children as Node[], "", found);
  // Colours are never worth another text than the one that is there.
  const whole = (runs: Run[] | undefined): string => (runs ?? []).map((run) => run.text).join("");
  return lines.map((text, i) => (whole(found[i]) === text ? (found[i] ?? []) : [{ text, style: "" }]));
}

interface Node {
  type: string;
  value?: string;
  properties?: { className?: string[] };
  children?: Node[];
}

function walk(nodes: Node[], style: string, found: Run[][]): void {
  for (const node of nodes) {
    if (node.children) {
      walk(node.children, node.properties?.className?.join(" ") ?? style, found);
      continue;
    }
    (node.value ?? "").split("\n").forEach((text, i) => {
      if (i) found.push([]);
      if (text) found.at(-1)?.push({ text, style });
    });
  }
}
