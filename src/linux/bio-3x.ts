// The functions on bios whose names, arguments or contracts differ in Linux 3.x (3.11), over the same struct bio. A
// bi_rw of 3.x is READ or WRITE and REQ_* flags in one number; bi_io_vec and bi_iter stay as they are in 4.8.

import type { Page } from '../kernel/index.ts';
import { KernelBug, type Sleeps } from '../kernel/index.ts';
import { mustCount, mustWhole, UINT_MAX } from './argument.ts';
import { bio_flagged, bio_sectors, bio_segments } from './bio-iter.ts';
import type { BioSet } from './bio-set.ts';
import {
  BIO_CLONED,
  BIO_MAX_PAGES,
  BIO_SEG_VALID,
  BIO_UPTODATE,
  Bio,
  type BioQueue,
  type BioVec,
  type BlockDevice,
  WRITE,
} from './bio-struct.ts';
import { EIO } from './errno.ts';
import { GFP_NOIO } from './gfp.ts';
import type { Linux } from './kernel.ts';
import type { Mempool } from './mempool.ts';
import { panic } from './panic.ts';

/** Pairs that can be split at once without memory. */
export const BIO_SPLIT_ENTRIES = 2;

/** The two halves of a split bio, and who still needs them (struct bio_pair). */
export class BioPair {
  readonly bio1 = new Bio(1);
  readonly bio2 = new Bio(1);
  /** The bio that was split. */
  master: Bio | null = null;
  cnt = 0;
  error = 0;
}

