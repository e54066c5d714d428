// Splitting (block/blk-merge.c of 4.8): a bio that the device does not take as one request is cut, and the rest of it
// goes to the queue again. A vec may be cut inside by the limit of sectors, between its neighbours by the others.

import { KernelBug, type Sleeps } from '../kernel/index.ts';
import { bio_sectors } from './bio-iter.ts';
import type { BioSet } from './bio-set.ts';
import {
  BIO_MAX_PAGES,
  BIO_SEG_VALID,
  type Bio,
  type BioVec,
  REQ_NOMERGE,
  REQ_OP_DISCARD,
  REQ_OP_SECURE_ERASE,
  REQ_OP_WRITE_SAME,
} from './bio-struct.ts';
import type { QueueLimits, RequestQueue } from './blkdev.ts';
import { GFP_NOIO } from './gfp.ts';
import type { Linux } from './kernel.ts';
import { maxSectorsAt, sameWindow, startOf } from './segment.ts';

const SECTOR = 512;
const PAGE_SIZE = 4096;
/** Sectors of the longest bio, whose size in bytes has 32 bits. */
const BIO_SECTORS_MAX = 0xffffffff >>> 9;

/** What is known of the front of a bio while its vecs are walked. One walk at a time: nothing in it sleeps. */
class Front {
  vecs = 0;
  segments = 0;
  sectors = 0;
  /** Bytes of the first and of the last segment. */
  firstBytes = 0;
  bytes = 0;
  /** Physical address of the last vec's first byte, and of the byte behind it; and where it ends in its page. */
  start = 0;
  end = 0;
  endOffset = 0;

  clear(): void {
    this.vecs = this.segments = this.sectors = this.firstBytes = this.bytes = 0;
  }

  /** SG-01: whether `bytes` bytes at `start` go on in the last segment. */
  continues(limits: QueueLimits, start: number, bytes: number): boolean {
    if (this.vecs === 0 || !limits.cluster || this.end !== start) return false;
    if (this.bytes + bytes > limits.max_segment_size) return false;
    return sameWindow(this.start, start + bytes - 1, limits.seg_boundary_mask);
  }

  /** SG-02: whether the virt boundary wants a new request at a vec that begins at `offset` of its page. */
  gap(limits: QueueLimits, offset: number): boolean {
    const mask = limits.virt_boundary_mask;
    return mask !== 0 && this.vecs > 0 && (offset % PAGE_SIZE !== 0 || (this.endOffset & mask) !== 0);
  }

  /** Takes a piece of memory in, as a segment or as a part of the last one. */
  add(vec: BioVec, done: number, bytes: number, newSegment: boolean): void {
    const start = startOf(vec) + done;
    if (newSegment) {
      if (this.segments === 1) this.firstBytes = this.bytes;
      this.segments++;
      this.bytes = bytes;
    } else {
      this.bytes += bytes;
    }
    this.vecs++;
    this.sectors += bytes / SECTOR;
    this.start = start;
    this.end = start + bytes;
    this.endOffset = vec.bv_offset + done + bytes;
  }
}

