// The embedder's RAM as the controllers' module asks for it: an array, or call-backs.

import type { ExternalMemory, MemoryRun, ModuleBytes } from '../machine/index.ts';
import { EmbedError } from './errors.ts';
import type { ArrayDma, ArrayRegion, CallbackDma, Dma, DmaRegion } from './types.ts';

const PAGE = 4096;
/** A region of the module's is shorter than 4 GiB: longer ones are several to it. */
const PIECE = 2 ** 31;
const REGIONS_MAX = 16;
/** What a loop copies sooner than TypedArray.set and the view that it needs. */
const SHORT_BYTES = 256;

/** What createController() was given, as the machine takes it. Throws EmbedError where it makes no sense. */
export function memoryOf(dma: Dma): ExternalMemory {
  if (isCallbacks(dma)) return new CallbackMemory(dma);
  if (dma instanceof Uint8Array || dma instanceof WebAssembly.Memory) return new ArrayMemory({ memory: dma });
  if (typeof dma === 'object' && dma !== null && 'memory' in dma) return new ArrayMemory(dma);
  throw new EmbedError(
    'dma must be a Uint8Array, a WebAssembly.Memory, { memory, … } or { regions, read, write }',
  );
}

function isCallbacks(dma: Dma): dma is CallbackDma {
  if (!(typeof dma === 'object' && dma !== null && 'read' in dma && 'write' in dma)) return false;
  return 'regions' in dma && typeof dma.read === 'function' && typeof dma.write === 'function';
}

/** A region, cut into pieces that the module takes. */
function piecesOf<R extends DmaRegion>(regions: readonly R[]): R[] {
  if (!Array.isArray(regions)) throw new EmbedError('dma.regions must be a list of { base, bytes }');
  let end = 0;
  const pieces: R[] = [];
  for (const region of regions) {
    const { base, bytes } = region;
    const where = `dma: RAM of ${bytes} bytes at ${base}`;
    if (
      !(
        Number.isSafeInteger(base + bytes) &&
        base >= 0 &&
        bytes > 0 &&
        base % PAGE === 0 &&
        bytes % PAGE === 0
      )
    )
      throw new EmbedError(`${where}: a region, { base, bytes }, is whole pages of 4096 bytes below 2^53`);
    if (base < end) throw new EmbedError(`${where}: regions are in ascending order and do not overlap`);
    end = base + bytes;
    for (let from = 0; from < bytes; from += PIECE) {
      const at = 'at' in region && typeof region.at === 'number' ? { at: region.at + from } : {};
      pieces.push({ ...region, base: base + from, bytes: Math.min(PIECE, bytes - from), ...at });
    }
  }
  if (pieces.length === 0) throw new EmbedError('dma: there is no RAM; a controller needs a region at least');
  if (pieces.length > REGIONS_MAX)
    throw new EmbedError(`dma: ${pieces.length} regions of at most 2 GiB; there is room for ${REGIONS_MAX}`);
  return pieces;
}

class ArrayMemory implements ExternalMemory {
  readonly regions: readonly Required<ArrayRegion>[];
  readonly #ask: () => Uint8Array;
  /** Whose buffer changes when it grows; null where a detached array says so. */
  readonly #memory: WebAssembly.Memory | null;
  readonly #onWrite: ((address: number, bytes: number) => void) | null;
  #bytes: Uint8Array;
  /** The same as words, as far as they are aligned: null where they are not. */
  #words: Uint32Array | null;
  /** Bytes that the regions need. */
  readonly #end: number;
  // The region of the last hit, and where its first byte is.
  #base = 0;
  #top = 0;
  #at = 0;

  constructor(dma: ArrayDma) {
    const { memory } = dma;
    this.#memory = memory instanceof WebAssembly.Memory ? memory : null;
    this.#ask = askerOf(memory);
    this.#onWrite = dma.onWrite === undefined ? null : (address, bytes) => dma.onWrite?.(address, bytes);
    this.#bytes = this.#ask();
    this.#words = wordsOf(this.#bytes);
    const whole = this.#bytes.length - (this.#bytes.length % PAGE);
    if (whole === 0 && dma.regions === undefined)
      throw new EmbedError(
        `dma: the memory has ${this.#bytes.length} bytes; a controller needs a page, 4096`,
      );
    const regions = dma.regions ?? [{ base: 0, bytes: whole }];
    this.regions = piecesOf<Required<ArrayRegion>>(regions.map((r) => ({ ...r, at: r.at ?? r.base })));
    for (const { at } of this.regions) {
      if (!(Number.isSafeInteger(at) && at >= 0))
        throw new EmbedError(`dma: at is ${at}; it must be a place in the array`);
    }
    this.#end = Math.max(...this.regions.map(({ at, bytes }) => at + bytes));
    this.#check();
  }

