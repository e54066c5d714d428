// Sparse content: a map of chunks that were written, and a bit for each chunk that was discarded. What is in
// neither is somebody else's: the overlay's base, or zeroes.

import type { ContentState, MediumContent } from './content.ts';
import { MediumError } from './error.ts';

const MIN_CHUNK_BYTES = 4096;
const MAX_CHUNK_BYTES = 65536;

/** A stretch of whole chunks: their bytes one after the other, or null for zeroes. */
export interface Span {
  readonly offset: number;
  readonly bytes: number;
  readonly buffers: readonly Uint8Array[] | null;
}

/** "BKCH" in a file. */
const MAGIC = 0x48434b42;
const VERSION = 1;
const HEADER_BYTES = 40;
/** Chunks of one span of data. */
const SPAN_CHUNKS = 256;

/** What chunks held at one moment. Its map, its chunks and its bits are shared, and changed no more. */
class ChunksState implements ContentState {
  constructor(
    readonly bytes: number,
    readonly chunkBytes: number,
    readonly data: ReadonlyMap<number, Uint8Array>,
    readonly zeroed: Uint8Array | null,
    readonly zeroedCount: number,
  ) {}

  toBytes(): Uint8Array {
    const chunks = new Chunks(this.bytes, this.chunkBytes);
    chunks.revert(this);
    return chunks.save();
  }
}

const NOTHING: ReadonlyMap<number, Uint8Array> = new Map();

export class Chunks implements MediumContent {
  readonly chunkBytes: number;
  readonly #grows: boolean;
  #bytes: number;
  /** Chunks that a captured state shares, under those of #own; null there: dropped since. */
  #base = NOTHING;
  #own = new Map<number, Uint8Array | null>();
  /** Chunks that hold data, in both. */
  #count = 0;
  #zeroed: Uint8Array | null = null;
  #zeroedCount = 0;
  /** The bits are a captured state's, too. */
  #zeroedShared = false;
  /** What nothing has changed since. */
  #state: ChunksState | null = null;

