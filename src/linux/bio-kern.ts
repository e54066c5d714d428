// Bios over memory of the kernel (block/bio.c of 4.8). Kernel addresses are physical addresses. Stacks of the kernel are
// pages with the tag 'stack': no device may touch them.

import { KernelBug, PAGE_SIZE, type Page, type Sleeps } from '../kernel/index.ts';
import { mustCount, UINT_MAX } from './argument.ts';
import { type Bio, REQ_OP_READ, REQ_OP_WRITE } from './bio-struct.ts';
import type { RequestQueue } from './blkdev.ts';
import { EINVAL, ENOMEM, type ErrPtr } from './errno.ts';
import { __GFP_ZERO } from './gfp.ts';
import type { Linux } from './kernel.ts';

/** What pages of kernel stacks are allocated for. */
export const STACK_TAG = 'stack';

export function createBioKern(k: Linux) {
  const { bio_put } = k.bio;
  const { bio_add_pc_page } = k.bioData;
  const { allocator, frames, memory } = k;

  function pageAt(addr: number): Page {
    const page = frames.physToPage(addr);
    if (page === null)
      throw new KernelBug('map-memory', `no memory at 0x${addr.toString(16)}`, 'bio_map_kern');
    return page;
  }

  function freePages(bio: Bio): void {
    for (let i = 0; i < bio.bi_vcnt; i++) {
      const page = bio.bi_io_vec?.[i]?.bv_page ?? null;
      if (page !== null) allocator.put(page);
    }
  }

  /** End of a copied bio: a read arrives in the buffer now, not when somebody unmaps. Any context. */
  function endCopied(bio: Bio): void {
    const buffer = bio.bi_private as number | null; // null: given up, or a write
    let done = 0;
    for (let i = 0; i < bio.bi_vcnt && buffer !== null; i++) {
      const vec = bio.bi_io_vec?.[i];
      if (vec?.bv_page == null) continue;
      memory.copy(buffer + done, vec.bv_page.phys, vec.bv_len);
      done += vec.bv_len;
    }
    if (done > 0 && k.trace.active) k.trace.pages_copied('map-kern', done);
    freePages(bio);
    bio_put(bio);
  }

  function spans(addr: number, len: number): number {
    return Math.ceil((addr + len) / PAGE_SIZE) - Math.floor(addr / PAGE_SIZE);
  }

  return {
    /** True for an address on a stack of the kernel. */
    object_is_on_stack(addr: number): boolean {
      return frames.physToPage(addr)?.compoundHead.tag === STACK_TAG;
    },

    /** Makes a bio of a buffer of the kernel itself; it is put when it ends. An err-ptr: -ENOMEM, -EINVAL. */
    bio_map_kern(q: RequestQueue, addr: number, len: number, gfp: number): ErrPtr<Bio> {
      mustCount(len, 'the length', 'bio_map_kern', UINT_MAX);
      const bio = k.bioSet.bio_kmalloc(gfp, spans(addr, len));
      if (bio === null) return -ENOMEM;
      for (let done = 0; done < len; ) {
        const offset = (addr + done) % PAGE_SIZE;
        const bytes = Math.min(PAGE_SIZE - offset, len - done);
        if (bio_add_pc_page(q, bio, pageAt(addr + done), bytes, offset) < bytes) {
          bio_put(bio);
          return -EINVAL;
        }
        done += bytes;
      }
      bio.bi_end_io = bio_put;
      return bio;
    },

    /**
     * Makes a bio of a copy of a buffer of the kernel; when it ends a read is copied back, and it is put. An err-ptr:
     * -ENOMEM, -EINVAL.
     */
    *bio_copy_kern(
      q: RequestQueue,
      addr: number,
      len: number,
      gfp: number,
      reading: boolean,
    ): Sleeps<ErrPtr<Bio>> {
      mustCount(len, 'the length', 'bio_copy_kern', UINT_MAX);
      const bio = k.bioSet.bio_kmalloc(gfp, spans(addr, len));
      if (bio === null) return -ENOMEM;
      let error = 0;
      for (let done = 0; done < len && error === 0; ) {
        const bytes = Math.min(PAGE_SIZE, len - done);
        const page = yield* k.pageAlloc.alloc_page(q.bounce_gfp | gfp | __GFP_ZERO, 'copy');
        if (page === null) {
          error = -ENOMEM;
          break;
        }
        if (!reading) memory.copy(page.phys, addr + done, bytes);
        if (bio_add_pc_page(q, bio, page, bytes, 0) < bytes) {
          allocator.put(page);
          error = -EINVAL;
        }
        done += bytes;
      }
      if (error !== 0) {
        freePages(bio);
        bio_put(bio);
        return error;
      }
      if (!reading && k.trace.active) k.trace.pages_copied('map-kern', len);
      bio.bi_op = reading ? REQ_OP_READ : REQ_OP_WRITE;
      bio.bi_end_io = endCopied;
      bio.bi_private = reading ? addr : null;
      return bio;
    },
  };
}
