// A program's coloured output as runs of text with a style. Only colours and weights (SGR) are interpreted; every other
// control sequence is left for `visible` to show. Colours become names of our palette, so that what is printed in the
// colour of the page, or on a background of its own, can be read all the same.
import { AnsiUp } from "ansi_up";

export interface Run {
  text: string;
  /** Class names: a colour (`red`, `bright-blue`), `bold`, `faint`, `italic`, `underline`. */
  style: string;
}

interface Colour {
  rgb: number[];
  class_name: string;
}

interface Fragment {
  fg: Colour | null;
  bg: Colour | null;
  bold: boolean;
  faint: boolean;
  italic: boolean;
  underline: boolean;
  text: string;
}

const SGR = /\x1b\[[0-9;:]*m/g;
// A page with more elements than this for one output is slow to read.
const MOST_RUNS = 20_000;
const HELD = "\ue01b";
const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const RGB = [[0, 0, 0], [187, 0, 0], [0, 187, 0], [187, 187, 0], [0, 0, 187], [187, 0, 187], [0, 187, 187], [255, 255, 255]];

/** ansi_up's reading of the sequences, without its HTML: what it would make of every run is taken as it is. */
function reader(found: Run[]): AnsiUp {
  const up = new AnsiUp();
  up.use_classes = true;
  up.escape_html = false;
  up.url_allowlist = {};
  const take = (fragment: Fragment): string => {
    if (fragment.text) found.push({ text: fragment.text.replaceAll(HELD, "\x1b"), style: style(fragment) });
    return "";
  };
  // Declared private there, and called for every run of text.
  return Object.assign(up, { transform_to_html: take });
}

function style(fragment: Fragment): string {
  const names = ["bold", "faint", "italic", "underline"].filter((name) => fragment[name as "bold"]);
  const colour = fragment.fg ?? fragment.bg;
  return [...(colour ? [colourName(colour)] : []), ...names].join(" ");
}

function colourName(colour: Colour): string {
  if (colour.class_name !== "truecolor") return colour.class_name.replace(/^ansi-/, "").replace(/^bright-(black|white)$/, "$1");
  const distance = (rgb: number[]): number => rgb.reduce((sum, value, i) => sum + (value - (colour.rgb[i] ?? 0)) ** 2, 0);
  const nearest = RGB.reduce((best, rgb, i) => (distance(rgb) < distance(RGB[best] ?? []) ? i : best), 0);
  return NAMES[nearest] ?? "white";
}

/** The runs of a text. An escape that begins no SGR sequence is text. */
export function runs(text: string): Run[] {
  if (!text.includes("\x1b")) return text ? [{ text, style: "" }] : [];
  const found: Run[] = [];
  const held = text.replace(/\x1b/g, (_, place: number) => {
    SGR.lastIndex = place;
    return SGR.exec(text)?.index === place ? "\x1b" : HELD;
  });
  reader(found).ansi_to_html(held);
  // Colours are never worth another text than the one that is there.
  const whole = found.map((run) => run.text).join("");
  if (whole !== text.replace(SGR, "")) return [{ text, style: "" }];
  const rest = found.slice(MOST_RUNS).map((run) => run.text).join("");
  return rest ? [...found.slice(0, MOST_RUNS), { text: rest, style: "" }] : found;
}
