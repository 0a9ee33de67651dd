// Text from elsewhere, made safe to read. File names, diffs and outputs come from programs and models. The DOM makes
// nothing of markup in a text node; but invisible, control and bidirectional characters could still show another text
// than the one that is approved (https://trojansource.codes), so each is shown by its number. The same set as in the
// command line, and a few that are letters by category and blank to the eye.

export interface Mark {
  /** As it is shown: `\x1b`, `\u202e`. */
  mark: string;
  /** Its name, where it has a well-known one. */
  name: string;
}

export type Piece = string | Mark;

const HIDDEN = String.raw`[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\u115f\u1160\u2800\u3164\uffa0]`;
// Whole runs at once: a file of nothing else must not become as many elements.
const IN_LINE = new RegExp(`${HIDDEN}+`, "gu");
const IN_BLOCK = new RegExp(`(?:(?![\n\t])${HIDDEN})+`, "gu");

const NAMES: Record<number, string> = {
  0: "null",
  7: "bell",
  8: "backspace",
  9: "tab",
  10: "line feed",
  13: "carriage return",
  27: "escape",
  127: "delete",
  0xad: "soft hyphen",
  0x61c: "Arabic letter mark",
  0x200b: "zero width space",
  0x200c: "zero width non-joiner",
  0x200d: "zero width joiner",
  0x200e: "left-to-right mark",
  0x200f: "right-to-left mark",
  0x202a: "left-to-right embedding",
  0x202b: "right-to-left embedding",
  0x202c: "pop directional formatting",
  0x202d: "left-to-right override",
  0x202e: "right-to-left override",
  0x2066: "left-to-right isolate",
  0x2067: "right-to-left isolate",
  0x2068: "first strong isolate",
  0x2069: "pop directional isolate",
  0xfeff: "byte order mark",
};

function shown(code: number): string {
  const hex = code.toString(16);
  if (code <= 0xff) return `\\x${hex.padStart(2, "0")}`;
  return code <= 0xffff ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}

function mark(run: string): Mark {
  const codes = Array.from(run, (char) => char.codePointAt(0) ?? 0);
  const [first = 0] = codes;
  const name = codes.length > 1 ? `${codes.length} hidden characters` : (NAMES[first] ?? `U+${first.toString(16).toUpperCase().padStart(4, "0")}`);
  return { mark: codes.map(shown).join(""), name };
}

/** The text in pieces: what can be read, and marks for what cannot. In a block, newlines and tabs stay. */
export function pieces(text: string, block = false): Piece[] {
  const found: Piece[] = [];
  let from = 0;
  for (const each of text.matchAll(block ? IN_BLOCK : IN_LINE)) {
    if (each.index > from) found.push(text.slice(from, each.index));
    found.push(mark(each[0]));
    from = each.index + each[0].length;
  }
  if (from < text.length) found.push(text.slice(from));
  return found;
}

/** As plain text, for titles and what is spoken. */
export const plain = (text: string): string =>
  pieces(text)
    .map((piece) => (typeof piece === "string" ? piece : piece.mark))
    .join("");
