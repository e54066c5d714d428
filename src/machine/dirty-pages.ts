// The host's hand on the table of pages that changed since the last snapshot (assembly/bus/dirty.ts).

import {
  AT_DIRTY_COUNT,
  AT_DIRTY_FLAGS,
  AT_DIRTY_LIST,
  PAGE_CHANGED,
  PAGE_CLEAN,
  PAGE_SHIFT,
} from '../../assembly/bus/layout.ts';

export class DirtyPages {
  /** A PAGE_* flag for each page of the module's memory. Who writes to a page that is clean calls mark(). */
  readonly flags: Uint8Array;
  readonly #u32: Uint32Array;
  /** Where the list of changed pages begins, in dwords. */
  readonly #list: number;

  /** Of a memory that the module has initialised. */
  constructor(buffer: ArrayBuffer) {
    this.#u32 = new Uint32Array(buffer);
    const flags = this.#u32[AT_DIRTY_FLAGS >>> 2] as number;
    this.flags = new Uint8Array(buffer, flags, buffer.byteLength >>> PAGE_SHIFT);
    this.#list = (this.#u32[AT_DIRTY_LIST >>> 2] as number) >>> 2;
  }

  /** Says that `bytes` bytes of the module's memory at `at` change. */
  mark(at: number, bytes: number): void {
    const end = at + bytes;
    for (let page = at >>> PAGE_SHIFT; page * 4096 < end; page++) {
      if (this.flags[page] === PAGE_CLEAN) this.#enter(page);
    }
  }

  #enter(page: number): void {
    const count = this.#u32[AT_DIRTY_COUNT >>> 2] as number;
    this.flags[page] = PAGE_CHANGED;
    this.#u32[this.#list + count] = page;
    this.#u32[AT_DIRTY_COUNT >>> 2] = count + 1;
  }

  /** The numbers of the pages that changed; valid until the next of them. */
  changed(): Uint32Array {
    return this.#u32.subarray(this.#list, this.#list + (this.#u32[AT_DIRTY_COUNT >>> 2] as number));
  }

  /** Every page of the list is clean from now on. */
  clean(): void {
    for (const page of this.changed()) this.flags[page] = PAGE_CLEAN;
    this.#u32[AT_DIRTY_COUNT >>> 2] = 0;
  }
}
