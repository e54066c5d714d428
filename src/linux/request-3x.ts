// Requests as 3.11 has them, where that differs from 4.8.

import type { Sleeps } from '../kernel/index.ts';
import type { Bio } from './bio-struct.ts';
import type { Request, RequestQueue } from './blkdev.ts';
import { IS_ERR } from './errno.ts';
import type { Linux } from './kernel.ts';

export function createRequest3x(k: Linux) {
  return {
    /** A free request; null on a dying queue, or when there is none and `gfp` doesn't let it wait. */
    *blk_get_request(q: RequestQueue, rw: number, gfp: number): Sleeps<Request | null> {
      const rq = yield* k.core.blk_get_request(q, rw, gfp);
      return IS_ERR(rq) ? null : rq;
    },

    /** blk_rq_append_bio() of 4.8, which finds the queue itself. */
    blk_rq_append_bio(_q: RequestQueue, rq: Request, bio: Bio): number {
      return k.merge.blk_rq_append_bio(rq, bio);
    },
  };
}
