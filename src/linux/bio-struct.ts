// struct bio and what belongs to it, in the model of Linux 4.8: an array of vecs that nobody changes once the bio is on
// its way, and an iterator that says how far it got. The functions are in bio.ts, bio-set.ts and bio-iter.ts.

import type { NoSleep, Page, Sleeps } from '../kernel/index.ts';
import type { BioSet } from './bio-set.ts';
import type { LinuxTask } from './task.ts';

// ---- operations and flags of a bio. Linux 4.8 packs both into bi_opf and offers bio_op() to read the operation; here
// they are two fields, bi_op and bi_opf. Bit 0 is free of flags: in the rw of 3.x it is the direction.

export const REQ_OP_READ = 0;
export const REQ_OP_WRITE = 1;
export const REQ_OP_DISCARD = 2;
export const REQ_OP_SECURE_ERASE = 3;
export const REQ_OP_WRITE_SAME = 4;
export const REQ_OP_FLUSH = 5;

export const REQ_FAILFAST_DEV = 0x002;
export const REQ_FAILFAST_TRANSPORT = 0x004;
export const REQ_FAILFAST_DRIVER = 0x008;
/** Somebody waits for it. */
export const REQ_SYNC = 0x010;
export const REQ_META = 0x020;
export const REQ_PRIO = 0x040;
export const REQ_NOIDLE = 0x080;
export const REQ_INTEGRITY = 0x100;
/** To the medium, past the write cache. */
export const REQ_FUA = 0x200;
/** Empty the write cache first. */
export const REQ_PREFLUSH = 0x400;
export const REQ_RAHEAD = 0x800;
/** Must stay a request of its own. */
export const REQ_NOMERGE = 0x4000;

/** Data direction: the lowest bit of an operation. */
export const READ = 0;
export const WRITE = 1;

// ---- bi_flags: bit numbers for bio_flagged(), bio_set_flag(), bio_clear_flag().

/** 3.x: no error so far. 4.8 has bi_error instead; both are kept. */
export const BIO_UPTODATE = 0;
/** bi_phys_segments is right. */
export const BIO_SEG_VALID = 1;
/** Shares its vecs with another bio. */
export const BIO_CLONED = 2;
/** A clone made by the bounce code. */
export const BIO_BOUNCED = 3;
/** Holds pinned user pages. */
export const BIO_USER_MAPPED = 4;
/** Mapped without user memory. */
export const BIO_NULL_MAPPED = 5;
export const BIO_QUIET = 6;
/** __bi_remaining counts. */
export const BIO_CHAIN = 7;
/** 3.x: a file system's snapshot; must not change while it is written. */
export const BIO_SNAP_STABLE = 8;
/** Its end is to be traced: it went through generic_make_request(). */
export const BIO_TRACE_COMPLETION = 9;
/** Flags from here up survive bio_reset(). */
export const BIO_RESET_BITS = 13;
/** There was a bio_get(): __bi_cnt counts. Above the line, or bio_reset() would lose references. */
export const BIO_REFFED = 13;

/** Vecs inside every bio of a set. */
export const BIO_INLINE_VECS = 4;
/** Vecs that a bio of a set can have at most. */
export const BIO_MAX_PAGES = 256;
/** Vecs that a bio without a set can have at most. */
export const UIO_MAXIOV = 1024;

/** One piece of memory: bv_len bytes from bv_offset on in bv_page. It may reach into the pages that follow. */
export class BioVec {
  bv_page: Page | null = null;
  bv_len = 0;
  bv_offset = 0;
}

/** Where in its vecs a bio stands, and where on the device. */
export class BvecIter {
  /** Sector of 512 bytes. */
  bi_sector = 0;
  /** Bytes left. */
  bi_size = 0;
  /** Current vec. */
  bi_idx = 0;
  /** Bytes of the current vec that are done. */
  bi_bvec_done = 0;

  assign(other: BvecIter): this {
    this.bi_sector = other.bi_sector;
    this.bi_size = other.bi_size;
    this.bi_idx = other.bi_idx;
    this.bi_bvec_done = other.bi_bvec_done;
    return this;
  }
}

/** Takes a bio for the queue; may sleep. Declared as a method so that a queue may ask for its own kind. */
type MakeRequest = { call(q: BioQueue, bio: Bio): Sleeps<void> }['call'];

