// Looking at bios and walking over their vecs (include/linux/bio.h, bvec.h). Plain functions: they need no kernel.

import { KernelBug, type Page } from '../kernel/index.ts';
import {
  type Bio,
  type BioVec,
  BvecIter,
  READ,
  REQ_OP_DISCARD,
  REQ_OP_READ,
  REQ_OP_SECURE_ERASE,
  REQ_OP_WRITE_SAME,
  WRITE,
} from './bio-struct.ts';
import type { Request } from './blkdev.ts';

/** The operation, REQ_OP_*. */
export function bio_op(bio: Bio): number {
  return bio.bi_op;
}

/** Sets the operation and the REQ_* flags. */
export function bio_set_op_attrs(bio: Bio, op: number, op_flags: number): void {
  bio.bi_op = op;
  bio.bi_opf = op_flags;
}

/** WRITE for everything but a read. */
export function bio_data_dir(bio: Bio): number {
  return bio.bi_op === REQ_OP_READ ? READ : WRITE;
}

/** Sectors of 512 bytes that are left. */
export function bio_sectors(bio: Bio): number {
  return bio.bi_iter.bi_size >>> 9;
}

/** First sector behind the bio. */
export function bio_end_sector(bio: Bio): number {
  return bio.bi_iter.bi_sector + bio_sectors(bio);
}

/** True when bytes move. */
export function bio_has_data(bio: Bio | null): boolean {
  if (bio === null || bio.bi_iter.bi_size === 0) return false;
  return bio.bi_op !== REQ_OP_DISCARD && bio.bi_op !== REQ_OP_SECURE_ERASE;
}

/** True when the vecs do not follow the sectors: there are none, or one stands for all. */
export function bio_no_advance_iter(bio: Bio): boolean {
  const op = bio.bi_op;
  return op === REQ_OP_DISCARD || op === REQ_OP_SECURE_ERASE || op === REQ_OP_WRITE_SAME;
}

/** `bit` is one of BIO_*. */
export function bio_flagged(bio: Bio, bit: number): boolean {
  return (bio.bi_flags & (1 << bit)) !== 0;
}

export function bio_set_flag(bio: Bio, bit: number): void {
  bio.bi_flags |= 1 << bit;
}

export function bio_clear_flag(bio: Bio, bit: number): void {
  bio.bi_flags &= ~(1 << bit);
}

/** The page under the iterator. */
export function bvec_iter_page(vecs: readonly BioVec[], iter: BvecIter): Page {
  return (vecs[iter.bi_idx] as BioVec).bv_page as Page; // bytes are left, so there is a vec with a page
}

/** Offset in that page. */
export function bvec_iter_offset(vecs: readonly BioVec[], iter: BvecIter): number {
  return (vecs[iter.bi_idx] as BioVec).bv_offset + iter.bi_bvec_done;
}

/** Bytes from there to the end of the vec, or of the bio. */
export function bvec_iter_len(vecs: readonly BioVec[], iter: BvecIter): number {
  return Math.min((vecs[iter.bi_idx] as BioVec).bv_len - iter.bi_bvec_done, iter.bi_size);
}

/** Physical address under the iterator. */
export function bvec_iter_phys(vecs: readonly BioVec[], iter: BvecIter): number {
  return bvec_iter_page(vecs, iter).phys + bvec_iter_offset(vecs, iter);
}

/** Moves an iterator over the vecs; false when there are fewer than `bytes`: it stands at the end then. */
export function bvec_iter_advance(vecs: readonly BioVec[], iter: BvecIter, bytes: number): boolean {
  const enough = bytes <= iter.bi_size;
  let left = enough ? bytes : iter.bi_size;
  while (left > 0) {
    const vec = vecs[iter.bi_idx] as BioVec; // bi_size says that there is one
    const step = Math.min(left, vec.bv_len - iter.bi_bvec_done);
    left -= step;
    iter.bi_size -= step;
    iter.bi_bvec_done += step;
    if (iter.bi_bvec_done === vec.bv_len) {
      iter.bi_bvec_done = 0;
      iter.bi_idx++;
    }
  }
  return enough;
}

/** Moves an iterator of a bio, its sector included; false when there are fewer than `bytes`. */
export function bio_advance_iter(bio: Bio, iter: BvecIter, bytes: number): boolean {
  iter.bi_sector += bytes >>> 9;
  if (bio_no_advance_iter(bio) || bio.bi_io_vec === null) {
    const enough = bytes <= iter.bi_size;
    iter.bi_size -= Math.min(bytes, iter.bi_size);
    return enough;
  }
  return bvec_iter_advance(bio.bi_io_vec, iter, bytes);
}

/**
 * Calls `each` for every piece of memory that is left, in order: what bio_for_each_segment() loops over. The vec is one
 * object that is filled anew each time; the iterator stands on it. Of a write-same it is the one block of data.
 */
export function bio_for_each_segment(bio: Bio, each: (vec: BioVec, iter: BvecIter) => void): void {
  const { bi_io_vec } = bio;
  if (bi_io_vec === null || !bio_has_data(bio)) return;
  const iter = new BvecIter().assign(bio.bi_iter);
  const vec = { bv_page: null, bv_len: 0, bv_offset: 0 } as BioVec;
  while (iter.bi_size > 0) {
    vec.bv_page = bvec_iter_page(bi_io_vec, iter);
    vec.bv_offset = bvec_iter_offset(bi_io_vec, iter);
    vec.bv_len = bvec_iter_len(bi_io_vec, iter);
    if (vec.bv_len === 0) throw new KernelBug('bvec-empty', `vec ${iter.bi_idx} has no bytes`);
    each(vec, iter);
    if (bio.bi_op === REQ_OP_WRITE_SAME) return;
    bio_advance_iter(bio, iter, vec.bv_len);
  }
}

/** Calls `each` for every vec in use, whatever is done already: for who owns the bio. */
export function bio_for_each_segment_all(bio: Bio, each: (vec: BioVec, i: number) => void): void {
  for (let i = 0; i < bio.bi_vcnt; i++) each(bio.bi_io_vec?.[i] as BioVec, i); // bi_vcnt of them are there
}

/** Number of pieces that bio_for_each_segment() gives; discards count as one. */
export function bio_segments(bio: Bio): number {
  if (bio_no_advance_iter(bio)) return 1;
  const { bi_io_vec } = bio;
  if (bi_io_vec === null) return 0;
  let { bi_size, bi_idx, bi_bvec_done } = bio.bi_iter;
  let count = 0;
  for (; bi_size > 0; bi_idx++) {
    bi_size -= Math.min((bi_io_vec[bi_idx] as BioVec).bv_len - bi_bvec_done, bi_size);
    bi_bvec_done = 0;
    count++;
  }
  return count;
}

/** WRITE for every request but a read. */
export function rq_data_dir(rq: Request): number {
  return rq.op === REQ_OP_READ ? READ : WRITE;
}

/** bio_for_each_segment() for all bios of a request that are left. */
export function rq_for_each_segment(rq: Request, each: (vec: BioVec, iter: BvecIter) => void): void {
  for (let bio = rq.bio; bio !== null; bio = bio.bi_next) bio_for_each_segment(bio, each);
}