export function createSplit(k: Linux) {
  const front = new Front();

  /** SPL-02: sectors from the bio's first on that one request may have, whole logical blocks of them. */
  function limitOf(limits: QueueLimits, bio: Bio): number {
    const sectors = maxSectorsAt(limits, bio.bi_iter.bi_sector);
    return sectors - (sectors % (limits.logical_block_size / SECTOR));
  }

  /** Sectors of the front that the walk came to, whole logical blocks of them: else no driver could take it. */
  function whole(q: RequestQueue): number {
    const sectors = front.sectors - (front.sectors % (q.limits.logical_block_size / SECTOR));
    if (sectors > 0) return sectors;
    throw new KernelBug('SPL-03', 'the limits leave no room for a logical block of the bio', `queue ${q.id}`);
  }

  /** SPL-03: sectors of the front, 0 when all of the bio fits; `front` tells of its segments. */
  function walk(q: RequestQueue, bio: Bio): number {
    const { limits } = q;
    const { bi_iter: iter, bi_io_vec: vecs } = bio;
    const most = limitOf(limits, bio);
    front.clear();
    let done = iter.bi_bvec_done;
    for (let left = iter.bi_size, i = iter.bi_idx; left > 0; i++, done = 0) {
      const vec = vecs?.[i];
      if (vec === undefined) break;
      const bytes = Math.min(vec.bv_len - done, left);
      left -= bytes;
      if (front.vecs === BIO_MAX_PAGES || front.gap(limits, vec.bv_offset + done)) return whole(q);
      if (front.sectors + bytes / SECTOR > most) {
        const inside = (most - front.sectors) * SECTOR;
        if (inside > 0 && front.segments < limits.max_segments) front.add(vec, done, inside, true);
        if (front.sectors > 0) return whole(q);
      }
      // Pages that are neighbours have bounce pages that are not; and behind a page that bounces only such ones do.
      const together = front.continues(limits, startOf(vec) + done, bytes);
      const newSegment = !together || k.bounce.bounce_vec(q, bio, vec);
      if (newSegment && front.segments === limits.max_segments) return whole(q);
      front.add(vec, done, bytes, newSegment);
    }
    return 0;
  }

  /** SPL-05: the next piece begins where the device likes to begin. */
  function discardCut(limits: QueueLimits, bio: Bio): number {
    const granularity = Math.max(1, Math.floor(limits.discard_granularity / SECTOR));
    let most = Math.min(limits.max_discard_sectors, BIO_SECTORS_MAX);
    most -= most % granularity;
    if (most === 0 || bio_sectors(bio) <= most) return 0;
    const alignment = Math.floor(limits.discard_alignment / SECTOR) % granularity;
    const over = (bio.bi_iter.bi_sector + most - alignment) % granularity;
    return most > over ? most - over : most;
  }

  /** Notes in a bio what the walk counted. */
  function note(bio: Bio): void {
    bio.bi_phys_segments = front.segments;
    bio.bi_seg_front_size = front.segments === 1 ? front.bytes : front.firstBytes;
    bio.bi_seg_back_size = front.bytes;
    bio.bi_flags |= 1 << BIO_SEG_VALID;
  }

  /** Sectors that are to be cut from the front of the bio, 0: none. */
  function cutOf(q: RequestQueue, bio: Bio): number {
    const { limits } = q;
    switch (bio.bi_op) {
      case REQ_OP_DISCARD:
      case REQ_OP_SECURE_ERASE:
        return discardCut(limits, bio);
      case REQ_OP_WRITE_SAME: {
        const most = limits.max_write_same_sectors;
        return most > 0 && bio_sectors(bio) > most ? most : 0;
      }
      default: {
        const cut = walk(q, bio);
        if (cut === 0) note(bio);
        return cut;
      }
    }
  }

  function* split(q: RequestQueue, bio: Bio, sectors: number, bs: BioSet): Sleeps<Bio> {
    const piece = (yield* k.bio.bio_split(bio, sectors, GFP_NOIO, bs)) as Bio; // with WAIT there always is one
    // The walk may have been another's since: allocating sleeps.
    k.merge.blk_recount_segments(q, piece);
    piece.bi_opf |= REQ_NOMERGE;
    k.bio.bio_chain(piece, bio);
    if (k.trace.active) k.trace.block_split(q, piece, bio.bi_iter.bi_sector);
    yield* k.submit.generic_make_request(bio);
    return piece;
  }

  return {
    /** Sectors that blk_queue_split() would cut from the front of the bio, 0: it fits as it is. Any context. */
    bio_split_point(q: RequestQueue, bio: Bio): number {
      return cutOf(q, bio);
    },

    /**
     * What to handle instead of `bio` (C: through a bio **): the bio itself if one request can hold it, else a new one
     * for its front, which ends it in part; the rest has been submitted again. From the set `bs`; default the queue's.
     * Needs process context.
     */
    *blk_queue_split(q: RequestQueue, bio: Bio, bs: BioSet = q.bio_split): Sleeps<Bio> {
      const sectors = cutOf(q, bio);
      return sectors === 0 ? bio : yield* split(q, bio, sectors, bs);
    },
  };
}
