// Segments (block/blk-merge.c of 4.8): how many pieces of contiguous memory a bio or a request is for its device, and
// which pieces they are.
//
// A vec, the piece that a bio was given, is never cut here; two vecs in a row become one segment when they touch and
// the limits of the queue allow it.

import { KernelBug } from '../kernel/index.ts';
import { mustBio, mustRequest } from './argument.ts';
import {
  BIO_SEG_VALID,
  type Bio,
  type BioQueue,
  type BioVec,
  READ,
  REQ_NOMERGE,
  REQ_OP_DISCARD,
  REQ_OP_SECURE_ERASE,
  REQ_OP_WRITE_SAME,
} from './bio-struct.ts';
import { type QueueLimits, REQ_COPY_USER, REQ_TYPE_FS, type Request, type RequestQueue } from './blkdev.ts';
import { EINVAL } from './errno.ts';
import type { Linux } from './kernel.ts';
import type { Scatterlist } from './scatterlist.ts';
import { maxSectorsAt, startOf, windowEnd } from './segment.ts';

const PAGE_SIZE = 4096;

const SEG_VALID = 1 << BIO_SEG_VALID;

/** The piece of memory in hand while vecs are walked, and the last vec of the segment. */
class Segment {
  /** Bytes so far; 0: none begun. */
  bytes = 0;
  /** Physical addresses of the byte behind it, and of the first byte that is too far: the device wants a cut there. */
  end = 0;
  limit = 0;

  /** Begins anew with `bytes` bytes at `start`. */
  begin(limits: BioQueue['limits'], start: number, bytes: number): void {
    this.bytes = bytes;
    this.end = start + bytes;
    this.limit = windowEnd(start, limits.seg_boundary_mask);
  }

  /** SG-01: goes on with `bytes` bytes at `start` if the device takes them as one piece with those before. */
  extend(limits: BioQueue['limits'], start: number, bytes: number): boolean {
    if (this.bytes === 0 || this.end !== start || !limits.cluster) return false;
    if (this.bytes + bytes > limits.max_segment_size || start + bytes > this.limit) return false;
    this.bytes += bytes;
    this.end += bytes;
    return true;
  }
}

