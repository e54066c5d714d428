// Copy on write: what is written stays in memory, in chunks, and hides the base, which is never written unless
// commit() is asked to. Many machines can start from one image so.

import { lengthOf, lengthOn, sliceOf } from './buffers.ts';
import { Chunks, type Span } from './chunks.ts';
import type { ContentState, MediumContent } from './content.ts';
import { MediumError } from './error.ts';
import type { AsyncMedium, Medium, SyncMedium } from './medium.ts';

export interface OverlayOptions {
  /** The unit that is copied: a power of two from 4096 to 65536; default 16384. */
  readonly chunkBytes?: number;
}

interface OverlayShape {
  /** Bytes of the chunks that hide the base: an upper limit of what differs. */
  readonly changedBytes: number;
  /** The changes as one run of bytes, for snapshots. The base is not in it. */
  save(): Uint8Array;
  /** Replaces the changes by what save() returned. Throws MediumError if it is of another size or chunk. */
  restore(saved: Uint8Array): void;
}

/** close() forgets the changes; the base stays open, it may be under others. */
export interface SyncOverlay extends SyncMedium, OverlayShape {
  /**
   * Writes the changes to the base, or to a copy of it, and flushes that. Written to the base they are then no
   * longer changes. Throws MediumError where it fails; nothing is forgotten then.
   */
  commit(to?: SyncMedium): void;
}

export interface AsyncOverlay extends AsyncMedium, OverlayShape {
  /** As SyncOverlay.commit(). No other write may be in flight. */
  commit(to?: AsyncMedium): Promise<void>;
}

const CHUNK_BYTES = 16384;

/** A medium over `base` that keeps what is written to itself. It is synchronous if the base is. */
export function overlay(base: SyncMedium, options?: OverlayOptions): SyncOverlay;
export function overlay(base: AsyncMedium, options?: OverlayOptions): AsyncOverlay;
export function overlay(base: Medium, options?: OverlayOptions): SyncOverlay | AsyncOverlay;
export function overlay(base: Medium, options: OverlayOptions = {}): SyncOverlay | AsyncOverlay {
  const changes = new Changes(base, options.chunkBytes ?? CHUNK_BYTES);
  return base.sync ? new OverSync(base, changes) : new OverAsync(base, changes);
}

/** A part of a request that lies in one chunk. */
interface Piece {
  readonly index: number;
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** The changes, and which parts of a request meet them; what both overlays share. */
class Changes implements MediumContent {
  readonly chunks: Chunks;
  readonly base: Medium;
  /** Counts what revert() did: what waits for the base meanwhile must change nothing any more. */
  era = 0;

  constructor(base: Medium, chunkBytes: number) {
    this.base = base;
    this.chunks = new Chunks(base.bytes, chunkBytes);
  }

  capture(): ContentState {
    return this.chunks.capture();
  }

  accept(state: ContentState): ContentState {
    return this.chunks.accept(state);
  }

  revert(state: ContentState): void {
    this.era++;
    this.chunks.revert(state);
  }

  *pieces(offset: number, buffers: readonly Uint8Array[]): Generator<Piece> {
    const { chunkBytes } = this.chunks;
    for (const buffer of buffers) {
      for (let done = 0; done < buffer.length; ) {
        const at = offset % chunkBytes;
        const bytes = buffer.subarray(done, done + chunkBytes - at);
        yield { index: Math.floor(offset / chunkBytes), at, bytes };
        offset += bytes.length;
        done += bytes.length;
      }
    }
  }

  /** Where in `length` bytes at `offset` the base shows: offset and length of each stretch. */
  *gaps(offset: number, length: number): Generator<{ offset: number; length: number }> {
    const { chunkBytes } = this.chunks;
    const end = offset + length;
    let from = -1;
    while (offset < end) {
      const next = Math.min(end, offset - (offset % chunkBytes) + chunkBytes);
      const shows = this.chunks.get(Math.floor(offset / chunkBytes)) === undefined;
      if (shows && from < 0) from = offset;
      if (!shows && from >= 0) {
        yield { offset: from, length: offset - from };
        from = -1;
      }
      offset = next;
    }
    if (from >= 0) yield { offset: from, length: end - from };
  }

  /** Puts what is changed over what the base gave. */
  cover(offset: number, buffers: readonly Uint8Array[]): void {
    for (const { index, at, bytes } of this.pieces(offset, buffers)) {
      const chunk = this.chunks.get(index);
      if (chunk === null) bytes.fill(0);
      else if (chunk !== undefined) bytes.set(chunk.subarray(at, at + bytes.length));
    }
  }

  /** Where a chunk lies on the base; the last one may be short. */
  place(index: number): { offset: number; length: number } {
    const offset = index * this.chunks.chunkBytes;
    return { offset, length: Math.min(this.chunks.chunkBytes, this.base.bytes - offset) };
  }

