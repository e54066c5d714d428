// The part of a snapshot that is the module's memory. Large areas (RAM, RAM disks, tables of the guard) are held by
// the page, and pages that did not change are shared between snapshots; the rest of the arena is small, changes all
// the time, and is copied whole. What lives within one call into the module only, or is never written, is not held.

import { FINDING_STRIDE } from '../../assembly/bus/guard-codes.ts';
import {
  ARENA_BASE,
  AT_ARENA_END,
  AT_ARENA_TOP,
  AT_DIRTY_COUNT,
  AT_EVENT_COUNT,
  AT_EVENTS,
  AT_FAULT_COUNT,
  AT_FAULTS,
  AT_FREE,
  AT_GUARD_FINDING_COUNT,
  AT_GUARD_FINDINGS,
  AT_MESSAGE_COUNT,
  AT_MESSAGES,
  AT_REQUEST_USED,
  AT_REQUESTS,
  AT_RUNS,
  AT_TRACE,
  AT_TRACE_MASK,
  AT_TRACE_READ,
  AT_TRACE_WRITTEN,
  EVENT_STRIDE,
  FAULT_STRIDE,
  MESSAGE_STRIDE,
  PAGE_BYTES,
  PAGE_CLEAN,
  PAGE_FIXED,
  PAGE_SHIFT,
  TRACE_MAX,
  TRACE_STRIDE,
} from '../../assembly/bus/layout.ts';
import { DirtyPages } from './dirty-pages.ts';
import type { HardwareExports } from './module.ts';

/** Bytes of the module's memory from `at` on. */
export interface Run {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** What save() took. Nobody changes any of it. */
export interface ArenaCopy {
  /** End of what was reserved. */
  readonly top: number;
  /** The pages from AT_FREE on that are held by themselves; null for one of zeroes and for what `fixed` holds. */
  readonly pages: readonly (Uint8Array | null)[];
  /** The pages from AT_FREE on that are copied whole. */
  readonly fixed: readonly Run[];
  /** Header and tables, as far as they are in use. */
  readonly tables: readonly Run[];
}

/** Pages that are copied into one buffer, which lives as long as one of them does. */
const SLAB_PAGES = 64;
const FIRST_PAGE = AT_FREE >>> PAGE_SHIFT;

/** First and end: bytes of what is copied whole, pages of what is held by the page. */
interface Places {
  readonly top: number;
  readonly fixed: readonly (readonly [number, number])[];
  readonly tracked: readonly (readonly [number, number])[];
}

export class Arena {
  readonly dirty: DirtyPages;
  readonly #hw: HardwareExports;
  readonly #u8: Uint8Array;
  readonly #u32: Uint32Array;
  /** What the memory was equal to before the pages that changed since; null: nothing. */
  #base: ArenaCopy | null = null;
  /** Where which sort of page lies, for the top of the arena at which somebody looked. */
  #places: Places = { top: 0, fixed: [], tracked: [] };

  constructor(hw: HardwareExports, buffer: ArrayBuffer) {
    this.#hw = hw;
    this.#u8 = new Uint8Array(buffer);
    this.#u32 = new Uint32Array(buffer);
    this.dirty = new DirtyPages(buffer);
  }

  get top(): number {
    return this.#word(AT_ARENA_TOP);
  }

