// What a block device is made of (include/linux/blkdev.h of 4.8): the limits of its hardware, its queue, its requests,
// and the disk that it shows. Only data; settings.ts sets limits, request.ts and merge.ts do the work.
//
// Page frame numbers, sectors, addresses and masks of addresses are numbers below 2^53; a mask is 2^n - 1.

import type { Completion, NoSleep, Sleeps, SpinLock, Timer, WaitQueue } from '../kernel/index.ts';
import type { BioSet } from './bio-set.ts';
import type { Bio, BioQueue, BlockDevice } from './bio-struct.ts';

export const BLKDEV_MIN_RQ = 4;
/** Requests of one class (synchronous or not) that a queue has if nobody sets another number. */
export const BLKDEV_MAX_RQ = 128;
export const BLK_MAX_CDB = 32;
export const SCSI_SENSE_BUFFERSIZE = 96;

export const BLK_MAX_SEGMENTS = 128;
export const BLK_SAFE_MAX_SECTORS = 255;
/** Cap on the soft limit of sectors. */
export const BLK_DEF_MAX_SECTORS = 2560;
export const BLK_MAX_SEGMENT_SIZE = 65536;
export const BLK_SEG_BOUNDARY_MASK = 0xffffffff;
/** Bounce limits: nothing is bounced (a real address mask in C), and what lies in the ISA zone. */
export const BLK_BOUNCE_ANY = 2 ** 53 - 1;
export const BLK_BOUNCE_ISA = 2 ** 24 - 1;

/** `Request.cmd_type`: from a file system, a passthrough command, a driver's own. */
export const REQ_TYPE_FS = 1;
export const REQ_TYPE_BLOCK_PC = 2;
export const REQ_TYPE_DRV_PRIV = 3;

/** Flags that only a request carries, in `Request.cmd_flags` beside those of its first bio. */
export const REQ_STARTED = 1 << 15;
/** The driver has prepared the request; it is not prepared again when it comes back from a requeue. */
export const REQ_DONTPREP = 1 << 16;
export const REQ_FAILED = 1 << 19;
/** No message when it fails. */
export const REQ_QUIET = 1 << 20;
/** Its data is in pages of the kernel, not in those of the user: blk_rq_map_sg() may lengthen it. */
export const REQ_COPY_USER = 1 << 23;

/** What rq_timed_out_fn says: still open, completed by the handler, give it more time. */
export const BLK_EH_NOT_HANDLED = 0;
export const BLK_EH_HANDLED = 1;
export const BLK_EH_RESET_TIMER = 2;

/** What prep_rq_fn says: prepared, try again later, fail with -EIO. */
export const BLKPREP_OK = 0;
export const BLKPREP_DEFER = 1;
export const BLKPREP_KILL = 2;

/** What the hardware behind a queue can do (struct queue_limits). Set by the functions of settings.ts. */
export class QueueLimits {
  /** Highest page frame that the device reaches. */
  bounce_pfn = Math.floor(BLK_BOUNCE_ANY / 4096);
  /** A segment may not cross a multiple of this + 1. */
  seg_boundary_mask = BLK_SEG_BOUNDARY_MASK;
  /** Where one segment ends and the next begins, these address bits must be 0; 0: anything goes. */
  virt_boundary_mask = 0;
  max_hw_sectors = BLK_SAFE_MAX_SECTORS;
  max_dev_sectors = 0;
  /** No request may cross a multiple of this many sectors; 0: none. */
  chunk_sectors = 0;
  max_sectors = BLK_SAFE_MAX_SECTORS;
  max_segment_size = BLK_MAX_SEGMENT_SIZE;
  physical_block_size = 512;
  alignment_offset = 0;
  io_min = 512;
  io_opt = 0;
  max_discard_sectors = 0;
  max_hw_discard_sectors = 0;
  max_write_same_sectors = 0;
  discard_granularity = 0;
  discard_alignment = 0;
  logical_block_size = 512;
  max_segments = BLK_MAX_SEGMENTS;
  misaligned = false;
  discard_misaligned = false;
  /** Whether neighbouring vecs may become one segment. */
  cluster = true;
  discard_zeroes_data = false;
}

/** Requests in use: index 0 asynchronous, 1 synchronous (reads, and writes that somebody waits for). */
export interface RequestList {
  readonly count: [number, number];
  readonly wait: readonly [WaitQueue, WaitQueue];
}

/** Reads the next request from q.queue_head and starts it; called with q.queue_lock held and interrupts off. */
export type RequestFn = (q: RequestQueue) => NoSleep;
/** Takes a bio; may sleep. */
export type MakeRequestFn = (q: RequestQueue, bio: Bio) => Sleeps<void>;
/** Called when a request has ended, in any context. */
export type RqEndIoFn = (rq: Request, error: number) => NoSleep;

