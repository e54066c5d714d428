// Merging (block/blk-merge.c, block/elevator.c of 4.8): a bio that begins where a waiting request ends, or ends where one
// begins, becomes a part of it; and so does a request.

import { bio_sectors } from './bio-iter.ts';
import {
  type Bio,
  REQ_FUA,
  REQ_NOMERGE,
  REQ_OP_FLUSH,
  REQ_OP_WRITE_SAME,
  REQ_PREFLUSH,
} from './bio-struct.ts';
import { type Gendisk, REQ_STARTED, REQ_TYPE_FS, type Request, type RequestQueue } from './blkdev.ts';
import type { Linux } from './kernel.ts';
import { removeRequest } from './request-list.ts';

/** What has one of these stays as it is. */
const NOMERGE_FLAGS = REQ_NOMERGE | REQ_STARTED | REQ_PREFLUSH | REQ_FUA;
const SECTOR = 512;

export function createRqMerge(k: Linux) {
  function rqMergeable(rq: Request): boolean {
    return rq.cmd_type === REQ_TYPE_FS && rq.op !== REQ_OP_FLUSH && (rq.cmd_flags & NOMERGE_FLAGS) === 0;
  }

  function endSector(rq: Request): number {
    return rq.__sector + rq.__data_len / SECTOR;
  }

  /** Whether so many bytes and segments may stand in one request that begins at `sector`. */
  function fits(rq: Request, bytes: number, segments: number, sector: number): boolean {
    if (segments > rq.q.limits.max_segments) return false;
    return bytes <= k.merge.blk_rq_get_max_sectors(rq, sector) * SECTOR;
  }

  /** A request that had no room for a bio takes no more of them. */
  function full(rq: Request): false {
    rq.cmd_flags |= REQ_NOMERGE;
    return false;
  }

  function sameData(rq: Request, bio: Bio): boolean {
    if (rq.op !== REQ_OP_WRITE_SAME) return true;
    const [a, b] = [rq.bio?.bi_io_vec?.[0], bio.bi_io_vec?.[0]];
    return a !== undefined && b !== undefined && a.bv_page === b.bv_page && a.bv_offset === b.bv_offset;
  }

  const api = {
    /** Whether a request and a bio are of one kind, for one disk, and neither wants to be alone. */
    blk_rq_merge_ok(rq: Request, bio: Bio, disk: Gendisk | null): boolean {
      if (!rqMergeable(rq) || (bio.bi_opf & NOMERGE_FLAGS) !== 0 || bio.bi_iter.bi_size === 0) return false;
      return rq.op === bio.bi_op && rq.rq_disk === disk && rq.special === null && sameData(rq, bio);
    },

    /** Adds a bio that begins where the request ends; false when the device could not take the result. */
    bio_attempt_back_merge(q: RequestQueue, rq: Request, bio: Bio): boolean {
      const { biotail } = rq;
      if (biotail === null || k.merge.bio_gap(q, biotail, bio)) return false;
      const bytes = rq.__data_len + bio.bi_iter.bi_size;
      const segments = rq.nr_phys_segments + k.merge.bio_phys_segments(q, bio);
      if (!fits(rq, bytes, segments, rq.__sector)) return full(rq);
      k.trace.block_bio_backmerge(q, rq, bio);
      biotail.bi_next = bio;
      rq.biotail = bio;
      rq.__data_len = bytes;
      rq.nr_phys_segments = segments;
      return true;
    },

    /** Adds a bio that ends where the request begins; false when the device could not take the result. */
    bio_attempt_front_merge(q: RequestQueue, rq: Request, bio: Bio): boolean {
      const { bi_sector, bi_size } = bio.bi_iter;
      if (rq.bio === null || k.merge.bio_gap(q, bio, rq.bio)) return false;
      const segments = rq.nr_phys_segments + k.merge.bio_phys_segments(q, bio);
      if (!fits(rq, rq.__data_len + bi_size, segments, bi_sector)) return full(rq);
      k.trace.block_bio_frontmerge(q, rq, bio);
      bio.bi_next = rq.bio;
      rq.bio = bio;
      rq.__sector = bi_sector;
      rq.__data_len += bi_size;
      rq.nr_phys_segments = segments;
      return true;
    },

    /** Makes the bio a part of `rq` if it is its neighbour there. */
    bio_attempt_merge(q: RequestQueue, rq: Request, bio: Bio, disk: Gendisk | null): boolean {
      if (!api.blk_rq_merge_ok(rq, bio, disk)) return false;
      const { bi_sector } = bio.bi_iter;
      if (endSector(rq) === bi_sector) return api.bio_attempt_back_merge(q, rq, bio);
      if (bi_sector + bio_sectors(bio) === rq.__sector) return api.bio_attempt_front_merge(q, rq, bio);
      return false;
    },

    /** Makes a waiting request that begins where `rq` ends a part of it, under the lock. */
    attempt_merge(q: RequestQueue, rq: Request, next: Request): boolean {
      const { biotail } = rq;
      const first = next.bio;
      if (!rqMergeable(rq) || !rqMergeable(next) || rq.op !== next.op || endSector(rq) !== next.__sector)
        return false;
      if (biotail === null || first === null || rq.rq_disk !== next.rq_disk) return false;
      if (rq.special !== null || next.special !== null || !sameData(rq, first)) return false;
      if (k.merge.bio_gap(q, biotail, first)) return false;
      const segments = rq.nr_phys_segments + next.nr_phys_segments;
      if (!fits(rq, rq.__data_len + next.__data_len, segments, rq.__sector)) return false;
      biotail.bi_next = first;
      rq.biotail = next.biotail;
      rq.__data_len += next.__data_len;
      rq.nr_phys_segments = segments;
      removeRequest(q, next);
      next.bio = next.biotail = null;
      k.core.__blk_put_request(q, next);
      return true;
    },

    /** Makes the bio a part of a request that waits in the queue; true when it is. Under the lock. */
    elv_merge(q: RequestQueue, bio: Bio, disk: Gendisk | null): boolean {
      for (let rq = q.tail; rq !== null; rq = rq.prev) {
        const start = rq.__sector;
        if (!api.bio_attempt_merge(q, rq, bio, disk)) continue;
        joinNeighbours(q, rq, rq.__sector !== start);
        return true;
      }
      return false;
    },
  };

  /** A request that has grown may have met another: at its front, or at its end. */
  function joinNeighbours(q: RequestQueue, grown: Request, atFront: boolean): void {
    for (let rq = q.head; rq !== null; rq = rq.next) {
      if (rq === grown) continue;
      if (atFront ? api.attempt_merge(q, rq, grown) : api.attempt_merge(q, grown, rq)) return;
    }
  }

  return api;
}