export function createBio3x(k: Linux) {
  let splitPool: Mempool<BioPair> | null = null;
  k.initcall(() => {
    const cache = k.slab.kmem_cache_create('bio_pair', 320, 0, 0, () => new BioPair()) ?? panic('bio_pair');
    splitPool = k.mempool.mempool_create_slab_pool(BIO_SPLIT_ENTRIES, cache);
  });

  function pairs(): Mempool<BioPair> {
    return splitPool ?? panic('bio_split_pool');
  }

  function endio(bio: Bio, error: number): void {
    if (error !== 0) bio.bi_error = error;
    else if (!bio_flagged(bio, BIO_UPTODATE) && bio.bi_error === 0) bio.bi_error = -EIO;
    k.bio.bio_endio(bio);
  }

  function release(bp: BioPair): void {
    if (bp.cnt <= 0 || bp.master === null)
      throw new KernelBug('LIFE-11', 'released more than three times', 'bio_pair_release');
    if (--bp.cnt > 0) return;
    const { master, error } = bp;
    bp.master = null;
    endio(master, error);
    k.mempool.mempool_free(bp, pairs());
  }

  /** Makes one half: `sectors` from `skip` on of a bio with one vec. */
  function half(bp: BioPair, bio: Bio, master: Bio, skip: number, sectors: number): void {
    k.bioSet.bio_init(bio);
    bio.bi_bdev = master.bi_bdev;
    bio.bi_op = master.bi_op;
    bio.bi_opf = master.bi_opf;
    bio.bi_iter.bi_sector = master.bi_iter.bi_sector + skip;
    bio.bi_iter.bi_size = sectors * 512;
    const { bi_idx, bi_bvec_done } = master.bi_iter;
    const vec = master.bi_io_vec?.[bi_idx];
    if (vec !== undefined && master.bi_vcnt > 0) {
      const own = bio.bi_inline_vecs[0] as BioVec; // the halves are made with one
      own.bv_page = vec.bv_page;
      own.bv_offset = vec.bv_offset + bi_bvec_done + skip * 512;
      own.bv_len = sectors * 512;
      bio.bi_io_vec = bio.bi_inline_vecs;
      bio.bi_vcnt = 1;
    }
    bio.bi_max_vecs = 1;
    bio.bi_end_io = (_bio, error) => {
      if (error !== 0) bp.error = error;
      release(bp);
    };
  }

  /** How many bytes of the vec the device behind a stacked queue takes at the end of the bio without it. */
  function refuses(q: BioQueue, bio: Bio, size: number, vec: BioVec): boolean {
    if (q.merge_bvec_fn === undefined || q.merge_bvec_fn === null || size === 0) return false;
    const { bi_bdev, bi_op } = bio;
    const bvm = { bi_bdev, bi_op, bi_sector: bio.bi_iter.bi_sector, bi_size: size };
    return q.merge_bvec_fn(q, bvm, vec) < vec.bv_len;
  }

  return {
    /**
     * Ends a bio. An error clears BIO_UPTODATE; without one, a bio that is not up to date ends with -EIO all the same.
     */
    bio_endio(bio: Bio, error: number): void {
      endio(bio, error);
    },

    /** Ends a bio with -EIO. Any context. */
    bio_io_error(bio: Bio): void {
      endio(bio, -EIO);
    },

    /** `rw`: READ or WRITE, and REQ_* flags. */
    *submit_bio(rw: number, bio: Bio): Sleeps<void> {
      bio.bi_op = rw & WRITE;
      bio.bi_opf |= rw & ~WRITE;
      yield* k.submit.submit_bio(bio);
    },

    /** Vecs worth allocating for a bio to this device. */
    bio_get_nr_vecs(bdev: BlockDevice): number {
      const limits = bdev.queue?.limits;
      if (limits === undefined) return 0;
      return Math.min(limits.max_segments, Math.floor(limits.max_sectors / 8) + 1, BIO_MAX_PAGES);
    },

    /**
     * Appends `len` bytes at `offset` of a page: `len`, or 0 when the device would not take the bio in one piece. Into an
     * empty bio a page always goes, whatever merge_bvec_fn says.
     */
    bio_add_page(bio: Bio, page: Page, len: number, offset: number): number {
      mustCount(len, 'the length', 'bio_add_page', UINT_MAX);
      mustCount(offset, 'the offset', 'bio_add_page', UINT_MAX);
      const q = bio.bi_bdev?.queue ?? null;
      const { bi_iter, bi_io_vec } = bio;
      if (q === null || bi_io_vec === null || bio_flagged(bio, BIO_CLONED)) return 0;
      const size = bi_iter.bi_size;
      if ((size + len) >>> 9 > q.limits.max_sectors) return 0;
      const last = bi_io_vec[bio.bi_vcnt - 1];
      if (last !== undefined && last.bv_page === page && offset === last.bv_offset + last.bv_len) {
        last.bv_len += len;
        if (refuses(q, bio, size - (last.bv_len - len), last)) {
          last.bv_len -= len;
          return 0;
        }
        bi_iter.bi_size += len;
        return len;
      }
      const vec = bi_io_vec[bio.bi_vcnt];
      if (bio.bi_vcnt >= bio.bi_max_vecs || vec === undefined) return 0;
      if (bio.bi_phys_segments >= q.limits.max_segments) {
        k.merge.blk_recount_segments(q, bio);
      }
      if (bio.bi_phys_segments >= q.limits.max_segments) return 0;
      vec.bv_page = page;
      vec.bv_len = len;
      vec.bv_offset = offset;
      if (refuses(q, bio, size, vec)) {
        vec.bv_page = null;
        vec.bv_len = 0;
        vec.bv_offset = 0;
        return 0;
      }
      bio.bi_flags &= ~(1 << BIO_SEG_VALID);
      bio.bi_vcnt++;
      bio.bi_phys_segments++;
      bi_iter.bi_size += len;
      return len;
    },

    /** A bio with vecs of its own: all vecs of `bio`, those that are done too, and its place in them. */
    *bio_clone_bioset(bio: Bio, gfp: number, bs: BioSet | null): Sleeps<Bio | null> {
      const clone = yield* k.bioSet.bio_alloc_bioset(gfp, bio.bi_max_vecs, bs);
      if (clone === null) return null;
      for (let i = 0; i < bio.bi_max_vecs; i++) {
        const vec = bio.bi_io_vec?.[i];
        if (vec !== undefined) Object.assign(clone.bi_io_vec?.[i] ?? {}, vec);
      }
      clone.bi_bdev = bio.bi_bdev;
      clone.bi_op = bio.bi_op;
      clone.bi_opf = bio.bi_opf;
      clone.bi_flags |= 1 << BIO_CLONED;
      clone.bi_vcnt = bio.bi_vcnt;
      clone.bi_iter.assign(bio.bi_iter);
      return clone;
    },

    /**
     * Splits a bio of one segment at most. The caller submits both halves and then calls bio_pair_release(): `bio` ends
     * when both have ended, with the last error that was not 0.
     * @throws KernelBug `LIFE-11` for more segments, or unless 0 < first_sectors < size
     */
    *bio_split(bio: Bio, first_sectors: number): Sleeps<BioPair | null> {
      const sectors = bio_sectors(bio);
      mustWhole(first_sectors, 'the number of sectors', 'bio_split');
      if (bio_segments(bio) > 1) throw new KernelBug('LIFE-11', 'more than one segment', 'bio_split');
      if (!(first_sectors > 0 && first_sectors < sectors))
        throw new KernelBug('LIFE-11', `${first_sectors} of ${sectors} sectors`, 'bio_split');
      const bp = yield* k.mempool.mempool_alloc(pairs(), GFP_NOIO);
      if (bp === null) return null;
      bp.master = bio;
      bp.cnt = 3;
      bp.error = 0;
      half(bp, bp.bio1, bio, 0, first_sectors);
      half(bp, bp.bio2, bio, first_sectors, sectors - first_sectors);
      return bp;
    },

    /** One of three references less: each half drops one when it ends, the caller the third. */
    bio_pair_release(bp: BioPair): void {
      release(bp);
    },
  };
}