  /** The chunks of a write whose other bytes have to come from the base. */
  partial(offset: number, length: number): number[] {
    const { chunkBytes } = this.chunks;
    const first = Math.floor(offset / chunkBytes);
    const last = Math.floor((offset + length - 1) / chunkBytes);
    return [...new Set([first, last])].filter((index) => {
      const place = this.place(index);
      const whole = offset <= place.offset && offset + length >= place.offset + place.length;
      return !whole && this.chunks.get(index) === undefined;
    });
  }

  /** Writes; `content` has the chunks that partial() named, where nothing hid them since. */
  write(offset: number, buffers: readonly Uint8Array[], content: ReadonlyMap<number, Uint8Array>): void {
    for (const { index, at, bytes } of this.pieces(offset, buffers)) {
      this.chunks.put(index, at, bytes, () => content.get(index) ?? new Uint8Array(this.chunks.chunkBytes));
    }
  }

  /** Discards the chunks that lie wholly in the range; returns what is left at both ends. */
  discard(offset: number, length: number): { offset: number; length: number }[] {
    const { chunkBytes } = this.chunks;
    const end = offset + length;
    const first = Math.ceil(offset / chunkBytes);
    const last = end === this.base.bytes ? Math.ceil(end / chunkBytes) : Math.floor(end / chunkBytes);
    if (last < first) return [{ offset, length }];
    if (last > first) this.chunks.zero(first, last - first);
    const tail = Math.min(end, last * chunkBytes);
    return [
      { offset, length: Math.min(end, first * chunkBytes) - offset },
      { offset: tail, length: end - tail },
    ].filter((part) => part.length > 0);
  }

  target<M extends Medium>(to: M): M {
    if (to.bytes !== this.base.bytes) {
      throw new MediumError(
        `${to.name}: it has ${to.bytes} bytes, the overlay's changes are of ${this.base.bytes}`,
        'mismatch',
      );
    }
    if (to.readOnly) throw new MediumError(`${to.name}: it is read-only`, 'read-only');
    return to;
  }
}

class OverSync implements SyncOverlay {
  readonly sync = true;
  readonly readOnly = false;
  readonly bytes: number;
  readonly name: string;
  readonly #base: SyncMedium;
  readonly #changes: Changes;

  constructor(base: SyncMedium, changes: Changes) {
    this.#base = base;
    this.#changes = changes;
    this.bytes = base.bytes;
    this.name = `overlay of ${base.name}`;
  }

  get changedBytes(): number {
    return this.#changes.chunks.heldBytes;
  }

