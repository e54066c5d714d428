// The life of a bio (include/linux/bio.h, block/bio.c of 4.8): references, the end, chaining, cloning, splitting.

import { KernelBug, type Sleeps } from '../kernel/index.ts';
import { INT_MAX, mustBio, mustCount, mustWhole, UINT_MAX } from './argument.ts';
import {
  bio_advance_iter,
  bio_flagged,
  bio_for_each_segment,
  bio_has_data,
  bio_sectors,
  bio_segments,
} from './bio-iter.ts';
import type { BioSet } from './bio-set.ts';
import {
  BIO_CHAIN,
  BIO_CLONED,
  BIO_REFFED,
  BIO_SEG_VALID,
  BIO_TRACE_COMPLETION,
  BIO_UPTODATE,
  type Bio,
  type BioVec,
  REQ_OP_DISCARD,
  REQ_OP_SECURE_ERASE,
  REQ_OP_WRITE_SAME,
} from './bio-struct.ts';
import { EBUSY, EIO, ENOENT } from './errno.ts';
import type { Linux } from './kernel.ts';

export function createBio(k: Linux) {
  const { bio_alloc_bioset, bio_free } = k.bioSet;

  function mustLive(bio: Bio, rule: string, where: string): void {
    if (!bio.live) throw new KernelBug(rule, 'the bio was freed before', where);
  }

  /** Marks the end of a child of a chain; never called: the end of the child recognises it. */
  function chainEndIo(): void {
    throw new KernelBug('LIFE-07', 'called from outside of bio_endio()', 'bio_chain_endio');
  }

  /** False while a chained bio waits for other ends. */
  function remainingDone(bio: Bio): boolean {
    if (!bio_flagged(bio, BIO_CHAIN)) return true;
    if (bio.__bi_remaining <= 0) throw new KernelBug('LIFE-06', 'ended more often than begun', 'bio_endio');
    if (--bio.__bi_remaining > 0) return false;
    bio.bi_flags &= ~(1 << BIO_CHAIN);
    return true;
  }

  function put(bio: Bio): void {
    mustLive(bio, 'LIFE-02', 'bio_put');
    if (bio_flagged(bio, BIO_REFFED)) {
      if (bio.__bi_cnt <= 0) throw new KernelBug('LIFE-02', `put with count ${bio.__bi_cnt}`, 'bio_put');
      if (--bio.__bi_cnt > 0) return;
    }
    k.pools?.put(bio);
    bio_free(bio);
  }

  function endio(first: Bio): void {
    // The children of a chain end their parents one by one: no depth, however long it is.
    for (let bio = first; ; ) {
      mustLive(bio, 'LIFE-08', 'bio_endio');
      if (bio.bi_error !== 0) bio.bi_flags &= ~(1 << BIO_UPTODATE);
      if (!remainingDone(bio)) return;
      if (bio_flagged(bio, BIO_TRACE_COMPLETION)) {
        bio.bi_flags &= ~(1 << BIO_TRACE_COMPLETION);
        const q = bio.bi_bdev?.queue ?? null;
        if (q !== null) k.trace.block_bio_complete(q, bio, bio.bi_error);
      }
      if (bio.bi_end_io !== chainEndIo) {
        bio.bi_end_io?.(bio, bio.bi_error);
        return;
      }
      const parent = bio.bi_private as Bio; // bio_chain() set both
      if (parent.bi_error === 0) parent.bi_error = bio.bi_error;
      put(bio);
      bio = parent;
    }
  }

  function advance(bio: Bio, bytes: number): void {
    bio.bi_flags &= ~(1 << BIO_SEG_VALID); // what is left has fewer
    if (!bio_advance_iter(bio, bio.bi_iter, bytes))
      k.warnings.warn('LIFE-18', `advanced by ${bytes} bytes, past the end`, 'bio_advance');
  }

  function* cloneFast(src: Bio, gfp: number, bs: BioSet | null): Sleeps<Bio | null> {
    const bio = yield* bio_alloc_bioset(gfp, 0, bs);
    if (bio === null) return null;
    bio.bi_bdev = src.bi_bdev;
    bio.bi_flags |= 1 << BIO_CLONED;
    bio.bi_op = src.bi_op;
    bio.bi_opf = src.bi_opf;
    bio.bi_ioc = src.bi_ioc;
    bio.bi_iter.assign(src.bi_iter);
    bio.bi_io_vec = src.bi_io_vec;
    return bio;
  }

  function* cloneVecs(src: Bio, gfp: number, bs: BioSet | null): Sleeps<Bio | null> {
    const bio = yield* bio_alloc_bioset(gfp, bio_segments(src), bs);
    if (bio === null) return null;
    bio.bi_bdev = src.bi_bdev;
    bio.bi_op = src.bi_op;
    bio.bi_opf = src.bi_opf;
    bio.bi_ioc = src.bi_ioc;
    bio.bi_iter.bi_sector = src.bi_iter.bi_sector;
    bio.bi_iter.bi_size = src.bi_iter.bi_size;
    if (src.bi_op === REQ_OP_WRITE_SAME) {
      const vec = src.bi_io_vec?.[0];
      if (vec !== undefined) appendVec(bio, vec);
    } else if (bio_has_data(src)) {
      bio_for_each_segment(src, (vec) => appendVec(bio, vec));
    }
    return bio;
  }

  function* split(bio: Bio, sectors: number, gfp: number, bs: BioSet | null): Sleeps<Bio | null> {
    if (!(sectors > 0 && sectors < bio_sectors(bio)))
      throw new KernelBug('LIFE-09', `${sectors} of ${bio_sectors(bio)} sectors`, 'bio_split');
    const own = bio.bi_op === REQ_OP_DISCARD || bio.bi_op === REQ_OP_SECURE_ERASE;
    const front = yield* own ? cloneVecs(bio, gfp, bs) : cloneFast(bio, gfp, bs);
    if (front === null) return null;
    front.bi_flags |= 1 << BIO_CLONED;
    front.bi_iter.bi_size = sectors * 512;
    advance(bio, front.bi_iter.bi_size);
    return front;
  }

  return {
    /** One reference more. */
    bio_get(bio: Bio): void {
      mustBio(bio, 'bio_get');
      mustLive(bio, 'LIFE-02', 'bio_get');
      bio.bi_flags |= 1 << BIO_REFFED;
      bio.__bi_cnt++;
    },

    /** One reference less; the last one frees the bio and its vecs, never its pages. @throws KernelBug `LIFE-02` */
    bio_put(bio: Bio): void {
      mustBio(bio, 'bio_put');
      put(bio);
    },

    /**
     * Ends a bio: bi_error says how. Calls bi_end_io, or if it is part of a chain that of the parent, once all its
     * parts have ended. Does not put it. Any context.
     */
    bio_endio(bio: Bio): void {
      mustBio(bio, 'bio_endio');
      endio(bio);
    },

    /** Ends a bio with -EIO. */
    bio_io_error(bio: Bio): void {
      mustBio(bio, 'bio_io_error');
      bio.bi_error = -EIO;
      endio(bio);
    },

    /**
     * Makes the end of `parent` wait for that of `bio`, which must have neither bi_end_io nor bi_private; the parent
     * takes the first error of its children. The child is put when it ends.
     */
    bio_chain(bio: Bio, parent: Bio): void {
      mustBio(bio, 'bio_chain');
      mustBio(parent, 'bio_chain');
      if (bio.bi_private !== null || bio.bi_end_io !== null)
        throw new KernelBug('LIFE-07', 'the child has bi_private or bi_end_io', 'bio_chain');
      bio.bi_private = parent;
      bio.bi_end_io = chainEndIo;
      parent.bi_flags |= 1 << BIO_CHAIN;
      parent.__bi_remaining++;
    },

    /** Puts a bio on the account of the running task: 0, -EBUSY if it has one already, -ENOENT without a task. */
    bio_associate_current(bio: Bio): number {
      mustBio(bio, 'bio_associate_current');
      if (bio.bi_ioc !== null) return -EBUSY;
      if (k.current === null) return -ENOENT;
      bio.bi_ioc = k.current;
      return 0;
    },

    /** Takes a bio off the account that it is on. Any context. */
    bio_disassociate_task(bio: Bio): void {
      bio.bi_ioc = null;
    },

    /** Puts `dst` on the account that `src` is on, as cloning does. */
    bio_clone_blkcg_association(dst: Bio, src: Bio): void {
      dst.bi_ioc = src.bi_ioc;
    },

    /** Moves a bio forward by `bytes`: what lies before is done. */
    bio_advance(bio: Bio, bytes: number): void {
      mustBio(bio, 'bio_advance');
      mustCount(bytes, 'the number of bytes', 'bio_advance', UINT_MAX);
      advance(bio, bytes);
    },

    /** Cuts a bio down to `size` sectors from sector `offset` of it on. */
    bio_trim(bio: Bio, offset: number, size: number): void {
      mustBio(bio, 'bio_trim');
      mustCount(offset, 'the offset', 'bio_trim', INT_MAX);
      mustCount(size, 'the size', 'bio_trim', INT_MAX);
      const bytes = size * 512;
      if (offset === 0 && bytes === bio.bi_iter.bi_size) return;
      advance(bio, offset * 512);
      bio.bi_iter.bi_size = bytes;
    },

    /**
     * A bio for the same data that shares the vecs: the original must live at least as long. Null when there is no bio.
     */
    *bio_clone_fast(bio: Bio, gfp: number, bs: BioSet | null): Sleeps<Bio | null> {
      mustBio(bio, 'bio_clone_fast');
      return yield* cloneFast(bio, gfp, bs);
    },

    /** A bio with vecs of its own for what is left of `bio`; null also when that is more than a set's bio can have. */
    *bio_clone_bioset(bio: Bio, gfp: number, bs: BioSet | null): Sleeps<Bio | null> {
      mustBio(bio, 'bio_clone_bioset');
      return yield* cloneVecs(bio, gfp, bs);
    },

    /** bio_clone_bioset() from the set of the file systems. */
    *bio_clone(bio: Bio, gfp: number): Sleeps<Bio | null> {
      mustBio(bio, 'bio_clone');
      return yield* cloneVecs(bio, gfp, k.bioSet.fs_bio_set);
    },

    /**
     * Cuts `sectors` from the front of a bio: returns a new bio for them, without bi_end_io, and moves `bio` behind
     * them. Both share the vecs, so `bio` must outlive the front. Null when there is no bio.
     * @throws KernelBug `LIFE-09` unless 0 < sectors < size
     */
    *bio_split(bio: Bio, sectors: number, gfp: number, bs: BioSet | null): Sleeps<Bio | null> {
      mustBio(bio, 'bio_split');
      mustWhole(sectors, 'the number of sectors', 'bio_split');
      return yield* split(bio, sectors, gfp, bs);
    },

    /** bio_split(), but the bio itself when `sectors` are all that is left. */
    *bio_next_split(bio: Bio, sectors: number, gfp: number, bs: BioSet | null): Sleeps<Bio | null> {
      mustBio(bio, 'bio_next_split');
      mustWhole(sectors, 'the number of sectors', 'bio_next_split');
      return sectors >= bio_sectors(bio) ? bio : yield* split(bio, sectors, gfp, bs);
    },
  };
}

/** Appends a copy of a vec; there must be room. The size stays. */
function appendVec(bio: Bio, vec: BioVec): void {
  const own = bio.bi_io_vec?.[bio.bi_vcnt++];
  if (own === undefined) throw new KernelBug('LIFE-12', 'more vecs than were counted', 'bio_clone_bioset');
  own.bv_page = vec.bv_page;
  own.bv_len = vec.bv_len;
  own.bv_offset = vec.bv_offset;
}
