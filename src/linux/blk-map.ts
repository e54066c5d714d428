// Memory into requests (block/blk-map.c of 4.8): blk_rq_map_user_iov(9) and its relatives, for passthrough requests.
//
// What the caller has to remember is rq.bio as it is after mapping: that, and not what completion leaves there, goes to
// blk_rq_unmap_user(). Pages out of the device's reach are bounced here; the request then holds the bounce bio.

import { KernelBug, type Sleeps } from '../kernel/index.ts';
import { mustQueue, mustRequest, mustWhole } from './argument.ts';
import { bio_flagged, bio_segments, rq_data_dir } from './bio-iter.ts';
import type { RqMapData } from './bio-map.ts';
import {
  BIO_BOUNCED,
  BIO_MAX_PAGES,
  BIO_NULL_MAPPED,
  BIO_USER_MAPPED,
  type Bio,
  READ,
  REQ_OP_WRITE,
} from './bio-struct.ts';
import { REQ_COPY_USER, type Request, type RequestQueue } from './blkdev.ts';
import { EINVAL, EIO, ENOMEM, type ErrPtr, IS_ERR } from './errno.ts';
import {
  type ConstIovIter,
  IovIter,
  iov_iter_advance,
  iov_iter_alignment,
  iov_iter_has_gap,
  iter_is_iovec,
} from './iov-iter.ts';
import type { Linux } from './kernel.ts';

