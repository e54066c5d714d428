// The only source of chance in a kernel: a seeded generator, xoshiro128** (Blackman and Vigna, 2018, public domain
// algorithm), its state filled by splitmix32. The same seed gives the same numbers on every machine.

/** A seeded stream of pseudo-random numbers. Not for secrets. */
export class Random {
  readonly seed: number;
  private s0: number;
  private s1: number;
  private s2: number;
  private s3: number;

  /** @param seed any integer; its low 32 bits count */
  constructor(seed: number) {
    this.seed = seed >>> 0;
    let x = this.seed;
    const fill = (): number => {
      x = (x + 0x9e3779b9) >>> 0;
      let z = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return (z ^ (z >>> 15)) >>> 0;
    };
    this.s0 = fill();
    this.s1 = fill();
    this.s2 = fill();
    this.s3 = fill() | 1; // never all zero
  }

  /** The next 32 bits, 0..2^32-1. */
  next(): number {
    const product = Math.imul(this.s1, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = this.s1 << 9;
    this.s2 ^= this.s0;
    this.s3 ^= this.s1;
    this.s1 ^= this.s2;
    this.s0 ^= this.s3;
    this.s2 ^= shifted;
    this.s3 = (this.s3 << 11) | (this.s3 >>> 21);
    return result;
  }

  /** An integer 0..bound-1; bound 1..2^32. */
  below(bound: number): number {
    return Math.floor((this.next() / 4294967296) * bound);
  }

  /** True with probability p, 0..1. p of 0 or less draws nothing. */
  chance(p: number): boolean {
    return p > 0 && this.next() / 4294967296 < p;
  }

  /** Puts the items into a random order, in place, and returns them. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const item = items[i] as T; // i and j are inside the array
      items[i] = items[j] as T;
      items[j] = item;
    }
    return items;
  }

  /**
   * A stream of its own for one purpose. It depends on this stream's seed and the name only, not on what was drawn:
   * a new use of chance does not move the others.
   */
  fork(name: string): Random {
    let hash = 0x811c9dc5 ^ this.seed; // FNV-1a
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    return new Random(hash);
  }
}
