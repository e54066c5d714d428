// Measures pairs in turn, so that a machine whose speed drifts slows both sides: raw, path, raw, path, …
// What counts is the median of the ratios; absolute times on shared machines mean nothing.

export interface Row {
  readonly name: string;
  /** Bytes that one operation moves. */
  readonly bytes: number;
  /** Raw time divided by the path's time: 1 is as fast as memory.copy. */
  readonly ratio: number;
  readonly lowest: number;
  readonly highest: number;
  /** Medians, in ns an operation, of the path and of raw. */
  readonly ns: number;
  readonly rawNs: number;
}

/** Does `times` operations. A number that it returns is how many ms of that count, where not all do. */
export type Work = (times: number) => unknown;

export interface Pair {
  readonly name: string;
  readonly bytes: number;
  /** Operations of one round. */
  readonly times: number;
  readonly raw: Work;
  readonly path: Work;
  /** Throws unless the bytes arrived. */
  readonly check: () => void;
}

const ROUNDS = 15;
const WARM_UP = 3;

/** Runs a pair; its row. */
export function measure(pair: Pair): Row {
  const ratios: number[] = [];
  const paths: number[] = [];
  const raws: number[] = [];
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    const raw = time(pair.raw, pair.times);
    const path = time(pair.path, pair.times);
    if (round < 0) continue;
    ratios.push(raw / path);
    raws.push((raw / pair.times) * 1e6);
    paths.push((path / pair.times) * 1e6);
  }
  pair.check();
  return {
    name: pair.name,
    bytes: pair.bytes,
    ratio: median(ratios),
    lowest: Math.min(...ratios),
    highest: Math.max(...ratios),
    ns: median(paths),
    rawNs: median(raws),
  };
}

function time(work: Work, times: number): number {
  const began = performance.now();
  const counted = work(times);
  return typeof counted === 'number' ? counted : performance.now() - began;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