export function createBlkMap(k: Linux) {
  const { bio_endio, bio_get, bio_put } = k.bio;
  const { bio_abort_user, bio_copy_user_iov, bio_uncopy_user } = k.bioMap;
  const { bio_map_user_try, bio_map_user_rest, bio_unmap_user_try, bio_unmap_user_rest } = k.bioMap;
  /** Iterators that move while the caller's stands still. */
  const iters: IovIter[] = [];

  /** The bio that was mapped: behind a bounce bio its original. */
  function originalOf(bio: Bio): Bio {
    return bio_flagged(bio, BIO_BOUNCED) ? (bio.bi_private as Bio) : bio; // blk_queue_bounce() put it there
  }

  /** Ends a bounce bio that was never sent: its pages go back, nothing is copied. */
  function endBounce(bio: Bio): void {
    if (!bio_flagged(bio, BIO_BOUNCED)) return;
    bio.bi_error = -EIO;
    bio_endio(bio);
  }

  /** Bounces a bio if the device does not reach all of it. An errno leaves it as it was. */
  function* bounce(q: RequestQueue, bio: Bio): Sleeps<Bio | number> {
    if (!k.bounce.bounce_needed(q, bio)) return bio;
    // A bounce bio comes from a set, and those have no more vecs.
    if (bio_segments(bio) > BIO_MAX_PAGES) return -ENOMEM;
    return yield* k.bounce.blk_queue_bounce(q, bio);
  }

  /** blk_rq_append_bio(), which does not look at the first bio: bounce pages can need more segments than there are. */
  function append(rq: Request, bio: Bio): number {
    if (k.merge.bio_phys_segments(rq.q, bio) > rq.q.limits.max_segments) return -EINVAL;
    return k.merge.blk_rq_append_bio(rq, bio);
  }

  /** Gives up a bio of user memory that was never sent, and its bounce bio. */
  function abort(bio: Bio): void {
    const original = originalOf(bio);
    endBounce(bio);
    bio_abort_user(original);
    bio_put(bio);
  }

  /** Puts a bio of user memory, or its bounce bio, into the request; on error it is given up. */
  function link(rq: Request, bio: Bio): number {
    bio_get(bio); // or a bounce bio would be gone with its end
    const error = append(rq, bio);
    if (error !== 0) abort(bio);
    return error;
  }

  /** Bounces a bio of user memory and puts it into the request; on error it is given up. */
  function* bounceAndLink(rq: Request, bio: Bio): Sleeps<number> {
    const linked = yield* bounce(rq.q, bio);
    if (!IS_ERR(linked)) return link(rq, linked);
    bio_abort_user(bio);
    return linked;
  }

  /** Moves the iterator behind what a bio has of it; 0, or -EINVAL when that is nothing. */
  function advance(bio: Bio, map_data: RqMapData | null, iter: IovIter): number {
    const bytes = bio.bi_iter.bi_size;
    if (bytes === 0 && iter.count > 0) {
      bio_abort_user(bio); // the queue takes nothing at all
      return -EINVAL;
    }
    iov_iter_advance(iter, bytes);
    if (map_data !== null) {
      if (map_data.null_mapped) bio.bi_flags |= 1 << BIO_NULL_MAPPED;
      map_data.offset += bytes;
    }
    return 0;
  }

  /** The bio that mapTry() has made and cannot link without sleeping. */
  let unlinked: Bio | null = null;

  /** __blk_rq_map_user_iov() without a copy as far as it goes without sleeping; null: mapRest() has to follow. */
  function mapTry(rq: Request, iter: IovIter, gfp: number): number | null {
    const bio = bio_map_user_try(rq.q, iter, gfp);
    if (bio === null) return null;
    if (IS_ERR(bio)) return bio;
    const error = advance(bio, null, iter);
    if (error !== 0) return error;
    if (!k.bounce.bounce_needed(rq.q, bio)) return link(rq, bio);
    unlinked = bio;
    return null;
  }

  function* mapRest(rq: Request, iter: IovIter): Sleeps<number> {
    let bio: ErrPtr<Bio> | null = unlinked;
    unlinked = null;
    if (bio === null) {
      bio = yield* bio_map_user_rest();
      const error = IS_ERR(bio) ? bio : advance(bio, null, iter);
      if (error !== 0) return error;
    }
    return yield* bounceAndLink(rq, bio as Bio); // errors have returned
  }

  /** All of the iterator, as far as it goes without sleeping; null: mapAllRest() has to follow. */
  function mapAllTry(rq: Request, i: IovIter, gfp: number): number | null {
    let error: number | null;
    do error = mapTry(rq, i, gfp);
    while (error === 0 && i.count > 0);
    return error;
  }

  function* mapAllRest(rq: Request, i: IovIter, gfp: number, biotail: Bio | null): Sleeps<number> {
    let error: number | null = null;
    while (error === null) {
      error = yield* mapRest(rq, i);
      if (error === 0 && i.count > 0) error = mapAllTry(rq, i, gfp);
    }
    return mapped(rq, i, error, biotail);
  }

  function* mapAllCopied(
    rq: Request,
    map_data: RqMapData | null,
    i: IovIter,
    gfp: number,
    biotail: Bio | null,
  ): Sleeps<number> {
    let error: number;
    do error = yield* mapCopy(rq, map_data, i, gfp);
    while (error === 0 && i.count > 0);
    return mapped(rq, i, error, biotail);
  }

  /** The end of a mapping: what of this call is there already goes when a part failed. */
  function mapped(rq: Request, i: IovIter, error: number, biotail: Bio | null): number {
    iters.push(i);
    if (error !== 0) {
      api.blk_rq_abort_user(rq, biotail);
      return fail(rq, error);
    }
    if (rq.bio !== null && !bio_flagged(rq.bio, BIO_USER_MAPPED)) rq.cmd_flags |= REQ_COPY_USER;
    return 0;
  }

  function* mapCopy(rq: Request, map_data: RqMapData | null, iter: IovIter, gfp: number): Sleeps<number> {
    const bio = yield* bio_copy_user_iov(rq.q, map_data, iter, gfp);
    if (IS_ERR(bio)) return bio;
    const error = advance(bio, map_data, iter);
    return error !== 0 ? error : yield* bounceAndLink(rq, bio);
  }

  /** Vecs that unmapTry() has done. */
  let unmapped = 0;

  /** Unmaps a bio as far as it goes without sleeping: 0, or null when unmapRest() has to follow. */
  function unmapTry(bio: Bio): number | null {
    if (!bio_flagged(bio, BIO_USER_MAPPED)) return null;
    const { bi_vcnt } = bio;
    unmapped = bio_unmap_user_try(bio);
    return unmapped === bi_vcnt ? 0 : null;
  }

  function* unmapRest(bio: Bio): Sleeps<number> {
    if (!bio_flagged(bio, BIO_USER_MAPPED)) return yield* bio_uncopy_user(bio);
    yield* bio_unmap_user_rest(bio, unmapped);
    return 0;
  }

  /** Unmaps the bios from `bio` on, of which unmapTry() has begun the first. */
  function* unmapFrom(bio: Bio | null): Sleeps<number> {
    let result = 0;
    let done: number | null = null;
    while (bio !== null) {
      const error = done ?? (yield* unmapRest(originalOf(bio)));
      if (result === 0) result = error;
      const next: Bio | null = bio.bi_next;
      bio_put(bio);
      bio = next;
      if (bio !== null) done = unmapTry(liveOriginal(bio));
    }
    return result;
  }

  function liveOriginal(bio: Bio): Bio {
    if (!bio.live) throw new KernelBug('UNM-05', 'the bio was unmapped before', 'blk_rq_unmap_user');
    return originalOf(bio);
  }

  /** The request is empty again, and says why. */
  function fail(rq: Request, error: number): number {
    rq.map_error = error;
    rq.bio = rq.biotail = null;
    rq.__data_len = 0;
    rq.nr_phys_segments = 0;
    return -EINVAL;
  }

  /** MAP-04: whether the pieces cannot be given to the device as they are. */
  function mustCopy(q: RequestQueue, iter: ConstIovIter): boolean {
    if ((iov_iter_alignment(iter) & (q.dma_alignment | q.dma_pad_mask)) !== 0) return true;
    const mask = q.limits.virt_boundary_mask;
    return mask !== 0 && iov_iter_has_gap(iter, mask);
  }

  function* linkKern(rq: Request, bio: Bio): Sleeps<number> {
    const linked = yield* bounce(rq.q, bio);
    const error = IS_ERR(linked) ? linked : append(rq, linked);
    if (error === 0) return 0;
    bio.bi_private = null; // nothing is copied back
    const last = IS_ERR(linked) ? bio : linked;
    last.bi_error = -EIO;
    bio_endio(last);
    return error;
  }

  const api = {
    /**
     * Maps user memory into a request for zero copy I/O; where the device could not use it as it is, all of it is
     * copied instead. Several calls append. 0, or -EINVAL for every failure: then rq.bio is null, nothing of this call
     * is left, and rq.map_error says why. Bios of earlier calls are still the caller's to unmap.
     *
     * Needs process context of the owner of the memory, whatever `gfp` says.
     */
    blk_rq_map_user_iov(
      q: RequestQueue,
      rq: Request,
      map_data: RqMapData | null,
      iter: ConstIovIter,
      gfp: number,
    ): Sleeps<number> {
      mustQueue(q, 'blk_rq_map_user_iov');
      mustRequest(rq, 'blk_rq_map_user_iov');
      k.cpu.mightSleep('blk_rq_map_user_iov');
      rq.map_error = 0;
      if (!iter_is_iovec(iter)) return k.ready.with(fail(rq, -EINVAL), 'blk_rq_map_user_iov');
      const { biotail } = rq;
      const i = (iters.pop() ?? new IovIter()).assign(iter);
      if (map_data !== null || mustCopy(q, iter)) return mapAllCopied(rq, map_data, i, gfp, biotail);
      const error = mapAllTry(rq, i, gfp);
      if (error === null) return mapAllRest(rq, i, gfp, biotail);
      return k.ready.with(mapped(rq, i, error, biotail), 'blk_rq_map_user_iov');
    },

    /** As much of an iterator as one bio takes: maps it and moves the iterator. 0 or the real errno. */
    *__blk_rq_map_user_iov(
      rq: Request,
      map_data: RqMapData | null,
      iter: IovIter,
      gfp: number,
      copy: boolean,
    ): Sleeps<number> {
      if (copy) return yield* mapCopy(rq, map_data, iter, gfp);
      return mapTry(rq, iter, gfp) ?? (yield* mapRest(rq, iter));
    },

    /** Takes the bios behind `tail` (null: all) out of a request and gives them up: they were never sent. */
    blk_rq_abort_user(rq: Request, tail: Bio | null): void {
      let bio = tail === null ? rq.bio : tail.bi_next;
      if (tail === null) rq.bio = null;
      else tail.bi_next = null;
      rq.biotail = tail;
      while (bio !== null) {
        const next: Bio | null = bio.bi_next;
        abort(bio);
        bio = next;
      }
    },

    /**
     * blk_rq_map_user_iov() for one piece. Also -EFAULT, at once, for an address that users cannot have. `ubuf` 0 is for
     * a null-mapped `map_data`.
     */
    *blk_rq_map_user(
      q: RequestQueue,
      rq: Request,
      map_data: RqMapData | null,
      ubuf: number,
      len: number,
      gfp: number,
    ): Sleeps<number> {
      mustQueue(q, 'blk_rq_map_user');
      mustRequest(rq, 'blk_rq_map_user');
      const i = iters.pop() ?? new IovIter();
      const iov = { iov_base: 0, iov_len: 0 };
      let error = k.iovIter.import_single_range(rq_data_dir(rq), ubuf, len, iov, i);
      if (error === 0) {
        const nowhere = ubuf === 0 && map_data?.null_mapped !== true;
        error = nowhere ? fail(rq, -EINVAL) : yield* api.blk_rq_map_user_iov(q, rq, map_data, i, gfp);
      }
      iters.push(i);
      return error;
    },

    /**
     * Ends what mapping began; `bio` is rq.bio as mapping left it, null: nothing. Bytes that were read through a copy
     * arrive in user memory now. 0, or the first error: -EFAULT, -EINTR; all bios are unmapped in any case.
     * @throws KernelBug `UNM-05` in interrupt context, for another process's copy, or the second time
     */
    blk_rq_unmap_user(bio: Bio | null): Sleeps<number> {
      if (k.cpu.inInterrupt)
        throw new KernelBug('UNM-05', 'unmapped in interrupt context', 'blk_rq_unmap_user');
      k.cpu.mightSleep('blk_rq_unmap_user');
      for (let first = bio; first !== null; ) {
        if (unmapTry(liveOriginal(first)) === null) return unmapFrom(first);
        const next: Bio | null = first.bi_next;
        bio_put(first);
        first = next;
      }
      return k.ready.with(0, 'blk_rq_unmap_user');
    },

    /** Unmaps one bio that is no bounce bio; its last reference is the caller's to drop. */
    *__blk_rq_unmap_user(bio: Bio): Sleeps<number> {
      return unmapTry(bio) ?? (yield* unmapRest(bio));
    },

    /**
     * Maps a buffer of the kernel into a request, for which there is nothing to unmap; copied if it is not aligned for
     * the device, or on a stack. Several calls append. 0, -EINVAL for nothing or more than the device takes, -ENOMEM.
     */
    *blk_rq_map_kern(q: RequestQueue, rq: Request, kbuf: number, len: number, gfp: number): Sleeps<number> {
      mustQueue(q, 'blk_rq_map_kern');
      mustRequest(rq, 'blk_rq_map_kern');
      mustWhole(len, 'the length', 'blk_rq_map_kern');
      if (len > q.limits.max_hw_sectors * 512 || !(len > 0) || kbuf === 0) return -EINVAL;
      const reading = rq_data_dir(rq) === READ;
      const copy = !api.blk_rq_aligned(q, kbuf, len) || k.bioKern.object_is_on_stack(kbuf);
      const bio = copy
        ? yield* k.bioKern.bio_copy_kern(q, kbuf, len, gfp, reading)
        : k.bioKern.bio_map_kern(q, kbuf, len, gfp);
      if (IS_ERR(bio)) return bio;
      if (!reading) bio.bi_op = REQ_OP_WRITE;
      if (copy) rq.cmd_flags |= REQ_COPY_USER;
      return yield* linkKern(rq, bio);
    },

    /** True when the device can use a piece of memory as it is. */
    blk_rq_aligned(q: RequestQueue, addr: number, len: number): boolean {
      const mask = q.dma_alignment | q.dma_pad_mask;
      return (addr & mask) === 0 && (len & mask) === 0;
    },
  };
  return api;
}
