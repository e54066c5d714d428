// The memory of a bio: adding pages, copying, filling, dirtying (block/bio.c of 4.8).

import { PAGE_SIZE, type Page, type Sleeps, Work } from '../kernel/index.ts';
import { mustBio, mustCount, mustPage, UINT_MAX } from './argument.ts';
import { bio_advance_iter, bio_flagged, bvec_iter_len, bvec_iter_phys } from './bio-iter.ts';
import { BIO_CLONED, BIO_SEG_VALID, type Bio, type BioQueue, type BioVec, BvecIter } from './bio-struct.ts';
import { ENOMEM } from './errno.ts';
import type { Linux } from './kernel.ts';

export function createBioData(k: Linux) {
  /** Bios whose pages became clean before the end of a read: a thread dirties them again. */
  const dirtyList: Bio[] = [];
  const dirtyWork = new Work('bio_dirty_work', dirtyAgain);

  function* dirtyAgain(): Sleeps<void> {
    for (const bio of dirtyList.splice(0)) {
      yield* setPagesDirty(bio);
      for (let i = 0; i < bio.bi_vcnt; i++) {
        const page = bio.bi_io_vec?.[i]?.bv_page ?? null;
        if (page !== null) k.pageAlloc.put_page(page);
      }
      k.bio.bio_put(bio);
    }
  }

  function* setPagesDirty(bio: Bio): Sleeps<void> {
    for (let i = 0; i < bio.bi_vcnt; i++) {
      const page = bio.bi_io_vec?.[i]?.bv_page ?? null;
      if (page !== null && !page.compound) yield* k.pageAlloc.set_page_dirty_lock(page);
    }
  }

  /** Bytes of the piece under both iterators, cut where either one's vec ends. */
  function common(dst: Bio, to: BvecIter, src: Bio, from: BvecIter): number {
    return Math.min(bvec_iter_len(vecsOf(dst), to), bvec_iter_len(vecsOf(src), from));
  }

  return {
    /**
     * Appends `len` bytes at `off` of a page: `len`, or 0 if there is no room. It does not look at the limits of any
     * queue: the bio is split when it is submitted.
     */
    bio_add_page(bio: Bio, page: Page, len: number, off: number): number {
      mustBio(bio, 'bio_add_page');
      mustPage(page, 'bio_add_page');
      mustCount(len, 'the length', 'bio_add_page', UINT_MAX);
      mustCount(off, 'the offset', 'bio_add_page', UINT_MAX);
      if (bio_flagged(bio, BIO_CLONED)) {
        k.warnings.warn('LIFE-13', 'pages cannot be added to a clone', 'bio_add_page');
        return 0;
      }
      const prev = lastVec(bio);
      const grown = prev !== undefined && grow(prev, page, len, off);
      if (!grown && appendPage(bio, page, len, off) === null) return 0;
      bio.bi_iter.bi_size += len;
      return len;
    },

    /**
     * bio_add_page() for a passthrough request, which is never split: 0 also if the bio would be more than the queue
     * takes in one request. A refusal changes nothing.
     */
    bio_add_pc_page(q: BioQueue, bio: Bio, page: Page, len: number, off: number): number {
      mustBio(bio, 'bio_add_pc_page');
      mustPage(page, 'bio_add_pc_page');
      mustCount(len, 'the length', 'bio_add_pc_page', UINT_MAX);
      mustCount(off, 'the offset', 'bio_add_pc_page', UINT_MAX);
      if (bio_flagged(bio, BIO_CLONED)) return 0;
      if ((bio.bi_iter.bi_size + len) >>> 9 > q.limits.max_hw_sectors) return 0;
      const prev = lastVec(bio);
      if (prev !== undefined && grow(prev, page, len, off)) {
        bio.bi_iter.bi_size += len;
        return len;
      }
      if (prev !== undefined && k.merge.bvec_gap_to_prev(q, prev, off)) return 0;
      const { bi_flags, bi_phys_segments, bi_seg_front_size, bi_seg_back_size } = bio;
      const vec = appendPage(bio, page, len, off);
      if (vec === null) return 0;
      bio.bi_iter.bi_size += len;
      bio.bi_phys_segments++;
      if (bio.bi_phys_segments > q.limits.max_segments) k.merge.blk_recount_segments(q, bio);
      if (bio.bi_phys_segments > q.limits.max_segments) {
        vec.bv_page = null;
        vec.bv_len = 0;
        vec.bv_offset = 0;
        bio.bi_vcnt--;
        bio.bi_iter.bi_size -= len;
        Object.assign(bio, { bi_flags, bi_phys_segments, bi_seg_front_size, bi_seg_back_size });
        return 0;
      }
      if (prev !== undefined && touches(prev, page, off)) bio.bi_flags &= ~(1 << BIO_SEG_VALID);
      return len;
    },

    /** Copies what is left of `src`, and the bios behind it, to `dst` and those behind it, until either ends. */
    bio_copy_data(dst: Bio, src: Bio): void {
      mustBio(dst, 'bio_copy_data');
      mustBio(src, 'bio_copy_data');
      let to: Bio | null = dst;
      let from: Bio | null = src;
      const toIter = new BvecIter().assign(dst.bi_iter);
      const fromIter = new BvecIter().assign(src.bi_iter);
      for (;;) {
        while (toIter.bi_size === 0) {
          to = to.bi_next;
          if (to === null) return;
          toIter.assign(to.bi_iter);
        }
        while (fromIter.bi_size === 0) {
          from = from.bi_next;
          if (from === null) return;
          fromIter.assign(from.bi_iter);
        }
        const bytes = common(to, toIter, from, fromIter);
        k.memory.copy(bvec_iter_phys(vecsOf(to), toIter), bvec_iter_phys(vecsOf(from), fromIter), bytes);
        bio_advance_iter(to, toIter, bytes);
        bio_advance_iter(from, fromIter, bytes);
      }
    },

    /** Gives each vec in use a page: 0, or -ENOMEM with none. */
    *bio_alloc_pages(bio: Bio, gfp: number): Sleeps<number> {
      mustBio(bio, 'bio_alloc_pages');
      for (let i = 0; i < bio.bi_vcnt; i++) {
        const vec = vecsOf(bio)[i] as BioVec; // bi_vcnt of them are there
        vec.bv_page = yield* k.pageAlloc.alloc_page(gfp, 'bio');
        if (vec.bv_page !== null) continue;
        while (--i >= 0) {
          const got = vecsOf(bio)[i] as BioVec;
          if (got.bv_page !== null) k.pageAlloc.__free_page(got.bv_page);
          got.bv_page = null;
        }
        return -ENOMEM;
      }
      return 0;
    },

    /** Fills what is left of a bio with zeros: nothing, once it has been advanced to its end. */
    zero_fill_bio(bio: Bio): void {
      mustBio(bio, 'zero_fill_bio');
      const { bi_io_vec } = bio;
      if (bi_io_vec === null) return;
      const iter = new BvecIter().assign(bio.bi_iter);
      while (iter.bi_size > 0) {
        const bytes = bvec_iter_len(bi_io_vec, iter);
        k.memory.fill(bvec_iter_phys(bi_io_vec, iter), 0, bytes);
        bio_advance_iter(bio, iter, bytes);
      }
    },

    /** Marks all its single pages as changed, before a read into them; may sleep. */
    *bio_set_pages_dirty(bio: Bio): Sleeps<void> {
      mustBio(bio, 'bio_set_pages_dirty');
      yield* setPagesDirty(bio);
    },

    /**
     * Takes over a bio whose read into dirtied pages has ended: puts its pages and the bio, in any context. If a page was
     * written back meanwhile a thread dirties it again first.
     */
    bio_check_pages_dirty(bio: Bio): void {
      mustBio(bio, 'bio_check_pages_dirty');
      let clean = 0;
      for (let i = 0; i < bio.bi_vcnt; i++) {
        const vec = vecsOf(bio)[i] as BioVec;
        const page = vec.bv_page;
        if (page === null) continue;
        if (k.pageAlloc.PageDirty(page) || page.compound) {
          vec.bv_page = null;
          k.pageAlloc.put_page(page);
        } else {
          clean++;
        }
      }
      if (clean === 0) {
        k.bio.bio_put(bio);
        return;
      }
      dirtyList.push(bio);
      k.system_wq.queue(dirtyWork);
    },
  };
}

