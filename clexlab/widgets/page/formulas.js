// The package's formulas once more, for the page: pure functions, float64, no drawing.
// Python counterparts: clexlab.frequencies, clexlab.scaling.*, clexlab.rope. A browser test compares the two.

const TURN = 2 * Math.PI;

// θ_j = base^(-2j/d), radians per token.
function baseFrequencies({ headDim, base }) {
  return Float64Array.from({ length: headDim / 2 }, (_, j) => base ** ((-2 * j) / headDim));
}

const clip = (value) => Math.min(1, Math.max(0, value));

// The pair that makes `turns` turns within the window, as a real number.
const pairWith = (turns, { headDim, base, window }) =>
  (headDim * Math.log(window / (turns * TURN))) / (2 * Math.log(base));

// Share of each pair that is not interpolated; linear in the pair index (scaling.IndexRamp).
function keptByIndex(geometry, slow = 1, fast = 32) {
  const low = Math.max(Math.floor(pairWith(fast, geometry)), 0);
  let high = Math.min(Math.ceil(pairWith(slow, geometry)), geometry.headDim - 1);
  if (high < low) throw new RangeError(`no pair makes between ${slow} and ${fast} turns in ${geometry.window} tokens`);
  if (high === low) high += 0.001;
  return baseFrequencies(geometry).map((_, j) => 1 - clip((j - low) / (high - low)));
}

// The same share, linear in the number of turns (scaling.TurnsRamp).
function keptByTurns(geometry, slow, fast) {
  return baseFrequencies(geometry).map((theta) => clip(((geometry.window * theta) / TURN - slow) / (fast - slow)));
}

const spread = ({ headDim }, strength) =>
  Float64Array.from({ length: headDim / 2 }, (_, j) => strength ** ((-2 * j) / (headDim - 2)));

const blend = (kept, t) => kept.map((share) => 1 - (1 - share) * (1 - 1 / t));

function longropeGuess(geometry, t) {
  if (t > 16) throw new RangeError("the first guess is given for factors up to 16");
  return keptByIndex(geometry).map((share) => 1 / (1 + (1 - share) * (t - 1)));
}

// θ_j(t)/θ_j(1) of every method, by its name in clexlab.scaling, with the options of its `default`.
const ratios = {
  identity: (geometry) => spread(geometry, 1),
  linear: (geometry, t) => spread(geometry, 1).fill(1 / t),
  ntk: (geometry, t) => spread(geometry, t),
  dynamic_ntk: (geometry, t) => spread(geometry, 2 * t - 1),
  by_parts: (geometry, t) => blend(keptByIndex(geometry), t),
  yarn: (geometry, t) => blend(keptByIndex(geometry), t),
  llama3: (geometry, t) => blend(keptByTurns(geometry, 1, 4), t),
  abf: ({ headDim }, t) =>
    Float64Array.from({ length: headDim / 2 }, (_, j) => t ** ((-2 * j * Math.log(50)) / (Math.log(8) * headDim))),
  longrope: longropeGuess,
};

function scaledFrequencies(method, geometry, t) {
  const ratio = ratios[method](geometry, t);
  return baseFrequencies(geometry).map((theta, j) => theta * ratio[j]);
}

// The first pair that makes less than one turn within `window` tokens; the number of pairs when every pair does.
function criticalPair(frequencies, window) {
  const found = frequencies.findIndex((theta) => theta * window < TURN);
  return found < 0 ? frequencies.length : found;
}

// |mean_j exp(i m θ_j)|: how alike two equal vectors still look m tokens apart.
function similarity(frequencies, distance) {
  let real = 0;
  let imaginary = 0;
  for (const theta of frequencies) {
    real += Math.cos(distance * theta);
    imaginary += Math.sin(distance * theta);
  }
  return Math.hypot(real, imaginary) / frequencies.length;
}

// The two coordinates of pair j, by the names of the classes in clexlab.rope.
function pairIndices(headDim, pair, pairing) {
  return pairing === "Interleaved" ? [2 * pair, 2 * pair + 1] : [pair, pair + headDim / 2];
}

function rotate([a, b], angle) {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return [a * cos - b * sin, b * cos + a * sin];
}

// What pair j adds to the score of a query `distance` tokens after the key: ⟨R(distance·θ_j) q_j, k_j⟩.
function pairScore(q, k, distance, theta, pair, pairing) {
  const [first, second] = pairIndices(q.length, pair, pairing);
  const [a, b] = rotate([q[first], q[second]], distance * theta);
  return a * k[first] + b * k[second];
}

// The whole score, all pairs together (rope.scores).
function score(q, k, distance, frequencies, pairing) {
  return frequencies.reduce((sum, theta, j) => sum + pairScore(q, k, distance, theta, j, pairing), 0);
}

export { baseFrequencies, criticalPair, pairIndices, pairScore, ratios, rotate, scaledFrequencies, score, similarity };