export function createMerge(k: Linux) {
  // One walk at a time: nothing in a walk sleeps or calls back.
  const segment = new Segment();
  /** Entries that the walk has used. */
  let mapped = 0;

  /** Counts the segments of the bios from `first` on, up to but without `stop`. */
  function count(q: BioQueue, first: Bio | null, stop: Bio | null): number {
    const { limits } = q;
    let segments = 0;
    let back = first;
    segment.bytes = 0;
    for (let bio = first; bio !== null && bio !== stop; bio = bio.bi_next) {
      back = bio;
      if (!isWalked(bio)) {
        segments += hasPayload(bio) ? 1 : 0;
        continue;
      }
      const { bi_iter: iter, bi_io_vec: vecs } = bio;
      let done = iter.bi_bvec_done;
      for (let left = iter.bi_size, i = iter.bi_idx; left > 0; i++, done = 0) {
        const vec = vecs?.[i];
        if (vec === undefined) break;
        const bytes = Math.min(vec.bv_len - done, left);
        left -= bytes;
        const start = startOf(vec) + done;
        if (segment.extend(limits, start, bytes)) continue;
        if (segments === 1 && first !== null) first.bi_seg_front_size = segment.bytes;
        segments++;
        segment.begin(limits, start, bytes);
      }
    }
    if (segments === 1 && first !== null) first.bi_seg_front_size = segment.bytes;
    if (back !== null) back.bi_seg_back_size = segment.bytes;
    return segments;
  }

  /** Appends the memory of one bio to the list that ends with `last`; returns the new last entry. */
  function mapBio(q: RequestQueue, bio: Bio, sgl: Scatterlist, last: Scatterlist | null): Scatterlist | null {
    const { bi_iter: iter, bi_io_vec: vecs } = bio;
    if (!isWalked(bio)) {
      const vec = vecs?.[iter.bi_idx];
      if (!hasPayload(bio) || vec === undefined || bio.bi_vcnt === 0) return last;
      return newEntry(sgl, last, vec, vec.bv_len, 0);
    }
    let done = iter.bi_bvec_done;
    for (let left = iter.bi_size, i = iter.bi_idx; left > 0; i++, done = 0) {
      const vec = vecs?.[i];
      if (vec === undefined) break;
      const bytes = Math.min(vec.bv_len - done, left);
      left -= bytes;
      const start = startOf(vec) + done;
      if (last !== null && segment.extend(q.limits, start, bytes)) {
        last.length += bytes;
      } else {
        last = newEntry(sgl, last, vec, bytes, done);
        segment.begin(q.limits, start, bytes);
      }
    }
    return last;
  }

  /** Takes the next entry of the table, whatever mark an earlier use left there. */
  function newEntry(
    sgl: Scatterlist,
    last: Scatterlist | null,
    vec: BioVec,
    bytes: number,
    done: number,
  ): Scatterlist {
    const entry = last === null ? sgl : following(last);
    if (vec.bv_page !== null) k.scatterlist.sg_set_page(entry, vec.bv_page, bytes, vec.bv_offset + done);
    mapped++;
    return entry;
  }

  function following(last: Scatterlist): Scatterlist {
    k.scatterlist.sg_unmark_end(last);
    return k.scatterlist.sg_next(last) as Scatterlist; // without an end mark there is one, or sg_next() throws
  }

  /** Maps bios from `first` on and marks the end; SG-04's additions are the caller's. */
  function mapBios(
    q: RequestQueue,
    first: Bio | null,
    sgl: Scatterlist,
    stop: Bio | null,
  ): Scatterlist | null {
    let last: Scatterlist | null = null;
    segment.bytes = 0;
    mapped = 0;
    for (let bio = first; bio !== null && bio !== stop; bio = bio.bi_next) last = mapBio(q, bio, sgl, last);
    return last;
  }

  /** SG-04: lengthens the last entry to the pad mask's multiple, and adds the drain buffer. */
  function addExtras(q: RequestQueue, rq: Request, last: Scatterlist): Scatterlist {
    const over = rq.__data_len & q.dma_pad_mask;
    if ((rq.cmd_flags & REQ_COPY_USER) !== 0 && over !== 0) {
      const pad = q.dma_pad_mask + 1 - over;
      last.length += pad;
      rq.extra_len += pad;
    }
    if (q.dma_drain_size === 0 || q.dma_drain_needed?.(rq) !== true) return last;
    const buffer = k.frames.physToPage(q.dma_drain_buffer);
    if (buffer === null) throw new KernelBug('LIM-05', 'the drain buffer is not in RAM', 'blk_rq_map_sg');
    if (rq.op !== READ) k.memory.fill(q.dma_drain_buffer, 0, q.dma_drain_size);
    const entry = following(last);
    k.scatterlist.sg_set_page(entry, buffer, q.dma_drain_size, q.dma_drain_buffer - buffer.phys);
    rq.extra_len += q.dma_drain_size;
    return entry;
  }

  /** SG-02: whether the queue's virt boundary forbids that `bio` follows `prev`. */
  function gapBetween(q: RequestQueue, prev: Bio | null, bio: Bio): boolean {
    const mask = q.limits.virt_boundary_mask;
    if (mask === 0 || prev === null || prev.bi_iter.bi_size === 0) return false;
    const next = bio.bi_io_vec?.[bio.bi_iter.bi_idx];
    if (next === undefined || bio.bi_iter.bi_size === 0) return false;
    return (
      ((next.bv_offset + bio.bi_iter.bi_bvec_done) & (PAGE_SIZE - 1)) !== 0 || (endOf(prev) & mask) !== 0
    );
  }

  const api = {
    /** SG-02: whether the queue's virt boundary forbids that `bio` follows `prev` in one request. */
    bio_gap(q: RequestQueue, prev: Bio, bio: Bio): boolean {
      return gapBetween(q, prev, bio);
    },

    /** Counts the segments of one bio again and notes them in it. */
    blk_recount_segments(q: BioQueue, bio: Bio): void {
      bio.bi_phys_segments = count(q, bio, bio.bi_next);
      bio.bi_flags |= SEG_VALID;
    },

    /** Segments of one bio, counted if that has not been done. */
    bio_phys_segments(q: RequestQueue, bio: Bio): number {
      if ((bio.bi_flags & SEG_VALID) === 0) api.blk_recount_segments(q, bio);
      return bio.bi_phys_segments;
    },

    /** Counts the segments of a request again, from where its first bio stands. */
    blk_recalc_rq_segments(rq: Request): void {
      rq.nr_phys_segments = count(rq.q, rq.bio, null);
    },

    /** SG-02: whether the virt boundary forbids a vec at in-page `offset` behind `prev`. */
    bvec_gap_to_prev(q: BioQueue, prev: BioVec, offset: number): boolean {
      const mask = q.limits.virt_boundary_mask;
      return mask !== 0 && (offset !== 0 || ((prev.bv_offset + prev.bv_len) & mask) !== 0);
    },

    /**
     * Fills the table `sgl` with the memory of a request, as little of it as the limits allow, and marks the end.
     * Returns the entries used: at most rq.nr_phys_segments, or the table overflows.
     */
    blk_rq_map_sg(q: RequestQueue, rq: Request, sgl: Scatterlist): number {
      mustRequest(rq, 'blk_rq_map_sg');
      const last = mapBios(q, rq.bio, sgl, null);
      let entries = mapped; // filling the drain buffer may let an interrupt in, whose walk counts anew
      if (last !== null) {
        const end = addExtras(q, rq, last);
        if (end !== last) entries++;
        k.scatterlist.sg_mark_end(end);
      }
      if (entries > rq.nr_phys_segments) {
        const what = `${entries} entries for a request of ${rq.nr_phys_segments} segments`;
        k.warnings.warn('SG-03', what, 'blk_rq_map_sg');
      }
      return entries;
    },

    /** As blk_rq_map_sg() for one bio (3.11). */
    blk_bio_map_sg(q: RequestQueue, bio: Bio, sgl: Scatterlist): number {
      const last = mapBios(q, bio, sgl, bio.bi_next);
      if (last !== null) k.scatterlist.sg_mark_end(last);
      return mapped;
    },

    /** Sectors that a request may have, starting at `offset`: the hard limit for passthrough, the soft one else. */
    blk_rq_get_max_sectors(rq: Request, offset: number): number {
      return maxSectors(rq.q.limits, rq.cmd_type, rq.op, offset);
    },

    /**
     * Adds a bio at the end of a request; an empty one takes over what the bio is. 0, or -EINVAL when the device could
     * not take the result.
     */
    blk_rq_append_bio(rq: Request, bio: Bio): number {
      mustRequest(rq, 'blk_rq_append_bio');
      mustBio(bio, 'blk_rq_append_bio');
      const { q } = rq;
      if (rq.bio === null || rq.biotail === null) {
        api.blk_rq_bio_prep(q, rq, bio);
        return 0;
      }
      if (gapBetween(q, rq.biotail, bio)) return -EINVAL;
      const segments = rq.nr_phys_segments + api.bio_phys_segments(q, bio);
      const bytes = rq.__data_len + bio.bi_iter.bi_size;
      if (bytes > api.blk_rq_get_max_sectors(rq, rq.__sector) * 512 || segments > q.limits.max_segments) {
        rq.cmd_flags |= REQ_NOMERGE;
        return -EINVAL;
      }
      rq.nr_phys_segments = segments;
      rq.__data_len = bytes;
      rq.biotail.bi_next = bio;
      rq.biotail = bio;
      return 0;
    },

    /** Makes a bio the content of an empty request. */
    blk_rq_bio_prep(q: RequestQueue, rq: Request, bio: Bio): void {
      rq.op = bio.bi_op;
      rq.nr_phys_segments = api.bio_phys_segments(q, bio);
      rq.__data_len = bio.bi_iter.bi_size;
      rq.bio = rq.biotail = bio;
    },
  };
  return api;
}

