// A set of frame numbers as a bitmap with summaries: a word of a level has a bit for each word of the level below that
// is not empty. So the next member is found in as many steps as there are levels.

export class FrameBitmap {
  /** levels[0] has a bit a frame. */
  private readonly levels: Uint32Array[] = [];

  /** @param size frames 0..size-1; the set is empty at first */
  constructor(size: number) {
    for (let words = Math.ceil(size / 32); ; words = Math.ceil(words / 32)) {
      this.levels.push(new Uint32Array(Math.max(1, words)));
      if (words <= 1) break;
    }
  }

  has(frame: number): boolean {
    return ((this.bits(0)[frame >>> 5] ?? 0) & (1 << (frame & 31))) !== 0;
  }

  add(frame: number): void {
    let position = frame;
    for (const bits of this.levels) {
      const word = position >>> 5;
      const before = bits[word] ?? 0;
      bits[word] = before | (1 << (position & 31));
      if (before !== 0) return;
      position = word;
    }
  }

  delete(frame: number): void {
    let position = frame;
    for (const bits of this.levels) {
      const word = position >>> 5;
      const after = (bits[word] ?? 0) & ~(1 << (position & 31));
      bits[word] = after;
      if (after !== 0) return;
      position = word;
    }
  }

  /** The smallest member in from..end-1; -1 when there is none. */
  next(from: number, end: number): number {
    let position = from;
    for (let level = 0; level < this.levels.length; level++) {
      const word = position >>> 5;
      const rest = (this.bits(level)[word] ?? 0) & (-1 << (position & 31));
      if (rest !== 0) {
        const found = this.descend(level, word * 32 + lowestBit(rest));
        return found < end ? found : -1;
      }
      position = word + 1;
    }
    return -1;
  }

  /** True when all of first..first+count-1 are members. */
  hasAll(first: number, count: number): boolean {
    for (let frame = first; frame < first + count; frame++) if (!this.has(frame)) return false;
    return true;
  }

  private descend(level: number, position: number): number {
    let found = position;
    for (let below = level - 1; below >= 0; below--)
      found = found * 32 + lowestBit(this.bits(below)[found] ?? 0);
    return found;
  }

  private bits(level: number): Uint32Array {
    return this.levels[level] as Uint32Array; // callers stay below levels.length
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
