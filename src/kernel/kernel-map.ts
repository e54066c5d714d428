// Addresses of the kernel for pages that are scattered in RAM (Linux: vmalloc; Solaris: the kernel's own address space).
// Such an address is no physical one: the CPU reaches the bytes through `read` and `write`, where C would dereference a
// pointer. Addresses are numbers above every physical one, and exact.

import { KernelBug } from './errors.ts';
import { PAGE_SIZE, type Page } from './page.ts';
import type { PhysMemory } from './platform.ts';

export const KERNEL_MAP_START = 2 ** 52;
export const KERNEL_MAP_END = 2 ** 53;

interface Area {
  readonly start: number;
  readonly pages: readonly Page[];
}

export class KernelMap {
  private readonly memory: PhysMemory;
  /** By address, ascending: an address is never given out twice, so that a stale one is noticed. */
  private readonly areas: Area[] = [];
  private next = KERNEL_MAP_START;

  constructor(memory: PhysMemory) {
    this.memory = memory;
  }

  /** Gives pages an address, page after page; whose they are does not change. */
  map(pages: readonly Page[]): number {
    const start = this.next;
    this.next += (pages.length + 1) * PAGE_SIZE; // a page that is not there stands behind every area
    this.areas.push({ start, pages });
    return start;
  }

  /** Takes the area away that begins at an address and returns its pages; null when there is none. */
  unmap(start: number): readonly Page[] | null {
    const i = this.indexOf(start);
    const area = this.areas[i];
    if (area === undefined || area.start !== start) return null;
    this.areas.splice(i, 1);
    return area.pages;
  }

  /** The page that holds an address; null outside of all areas. */
  pageAt(address: number): Page | null {
    const area = this.areas[this.indexOf(address)];
    return area?.pages[Math.floor((address - area.start) / PAGE_SIZE)] ?? null;
  }

  /** Reads as the CPU does; returns the bytes that were there, the others stay. */
  read(address: number, into: Uint8Array, bytes = into.length): number {
    return this.walk(address, Math.min(bytes, into.length), (phys, done, piece) =>
      this.memory.readInto(phys, into, done, piece),
    );
  }

  /** Writes as the CPU does; returns the bytes that there was room for. */
  write(address: number, from: Uint8Array, bytes = from.length): number {
    return this.walk(address, Math.min(bytes, from.length), (phys, done, piece) =>
      this.memory.writeBytes(phys, from, done, piece),
    );
  }

  /** @throws KernelBug `rule` when not all of the range is there */
  mustCover(rule: string, address: number, bytes: number, where: string): void {
    if (this.walk(address, bytes, () => undefined) === bytes) return;
    throw new KernelBug(rule, `no area has ${bytes} bytes at 0x${address.toString(16)}`, where);
  }

  /** Calls `each` for the pieces of a range, page by page; the number of bytes that are there. */
  private walk(
    address: number,
    bytes: number,
    each: (phys: number, done: number, bytes: number) => void,
  ): number {
    let done = 0;
    while (done < bytes) {
      const page = this.pageAt(address + done);
      if (page === null) break;
      const offset = (address + done) % PAGE_SIZE;
      const piece = Math.min(PAGE_SIZE - offset, bytes - done);
      each(page.phys + offset, done, piece);
      done += piece;
    }
    return done;
  }

  /** Index of the last area that begins at or below the address. */
  private indexOf(address: number): number {
    let low = 0;
    let high = this.areas.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.areas[middle] as Area).start <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