  read(address: number, bytes: number, module: ModuleBytes, to: number): void {
    const from = this.#find(address);
    const words = this.#words;
    if (bytes > SHORT_BYTES) module.u8.set(this.#bytes.subarray(from, from + bytes), to);
    else if (words !== null && ((from | to | bytes) & 3) === 0) {
      copyShort(words, from >>> 2, bytes >>> 2, module.u32, to >>> 2);
    } else copyShort(this.#bytes, from, bytes, module.u8, to);
  }

  write(address: number, bytes: number, module: ModuleBytes, from: number): void {
    if (this.#onWrite !== null) this.#onWrite(address, bytes);
    const to = this.#find(address);
    const words = this.#words;
    if (bytes > SHORT_BYTES) this.#bytes.set(module.u8.subarray(from, from + bytes), to);
    else if (words !== null && ((from | to | bytes) & 3) === 0) {
      copyShort(module.u32, from >>> 2, bytes >>> 2, words, to >>> 2);
    } else copyShort(module.u8, from, bytes, this.#bytes, to);
  }

  readRuns(runs: readonly MemoryRun[], to: Uint8Array): void {
    let at = 0;
    for (const { address, bytes } of runs) {
      const from = this.#find(address);
      to.set(this.#bytes.subarray(from, from + bytes), at);
      at += bytes;
    }
  }

  writeRuns(runs: readonly MemoryRun[], from: Uint8Array): void {
    let at = 0;
    for (const { address, bytes } of runs) {
      if (this.#onWrite !== null) this.#onWrite(address, bytes);
      const to = this.#find(address);
      this.#bytes.set(from.subarray(at, at + bytes), to);
      at += bytes;
    }
  }

  view(address: number, bytes: number, writes: boolean): Uint8Array {
    if (writes && this.#onWrite !== null) this.#onWrite(address, bytes);
    const at = this.#find(address);
    return this.#bytes.subarray(at, at + bytes);
  }

  /** Where the byte at `address`, which is in a region, is in the array as it is now. */
  #find(address: number): number {
    const bytes = this.#bytes;
    const memory = this.#memory;
    if (memory === null ? bytes.length === 0 : memory.buffer !== bytes.buffer) {
      this.#bytes = this.#ask();
      this.#check();
      this.#words = wordsOf(this.#bytes);
    }
    if (address >= this.#base && address < this.#top) return address - this.#base + this.#at;
    const region = this.regions.find((r) => address >= r.base && address < r.base + r.bytes);
    if (region === undefined) throw new EmbedError(`dma: no RAM at ${address}`);
    this.#base = region.base;
    this.#top = region.base + region.bytes;
    this.#at = region.at;
    return address - region.base + region.at;
  }

  #check(): void {
    if (this.#bytes.length >= this.#end) return;
    if (this.#bytes.length === 0)
      throw new EmbedError(
        'dma: the array was detached, as those on a memory that grows are; give the WebAssembly.Memory, or a function',
      );
    throw new EmbedError(`dma: the memory has ${this.#bytes.length} bytes; its regions need ${this.#end}`);
  }
}

/** Gives the bytes as they are when it is called. */
function askerOf(memory: ArrayDma['memory']): () => Uint8Array {
  if (memory instanceof WebAssembly.Memory) return () => new Uint8Array(memory.buffer);
  return () => {
    const bytes: unknown = typeof memory === 'function' ? memory() : memory;
    if (bytes instanceof Uint8Array) return bytes;
    throw new EmbedError(
      'dma.memory must be a Uint8Array, a WebAssembly.Memory, or a function that gives the bytes',
    );
  };
}

function wordsOf(bytes: Uint8Array): Uint32Array | null {
  if (bytes.byteOffset % 4 !== 0) return null;
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
}

class CallbackMemory implements ExternalMemory {
  readonly regions: readonly DmaRegion[];
  readonly #dma: CallbackDma;

  constructor(dma: CallbackDma) {
    this.#dma = dma;
    this.regions = piecesOf(dma.regions);
  }

  read(address: number, bytes: number, module: ModuleBytes, to: number): void {
    this.#dma.read([{ address, bytes }], module.u8.subarray(to, to + bytes));
  }

  write(address: number, bytes: number, module: ModuleBytes, from: number): void {
    this.#dma.write([{ address, bytes }], module.u8.subarray(from, from + bytes));
  }

  readRuns(runs: readonly MemoryRun[], to: Uint8Array): void {
    this.#dma.read(runs, to);
  }

  writeRuns(runs: readonly MemoryRun[], from: Uint8Array): void {
    this.#dma.write(runs, from);
  }
}

/** `count` elements: for so few, set() and the view that it needs cost more. */
function copyShort<T extends Uint8Array | Uint32Array>(
  source: T,
  from: number,
  count: number,
  target: T,
  to: number,
): void {
  for (let i = 0; i < count; i++) target[to + i] = source[from + i] as number;
}
