// dm-io (drivers/md/dm-io.c of 4.8, Documentation/device-mapper/dm-io): I/O from one buffer to one or more regions of
// block devices. The result is a set of bits, one a region, so that a mirror knows which of its sides failed.
//
// A request becomes bios, as many as the regions and the 256 vecs of a bio make necessary; when the last of them has
// ended the caller is told, by a call-back or by waking it. The old interface (2.6) is in dm-io-2x.ts.

import { Completion, KernelBug, type NoSleep, PAGE_SIZE, type Page, type Sleeps } from '../kernel/index.ts';
import { badArgument } from './argument.ts';
import { bio_data_dir } from './bio-iter.ts';
import type { BioSet } from './bio-set.ts';
import {
  BIO_MAX_PAGES,
  type Bio,
  type BioVec,
  type BlockDevice,
  READ,
  REQ_OP_DISCARD,
  REQ_OP_READ,
  REQ_OP_SECURE_ERASE,
  REQ_OP_WRITE_SAME,
  REQ_PREFLUSH,
  REQ_SYNC,
} from './bio-struct.ts';
import { EINVAL, EIO, ENOMEM, type ErrPtr } from './errno.ts';
import { GFP_NOIO } from './gfp.ts';
import type { Linux } from './kernel.ts';
import type { Mempool } from './mempool.ts';
import { panic } from './panic.ts';

/** Regions that one request can have: bits of an unsigned long. */
export const DM_IO_MAX_REGIONS = 64;
/** Elements in each reserve of a client. */
export const DM_RESERVED_BIO_BASED_IOS = 16;

/** `DmIoMemory.type`: what the buffer is. The array of vecs is what 3.x has in the place of a bio. */
export const DM_IO_PAGE_LIST = 0 as const;
export const DM_IO_BIO = 1 as const;
export const DM_IO_VMA = 2 as const;
export const DM_IO_KMEM = 3 as const;
export const DM_IO_BVEC = 4 as const;

const SECTOR = 512;
/** Sectors of one bio without data: its size in bytes has 32 bits. A multiple of every logical block up to 64 KiB. */
const MAX_BARE_SECTORS = 0x7fff80;

/** One place on one device, in sectors of 512 bytes (struct dm_io_region; io_region in 2.6). */
export interface DmIoRegion {
  bdev: BlockDevice;
  sector: number;
  count: number;
}

/** Pages in a row (struct page_list). */
export interface PageList {
  next: PageList | null;
  page: Page;
}

/** The buffer: one of five kinds. `offset` is that of the first byte in the first page of a list. */
export type DmIoMemory =
  | { type: typeof DM_IO_PAGE_LIST; offset: number; ptr: { pl: PageList } }
  | { type: typeof DM_IO_BIO; ptr: { bio: Bio } }
  | { type: typeof DM_IO_VMA; ptr: { vma: number } }
  | { type: typeof DM_IO_KMEM; ptr: { addr: number } }
  | { type: typeof DM_IO_BVEC; ptr: { bvec: readonly BioVec[] } };

/** Called once when every bio has ended, in any context. `error_bits` is never changed afterwards. */
export type IoNotifyFn = (error_bits: ConstErrorBits, context: unknown) => NoSleep;

/** One request (struct dm_io_request). `notify.fn` null: the caller waits. */
export interface DmIoRequest {
  bi_op: number;
  bi_op_flags: number;
  mem: DmIoMemory;
  notify: { fn: IoNotifyFn | null; context?: unknown };
  client: DmIoClient;
}

/**
 * The regions that failed, by index: the unsigned long of 64 bits that C has, in two halves, because a number of
 * JavaScript holds 53 bits.
 */
export class ErrorBits {
  /** Regions 0..31 and 32..63, as unsigned numbers. */
  low = 0;
  high = 0;

  set(region: number): void {
    if (region < 32) this.low = (this.low | (1 << region)) >>> 0;
    else this.high = (this.high | (1 << (region - 32))) >>> 0;
  }

  test(region: number): boolean {
    return (((region < 32 ? this.low : this.high) >>> (region % 32)) & 1) !== 0;
  }

  /** True when a region failed. */
  get any(): boolean {
    return (this.low | this.high) !== 0;
  }

  /** The regions that failed, ascending. */
  regions(): number[] {
    return Array.from({ length: DM_IO_MAX_REGIONS }, (_, region) => region).filter((region) =>
      this.test(region),
    );
  }

