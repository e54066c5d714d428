// Whose memory it is while it is mapped (DMA-API.txt of 3.10, "Consistent memory" and "streaming"): the device's from the
// mapping to the unmapping, but for what was synced for the CPU meanwhile. Called by dma-debug.ts, only while the guard
// watches owners.

import { hex, nameOf } from '../guard/guard.ts';
import type { Mapping, Rule } from '../guard/index.ts';
import { PAGE_SIZE } from '../kernel/index.ts';
import { DMA_TO_DEVICE } from './device.ts';
import { ACCESS, type Entry, endOf } from './dma-entry.ts';
import type { LinuxCore } from './kernel.ts';

const TOLD_READ = 1;
const TOLD_WRITE = 2;
const TOLD_FREE = 4;

export class Owners {
  /** Mappings of all devices by the page that they touch: number of the page of their memory. */
  readonly pages: Map<number, Entry[]>;
  readonly #k: LinuxCore;
  readonly #mappingOf: (entry: Entry) => Mapping;
  /** The DMA layer itself is at work. */
  #held = false;

  constructor(k: LinuxCore, pages: Map<number, Entry[]>, mappingOf: (entry: Entry) => Mapping) {
    this.#k = k;
    this.pages = pages;
    this.#mappingOf = mappingOf;
    k.memory.watchTouches((address, bytes, write) => this.#touched(address, bytes, write));
    k.allocator.watch = {
      allocated: () => {},
      freed: (page, order) => this.freed(page.phys, PAGE_SIZE << order, 'memory is freed'),
    };
  }

  /** The device has it from now on. */
  take(entry: Entry): void {
    this.#k.memory.watchPages(entry.cpu, entry.size, 1);
  }

  /** It is nobody's but the CPU's again. */
  giveBack(entry: Entry): void {
    this.#k.memory.watchPages(entry.cpu, entry.size, -1);
  }

  /** What the DMA layer does is not the driver's doing. */
  hold(held: boolean): void {
    this.#held = held;
  }

  /** `bytes` bytes at the bus address `address` were synced. Stretches that touch become one. */
  synced(entry: Entry, address: number, bytes: number, forCpu: boolean): void {
    const from = entry.cpu + (address - entry.address);
    const to = Math.min(from + bytes, endOf(entry));
    if (forCpu) {
      const none = entry.cpuFrom === entry.cpuTo;
      entry.cpuFrom = none ? from : Math.min(entry.cpuFrom, from);
      entry.cpuTo = none ? to : Math.max(entry.cpuTo, to);
      entry.told = 0;
      return;
    }
    [entry.cpuFrom, entry.cpuTo] = without(entry.cpuFrom, entry.cpuTo, from, to);
    [entry.staleFrom, entry.staleTo] = without(entry.staleFrom, entry.staleTo, from, to);
    this.#tellModule(entry);
  }

  /** Memory is freed: it must not be mapped any more. */
  freed(address: number, bytes: number, what: string): void {
    this.#each(address, bytes, (entry, from, to) => {
      if ((entry.told & TOLD_FREE) !== 0) return;
      entry.told = TOLD_READ | TOLD_WRITE | TOLD_FREE;
      this.#report('free-mapped', entry, from, to, `${what} while it is mapped`);
    });
  }

  #touched(address: number, bytes: number, write: boolean): void {
    if (this.#held) return;
    this.#each(address, bytes, (entry, from, to) => {
      if (from >= entry.cpuFrom && to <= entry.cpuTo) {
        if (write) this.#wroteSynced(entry, from, to);
      } else if (write) this.#wrote(entry, from, to);
      else if (entry.dir !== DMA_TO_DEVICE) this.#read(entry, from, to); // what the device reads, both may read
    });
  }

  #wroteSynced(entry: Entry, from: number, to: number): void {
    const none = entry.staleFrom === entry.staleTo;
    const first = none ? from : Math.min(entry.staleFrom, from);
    const end = none ? to : Math.max(entry.staleTo, to);
    if (first === entry.staleFrom && end === entry.staleTo) return;
    entry.staleFrom = first;
    entry.staleTo = end;
    this.#tellModule(entry);
  }

  #tellModule(entry: Entry): void {
    const { cpu, staleFrom, staleTo, handle } = entry;
    const none = staleFrom === staleTo;
    this.#k.machine.guard.stale(handle, none ? 0 : staleFrom - cpu, none ? 0 : staleTo - cpu);
  }

  #wrote(entry: Entry, from: number, to: number): void {
    if ((entry.told & TOLD_WRITE) !== 0) return;
    entry.told |= TOLD_WRITE;
    this.#report('own-cpu', entry, from, to, 'the CPU wrote memory that the device owns');
  }

  #read(entry: Entry, from: number, to: number): void {
    if ((entry.told & TOLD_READ) !== 0) return;
    entry.told |= TOLD_READ;
    // Data that is there already wants a sync; data that is not is read too early.
    if (this.#k.machine.guard.hasWritten(entry.handle)) {
      this.#report(
        'sync-missing',
        entry,
        from,
        to,
        'the CPU read what the device wrote, without a sync for the CPU',
      );
    } else this.#report('own-cpu', entry, from, to, 'the CPU read memory that the device is to write');
  }

  #each(address: number, bytes: number, visit: (entry: Entry, from: number, to: number) => void): void {
    const last = Math.floor((address + bytes - 1) / PAGE_SIZE);
    for (let pfn = Math.floor(address / PAGE_SIZE); pfn <= last; pfn++) {
      const list = this.pages.get(pfn);
      if (list === undefined) continue;
      for (const entry of list) {
        const from = Math.max(address, entry.cpu);
        const to = Math.min(address + bytes, endOf(entry));
        if (from < to) visit(entry, from, to);
      }
    }
  }

  #report(rule: Rule, entry: Entry, from: number, to: number, what: string): void {
    const { guard } = this.#k.machine;
    const mapping = this.#mappingOf(entry);
    guard.report({
      rule,
      message: `${entry.device}: ${what} (${to - from} bytes at ${hex(from)}, ${nameOf(mapping)})`,
      device: entry.device,
      address: from,
      length: to - from,
      direction: ACCESS[entry.dir] ?? null,
      mapping,
    });
  }
}

/** The stretch without its part `from` to `to`; a hole in the middle is not made. */
function without(first: number, end: number, from: number, to: number): [number, number] {
  if (from <= first && to >= end) return [0, 0];
  if (from <= first && to > first) return [to, end];
  if (to >= end && from < end) return [first, from];
  return [first, end];
}