  save(): ArenaCopy {
    const { top } = this;
    const pages = this.#base?.top === top ? this.#newPages(this.#base) : this.#allPages();
    const copy = ([at, end]: readonly [number, number]): Run => ({ at, bytes: this.#u8.slice(at, end) });
    this.#base = { top, pages, fixed: this.#find().fixed.map(copy), tables: this.#tables().map(copy) };
    return this.#base;
  }

  /** Puts back what save() took, here or in a machine of the same shape. */
  restore(copy: ArenaCopy): void {
    const traced = this.#word(AT_TRACE_MASK);
    const used = this.#word(AT_REQUEST_USED);
    if (this.#base?.top === this.top && sameFixed(this.#base, copy)) this.#putChanged(this.#base, copy);
    else this.#putAll(copy);
    for (const { at, bytes } of copy.fixed) this.#u8.set(bytes, at);
    for (const { at, bytes } of copy.tables) this.#u8.set(bytes, at);
    const usedThen = this.#word(AT_REQUEST_USED);
    if (used > usedThen) this.#hw.resetRequests(usedThen, used);
    // Whoever listens to the trace does so before and after.
    this.#u32[AT_TRACE_MASK >>> 2] = traced;
    this.#u32[AT_DIRTY_COUNT >>> 2] = 0;
    this.#base = copy;
  }

  /** Whether `copy` can be put here: its parts add up to what was reserved. */
  fits(copy: ArenaCopy): boolean {
    const inside = copy.fixed.every(({ at, bytes }) => at >= AT_FREE && at + bytes.length <= copy.top);
    const { length } = copy.pages;
    return inside && copy.top <= this.#word(AT_ARENA_END) && length === pagesBelow(copy.top) - FIRST_PAGE;
  }

  /** The pages of a base with those that changed since. */
  #newPages(base: ArenaCopy): (Uint8Array | null)[] {
    const pages = base.pages.slice();
    for (const page of this.dirty.changed()) {
      const at = page * PAGE_BYTES;
      pages[page - FIRST_PAGE] = this.#u8.slice(at, at + PAGE_BYTES);
    }
    this.dirty.clean();
    return pages;
  }

  #allPages(): (Uint8Array | null)[] {
    const last = this.#lastPage();
    const pages = new Array<Uint8Array | null>(last - FIRST_PAGE).fill(null);
    for (const [first, end] of this.#find().tracked) {
      let at = this.#hw.nextNonZero(first * PAGE_BYTES, end * PAGE_BYTES) >>> 0;
      while (at < end * PAGE_BYTES) {
        const stop = Math.min(at + SLAB_PAGES * PAGE_BYTES, end * PAGE_BYTES);
        const slab = this.#u8.slice(at, stop);
        for (let from = 0; from < slab.length; from += PAGE_BYTES) {
          pages[((at + from) >>> PAGE_SHIFT) - FIRST_PAGE] = slab.subarray(from, from + PAGE_BYTES);
        }
        at = this.#hw.nextNonZero(stop, end * PAGE_BYTES) >>> 0;
      }
    }
    this.#cleanAll();
    return pages;
  }

  /** Puts every page, whatever is there: another machine's, or one that has reserved more or less since. */
  #putAll({ top, pages, fixed }: ArenaCopy): void {
    const now = this.#lastPage();
    const last = pagesBelow(top);
    this.#u8.fill(0, top, Math.max(last, now) * PAGE_BYTES);
    this.dirty.flags.fill(PAGE_CLEAN, FIRST_PAGE, last);
    if (now > last) this.dirty.flags.fill(PAGE_FIXED, last, now);
    for (const { at, bytes } of fixed) {
      this.dirty.flags.fill(PAGE_FIXED, at >>> PAGE_SHIFT, pagesBelow(at + bytes.length));
    }
    for (let page = FIRST_PAGE; page < last; page++) {
      const bytes = pages[page - FIRST_PAGE] ?? null;
      const at = page * PAGE_BYTES;
      // A page that is zero already is left untouched: memory that nobody uses costs nothing.
      if (bytes !== null) this.#u8.set(bytes, at);
      else if (
        this.dirty.flags[page] === PAGE_CLEAN &&
        this.#hw.nextNonZero(at, at + PAGE_BYTES) >>> 0 === at
      )
        this.#put(page, null);
    }
    this.#places = { top: 0, fixed: [], tracked: [] };
  }

  /** Puts back what changed since the base, and what is another page there than here. */
  #putChanged(base: ArenaCopy, copy: ArenaCopy): void {
    for (const page of this.dirty.changed()) this.#put(page, copy.pages[page - FIRST_PAGE] ?? null);
    this.dirty.clean();
    if (base === copy) return;
    for (let i = 0; i < copy.pages.length; i++) {
      const bytes = copy.pages[i] ?? null;
      if (bytes !== base.pages[i]) this.#put(FIRST_PAGE + i, bytes);
    }
  }

