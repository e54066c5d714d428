// vmalloc (include/linux/vmalloc.h, highmem.h): memory of the kernel that is contiguous in its addresses and scattered in
// RAM. Such an address is no physical one: devices cannot use it, and the CPU reaches the bytes through vread() and
// vwrite(), where C would dereference a pointer.

import { KernelBug, PAGE_SIZE, type Page, type Sleeps } from '../kernel/index.ts';
import { mustCount } from './argument.ts';
import { __GFP_HIGHMEM, __GFP_ZERO, GFP_KERNEL } from './gfp.ts';
import type { Linux } from './kernel.ts';

/** Where these addresses begin: above every physical address, and exact as numbers. */
export const VMALLOC_START = 2 ** 52;
export const VMALLOC_END = 2 ** 53;

const SIZE = 'the size';

/** One area (struct vm_struct). */
interface VmArea {
  readonly addr: number;
  readonly pages: Page[];
}

export function createVmalloc(k: Linux) {
  const { allocator, memory } = k;
  /** By address, ascending: an address is never given out twice, so that a stale one is noticed. */
  const areas: VmArea[] = [];
  let next = VMALLOC_START;

  function indexOf(addr: number): number {
    let low = 0;
    let high = areas.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((areas[middle] as VmArea).addr <= addr) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  function pageAt(addr: number): Page | null {
    const area = areas[indexOf(addr)];
    return area?.pages[Math.floor((addr - area.addr) / PAGE_SIZE)] ?? null;
  }

  function* alloc(size: number, gfp: number): Sleeps<number | null> {
    k.mightSleep('vmalloc');
    mustCount(size, SIZE, 'vmalloc');
    if (!(size > 0)) return null;
    const count = Math.ceil(size / PAGE_SIZE);
    if (count > k.frames.pages.length) return null;
    const pages: Page[] = [];
    while (pages.length < count) {
      const page = yield* k.pageAlloc.alloc_page(gfp | __GFP_HIGHMEM, 'vmalloc');
      if (page === null) {
        for (const got of pages) allocator.put(got);
        return null;
      }
      pages.push(page);
    }
    const addr = next;
    next += (count + 1) * PAGE_SIZE; // a page that is not there stands behind every area
    areas.push({ addr, pages });
    return addr;
  }

  /** Calls `each` for the pieces of a range, page by page; the number of bytes that are there. */
  function walk(
    addr: number,
    bytes: number,
    each: (phys: number, done: number, bytes: number) => void,
  ): number {
    let done = 0;
    while (done < bytes) {
      const page = pageAt(addr + done);
      if (page === null) break;
      const offset = (addr + done) % PAGE_SIZE;
      const piece = Math.min(PAGE_SIZE - offset, bytes - done);
      each(page.phys + offset, done, piece);
      done += piece;
    }
    return done;
  }

  function mustCover(addr: number, size: number, where: string): void {
    mustCount(size, SIZE, where);
    if (walk(addr, size, () => undefined) === size) return;
    throw new KernelBug('vmalloc', `no area has ${size} bytes at 0x${addr.toString(16)}`, where);
  }

  return {
    /** Address of `size` bytes, at the beginning of a page; null when there are not so many. */
    *vmalloc(size: number): Sleeps<number | null> {
      return yield* alloc(size, GFP_KERNEL);
    },

    /** vmalloc() of zeros. */
    *vzalloc(size: number): Sleeps<number | null> {
      return yield* alloc(size, GFP_KERNEL | __GFP_ZERO);
    },

    /** Gives an area back; null is nothing. @throws KernelBug `vmalloc` for any other address */
    vfree(addr: number | null): void {
      if (addr === null) return;
      const i = indexOf(addr);
      const area = areas[i];
      if (area === undefined || area.addr !== addr)
        throw new KernelBug('vmalloc', `0x${addr.toString(16)} is not the address of an area`, 'vfree');
      areas.splice(i, 1);
      for (const page of area.pages) allocator.put(page);
    },

    /** The page behind an address of an area; null outside of all areas. */
    vmalloc_to_page(addr: number): Page | null {
      return pageAt(addr);
    },

    /** Whether an address could be one of vmalloc(): no device can use it. */
    is_vmalloc_addr(addr: number): boolean {
      return addr >= VMALLOC_START && addr < VMALLOC_END;
    },

    /** Reads as the CPU does, from `addr` on; returns the bytes that were there, the others stay. */
    vread(buf: Uint8Array, addr: number, count: number): number {
      mustCount(count, SIZE, 'vread');
      return walk(addr, Math.min(count, buf.length), (phys, done, bytes) =>
        memory.readInto(phys, buf, done, bytes),
      );
    },

    /** Writes as the CPU does; returns the bytes that there was room for. */
    vwrite(buf: Uint8Array, addr: number, count: number): number {
      mustCount(count, SIZE, 'vwrite');
      return walk(addr, Math.min(count, buf.length), (phys, done, bytes) =>
        memory.writeBytes(phys, buf, done, bytes),
      );
    },

    /**
     * Before a device reads pages of an area: what the CPU wrote through the area goes to them. Caches do not alias
     * here, so that only the trace point `vmap_flush` sees it. @throws KernelBug `vmalloc` outside of an area
     */
    flush_kernel_vmap_range(addr: number, size: number): void {
      mustCover(addr, size, 'flush_kernel_vmap_range');
      k.trace.vmap_flush(addr, size);
    },

    /** After a device wrote to pages of an area: what the CPU knows of them through the area is old. Any context. */
    invalidate_kernel_vmap_range(addr: number, size: number): void {
      mustCover(addr, size, 'invalidate_kernel_vmap_range');
      k.trace.vmap_invalidate(addr, size);
    },
  };
}