  assign(other: ConstErrorBits): void {
    this.low = other.low;
    this.high = other.high;
  }
}

export type ConstErrorBits = Readonly<Omit<ErrorBits, 'set' | 'assign'>>;

/** What every request that went well says. */
const NO_ERRORS: ConstErrorBits = Object.freeze(new ErrorBits());

/** Where bi_private of a bio points: C packs both into one word. */
interface RegionOfIo {
  readonly io: DmIo;
  readonly region: number;
}

/** One request under way (struct io). */
export class DmIo {
  /** Bios under way, and one for who still submits. */
  count = 0;
  /** Null: no region failed so far. Handed to the caller, so never used twice. */
  error_bits: ErrorBits | null = null;
  client: DmIoClient | null = null;
  callback: IoNotifyFn | null = null;
  context: unknown = null;
  /** What is to be invalidated after a read into a vmalloc area. */
  vma_invalidate_address = 0;
  vma_invalidate_size = 0;
  /** Where the walk over the buffer stands. */
  readonly dp = new DataPages();
  private readonly slots: RegionOfIo[] = [];

  slot(region: number): RegionOfIo {
    let slot = this.slots[region];
    if (slot === undefined) {
      slot = { io: this, region };
      this.slots[region] = slot;
    }
    return slot;
  }
}

/** A walk over a buffer, piece by piece (struct dpages). */
class DataPages {
  mem: DmIoMemory | null = null;
  pl: PageList | null = null;
  vecs: readonly BioVec[] = NO_VECS;
  index = 0;
  /** Bytes of the current vec that are done, or the place of the next byte in the page of a list. */
  offset = 0;
  addr = 0;
  /** The piece that load() found. */
  page: Page | null = null;
  page_offset = 0;
  len = 0;

  /** Puts it at the beginning of the buffer. */
  start(mem: DmIoMemory): void {
    this.mem = mem;
    this.pl = null;
    this.vecs = NO_VECS;
    this.index = this.offset = this.addr = 0;
    switch (mem.type) {
      case DM_IO_PAGE_LIST:
        this.pl = mem.ptr.pl;
        this.offset = mem.offset;
        break;
      case DM_IO_BVEC:
        this.vecs = mem.ptr.bvec;
        break;
      case DM_IO_BIO:
        this.vecs = mem.ptr.bio.bi_io_vec ?? NO_VECS;
        this.index = mem.ptr.bio.bi_iter.bi_idx;
        this.offset = mem.ptr.bio.bi_iter.bi_bvec_done;
        break;
      case DM_IO_VMA:
        this.addr = mem.ptr.vma;
        break;
      case DM_IO_KMEM:
        this.addr = mem.ptr.addr;
        break;
    }
  }

  /** Goes on by `bytes`, at most as many as the piece has. */
  advance(bytes: number): void {
    this.offset += bytes;
    this.addr += bytes;
    if (bytes < this.len) return;
    this.offset = 0;
    this.index++;
    if (this.pl !== null) this.pl = this.pl.next;
  }

  /** Bytes before the first one in its page, where the pieces are pages: they take a part of a vec, too. */
  get skew(): number {
    const type = this.mem?.type;
    if (type === DM_IO_PAGE_LIST) return this.offset;
    return type === DM_IO_VMA || type === DM_IO_KMEM ? this.addr % PAGE_SIZE : 0;
  }
}

const NO_VECS: readonly BioVec[] = [];

/** Who does I/O, with reserves of its own (struct dm_io_client). Made by dm_io_client_create(). */
export class DmIoClient {
  readonly pool: Mempool<DmIo>;
  readonly bios: BioSet;
  live = true;

  constructor(pool: Mempool<DmIo>, bios: BioSet) {
    this.pool = pool;
    this.bios = bios;
  }
}

