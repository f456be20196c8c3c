// The server counts code points, the editor UTF-16 units.

/** How many code points the first `units` UTF-16 units of a text hold. */
export function toPoints(text: string, units: number): number {
  let points = 0;
  for (let i = 0; i < units; points++) i += width(text, i);
  return points;
}

/** Where in UTF-16 units the code point number `points` of a text begins. */
export function toUnits(text: string, points: number): number {
  let units = 0;
  for (let i = 0; i < points && units < text.length; i++) units += width(text, units);
  return units;
}

function width(text: string, at: number): number {
  return (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
}
