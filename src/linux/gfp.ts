// Allocation flags, in the model of Linux 4.8 (include/linux/gfp.h). The names of 3.x stand at the end; they mean the
// same allocations, but not every bit can be told apart: 3.x had one bit __GFP_WAIT where 4.8 has two.

/** Zone modifiers: where the memory must lie. None of them: anywhere in NORMAL or below. */
export const __GFP_DMA = 0x01;
/** 64-bit machines have no high memory: NORMAL goes all the way up, and the flag allows nothing more. */
export const __GFP_HIGHMEM = 0x02;
export const __GFP_DMA32 = 0x04;
export const __GFP_ZONEMASK = 0x07;
export const __GFP_MOVABLE = 0x08;
/** May use a part of the emergency reserve. */
export const __GFP_HIGH = 0x20;
/** May start I/O to free memory. */
export const __GFP_IO = 0x40;
/** May call into file systems to free memory. */
export const __GFP_FS = 0x80;
export const __GFP_NOWARN = 0x200;
/** Asks for an allocation that never fails. */
export const __GFP_NOFAIL = 0x800;
/** One round of reclaim, no more. */
export const __GFP_NORETRY = 0x1000;
/** Compound page: put_page() of any part of it frees the whole. */
export const __GFP_COMP = 0x4000;
export const __GFP_ZERO = 0x8000;
/** Stay away from the emergency reserve whatever the task. */
export const __GFP_NOMEMALLOC = 0x10000;
export const __GFP_HARDWALL = 0x20000;
/** Cannot sleep and cannot do without. */
export const __GFP_ATOMIC = 0x80000;
/** The caller may sleep until memory is reclaimed: the bit that decides whether an allocation can wait. */
export const __GFP_DIRECT_RECLAIM = 0x400000;
/** Reclaim in the background may be started. */
export const __GFP_KSWAPD_RECLAIM = 0x2000000;
export const __GFP_RECLAIM = __GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM;

export const GFP_ATOMIC = __GFP_HIGH | __GFP_ATOMIC | __GFP_KSWAPD_RECLAIM;
export const GFP_NOWAIT = __GFP_KSWAPD_RECLAIM;
export const GFP_NOIO = __GFP_RECLAIM;
export const GFP_NOFS = __GFP_RECLAIM | __GFP_IO;
export const GFP_KERNEL = __GFP_RECLAIM | __GFP_IO | __GFP_FS;
export const GFP_USER = GFP_KERNEL | __GFP_HARDWALL;
export const GFP_DMA = __GFP_DMA;
export const GFP_DMA32 = __GFP_DMA32;
export const GFP_HIGHUSER = GFP_USER | __GFP_HIGHMEM;

/** 3.x: may wait. */
export const __GFP_WAIT = __GFP_DIRECT_RECLAIM;

/** True when an allocation with these flags may sleep. */
export function gfpflags_allow_blocking(gfp: number): boolean {
  return (gfp & __GFP_DIRECT_RECLAIM) !== 0;
}
