// Figures as people read them. Pure: knows neither the page nor the server.

/** Below this the best guess is not one to rely on. */
export const SURE = 0.5;

/** `count(1, "image")`, `count(3, "image")` */
export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** Never rounded to certainty: neither 0 % nor 100 %. */
export function percent(share) {
  if (share < 0.01) return "<\u00a01\u00a0%";
  if (share > 0.99) return ">\u00a099\u00a0%";
  return `${Math.round(share * 100)}\u00a0%`;
}

/** A weight with its sign, and a minus that is as wide as the plus. */
export function signed(number, scale) {
  const digits = scale === "probability" ? 3 : 2;
  return `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(digits)}`;
}

/** Whether a superpixel speaks for the label, against it, or, by its interval, for either. */
export function sign({ weight, low, high }) {
  if (low !== null && low < 0 && high > 0) return "±";
  return weight < 0 ? "−" : "+";
}

/** How far the first superpixels can be told from the others: no more than the answer claims. */
export function claim(answer) {
  const samples = count(answer.samples, "sample");
  const late = answer.outcome === "deadline" ? "cut short by the time limit after " : "";
  if (answer.mode === "reference") {
    return `Plain LIME, one seed, ${late}${samples}: another seed may name other superpixels.`;
  }
  const told = toldApart(answer);
  if (answer.outcome === "separated") return `After ${samples}, ${told}.`;
  const end = late ? `This was ${late}${samples}` : `The budget was used up after ${samples}`;
  return answer.claimed
    ? `${end}: only ${told}. Treat the order of the others as uncertain.`
    : `${end}: no superpixel stands out reliably. Treat their order as uncertain.`;
}

function toldApart({ claimed, level }) {
  const first = claimed === 1 ? "first superpixel is" : `first ${claimed} superpixels are`;
  return `the ${first} told apart from the rest at ${percent(level)} confidence`;
}

/** How far the surrogate, from which the weights come, can be trusted to speak for the model. */
export function fit({ score }) {
  const how = score >= 0.8 ? "closely" : score >= 0.5 ? "roughly" : "poorly";
  const caution = how === "poorly" ? " Rely on these weights little." : "";
  const figure = `(R²\u00a0=\u00a0${score.toFixed(2)})`;
  return `The surrogate follows the model ${how} around this image ${figure}.${caution}`;
}