  /** Throws RangeError unless `chunkBytes` is a power of two from 4 KiB to 64 KiB. `grows`: the size is part of the content. */
  constructor(bytes: number, chunkBytes: number, grows = false) {
    const isPower = Number.isInteger(chunkBytes) && (chunkBytes & (chunkBytes - 1)) === 0;
    if (!(isPower && chunkBytes >= MIN_CHUNK_BYTES && chunkBytes <= MAX_CHUNK_BYTES)) {
      throw new RangeError(`chunkBytes is ${chunkBytes}; it must be a power of two from 4096 to 65536`);
    }
    this.#bytes = bytes;
    this.chunkBytes = chunkBytes;
    this.#grows = grows;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** More chunks behind those that there are; nothing is in them. */
  grow(bytes: number): void {
    this.#bytes = bytes;
    this.#state = null;
    const marks = this.#zeroed;
    if (marks === null) return;
    this.#zeroed = new Uint8Array(Math.ceil(bytes / this.chunkBytes / 8));
    this.#zeroed.set(marks);
    this.#zeroedShared = false;
  }

  /** Bytes of chunks that were written or discarded. */
  get heldBytes(): number {
    return (this.#count + this.#zeroedCount) * this.chunkBytes;
  }

  /** The content of a chunk; null: zeroes; undefined: it is not here. */
  get(index: number): Uint8Array | null | undefined {
    return this.#find(index) ?? (this.#isZeroed(index) ? null : undefined);
  }

  #find(index: number): Uint8Array | undefined {
    const own = this.#own.get(index);
    return own === undefined ? this.#base.get(index) : (own ?? undefined);
  }

  /** A chunk with data as one that may be changed. */
  #writable(index: number, chunk: Uint8Array): Uint8Array {
    this.#state = null;
    if (this.#own.get(index) === chunk) return chunk;
    const copy = chunk.slice();
    this.#own.set(index, copy);
    return copy;
  }

  /** Puts `bytes` into a chunk from its byte `at` on. `before` makes the content of a chunk that is not here. */
  put(index: number, at: number, bytes: Uint8Array, before: () => Uint8Array): void {
    let chunk = this.#find(index);
    if (chunk === undefined) {
      const whole = bytes.length === this.chunkBytes;
      chunk = whole || this.#isZeroed(index) ? new Uint8Array(this.chunkBytes) : before();
      this.#state = null;
      this.#own.set(index, chunk);
      this.#count++;
      this.#unmark(index);
    }
    this.#writable(index, chunk).set(bytes, at);
  }

  /** Zeroes `bytes` bytes of a chunk from its byte `at` on, if it holds data. */
  clean(index: number, at: number, bytes: number): void {
    const chunk = this.#find(index);
    if (chunk !== undefined) this.#writable(index, chunk).fill(0, at, at + bytes);
  }

  /** Makes `count` chunks from `first` on zeroes. */
  zero(first: number, count: number): void {
    this.drop(first, count);
    const zeroed = this.#ownZeroed();
    const end = first + count;
    let index = first;
    while (index < end) {
      // Eight at a time once a byte of the bit map begins: a terabyte is discarded in a moment.
      const bits = (index & 7) === 0 && index + 8 <= end ? 0xff : 1 << (index & 7);
      const was = zeroed[index >>> 3] as number;
      zeroed[index >>> 3] = was | bits;
      this.#zeroedCount += ones(bits & ~was);
      index += bits === 0xff ? 8 : 1;
    }
  }

  /** Forgets what was written to `count` chunks from `first` on. */
  drop(first: number, count: number): void {
    if (count < this.#own.size + this.#base.size) {
      for (let index = first; index < first + count; index++) this.#dropOne(index);
      return;
    }
    for (const held of [this.#own, this.#base]) {
      for (const index of held.keys()) if (index >= first && index < first + count) this.#dropOne(index);
    }
  }

  #dropOne(index: number): void {
    if (this.#find(index) === undefined) return;
    this.#state = null;
    this.#count--;
    if (this.#base.has(index)) this.#own.set(index, null);
    else this.#own.delete(index);
  }

  clear(): void {
    this.revert(new ChunksState(this.bytes, this.chunkBytes, NOTHING, null, 0));
  }

  capture(): ContentState {
    if (this.#state !== null) return this.#state;
    const data = new Map<number, Uint8Array>();
    for (const index of this.#indexes()) data.set(index, this.#find(index) as Uint8Array);
    const state = new ChunksState(this.bytes, this.chunkBytes, data, this.#zeroed, this.#zeroedCount);
    this.revert(state);
    return state;
  }

  accept(state: ContentState): ContentState {
    if (state instanceof ChunksState) {
      this.#checkShape(this.#grows ? this.bytes : state.bytes, state.chunkBytes);
      return state;
    }
    const saved = state.toBytes();
    const chunks = new Chunks(this.#grows ? savedSize(saved) : this.bytes, this.chunkBytes);
    chunks.restore(saved);
    return chunks.capture();
  }

  revert(state: ContentState): void {
    if (state === this.#state) return;
    this.#state = this.accept(state) as ChunksState; // of this class: accept() has seen to it
    const { data, zeroed, zeroedCount } = this.#state;
    this.#bytes = this.#state.bytes;
    this.#base = data;
    this.#own = new Map();
    this.#count = data.size;
    this.#zeroed = zeroed;
    this.#zeroedCount = zeroedCount;
    this.#zeroedShared = true;
  }

  /** Numbers of the chunks that hold data, in ascending order. */
  #indexes(): number[] {
    const found = [...this.#own.keys()].filter((index) => this.#own.get(index) !== null);
    for (const index of this.#base.keys()) if (!this.#own.has(index)) found.push(index);
    return found.sort((a, b) => a - b);
  }

  /** The bits of discarded chunks, to be changed. */
  #ownZeroed(): Uint8Array {
    this.#state = null;
    if (this.#zeroed === null) this.#zeroed = new Uint8Array(Math.ceil(this.bytes / this.chunkBytes / 8));
    else if (this.#zeroedShared) this.#zeroed = this.#zeroed.slice();
    this.#zeroedShared = false;
    return this.#zeroed;
  }

  /** What is held, zeroes first, then data in ascending order. */
  *spans(): Generator<Span> {
    for (const [first, count] of this.#zeroedRanges()) {
      const offset = first * this.chunkBytes;
      yield { offset, bytes: Math.min(count * this.chunkBytes, this.bytes - offset), buffers: null };
    }
    const indexes = this.#indexes();
    for (let i = 0, n = 1; i < indexes.length; i += n) {
      const first = indexes[i] as number;
      n = 1;
      while (n < SPAN_CHUNKS && indexes[i + n] === first + n) n++;
      yield this.#dataSpan(first, n);
    }
  }

  #dataSpan(first: number, count: number): Span {
    const offset = first * this.chunkBytes;
    const bytes = Math.min(count * this.chunkBytes, this.bytes - offset);
    const buffers = Array.from({ length: count }, (_, i) => {
      const chunk = this.#find(first + i) as Uint8Array;
      return chunk.subarray(0, bytes - i * this.chunkBytes);
    });
    return { offset, bytes, buffers };
  }

  /** What is held as one run of bytes, for a snapshot. */
  save(): Uint8Array {
    const ranges = [...this.#zeroedRanges()];
    const indexes = this.#indexes();
    const head = HEADER_BYTES + ranges.length * 16 + indexes.length * 8;
    const saved = new Uint8Array(head + indexes.length * this.chunkBytes);
    const view = new DataView(saved.buffer);
    view.setUint32(0, MAGIC, true);
    view.setUint32(4, VERSION, true);
    const numbers = [
      this.bytes,
      this.chunkBytes,
      ranges.length,
      indexes.length,
      ...ranges.flat(),
      ...indexes,
    ];
    let at = 8;
    for (const number of numbers) {
      view.setFloat64(at, number, true);
      at += 8;
    }
    let to = head;
    for (const index of indexes) {
      saved.set(this.#find(index) as Uint8Array, to);
      to += this.chunkBytes;
    }
    return saved;
  }

  /** Replaces what is held by what save() returned. Throws MediumError if it belongs to another medium. */
  restore(saved: Uint8Array): void {
    const view = new DataView(saved.buffer, saved.byteOffset, saved.byteLength);
    const number = (i: number): number => view.getFloat64(8 + 8 * i, true);
    const isOurs =
      saved.length >= HEADER_BYTES &&
      view.getUint32(0, true) === MAGIC &&
      view.getUint32(4, true) === VERSION &&
      saved.length === HEADER_BYTES + number(2) * 16 + number(3) * (8 + number(1));
    if (!isOurs) throw new MediumError('the saved content is not of this format, or cut off', 'mismatch');
    this.#checkShape(number(0), number(1));
    this.clear();
    const ranges = number(2);
    const count = number(3);
    for (let i = 0; i < ranges; i++) {
      const length = number(5 + 2 * i);
      this.zero(this.#checked(number(4 + 2 * i), length), length);
    }
    const data = HEADER_BYTES + ranges * 16 + count * 8;
    for (let i = 0; i < count; i++) {
      const at = data + i * this.chunkBytes;
      const index = this.#checked(number(4 + 2 * ranges + i), 1);
      this.#own.set(index, saved.slice(at, at + this.chunkBytes));
    }
    this.#count = this.#own.size;
    this.#state = null;
  }

  #checkShape(bytes: number, chunkBytes: number): void {
    if (bytes === this.bytes && chunkBytes === this.chunkBytes) return;
    throw new MediumError(
      `the saved content is of ${bytes} bytes in chunks of ${chunkBytes}; this has ${this.bytes} in chunks of ${this.chunkBytes}`,
      'mismatch',
    );
  }

  /** The number of a chunk that was saved, if it and `count` − 1 more can be. */
  #checked(index: number, count: number): number {
    const chunks = Math.ceil(this.bytes / this.chunkBytes);
    if (
      Number.isInteger(index) &&
      Number.isInteger(count) &&
      index >= 0 &&
      count > 0 &&
      index + count <= chunks
    )
      return index;
    throw new MediumError(`the saved content has ${count} chunks at ${index} of ${chunks}`, 'mismatch');
  }

  #isZeroed(index: number): boolean {
    return this.#zeroed !== null && ((this.#zeroed[index >>> 3] as number) & (1 << (index & 7))) !== 0;
  }

  #unmark(index: number): void {
    if (!this.#isZeroed(index)) return;
    const zeroed = this.#ownZeroed();
    zeroed[index >>> 3] = (zeroed[index >>> 3] as number) & ~(1 << (index & 7));
    this.#zeroedCount--;
  }

  *#zeroedRanges(): Generator<[first: number, count: number]> {
    if (this.#zeroed === null) return;
    const end = this.#zeroed.length * 8;
    for (let index = 0; index < end; index++) {
      if ((index & 7) === 0 && this.#zeroed[index >>> 3] === 0) {
        index += 7;
        continue;
      }
      if (!this.#isZeroed(index)) continue;
      const first = index;
      while (index < end && this.#isZeroed(index)) index++;
      yield [first, index - first];
    }
  }
}

/** The size of the medium that save() was called for; NaN where the bytes do not say. */
function savedSize(saved: Uint8Array): number {
  if (saved.length < HEADER_BYTES) return Number.NaN;
  return new DataView(saved.buffer, saved.byteOffset, saved.byteLength).getFloat64(8, true);
}

function ones(byte: number): number {
  let count = 0;
  for (; byte !== 0; byte &= byte - 1) count++;
  return count;
}