export interface RequestQueueInit {
  readonly id: number;
  readonly queue_lock: SpinLock;
  readonly rl: RequestList;
  /** Tasks in blk_cleanup_queue(). */
  readonly drained: WaitQueue;
  readonly bio_split: BioSet;
  readonly makeTimer: (q: RequestQueue) => Timer;
}

/** One queue of requests, or of bios (struct request_queue). Made by blk_alloc_queue() and blk_init_queue(). */
export class RequestQueue implements BioQueue {
  readonly id: number;
  readonly queue_lock: SpinLock;
  readonly limits = new QueueLimits();
  readonly rl: RequestList;
  make_request_fn: MakeRequestFn | null = null;
  /** Null for a queue that takes bios only. */
  request_fn: RequestFn | null = null;
  prep_rq_fn: ((q: RequestQueue, rq: Request) => number) | null = null;
  unprep_rq_fn: ((q: RequestQueue, rq: Request) => NoSleep) | null = null;
  /** Ends a request that blk_complete_request() was called for. */
  softirq_done_fn: ((rq: Request) => NoSleep) | null = null;
  rq_timed_out_fn: ((rq: Request) => number) | null = null;
  /** Says whether a request needs the drain buffer at its end. */
  dma_drain_needed: ((rq: Request) => boolean) | null = null;
  /** The driver's own. */
  queuedata: unknown = null;

  /** GFP flags for bounce pages: __GFP_DMA when they must come from the ISA pool. */
  bounce_gfp = 0;
  /** 3.x: pages must not change while the device reads them (BDI_CAP_STABLE_WRITES). */
  stable_pages_required = false;
  /** Addresses of user memory that are mapped directly are multiples of this + 1. */
  dma_alignment = 511;
  /** Lengths are padded to a multiple of this + 1. */
  dma_pad_mask = 0;
  /** Physical address of the drain buffer; 0: none. */
  dma_drain_buffer = 0;
  dma_drain_size = 0;

  nr_requests = BLKDEV_MAX_RQ;
  /** Virtual ns until a started request times out; 0: never. */
  rq_timeout = 0;
  dying = false;
  stopped = false;
  /** Every bio becomes a request of its own. */
  nomerges = false;
  /** The device has a volatile write cache, and knows FUA. */
  wc = false;
  fua = false;
  /** Discards are known; and secure ones. */
  discard = false;
  secure_erase = false;

  /** Requests that wait for the driver, first to last. */
  head: Request | null = null;
  tail: Request | null = null;
  /** Requests that the driver has started. */
  in_flight = 0;
  /** Those of them that have a time limit; and the timer for the one whose time ends first. */
  first_timed: Request | null = null;
  last_timed: Request | null = null;
  readonly timeout: Timer;
  /** Tasks in blk_cleanup_queue() that wait until every request has come back. */
  readonly drained: WaitQueue;
  /** Where the pieces of bios come from that are too large for the device. */
  readonly bio_split: BioSet;
  /** Requests that nobody uses now. */
  free_requests: Request | null = null;

  constructor(init: RequestQueueInit) {
    this.id = init.id;
    this.queue_lock = init.queue_lock;
    this.rl = init.rl;
    this.drained = init.drained;
    this.bio_split = init.bio_split;
    this.timeout = init.makeTimer(this);
  }
}

/** One request (struct request). Taken from its queue's list and given back to it: never made while I/O runs. */
export class Request {
  readonly q: RequestQueue;
  rq_disk: Gendisk | null = null;
  bio: Bio | null = null;
  biotail: Bio | null = null;
  /** Bytes that are still to be done; blk_rq_bytes(). */
  __data_len = 0;
  /** First sector of 512 bytes; blk_rq_pos(). */
  __sector = 0;
  /** Segments that blk_rq_map_sg() needs at most. */
  nr_phys_segments = 0;

  cmd_type = REQ_TYPE_FS;
  /** REQ_OP_*. */
  op = 0;
  /** REQ_* flags, without the operation. */
  cmd_flags = 0;
  readonly cmd = new Uint8Array(BLK_MAX_CDB);
  cmd_len = BLK_MAX_CDB;
  /** Where sense data goes: the caller's, or none; blk_execute_rq() lends one. */
  sense: Uint8Array | null = null;
  sense_len = 0;
  /** Why mapping user memory failed: the errno that its -EINVAL hides; 0: it did not. */
  map_error = 0;
  /** How the command ended, as the driver says; 0: well. */
  errors = 0;
  /** resid_len, for who only shows it. */
  resid = 0;
  /** Somebody has read resid_len since it was set, or it says nothing. */
  residSeen = true;
  /** Bytes that padding and draining have added to the scatter list. */
  extra_len = 0;

