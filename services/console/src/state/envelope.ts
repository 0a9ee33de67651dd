// Bounds within which later steps of a run do not ask: what is proposed for them, from the step that is looked at.
import type { Approval, EnvelopeBounds } from "../api/types.ts";

const MOST = 50;
// Words of one plain command; anything that a shell does more with is none.
const PLAIN = /^[A-Za-z0-9_@%+:,./ =-]+$/;

/** Text of a glob that matches this name and no other. */
const literal = (name: string): string => name.replace(/[*?[]/g, "[$&]");

/** The directories in which the step changes files, and the files it changes at the root. */
export function proposedPaths(approval: Approval): string[] {
  const paths = (approval.preview?.changes ?? []).map((change) => {
    const slash = change.path.lastIndexOf("/");
    return slash < 0 ? literal(change.path) : `${literal(change.path.slice(0, slash))}/**`;
  });
  return [...new Set(paths)].slice(0, MOST);
}

/** The first words of its command: the program, and what it is told to do. */
export function proposedCommand(approval: Approval): string {
  const { command, argv } = approval.spec?.input?.runCommand ?? {};
  const words = argv?.items ?? (command && PLAIN.test(command) ? command.trim().split(/ +/) : []);
  const [program = "", verb = ""] = words;
  if (!PLAIN.test(program) || program.includes(" ")) return "";
  return /^[a-z][a-z-]*$/.test(verb) ? `${program} ${verb}` : program;
}

const lines = (text: string): string[] =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);

/** What was written in the dialog, as bounds. */
export function boundsOf(paths: string, commands: string, steps: number): EnvelopeBounds {
  const words = lines(commands).map((line) => ({ words: line.split(/\s+/) }));
  return { paths: lines(paths), maxSteps: steps, ...(words.length && { commands: words }) };
}