export function createDmIo(k: Linux) {
  const cache = k.slab.kmem_cache_create('dm_io', 64, 0, 0, () => new DmIo()) ?? panic('dm_io');

  // ---- the buffer

  /** Finds the piece under the walk. @throws KernelBug `DMIO-06` behind the end of the buffer */
  function load(dp: DataPages): void {
    switch (dp.mem?.type) {
      case DM_IO_PAGE_LIST:
        found(dp, dp.pl?.page ?? null, dp.offset, PAGE_SIZE - dp.offset);
        return;
      case DM_IO_VMA:
        found(dp, k.vmalloc.vmalloc_to_page(dp.addr), dp.addr % PAGE_SIZE, PAGE_SIZE - (dp.addr % PAGE_SIZE));
        return;
      case DM_IO_KMEM:
        found(dp, k.pageAlloc.virt_to_page(dp.addr), dp.addr % PAGE_SIZE, PAGE_SIZE - (dp.addr % PAGE_SIZE));
        return;
      case DM_IO_BIO:
      case DM_IO_BVEC:
      case undefined: {
        while (dp.vecs[dp.index]?.bv_len === 0) dp.index++;
        const vec = dp.vecs[dp.index];
        found(dp, vec?.bv_page ?? null, (vec?.bv_offset ?? 0) + dp.offset, (vec?.bv_len ?? 0) - dp.offset);
      }
    }
  }

  function found(dp: DataPages, page: Page | null, offset: number, len: number): void {
    if (page === null) throw new KernelBug('DMIO-06', 'the buffer ends before the region does', 'dm_io');
    dp.page = page;
    dp.page_offset = offset;
    dp.len = len;
  }

  /** Whether the walk can begin; -EINVAL for a kind of memory that nobody knows. */
  function checkMemory(mem: DmIoMemory): number {
    switch (mem.type) {
      case DM_IO_PAGE_LIST: {
        const { offset } = mem;
        if (offset >= 0 && offset < PAGE_SIZE && offset % SECTOR === 0) return 0;
        throw new KernelBug('DMIO-06', `the list begins at offset ${offset} of its first page`, 'dm_io');
      }
      case DM_IO_BIO:
      case DM_IO_BVEC:
      case DM_IO_VMA:
      case DM_IO_KMEM:
        return 0;
      default:
        return -EINVAL;
    }
  }

  // ---- bios

  function endio(bio: Bio): void {
    const { io, region } = bio.bi_private as RegionOfIo; // fill() set it
    const error = bio.bi_error;
    // Whatever arrived of it: what was to be read is not there. The iterator of the bio may stand at its end.
    if (error !== 0 && bio_data_dir(bio) === READ) zeroAll(bio);
    k.bio.bio_put(bio);
    decCount(io, region, error);
  }

  function zeroAll(bio: Bio): void {
    for (let i = 0; i < bio.bi_vcnt; i++) {
      const vec = bio.bi_io_vec?.[i];
      if (vec?.bv_page != null) k.memory.fill(vec.bv_page.phys + vec.bv_offset, 0, vec.bv_len);
    }
  }

  function failRegion(io: DmIo, region: number): void {
    io.error_bits ??= new ErrorBits();
    io.error_bits.set(region);
  }

  /** One reference of a request has gone; the last one ends it. */
  function decCount(io: DmIo, region: number, error: number): void {
    if (error !== 0) failRegion(io, region);
    if (--io.count > 0) return;
    const { client, callback, context, vma_invalidate_address, vma_invalidate_size } = io;
    const error_bits = io.error_bits ?? NO_ERRORS;
    if (vma_invalidate_size > 0)
      k.vmalloc.invalidate_kernel_vmap_range(vma_invalidate_address, vma_invalidate_size);
    io.client = io.callback = io.context = io.error_bits = null;
    io.dp.mem = io.dp.pl = io.dp.page = null;
    io.dp.vecs = NO_VECS;
    k.mempool.mempool_free(io, (client as DmIoClient).pool); // start() set it
    callback?.(error_bits, context);
  }

  /** Sectors that one bio for an operation without much data may have; 0: it moves data. */
  function bareSectors(op: number, bdev: BlockDevice): number | null {
    const limits = bdev.queue?.limits;
    switch (op) {
      case REQ_OP_DISCARD:
      case REQ_OP_SECURE_ERASE:
        return Math.min(limits?.max_discard_sectors ?? 0, MAX_BARE_SECTORS);
      case REQ_OP_WRITE_SAME:
        return Math.min(limits?.max_write_same_sectors ?? 0, MAX_BARE_SECTORS);
      default:
        return null;
    }
  }

  /** Vecs for what is left of a region. */
  function vecsFor(op: number, dp: DataPages, bytes: number): number {
    if (bytes === 0 || op === REQ_OP_DISCARD || op === REQ_OP_SECURE_ERASE) return 0;
    if (op === REQ_OP_WRITE_SAME) return 1;
    return Math.min(BIO_MAX_PAGES, Math.ceil((dp.skew + bytes) / PAGE_SIZE));
  }

  /** Puts memory into a bio, until it has `bytes` or is full; the bytes that it took. */
  function addPages(bio: Bio, dp: DataPages, bytes: number): number {
    let done = 0;
    while (done < bytes) {
      load(dp);
      const piece = Math.min(dp.len, bytes - done);
      if (k.bioData.bio_add_page(bio, dp.page as Page, piece, dp.page_offset) === 0) break;
      dp.advance(piece);
      done += piece;
    }
    if (done % SECTOR !== 0)
      throw new KernelBug('DMIO-06', `${done} bytes of the buffer fill a bio: no whole sectors`, 'dm_io');
    return done;
  }

  /** Fills a bio for what is left of a region; the sectors that it does. */
  function fill(bio: Bio, op: number, dp: DataPages, left: number, bare: number | null): number {
    if (bare === null) return addPages(bio, dp, left * SECTOR) / SECTOR;
    const sectors = Math.min(bare, left);
    if (op === REQ_OP_WRITE_SAME && left > 0) {
      load(dp);
      const block = bio.bi_bdev?.queue?.limits.logical_block_size ?? SECTOR;
      k.bioData.bio_add_page(bio, dp.page as Page, block, dp.page_offset);
    }
    bio.bi_iter.bi_size = sectors * SECTOR;
    return sectors;
  }

  /** Submits the bios of one region. */
  function* doRegion(io: DmIo, region: number, where: DmIoRegion, op: number, flags: number): Sleeps<void> {
    const { bdev, sector, count } = where;
    const bare = bareSectors(op, bdev);
    if (bare === 0) {
      failRegion(io, region); // -EOPNOTSUPP
      return;
    }
    const { bios } = io.client as DmIoClient; // start() set it
    let done = 0;
    do {
      if (done > 0 && bare !== null && isBehind(bdev, sector + done)) {
        failRegion(io, region); // as every bio that would follow, and there may be billions
        return;
      }
      const vecs = vecsFor(op, io.dp, (count - done) * SECTOR);
      const bio = (yield* k.bioSet.bio_alloc_bioset(GFP_NOIO, vecs, bios)) as Bio; // with WAIT there always is one
      bio.bi_bdev = bdev;
      bio.bi_op = op;
      bio.bi_opf = flags;
      bio.bi_iter.bi_sector = sector + done;
      bio.bi_end_io = endio;
      bio.bi_private = io.slot(region);
      done += fill(bio, op, io.dp, count - done, bare);
      io.count++;
      yield* k.submit.submit_bio(bio);
    } while (done < count);
  }

  // ---- requests

  function mustBeRegions(num_regions: number, where: readonly DmIoRegion[]): void {
    if (!(Number.isInteger(num_regions) && num_regions >= 0 && num_regions <= DM_IO_MAX_REGIONS))
      throw new KernelBug('DMIO-03', `${String(num_regions)} regions, of 0 to ${DM_IO_MAX_REGIONS}`, 'dm_io');
    for (let i = 0; i < num_regions; i++) {
      const region = where[i];
      if (region !== undefined && (region.bdev as BlockDevice | null)?.bd_name === undefined)
        throw badArgument(region.bdev, `the device of region ${i}`, 'dm_io');
      if (region === undefined)
        throw new KernelBug('DMIO-03', `${where.length} regions, not ${num_regions}`, 'dm_io');
      const { sector, count } = region;
      if (!(Number.isSafeInteger(sector) && sector >= 0 && Number.isSafeInteger(count) && count >= 0))
        throw new KernelBug('DMIO-03', `region ${i}: ${count} sectors at ${sector}`, 'dm_io');
    }
  }

  function* dispatch(
    req: DmIoRequest,
    num_regions: number,
    where: readonly DmIoRegion[],
    callback: IoNotifyFn,
    context: unknown,
    flags: number,
  ): Sleeps<void> {
    const { client, mem, bi_op } = req;
    const io = (yield* k.mempool.mempool_alloc(client.pool, GFP_NOIO)) as DmIo; // with WAIT there always is one
    io.count = 1; // so that it cannot end before every region was submitted
    io.client = client;
    io.callback = callback;
    io.context = context;
    io.vma_invalidate_size = 0;
    if (mem.type === DM_IO_VMA) {
      const size = (where[0]?.count ?? 0) * SECTOR;
      k.vmalloc.flush_kernel_vmap_range(mem.ptr.vma, size);
      if (bi_op === REQ_OP_READ) {
        io.vma_invalidate_address = mem.ptr.vma;
        io.vma_invalidate_size = size;
      }
    }
    for (let i = 0; i < num_regions; i++) {
      const region = where[i] as DmIoRegion; // mustBeRegions() looked
      if (region.count === 0 && (flags & REQ_PREFLUSH) === 0) continue;
      io.dp.start(mem);
      yield* doRegion(io, i, region, bi_op, flags);
    }
    decCount(io, 0, 0);
  }

  function createClient(ios: number, bios: number): ErrPtr<DmIoClient> {
    const pool = k.mempool.mempool_create_slab_pool(ios, cache);
    if (pool === null) return -ENOMEM;
    const set = k.bioSet.bioset_create(bios, 0);
    if (set !== null) return new DmIoClient(pool, set);
    k.mempool.mempool_destroy(pool);
    return -ENOMEM;
  }

  return {
    /** Makes a client, with reserves of 16 requests and 16 bios. An err-ptr: -ENOMEM. May sleep. */
    dm_io_client_create(): ErrPtr<DmIoClient> {
      return createClient(DM_RESERVED_BIO_BASED_IOS, DM_RESERVED_BIO_BASED_IOS);
    },

    /** dm_io_client_create() with reserves of other sizes. */
    __dm_io_client_create(ios: number, bios: number): ErrPtr<DmIoClient> {
      return createClient(ios, bios);
    },

    /** Ends a client. @throws KernelBug `DMIO-19` while I/O of it is under way, or when it has ended before */
    *dm_io_client_destroy(client: DmIoClient): Sleeps<void> {
      mustClient(client, 'dm_io_client_destroy');
      const { outstanding } = client.pool;
      if (outstanding > 0)
        throw new KernelBug('DMIO-19', `${outstanding} requests are under way`, 'dm_io_client_destroy');
      if (!client.live) throw new KernelBug('DMIO-19', 'the client has ended', 'dm_io_client_destroy');
      client.live = false;
      k.mempool.mempool_destroy(client.pool);
      yield* k.bioSet.bioset_free(client.bios);
    },

    /**
     * Reads one region into the buffer, or writes the buffer to every region, each from its beginning.
     *
     * With `notify.fn` it returns when everything is submitted: 0, and the function is called once, with the regions
     * that failed. Without, it waits, uninterruptibly: 0, or -EIO when a region failed; `sync_error_bits` says which.
     * -EINVAL: a kind of memory that nobody knows. -EIO and nothing submitted: a read of several regions.
     */
    *dm_io(
      req: DmIoRequest,
      num_regions: number,
      where: readonly DmIoRegion[],
      sync_error_bits: ErrorBits | null,
    ): Sleeps<number> {
      k.cpu.mightSleep('dm_io');
      mustClient(req.client, 'dm_io');
      if (!req.client.live) throw new KernelBug('DMIO-19', 'the client has ended', 'dm_io');
      const invalid = checkMemory(req.mem);
      if (invalid !== 0) return invalid;
      mustBeRegions(num_regions, where);
      const { fn, context } = req.notify;
      if (num_regions > 1 && req.bi_op === REQ_OP_READ) {
        k.warnings.warn('DMIO-01', `a read of ${num_regions} regions`, 'dm_io');
        if (fn !== null) fn(regionZero(), context);
        return -EIO;
      }
      if (fn !== null) {
        yield* dispatch(req, num_regions, where, fn, context, req.bi_op_flags);
        return 0;
      }
      const done = new Completion(k.scheduler, 'dm_io');
      done.queue.wakers = () => `the end of its bios for ${where.map(({ bdev }) => bdev.bd_name).join(', ')}`;
      let failed: ConstErrorBits = NO_ERRORS;
      const wake = (error_bits: ConstErrorBits): void => {
        failed = error_bits;
        done.complete();
      };
      yield* dispatch(req, num_regions, where, wake, null, req.bi_op_flags | REQ_SYNC);
      yield* done.wait();
      sync_error_bits?.assign(failed);
      return failed.any ? -EIO : 0;
    },
  };
}

/** Whether a device ends before a sector. */
function isBehind(bdev: BlockDevice, sector: number): boolean {
  return bdev.nr_sects > 0 && sector >= bdev.nr_sects;
}

/** An err-ptr is the client of who did not ask IS_ERR(). */
function mustClient(client: DmIoClient, where: string): void {
  if ((client as DmIoClient | null)?.live === undefined) throw badArgument(client, 'a client', where);
}

/** What a request that cannot be is told: as if region 0 had failed. */
function regionZero(): ErrorBits {
  const bits = new ErrorBits();
  bits.set(0);
  return bits;
}
