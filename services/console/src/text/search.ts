/** Whether every word of a search is somewhere in one of these texts, whatever its case. */
export function matches(search: string, texts: string[]): boolean {
  const all = texts.join("\n").toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}
