// Bouncing (block/bounce.c of 4.8): pages that the device cannot reach are replaced by pages that it can, and bytes are
// copied between them. The page pools make sure that it always gets on.

import { KernelBug, PAGE_SIZE, type Page, type Sleeps } from '../kernel/index.ts';
import { bio_data_dir, bio_for_each_segment, bio_has_data } from './bio-iter.ts';
import { BIO_BOUNCED, BIO_SNAP_STABLE, type Bio, type BioVec, REQ_OP_READ, WRITE } from './bio-struct.ts';
import type { RequestQueue } from './blkdev.ts';
import { __GFP_DMA, __GFP_DMA32, GFP_NOIO } from './gfp.ts';
import type { Linux } from './kernel.ts';
import type { Mempool } from './mempool.ts';
import { panic } from './panic.ts';

/** Pages in the reserves of the two pools. */
export const POOL_SIZE = 64;
export const ISA_POOL_SIZE = 16;

export function createBounce(k: Linux) {
  /** Pages below 4 GiB. A 64-bit kernel has no high memory: only limits that are set by hand need it. */
  let pagePool: Mempool<Page> | null = null;
  /** Pages of the zone DMA, for every device that reaches less than 4 GiB. */
  let isaPool: Mempool<Page> | null = null;
  let bouncePages = 0;
  const lastPfn = Math.floor(
    k.memory.regions.reduce((top, { base, bytes }) => Math.max(top, base + bytes), 0) / PAGE_SIZE - 1,
  );

  function makePool(name: string, pages: number, zone: number): Mempool<Page> {
    const alloc = (gfp: number): Page | null => k.pageAlloc.alloc_pages_now(gfp | zone, 0, 'bounce');
    const about = { name, elementBytes: PAGE_SIZE };
    const pool = k.mempool.mempool_create(pages, alloc, (page) => k.pageAlloc.__free_page(page), about);
    return pool ?? panic('bounce');
  }

  function isIsa(q: RequestQueue): boolean {
    return (q.bounce_gfp & __GFP_DMA) !== 0;
  }

  function poolOf(q: RequestQueue): Mempool<Page> {
    if (!isIsa(q)) {
      pagePool ??= makePool('bounce pages', POOL_SIZE, __GFP_DMA32);
      return pagePool;
    }
    if (isaPool === null) throw new KernelBug('BNC-10', 'there is no ISA pool', `queue ${q.id}`);
    return isaPool;
  }

  /** 3.x, NEED_BOUNCE_POOL: a snapshot for a device that needs its pages stable is copied whole. */
  function needsAll(q: RequestQueue, bio: Bio): boolean {
    return (
      q.stable_pages_required && bio_data_dir(bio) === WRITE && (bio.bi_flags & (1 << BIO_SNAP_STABLE)) !== 0
    );
  }

  function isHigh(q: RequestQueue, vec: BioVec): boolean {
    const page = vec.bv_page;
    if (page === null) return false;
    return page.pfn + Math.floor((vec.bv_offset + vec.bv_len - 1) / PAGE_SIZE) > q.limits.bounce_pfn;
  }

  function needed(q: RequestQueue, bio: Bio): boolean {
    if (!bio_has_data(bio)) return false;
    const all = needsAll(q, bio);
    if (!all && !isIsa(q) && q.limits.bounce_pfn >= lastPfn) return false;
    if (all) return true;
    const { bi_iter: iter, bi_io_vec: vecs } = bio;
    let done = iter.bi_bvec_done;
    // By the bytes that are left: a clone that shares its vecs has a bi_vcnt of 0.
    for (let left = iter.bi_size, i = iter.bi_idx; left > 0; i++, done = 0) {
      const vec = vecs?.[i];
      if (vec === undefined) return false;
      if (isHigh(q, vec)) return true;
      left -= vec.bv_len - done;
    }
    return false;
  }

  function* bounce(q: RequestQueue, original: Bio): Sleeps<Bio> {
    const pool = poolOf(q);
    const all = needsAll(q, original);
    const clone = yield* k.bio.bio_clone_bioset(original, GFP_NOIO, k.bioSet.fs_bio_set);
    if (clone === null)
      throw new KernelBug('BNC-03', 'more than 256 vecs are to be bounced', `queue ${q.id}`);
    for (let i = 0; i < clone.bi_vcnt; i++) {
      const vec = clone.bi_io_vec?.[i];
      if (vec === undefined || !(all || isHigh(q, vec))) continue;
      const page = k.mempool.mempool_try_alloc(pool, q.bounce_gfp) ?? (yield* waitForPage(pool, q, vec));
      replace(vec, page, bio_data_dir(original) === WRITE);
    }
    if (k.trace.active) k.trace.block_bio_bounce(q, original);
    clone.bi_flags |= 1 << BIO_BOUNCED;
    clone.bi_private = original;
    clone.bi_end_io = isIsa(q) ? endIsa : endNormal;
    return clone;
  }

  function* waitForPage(pool: Mempool<Page>, q: RequestQueue, vec: BioVec): Sleeps<Page> {
    k.machine.guard.report({
      rule: 'pool-exhausted',
      message: `queue ${q.id}: ${bouncePages} bounce pages are in use and none is left: the bio waits`,
      address: vec.bv_page === null ? null : vec.bv_page.phys + vec.bv_offset,
      length: vec.bv_len,
    });
    return yield* k.mempool.mempool_wait(pool, q.bounce_gfp);
  }

  /** Puts a bounce page in the place of a vec's own, with the data if the device is to read it. */
  function replace(vec: BioVec, page: Page, fill: boolean): void {
    const from = vec.bv_page;
    if (from === null || vec.bv_offset + vec.bv_len > PAGE_SIZE) {
      throw new KernelBug('BNC-03', 'a vec of more than one page cannot be bounced', 'blk_queue_bounce');
    }
    bouncePages++;
    vec.bv_page = page;
    if (!fill) return;
    k.memory.copy(page.phys + vec.bv_offset, from.phys + vec.bv_offset, vec.bv_len);
    if (k.trace.active) k.trace.pages_copied('bounce', vec.bv_len);
  }

  function endIsa(clone: Bio): void {
    end(clone, isaPool ?? panic('bounce'));
  }

  function endNormal(clone: Bio): void {
    end(clone, pagePool ?? panic('bounce'));
  }

  /** Copies back what was read, gives the pages back, ends the original, lets the clone go: in this order. */
  function end(clone: Bio, pool: Mempool<Page>): void {
    const original = clone.bi_private as Bio; // blk_queue_bounce() put it there
    const copyBack = clone.bi_op === REQ_OP_READ && clone.bi_error === 0;
    let i = 0;
    // The original was never sent itself: its iterator is still where the clone began.
    bio_for_each_segment(original, (own) => {
      const vec = clone.bi_io_vec?.[i++];
      const page = vec?.bv_page;
      if (vec === undefined || page == null || page === own.bv_page || own.bv_page === null) return;
      if (copyBack) {
        k.memory.copy(own.bv_page.phys + own.bv_offset, page.phys + own.bv_offset, own.bv_len);
        if (k.trace.active) k.trace.pages_copied('bounce', own.bv_len);
      }
      bouncePages--;
      k.mempool.mempool_free(page, pool);
    });
    original.bi_error = clone.bi_error;
    k.bio.bio_endio(original);
    k.bio.bio_put(clone);
  }

  return {
    /** Makes the pool of pages that ISA devices reach, once. blk_queue_bounce_limit() does it. May sleep. */
    init_emergency_isa_pool(): number {
      isaPool ??= makePool('bounce pages for ISA', ISA_POOL_SIZE, __GFP_DMA);
      return 0;
    },

    /** Whether blk_queue_bounce() would replace a page of the bio. Any context. */
    bounce_needed(q: RequestQueue, bio: Bio): boolean {
      return needed(q, bio);
    },

    /** Whether blk_queue_bounce() would replace the page of one vec of the bio. Any context. */
    bounce_vec(q: RequestQueue, bio: Bio, vec: BioVec): boolean {
      return isHigh(q, vec) || needsAll(q, bio);
    },

    /**
     * What to submit instead of `bio` (C: through a bio **): the bio itself if the device reaches all of it, else a
     * clone with bounce pages whose end ends the bio. Waits for pages and never fails.
     * @throws KernelBug `BNC-10` for an ISA queue without a pool, `BNC-03` for a bio of more than 256 vecs
     */
    *blk_queue_bounce(q: RequestQueue, bio: Bio): Sleeps<Bio> {
      return needed(q, bio) ? yield* bounce(q, bio) : bio;
    },

    /** NR_BOUNCE: bounce pages in use. */
    nr_bounce(): number {
      return bouncePages;
    },
  };
}
