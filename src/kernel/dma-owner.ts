// Whose memory it is while it is mapped: the device's from the mapping to the unmapping, but for what was synced for the
// CPU meanwhile. Both kernels tell it of their mappings, only while the guard watches owners.

import { hex, nameOf } from '../guard/guard.ts';
import type { Access, Guard, Mapping, Rule } from '../guard/index.ts';
import type { Machine } from '../machine/index.ts';
import { PAGE_SIZE } from './page.ts';
import type { PageAllocator } from './zones.ts';

const TOLD_READ = 1;
const TOLD_WRITE = 2;
const TOLD_FREE = 4;

/** Memory that a device has. */
export interface Owned {
  /** The guard's mapping. */
  readonly handle: number;
  /** Name of the device. */
  readonly device: string;
  /** Bus address. */
  readonly address: number;
  /** Physical address of the memory, as the CPU knows it; and bytes. */
  readonly cpu: number;
  readonly size: number;
  /** What the device may do. */
  readonly access: Access;
  /** The CPU may write first and sync for the device then; without, it has to sync for itself before it writes. */
  readonly writeFirst: boolean;
  /** Physical addresses of what was synced for the CPU, first byte and the one behind the last; none: equal. */
  cpuFrom: number;
  cpuTo: number;
  /** What the CPU has written and not synced for the device: one stretch, the youngest. */
  staleFrom: number;
  staleTo: number;
  /** The CPU wrote first: some of what it reads may be its own. */
  wrote: boolean;
  /** Mistakes of the CPU that were told already: bits of what it did. */
  told: number;
}

/** Where the owners are told what the CPU does, and tell what is wrong. */
export interface OwnersOptions<E extends Owned> {
  readonly machine: Machine;
  readonly allocator: PageAllocator;
  /** What findings say about the mapping. */
  readonly mappingOf: (entry: E) => Mapping;
}

/** Bytes behind the last one of the memory. */
export function endOf(entry: Owned): number {
  return entry.cpu + entry.size;
}

export class Owners<E extends Owned> {
  /** Mappings of all devices by the page that they touch: number of the page of their memory. */
  readonly pages: Map<number, E[]>;
  readonly #memory: Machine['memory'];
  readonly #guard: Guard;
  readonly #mappingOf: (entry: E) => Mapping;
  /** The DMA layer itself is at work. */
  #held = false;

  constructor({ machine, allocator, mappingOf }: OwnersOptions<E>, pages: Map<number, E[]>) {
    this.#memory = machine.memory;
    this.#guard = machine.guard;
    this.pages = pages;
    this.#mappingOf = mappingOf;
    machine.memory.watchTouches((address, bytes, write) => this.#touched(address, bytes, write));
    allocator.watch = {
      allocated: () => {},
      freed: (page, order) => this.freed(page.phys, PAGE_SIZE << order, 'memory is freed'),
    };
  }

  /** The device has it from now on. */
  take(entry: E): void {
    this.#memory.watchPages(entry.cpu, entry.size, 1);
  }

  /** It is nobody's but the CPU's again. */
  giveBack(entry: E): void {
    this.#memory.watchPages(entry.cpu, entry.size, -1);
  }

  /** What the DMA layer does is not the driver's doing. */
  hold(held: boolean): void {
    this.#held = held;
  }

  /** `bytes` bytes at the bus address `address` were synced. Stretches that touch become one. */
  synced(entry: E, address: number, bytes: number, forCpu: boolean): void {
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
    this.#told(entry, from, to);
  }

  /** What the device knows of memory is news to no mapping that leads it to the same bytes, without a copy. */
  toldBy(entry: E, from: number, to: number): void {
    if (entry.cpu !== entry.address) return;
    this.#each(from, to - from, (other) => {
      if (other.device === entry.device && other.cpu === other.address) this.#told(other, from, to);
    });
  }

  #told(entry: E, from: number, to: number): void {
    const { staleFrom, staleTo } = entry;
    if (staleFrom >= to || staleTo <= from) return;
    const inside = from > staleFrom && to < staleTo;
    [entry.staleFrom, entry.staleTo] = inside ? [to, staleTo] : without(staleFrom, staleTo, from, to);
    this.#tellModule(entry);
  }

  /** Its memory was given up under it, which was told: what the CPU does there is others' business. */
  lost(entry: E): void {
    entry.told = TOLD_READ | TOLD_WRITE | TOLD_FREE;
  }

  /** The kernel reads the memory for others, which was told. */
  excuse(entry: E): void {
    entry.told |= TOLD_READ;
  }

  /** Memory is freed: it must not be mapped any more. */
  freed(address: number, bytes: number, what: string): void {
    this.#each(address, bytes, (entry, from, to) => {
      if ((entry.told & TOLD_FREE) !== 0) return;
      this.lost(entry);
      this.#report('free-mapped', entry, from, to, `${what} while it is mapped`);
    });
  }

  #touched(address: number, bytes: number, write: boolean): void {
    if (this.#held) return;
    this.#each(address, bytes, (entry, from, to) => {
      if (from >= entry.cpuFrom && to <= entry.cpuTo) {
        if (write) this.#wroteSynced(entry, from, to);
      } else if (write && entry.writeFirst) {
        entry.wrote = true;
        this.#wroteSynced(entry, from, to);
      } else if (write) this.#wrote(entry, from, to);
      else if (entry.access !== 'read') this.#read(entry, from, to); // what the device reads, both may read
    });
  }

  #wroteSynced(entry: E, from: number, to: number): void {
    const apart = from > entry.staleTo || to < entry.staleFrom;
    const first = apart ? from : Math.min(entry.staleFrom, from);
    const end = apart ? to : Math.max(entry.staleTo, to);
    if (first === entry.staleFrom && end === entry.staleTo) return;
    entry.staleFrom = first;
    entry.staleTo = end;
    this.#tellModule(entry);
  }

  #tellModule(entry: E): void {
    const { cpu, staleFrom, staleTo, handle } = entry;
    const none = staleFrom === staleTo;
    this.#guard.stale(handle, none ? 0 : staleFrom - cpu, none ? 0 : staleTo - cpu);
  }

  #wrote(entry: E, from: number, to: number): void {
    if ((entry.told & TOLD_WRITE) !== 0) return;
    entry.told |= TOLD_WRITE;
    this.#report('own-cpu', entry, from, to, 'the CPU wrote memory that the device owns');
  }

  #read(entry: E, from: number, to: number): void {
    if ((entry.told & TOLD_READ) !== 0 || entry.wrote) return;
    if (entry.writeFirst && !this.#guard.hasWritten(entry.handle)) return;
    entry.told |= TOLD_READ;
    // Data that is there already wants a sync; data that is not is read too early.
    if (this.#guard.hasWritten(entry.handle)) {
      this.#report(
        'sync-missing',
        entry,
        from,
        to,
        'the CPU read what the device wrote, without a sync for the CPU',
      );
    } else this.#report('own-cpu', entry, from, to, 'the CPU read memory that the device is to write');
  }

  #each(address: number, bytes: number, visit: (entry: E, from: number, to: number) => void): void {
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

  #report(rule: Rule, entry: E, from: number, to: number, what: string): void {
    const mapping = this.#mappingOf(entry);
    this.#guard.report({
      rule,
      message: `${entry.device}: ${what} (${to - from} bytes at ${hex(from)}, ${nameOf(mapping)})`,
      device: entry.device,
      address: from,
      length: to - from,
      direction: entry.access,
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