  readv(offset: number, buffers: readonly Uint8Array[]): number {
    const length = lengthOn(this.bytes, offset, lengthOf(buffers));
    let done = length;
    for (const gap of this.#changes.gaps(offset, length)) {
      const from = gap.offset - offset;
      const n = readBase(this.#base, gap.offset, sliceOf(buffers, from, gap.length), from);
      if (n === gap.length) continue;
      done = from + n;
      break;
    }
    this.#changes.cover(offset, sliceOf(buffers, 0, done));
    return done;
  }

  writev(offset: number, buffers: readonly Uint8Array[]): number {
    const length = lengthOn(this.bytes, offset, lengthOf(buffers));
    if (length === 0) return 0;
    const content = new Map<number, Uint8Array>();
    for (const index of this.#changes.partial(offset, length)) {
      const chunk = new Uint8Array(this.#changes.chunks.chunkBytes);
      const place = this.#changes.place(index);
      const n = readBase(this.#base, place.offset, [chunk.subarray(0, place.length)], 0);
      if (n < place.length) throw shortBase(this.#base, place.offset + n);
      content.set(index, chunk);
    }
    this.#changes.write(offset, sliceOf(buffers, 0, length), content);
    return length;
  }

  flush(): void {}

  discard(offset: number, bytes: number): void {
    for (const edge of this.#changes.discard(offset, lengthOn(this.bytes, offset, bytes))) {
      this.writev(edge.offset, [new Uint8Array(edge.length)]);
    }
  }

  close(): void {
    this.#changes.chunks.clear();
  }

  commit(to: SyncMedium = this.#base): void {
    const target = this.#changes.target(to);
    for (const { offset, bytes, buffers } of this.#changes.chunks.spans()) {
      if (buffers === null) target.discard(offset, bytes);
      else checkWritten(target, offset, bytes, target.writev(offset, buffers));
    }
    target.flush();
    if (to === this.#base) this.#changes.chunks.clear();
  }

  get content(): MediumContent {
    return this.#changes;
  }

  save(): Uint8Array {
    return this.#changes.chunks.save();
  }

  restore(saved: Uint8Array): void {
    this.#changes.chunks.restore(saved);
  }
}

/**
 * While it waits for the base, others may change the same chunks: what the base gave is put in place only at
 * the end, in one go, under what is changed by then.
 */
class OverAsync implements AsyncOverlay {
  readonly sync = false;
  readonly readOnly = false;
  readonly bytes: number;
  readonly name: string;
  readonly #base: AsyncMedium;
  readonly #changes: Changes;

  constructor(base: AsyncMedium, changes: Changes) {
    this.#base = base;
    this.#changes = changes;
    this.bytes = base.bytes;
    this.name = `overlay of ${base.name}`;
  }

  get changedBytes(): number {
    return this.#changes.chunks.heldBytes;
  }

  async read(offset: number, buffer: Uint8Array): Promise<number> {
    const length = lengthOn(this.bytes, offset, buffer.length);
    const gaps = [...this.#changes.gaps(offset, length)];
    const read = await Promise.all(
      gaps.map((gap) => {
        const from = gap.offset - offset;
        return this.#readBase(gap.offset, buffer.subarray(from, from + gap.length), from);
      }),
    );
    const short = gaps.findIndex((gap, i) => read[i] !== gap.length);
    const gap = gaps[short];
    const done = gap === undefined ? length : gap.offset - offset + (read[short] as number);
    this.#changes.cover(offset, [buffer.subarray(0, done)]);
    return done;
  }

  write(offset: number, buffer: Uint8Array): Promise<number> {
    return this.#write(offset, buffer, this.#changes.era);
  }

  async #write(offset: number, buffer: Uint8Array, era: number): Promise<number> {
    const length = lengthOn(this.bytes, offset, buffer.length);
    if (length === 0) return 0;
    const content = new Map<number, Uint8Array>();
    for (const index of this.#changes.partial(offset, length)) {
      const chunk = new Uint8Array(this.#changes.chunks.chunkBytes);
      const place = this.#changes.place(index);
      const n = await this.#readBase(place.offset, chunk.subarray(0, place.length), 0);
      if (n < place.length) throw shortBase(this.#base, place.offset + n);
      content.set(index, chunk);
    }
    if (era !== this.#changes.era) throw new MediumError(`${this.name}: its content was put back`, 'failed');
    this.#changes.write(offset, [buffer.subarray(0, length)], content);
    return length;
  }

  async flush(): Promise<void> {}

  async discard(offset: number, bytes: number): Promise<void> {
    const { era } = this.#changes;
    for (const edge of this.#changes.discard(offset, lengthOn(this.bytes, offset, bytes))) {
      await this.#write(edge.offset, new Uint8Array(edge.length), era);
    }
  }

  async close(): Promise<void> {
    this.#changes.chunks.clear();
  }

  async commit(to: AsyncMedium = this.#base): Promise<void> {
    const target = this.#changes.target(to);
    for (const span of this.#changes.chunks.spans()) {
      if (span.buffers === null) await target.discard(span.offset, span.bytes);
      else await writeSpan(target, span.offset, span.buffers);
    }
    await target.flush();
    if (to === this.#base) this.#changes.chunks.clear();
  }

  get content(): MediumContent {
    return this.#changes;
  }

  save(): Uint8Array {
    return this.#changes.chunks.save();
  }

  restore(saved: Uint8Array): void {
    this.#changes.chunks.restore(saved);
  }

  async #readBase(offset: number, buffer: Uint8Array, before: number): Promise<number> {
    try {
      return await this.#base.read(offset, buffer);
    } catch (error) {
      throw shifted(this.#base, error, before);
    }
  }
}

async function writeSpan(
  to: AsyncMedium,
  offset: number,
  buffers: NonNullable<Span['buffers']>,
): Promise<void> {
  for (const buffer of buffers) {
    checkWritten(to, offset, buffer.length, await to.write(offset, buffer));
    offset += buffer.length;
  }
}

function readBase(base: SyncMedium, offset: number, buffers: Uint8Array[], before: number): number {
  try {
    return base.readv(offset, buffers);
  } catch (error) {
    throw shifted(base, error, before);
  }
}

/** The base failed `before` bytes into the overlay's own request. */
function shifted(base: Medium, error: unknown, before: number): MediumError {
  const known = error instanceof MediumError;
  const message = error instanceof Error ? error.message : String(error);
  return new MediumError(known ? message : `${base.name}: ${message}`, known ? error.reason : 'failed', {
    transferred: before + (known ? error.transferred : 0),
    cause: error,
  });
}

function shortBase(base: Medium, at: number): MediumError {
  return new MediumError(`${base.name}: nothing can be read at byte ${at}`, 'failed');
}

function checkWritten(to: Medium, offset: number, asked: number, written: number): void {
  if (written === asked) return;
  throw new MediumError(
    `${to.name}: ${written} of ${asked} bytes at ${offset} were written; the overlay keeps its changes`,
    'failed',
  );
}
