// vmalloc (include/linux/vmalloc.h, highmem.h): memory of the kernel that is contiguous in its addresses and scattered in
// RAM. Such an address is no physical one: devices cannot use it, and the CPU reaches the bytes through vread() and
// vwrite(), where C would dereference a pointer.

import {
  KERNEL_MAP_END,
  KERNEL_MAP_START,
  KernelBug,
  KernelMap,
  PAGE_SIZE,
  type Page,
  type Sleeps,
} from '../kernel/index.ts';
import { mustCount } from './argument.ts';
import { __GFP_HIGHMEM, __GFP_ZERO, GFP_KERNEL } from './gfp.ts';
import type { Linux } from './kernel.ts';

/** Where these addresses lie. */
export const VMALLOC_START = KERNEL_MAP_START;
export const VMALLOC_END = KERNEL_MAP_END;

const SIZE = 'the size';

export function createVmalloc(k: Linux) {
  const { allocator } = k;
  const map = new KernelMap(k.memory);

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
    return map.map(pages);
  }

  function mustCover(addr: number, size: number, where: string): void {
    mustCount(size, SIZE, where);
    map.mustCover('vmalloc', addr, size, where);
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
      const pages = map.unmap(addr);
      if (pages === null)
        throw new KernelBug('vmalloc', `0x${addr.toString(16)} is not the address of an area`, 'vfree');
      for (const page of pages) allocator.put(page);
    },

    /** The page behind an address of an area; null outside of all areas. */
    vmalloc_to_page(addr: number): Page | null {
      return map.pageAt(addr);
    },

    /** Whether an address could be one of vmalloc(): no device can use it. */
    is_vmalloc_addr(addr: number): boolean {
      return addr >= VMALLOC_START && addr < VMALLOC_END;
    },

    /** Reads as the CPU does, from `addr` on; returns the bytes that were there, the others stay. */
    vread(buf: Uint8Array, addr: number, count: number): number {
      mustCount(count, SIZE, 'vread');
      return map.read(addr, buf, count);
    },

    /** Writes as the CPU does; returns the bytes that there was room for. */
    vwrite(buf: Uint8Array, addr: number, count: number): number {
      mustCount(count, SIZE, 'vwrite');
      return map.write(addr, buf, count);
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
