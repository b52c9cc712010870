// Numbers as text. It depends neither on the page nor on the server.

/** `count(1, "image")`, `count(3, "image")` */
export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** A share as a percentage that is never rounded to 0 % or 100 %. */
export function percent(share) {
  if (share < 0.01) return "<\u00a01\u00a0%";
  if (share > 0.99) return ">\u00a099\u00a0%";
  return `${Math.round(share * 100)}\u00a0%`;
}

/** A weight with its sign. The minus is as wide as the plus. */
export function signed(number, scale) {
  const digits = scale === "probability" ? 3 : 2;
  return `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(digits)}`;
}
