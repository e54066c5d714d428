// RAM that is not in the module's memory: another emulator's, which the controllers use as if it were theirs. The
// module asks for it by address (assembly/host.ts); what knows where the bytes are stands behind ExternalMemory.

import { AT_RUN_ADDRESSES, AT_RUNS, RUN_STRIDE } from '../../assembly/bus/layout.ts';
import type { MemoryImports } from './module.ts';
import type { RamRegion } from './phys-mem.ts';

/** Consecutive bytes of physical memory, all in one region. */
export interface MemoryRun {
  readonly address: number;
  readonly bytes: number;
}

/** The module's memory as bytes, and as words. */
export interface ModuleBytes {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
}

/** RAM of somebody else's. Addresses are physical; what is asked for lies in one region. Nothing here may throw. */
export interface ExternalMemory {
  /** In ascending order, apart, of whole pages; at most 16, each of less than 4 GiB. */
  readonly regions: readonly RamRegion[];
  /** Copies `bytes` bytes at `address` to byte `to` of the module's memory. */
  read(address: number, bytes: number, module: ModuleBytes, to: number): void;
  /** Copies `bytes` bytes of the module's memory, from byte `from` on, to `address`. */
  write(address: number, bytes: number, module: ModuleBytes, from: number): void;
  /** Fills `to` with what the runs hold, one after the other. */
  readRuns(runs: readonly MemoryRun[], to: Uint8Array): void;
  /** Puts `from` where the runs say, one after the other. */
  writeRuns(runs: readonly MemoryRun[], from: Uint8Array): void;
  /** The bytes themselves, to be used at once and to be changed if `writes`; not there where only copies can be had. */
  view?(address: number, bytes: number, writes: boolean): Uint8Array;
}

const TWO_32 = 2 ** 32;
const NO_BYTES = new Uint8Array(0);

/** An entry of the module's run list: bytes at `at` of its memory, or where that is 0 at `address` of the host's RAM. */
export interface Run extends MemoryRun {
  readonly at: number;
}

/** The module's run list (AT_RUNS) as buffers, wherever the memory is that it goes through. */
export class RunList {
  readonly imports: MemoryImports;
  readonly #u8: Uint8Array;
  readonly #u32: Uint32Array;
  readonly #module: ModuleBytes;
  readonly #external: ExternalMemory | null;
  /** For runs that can only be copied, and those that views() gave to be filled. */
  #copy = NO_BYTES;
  #owed: readonly Run[] = [];

  constructor(buffer: ArrayBuffer, external: ExternalMemory | null) {
    this.#u8 = new Uint8Array(buffer);
    this.#u32 = new Uint32Array(buffer);
    this.#external = external;
    this.#module = { u8: this.#u8, u32: this.#u32 };
    const module = this.#module;
    this.imports = {
      memoryRead: (low, high, to, bytes) =>
        external?.read((high >>> 0) * TWO_32 + (low >>> 0), bytes >>> 0, module, to >>> 0),
      memoryWrite: (low, high, from, bytes) =>
        external?.write((high >>> 0) * TWO_32 + (low >>> 0), bytes >>> 0, module, from >>> 0),
      memoryMove: (first, runs, at, toMemory) => this.#move(first, runs, at >>> 0, toMemory !== 0),
    };
  }

  /** The first `count` entries, to be used now or later. */
  take(count: number): Run[] {
    return Array.from({ length: count }, (_, i) => this.#runAt(i));
  }

  /**
   * A buffer for each of the runs, which are to be filled if `toMemory`; settle() follows then. Valid until the module
   * is called again.
   */
  views(runs: readonly Run[], toMemory: boolean): Uint8Array[] {
    const external = this.#external;
    const copied = external === null || external.view !== undefined ? [] : runs.filter(({ at }) => at === 0);
    this.#reserve(bytesOf(copied));
    if (!toMemory && copied.length > 0) external?.readRuns(copied, this.#copy.subarray(0, bytesOf(copied)));
    this.#owed = toMemory && copied.length > 0 ? runs : [];
    let end = 0;
    return runs.map(({ at, address, bytes }) => {
      if (at !== 0) return this.#u8.subarray(at, at + bytes);
      if (external?.view !== undefined) return external.view(address, bytes, toMemory);
      end += bytes;
      return this.#copy.subarray(end - bytes, end);
    });
  }

  /** The buffers that views() gave have their first `moved` bytes: what is a copy goes where it belongs. */
  settle(moved: number): void {
    const filled: MemoryRun[] = [];
    let left = moved;
    for (const { at, address, bytes } of this.#owed) {
      const n = Math.min(bytes, left);
      if (at === 0 && n > 0) filled.push({ address, bytes: n });
      left -= n;
    }
    this.#owed = [];
    if (filled.length > 0) this.#external?.writeRuns(filled, this.#copy.subarray(0, bytesOf(filled)));
  }

  #reserve(bytes: number): void {
    if (bytes > this.#copy.length) this.#copy = new Uint8Array(Math.max(bytes, 2 * this.#copy.length));
  }

  #move(first: number, count: number, at: number, toMemory: boolean): void {
    const external = this.#external;
    if (external === null) return;
    if (count === 1) {
      const { address, bytes } = this.#runAt(first);
      if (toMemory) external.write(address, bytes, this.#module, at);
      else external.read(address, bytes, this.#module, at);
      return;
    }
    const runs = Array.from({ length: count }, (_, i) => this.#runAt(first + i));
    const inside = this.#u8.subarray(at, at + bytesOf(runs));
    if (toMemory) external.writeRuns(runs, inside);
    else external.readRuns(runs, inside);
  }

  #runAt(i: number): Run {
    const place = (AT_RUN_ADDRESSES + i * 8) >>> 2;
    const address = (this.#u32[place] as number) + (this.#u32[place + 1] as number) * TWO_32;
    const run = (AT_RUNS + i * RUN_STRIDE) >>> 2;
    return { at: this.#u32[run] as number, address, bytes: this.#u32[run + 1] as number };
  }
}

function bytesOf(runs: readonly MemoryRun[]): number {
  return runs.reduce((sum, { bytes }) => sum + bytes, 0);
}
