// Bytes as the API sends them, and as text.

export function bytesOf(base64: string): Uint8Array {
  const binary = atob(base64);
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}

/** UTF-8 as text; what is not UTF-8 is shown as U+FFFD. */
export const textOf = (base64: string | undefined): string => (base64 ? new TextDecoder().decode(bytesOf(base64)) : "");

export function size(bytes: string | number | undefined): string {
  let value = Number(bytes ?? 0);
  for (const unit of ["B", "KiB", "MiB"]) {
    if (value < 1024) return `${unit === "B" ? value : value.toFixed(1)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} GiB`;
}
