// The copy buffer of a binding, and its current window: what is copied when.

import type { Page } from '../kernel/index.ts';
import { PAGE_SIZE, type Sleeps } from '../kernel/index.ts';
import type { DmaLimits } from './dma-attr.ts';
import { touches } from './dma-guard.ts';
import { DIRECT, type Run } from './dma-plan.ts';
import { type Binding, type DdiDmaHandle, WindowCookie } from './dma-struct.ts';
import { traceWindow } from './dma-trace.ts';
import type { Solaris } from './kernel.ts';

/** The lowest memory that is ever given out for DMA: page 2. */
const LOWEST = 0x2000;
/** Devices that do not reach all of the 24-bit addresses get no memory. */
const LEAST_REACH = 0xffffff;

/** Where memory for a device may lie; null: nowhere (Q10). */
export function reachOf({ lo, hi }: DmaLimits): { from: number; below: number } | null {
  return hi < LEAST_REACH ? null : { from: Math.max(lo, LOWEST), below: hi + 1 };
}

/** Takes single pages that a device reaches; null, and none is taken, when there are not so many. */
export function takePages(k: Solaris, limits: DmaLimits, count: number, tag: string): Page[] | null {
  if (count === 0) return [];
  const reach = reachOf(limits);
  if (reach === null) return null;
  return k.allocator.allocMany(count, { from: reach.from, below: reach.below, tag });
}

/** Waits until they are there; null when the device reaches fewer pages than that at all. */
export function* waitPages(
  k: Solaris,
  limits: DmaLimits,
  count: number,
  take: () => Page[] | null,
): Sleeps<Page[] | null> {
  const reach = reachOf(limits);
  if (reach === null) return null;
  const { frames } = k;
  const first = frames.frameFrom(reach.from);
  const end = frames.frameFrom(Math.floor(reach.below / PAGE_SIZE) * PAGE_SIZE);
  if (end - first < count) return null;
  for (;;) {
    const pages = take();
    if (pages !== null) return pages;
    yield* k.scheduler.sleep(k.allocator.waiters, { what: 'DMA memory', timeoutNs: 1e9, poll: true });
  }
}

export function givePages(k: Solaris, pages: readonly Page[]): void {
  for (const page of pages) k.allocator.put(page);
}

/** Where the device finds a run. */
function addressOf({ phys, slot }: Run, copies: readonly Page[]): number {
  if (slot === DIRECT) return phys;
  return (copies[slot] as Page).phys + (phys & (PAGE_SIZE - 1)); // the plan was made for these pages
}

/**
 * Copies the bytes [offset, offset + bytes) of the object, as far as they are in the current window and go through the
 * copy buffer (SYNC-06).
 */
export function copyWindow(
  k: Solaris,
  binding: Binding,
  offset: number,
  bytes: number,
  toDevice: boolean,
): void {
  const { window, copies } = binding;
  if (window === null || !window.bounced) return;
  // Runs that follow each other on both sides are copied together.
  let memory = 0;
  let copy = 0;
  let pending = 0;
  let at = window.offset;
  let copied = 0;
  for (const run of window.runs) {
    const start = Math.max(offset, at);
    const length = Math.min(offset + bytes, at + run.bytes) - start;
    if (run.slot !== DIRECT && length > 0) {
      const from = run.phys + start - at;
      const to = addressOf(run, copies) + start - at;
      if (binding.unlocked !== null) noteUnlocked(k, binding, from);
      if (from !== memory + pending || to !== copy + pending) {
        if (pending > 0) move(k, memory, copy, pending, toDevice);
        memory = from;
        copy = to;
        pending = 0;
      }
      pending += length;
      copied += length;
    }
    at += run.bytes;
  }
  if (pending > 0) move(k, memory, copy, pending, toDevice);
  const { tracer } = k.machine;
  if (tracer.enabled && copied > 0) tracer.emit('copy', null, { why: 'dma', bytes: copied });
}

function move(k: Solaris, memory: number, copy: number, bytes: number, toDevice: boolean): void {
  k.dmaGuard?.copying(true);
  if (toDevice) k.memory.copy(copy, memory, bytes);
  else k.memory.copy(memory, copy, bytes);
  k.dmaGuard?.copying(false);
}

/** Copies all of the current window. */
export function copyAll(k: Solaris, binding: Binding, toDevice: boolean): void {
  const { window } = binding;
  if (window !== null) copyWindow(k, binding, window.offset, window.bytes, toDevice);
}

/** UMEM-07: the memory was unlocked under the binding. */
function noteUnlocked(k: Solaris, binding: Binding, memory: number): void {
  const pfn = Math.floor(memory / PAGE_SIZE);
  if (binding.unlocked?.has(pfn) !== true) return;
  k.warnings.warn('UMEM-07', `page 0x${pfn.toString(16)} is copied after it was unlocked`, binding.kind);
  k.dmaGuard?.copied(binding, pfn);
}

/** Makes a window the current one, whose memory the device may now use. */
export function selectWindow(k: Solaris, handle: DdiDmaHandle, binding: Binding, index: number): void {
  k.dmaGuard?.release(binding);
  binding.current = index;
  binding.cursor = 1;
  const runs = binding.window?.runs ?? [];
  const cookies = new Array<WindowCookie>(runs.length);
  for (let i = 0; i < runs.length; i++) {
    const run = runs[i] as Run; // below their number
    cookies[i] = new WindowCookie(i, addressOf(run, binding.copies), run.bytes);
  }
  binding.cookies = cookies;
  const { controller } = handle.dip;
  if (k.machine.tracer.enabled) traceWindow(k, binding, controller.name);
  k.dmaGuard?.take(binding, controller);
}

/** UMEM-07: pages are unlocked while they are bound, which stops nobody. */
export function unlockUnder(k: Solaris, binding: Binding, pages: readonly Page[]): void {
  for (const { pfn } of pages) {
    const bound = binding.windows.some(({ runs }) =>
      runs.some(({ phys, bytes }) => touches(phys, bytes, pfn)),
    );
    if (!bound) continue;
    binding.unlocked ??= new Set();
    binding.unlocked.add(pfn);
    k.dmaGuard?.unlocked(binding, pfn);
  }
}