/** The vecs of a bio that has data. */
function vecsOf(bio: Bio): BioVec[] {
  return bio.bi_io_vec as BioVec[];
}

/** The last vec in use. (An index of −1 would be looked up by name.) */
function lastVec(bio: Bio): BioVec | undefined {
  return bio.bi_vcnt > 0 ? bio.bi_io_vec?.[bio.bi_vcnt - 1] : undefined;
}

/** Lets a vec grow if the bytes follow it in the same page. */
function grow(vec: BioVec, page: Page, len: number, off: number): boolean {
  if (vec.bv_page !== page || off !== vec.bv_offset + vec.bv_len) return false;
  vec.bv_len += len;
  return true;
}

/** Puts the bytes into the next free vec; null if there is none, or nothing to add. The size stays. */
function appendPage(bio: Bio, page: Page, len: number, off: number): BioVec | null {
  if (bio.bi_vcnt >= bio.bi_max_vecs || len === 0) return null;
  const vec = bio.bi_io_vec?.[bio.bi_vcnt];
  if (vec === undefined) return null;
  vec.bv_page = page;
  vec.bv_len = len;
  vec.bv_offset = off;
  bio.bi_vcnt++;
  return vec;
}

/** Whether the byte at `off` of a page follows a vec's last one in memory. In page numbers: addresses are no integers. */
function touches(vec: BioVec, page: Page, off: number): boolean {
  const last = vec.bv_page;
  return last !== null && (page.pfn - last.pfn) * PAGE_SIZE + off === vec.bv_offset + vec.bv_len;
}
