// Mapping as in 3.11 (block/blk-map.c): real errnos, one piece in chunks of 256 pages, many pieces in one bio.

import { PAGE_SIZE, type Sleeps } from '../kernel/index.ts';
import { mustCount, mustWhole } from './argument.ts';
import { bio_flagged } from './bio-iter.ts';
import type { RqMapData } from './bio-map.ts';
import { BIO_MAX_PAGES, BIO_USER_MAPPED, type Bio, READ, REQ_OP_READ, WRITE } from './bio-struct.ts';
import { REQ_COPY_USER, type Request, type RequestQueue } from './blkdev.ts';
import { EINTR, EINVAL } from './errno.ts';
import { type Iovec, IovIter, iov_iter_init } from './iov-iter.ts';
import type { Linux } from './kernel.ts';

export function createBlkMap3x(k: Linux) {
  const { __blk_rq_map_user_iov, blk_rq_abort_user, blk_rq_aligned } = k.blkMap;

  function directionOf(rq: Request): number {
    return rq.op === REQ_OP_READ ? READ : WRITE;
  }

  function fail(rq: Request, biotail: Bio | null, error: number): number {
    blk_rq_abort_user(rq, biotail);
    rq.map_error = error;
    rq.bio = rq.biotail = null;
    rq.__data_len = 0;
    rq.nr_phys_segments = 0;
    return error;
  }

  function done(rq: Request): number {
    if (rq.bio !== null && !bio_flagged(rq.bio, BIO_USER_MAPPED)) rq.cmd_flags |= REQ_COPY_USER;
    return 0;
  }

  return {
    /** Maps one piece; each chunk of it is mapped or copied by its own alignment. 0 or the real errno. */
    *blk_rq_map_user(
      q: RequestQueue,
      rq: Request,
      map_data: RqMapData | null,
      ubuf: number,
      len: number,
      gfp: number,
    ): Sleeps<number> {
      mustWhole(len, 'the length', 'blk_rq_map_user');
      if (!(len > 0) || len > q.limits.max_hw_sectors * 512) return -EINVAL;
      if (ubuf === 0 && map_data?.null_mapped !== true) return -EINVAL;
      const { biotail } = rq;
      const iter = new IovIter();
      for (let at = 0; at < len; ) {
        const most = BIO_MAX_PAGES * PAGE_SIZE - ((ubuf + at) % PAGE_SIZE === 0 ? 0 : PAGE_SIZE);
        const bytes = Math.min(len - at, most);
        const copy = map_data !== null || !blk_rq_aligned(q, ubuf + at, bytes);
        iov_iter_init(iter, directionOf(rq), [{ iov_base: ubuf + at, iov_len: bytes }], 1, bytes);
        const error = yield* __blk_rq_map_user_iov(rq, map_data, iter, gfp, copy);
        if (error !== 0) return fail(rq, biotail, error);
        at += bytes - iter.count;
      }
      return done(rq);
    },

    /** Maps pieces of `len` bytes in all into one bio: -EINVAL when it does not take them all, or one is empty. */
    *blk_rq_map_user_iov(
      q: RequestQueue,
      rq: Request,
      map_data: RqMapData | null,
      iov: readonly Iovec[] | null,
      iov_count: number,
      len: number,
      gfp: number,
    ): Sleeps<number> {
      if (iov === null || !(iov_count > 0)) return -EINVAL;
      mustCount(iov_count, 'the number of pieces', 'blk_rq_map_user_iov', iov.length);
      let unaligned = false;
      let total = 0;
      for (const { iov_base, iov_len } of iov.slice(0, iov_count)) {
        if (iov_len === 0) return -EINVAL;
        if ((iov_base & q.dma_alignment) !== 0) unaligned = true;
        total += iov_len;
      }
      const copy = unaligned || (q.dma_pad_mask & len) !== 0 || map_data !== null;
      const { biotail } = rq;
      const iter = new IovIter();
      iov_iter_init(iter, directionOf(rq), iov, iov_count, total);
      const error = yield* __blk_rq_map_user_iov(rq, map_data, iter, gfp, copy);
      if (error !== 0) return fail(rq, biotail, error);
      return total - iter.count === len ? done(rq) : fail(rq, biotail, -EINVAL);
    },

    /** As 4.8's, but 0 in a task without user memory. */
    *blk_rq_unmap_user(bio: Bio | null): Sleeps<number> {
      const result = yield* k.blkMap.blk_rq_unmap_user(bio);
      return result === -EINTR ? 0 : result;
    },
  };
}