  #put(page: number, bytes: Uint8Array | null): void {
    const at = page * PAGE_BYTES;
    if (bytes === null) this.#u8.fill(0, at, at + PAGE_BYTES);
    else this.#u8.set(bytes, at);
  }

  #cleanAll(): void {
    for (const [first, end] of this.#find().tracked) this.dirty.flags.fill(PAGE_CLEAN, first, end);
    this.#u32[AT_DIRTY_COUNT >>> 2] = 0;
  }

  /** First byte and end of what is in use of each table; of the trace ring what the host has not seen. */
  #tables(): (readonly [at: number, end: number])[] {
    const findings = this.#word(AT_GUARD_FINDINGS);
    const read = this.#word(AT_TRACE_READ) % TRACE_MAX;
    const unread = (this.#word(AT_TRACE_WRITTEN) - this.#word(AT_TRACE_READ)) >>> 0;
    const stop = Math.min(read + unread, TRACE_MAX);
    return [
      [ARENA_BASE, AT_RUNS],
      [AT_EVENTS, AT_EVENTS + this.#word(AT_EVENT_COUNT) * EVENT_STRIDE],
      [AT_REQUESTS, this.#word(AT_REQUEST_USED)],
      [AT_FAULTS, AT_FAULTS + this.#word(AT_FAULT_COUNT) * FAULT_STRIDE],
      [findings, findings + this.#word(AT_GUARD_FINDING_COUNT) * FINDING_STRIDE],
      [AT_TRACE + read * TRACE_STRIDE, AT_TRACE + stop * TRACE_STRIDE],
      [AT_TRACE, AT_TRACE + (read + unread - stop) * TRACE_STRIDE],
      [AT_TRACE + TRACE_MAX * TRACE_STRIDE, AT_MESSAGES],
      [AT_MESSAGES, AT_MESSAGES + this.#word(AT_MESSAGE_COUNT) * MESSAGE_STRIDE],
    ];
  }

  #find(): Places {
    const { top } = this;
    if (this.#places.top === top) return this.#places;
    const fixed: [number, number][] = [];
    const tracked: [number, number][] = [];
    const last = this.#lastPage();
    const { flags } = this.dirty;
    for (let page = FIRST_PAGE; page < last; ) {
      const isFixed = flags[page] === PAGE_FIXED;
      const first = page;
      while (page < last && (flags[page] === PAGE_FIXED) === isFixed) page++;
      if (isFixed) fixed.push([first * PAGE_BYTES, Math.min(page * PAGE_BYTES, top)]);
      else tracked.push([first, page]);
    }
    this.#places = { top, fixed, tracked };
    return this.#places;
  }

  #lastPage(): number {
    return pagesBelow(this.top);
  }

  #word(at: number): number {
    return this.#u32[at >>> 2] as number;
  }
}

function pagesBelow(end: number): number {
  return Math.ceil(end / PAGE_BYTES);
}

/** A word of a structure, which pages are that are copied whole, as a copy has it. */
export function wordIn(copy: ArenaCopy, at: number): number {
  const run = copy.fixed.find(
    (candidate) => at >= candidate.at && at < candidate.at + candidate.bytes.length,
  );
  if (run === undefined) return 0;
  const [a = 0, b = 0, c = 0, d = 0] = run.bytes.subarray(at - run.at, at - run.at + 4);
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}

/** Whether two copies hold the same pages whole. */
function sameFixed(a: ArenaCopy, b: ArenaCopy): boolean {
  if (a === b) return true;
  if (a.top !== b.top || a.fixed.length !== b.fixed.length) return false;
  return a.fixed.every(
    ({ at, bytes }, i) => b.fixed[i]?.at === at && b.fixed[i].bytes.length === bytes.length,
  );
}