  /** Virtual ns; 0: the queue's. */
  timeout = 0;
  retries = 0;
  end_io: RqEndIoFn | null = null;
  end_io_data: unknown = null;
  /** The driver's own. */
  special: unknown = null;
  tag = -1;
  ref_count = 0;
  /** Completed, by the driver or by the time-out handler: whoever is first. */
  complete = false;
  /** Index into RequestQueue.rl that the request was counted in. */
  sync: 0 | 1 = 0;

  /** Neighbours in RequestQueue.head, or in RequestQueue.first_timed. */
  next: Request | null = null;
  prev: Request | null = null;
  queued = false;
  /** In the list of those with a time limit, and when it is over, in virtual ns. */
  timed = false;
  deadline = 0;
  /** What blk_execute_rq() lends as `sense`. */
  readonly own_sense = new Uint8Array(SCSI_SENSE_BUFFERSIZE);

  /** What blk_execute_rq() sleeps on. */
  readonly wait: Completion;

  constructor(q: RequestQueue, wait: Completion) {
    this.q = q;
    this.wait = wait;
  }

  /** Bytes asked for and not moved. */
  get resid_len(): number {
    this.residSeen = true;
    return this.resid;
  }

  set resid_len(bytes: number) {
    this.resid = bytes;
    this.residSeen = bytes === 0;
  }

  /** Makes it as new. */
  reset(): void {
    this.rq_disk = null;
    this.bio = this.biotail = null;
    this.__data_len = this.__sector = this.nr_phys_segments = 0;
    this.cmd_type = REQ_TYPE_FS;
    this.op = this.cmd_flags = 0;
    this.cmd_len = BLK_MAX_CDB;
    this.sense = null;
    this.sense_len = this.errors = this.resid_len = this.extra_len = 0;
    this.timeout = this.retries = this.map_error = 0;
    this.end_io = null;
    this.end_io_data = this.special = null;
    this.tag = -1;
    this.complete = false;
  }
}

/** A disk, as the rest of the kernel knows it (struct gendisk). */
export class Gendisk {
  disk_name: string;
  readonly queue: RequestQueue;
  private_data: unknown = null;
  /** The whole disk as a block device, partition 0. */
  readonly part0: DiskDevice;
  /** Its partitions by number, 1 and up. See partition.ts. */
  readonly part_tbl = new Map<number, Partition>();

  constructor(disk_name: string, queue: RequestQueue) {
    this.disk_name = disk_name;
    this.queue = queue;
    this.part0 = new DiskDevice(this);
  }
}

/** What was done on a device, index 0 for reads and 1 for writes (struct disk_stats). See genhd.ts. */
export class DiskStats {
  readonly ios: [number, number] = [0, 0];
  /** Sectors of 512 bytes. */
  readonly sectors: [number, number] = [0, 0];
  /** Jiffies that requests took, all added up. */
  readonly ticks: [number, number] = [0, 0];
  /** Jiffies during which there was something to do, and the same times what there was to do. */
  io_ticks = 0;
  time_in_queue = 0;
  readonly in_flight: [number, number] = [0, 0];
  /** When the two sums of time were brought up to date. */
  stamp = 0;
}

/** A whole disk as bios name it in bi_bdev. */
export class DiskDevice implements BlockDevice<RequestQueue> {
  readonly bd_disk: Gendisk;
  readonly start_sect = 0;
  /** Sectors of 512 bytes; 0: unknown. Set by set_capacity(). */
  nr_sects = 0;
  readonly dkstats = new DiskStats();

  constructor(bd_disk: Gendisk) {
    this.bd_disk = bd_disk;
  }

  get bd_name(): string {
    return this.bd_disk.disk_name;
  }

  get bd_contains(): DiskDevice {
    return this;
  }

  get queue(): RequestQueue {
    return this.bd_disk.queue;
  }
}

/** A partition of a disk as bios name it in bi_bdev (struct hd_struct). Made by add_partition(). */
export class Partition implements BlockDevice<RequestQueue> {
  readonly bd_contains: DiskDevice;
  readonly partno: number;
  readonly start_sect: number;
  readonly nr_sects: number;
  readonly dkstats = new DiskStats();
  /** False once delete_partition() has taken it away: bios for it fail then. */
  live = true;

  constructor(disk: Gendisk, partno: number, start_sect: number, nr_sects: number) {
    this.bd_contains = disk.part0;
    this.partno = partno;
    this.start_sect = start_sect;
    this.nr_sects = nr_sects;
  }

  get bd_disk(): Gendisk {
    return this.bd_contains.bd_disk;
  }

  /** `sda1`, but `nvme0n1p1` behind a name that ends with a digit. */
  get bd_name(): string {
    const { disk_name } = this.bd_disk;
    return `${disk_name}${/\d$/.test(disk_name) ? 'p' : ''}${this.partno}`;
  }

  get queue(): RequestQueue | null {
    return this.live ? this.bd_disk.queue : null;
  }
}