/** True for a bio whose vecs are its data; the others carry at most one vec as a payload. */
function isWalked(bio: Bio): boolean {
  const op = bio.bi_op;
  return op !== REQ_OP_DISCARD && op !== REQ_OP_SECURE_ERASE && op !== REQ_OP_WRITE_SAME;
}

function maxSectors(limits: QueueLimits, type: number, op: number, offset: number): number {
  if (type !== REQ_TYPE_FS) return limits.max_hw_sectors;
  if (op === REQ_OP_DISCARD || op === REQ_OP_SECURE_ERASE) return limits.max_discard_sectors;
  if (op === REQ_OP_WRITE_SAME) return limits.max_write_same_sectors;
  return maxSectorsAt(limits, offset);
}

/** A discard counts as a segment of its own, for a driver that sends a payload with it. */
function hasPayload(bio: Bio): boolean {
  return bio.bi_iter.bi_size > 0;
}

/** Where in its page the last byte of a bio ends: offset of the byte behind it. */
function endOf(bio: Bio): number {
  const { bi_iter: iter, bi_io_vec: vecs } = bio;
  let done = iter.bi_bvec_done;
  let end = 0;
  for (let left = iter.bi_size, i = iter.bi_idx; left > 0; i++, done = 0) {
    const vec = vecs?.[i];
    if (vec === undefined) break;
    const bytes = Math.min(vec.bv_len - done, left);
    left -= bytes;
    end = vec.bv_offset + done + bytes;
  }
  return end;
}