/** What merge_bvec_fn of 3.x is asked: the bio so far, as numbers. */
export interface BvecMergeData {
  readonly bi_bdev: BlockDevice | null;
  readonly bi_sector: number;
  readonly bi_size: number;
  readonly bi_op: number;
}

/** What the functions on bios need of a queue; RequestQueue of blkdev.ts satisfies it. */
export interface BioQueue {
  readonly limits: {
    /** Sectors of 512 bytes. */
    readonly max_hw_sectors: number;
    readonly max_sectors: number;
    readonly max_write_same_sectors: number;
    readonly max_discard_sectors: number;
    readonly max_segments: number;
    /** Bytes. */
    readonly max_segment_size: number;
    readonly logical_block_size: number;
    readonly seg_boundary_mask: number;
    /** 0: none. */
    readonly virt_boundary_mask: number;
    /** Neighbouring vecs may share a segment. */
    readonly cluster: boolean;
  };
  readonly make_request_fn: MakeRequest | null;
  readonly dying: boolean;
  /** There is a volatile write cache. */
  readonly wc: boolean;
  readonly discard: boolean;
  readonly secure_erase: boolean;
  /** 3.x: how many bytes of this vec the device takes at the end of that bio. */
  readonly merge_bvec_fn?: ((q: BioQueue, bvm: BvecMergeData, vec: BioVec) => number) | null;
}

/** A block device or one of its partitions. */
export interface BlockDevice<Queue extends BioQueue = BioQueue> {
  /** For messages and traces. */
  readonly bd_name: string;
  /** Sectors of 512 bytes; 0 when nobody knows. */
  readonly nr_sects: number;
  /** First sector on the whole device; 0 for a whole device. */
  readonly start_sect: number;
  /** The whole device; itself when it is one. */
  readonly bd_contains: BlockDevice<Queue>;
  /** Null: the device is gone. */
  readonly queue: Queue | null;
}

/** Called once when the bio has ended, in any context. `error` is bi_error, as 3.x passes it. */
export type BioEndIo = (bio: Bio, error: number) => NoSleep;

/** One transfer between memory and a device. Made by bio_alloc_bioset() and its short forms. */
export class Bio {
  bi_next: Bio | null = null;
  bi_bdev: BlockDevice | null = null;
  /** 0 or -errno. */
  bi_error = 0;
  /** REQ_OP_*. */
  bi_op = REQ_OP_READ;
  /** REQ_* flags. */
  bi_opf = 0;
  bi_flags = 0;
  readonly bi_iter = new BvecIter();
  /** Segments after merging; right while BIO_SEG_VALID is set. */
  bi_phys_segments = 0;
  bi_seg_front_size = 0;
  bi_seg_back_size = 0;
  /** Ends still to come before the bio has ended; counts with BIO_CHAIN. */
  __bi_remaining = 1;
  bi_end_io: BioEndIo | null = null;
  bi_private: unknown = null;
  /** The task on whose account it is (bi_ioc and bi_css of C); null: of whoever submits it. */
  bi_ioc: LinuxTask | null = null;
  /** Vecs in use. */
  bi_vcnt = 0;
  /** Vecs that there is room for. */
  bi_max_vecs = 0;
  /** References; counts with BIO_REFFED. */
  __bi_cnt = 1;
  bi_io_vec: BioVec[] | null = null;
  /** Which of its set's slabs the vecs came from, as an index into BVEC_CLASSES; -1: they are its own or shared. */
  bi_vec_class = -1;
  bi_pool: BioSet | null = null;

  /** The vecs that are part of the bio itself. */
  readonly bi_inline_vecs: BioVec[];
  /** What stands before the bio in its element: bytes that are never cleared. */
  readonly front_pad: Uint8Array;
  /**
   * What container_of() finds: the object in which the owner of the set embeds its bios. Like the bytes of the pad it
   * belongs to the element and is still there when the element is handed out again.
   */
  container: object | null = null;
  /** False between the last bio_put() and the next allocation. */
  live = true;

  constructor(inline_vecs: number, front_pad = 0) {
    this.bi_inline_vecs = Array.from({ length: inline_vecs }, () => new BioVec());
    this.front_pad = front_pad === 0 ? NO_BYTES : new Uint8Array(front_pad);
  }
}

const NO_BYTES = new Uint8Array(0);
