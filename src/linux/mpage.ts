// Pages of files in large bios (fs/mpage.c of 3.10).
//
// Reading walks over the pages and the blocks in them, asks get_block for runs, and puts pages whose blocks follow each
// other on the disk into one bio. What does not fit the pattern, a page with buffers, a block behind a hole, blocks that
// are not neighbours, is left to block_read_full_page(). Nothing that has been gathered is submitted because get_block
// has to read: so without BH_Boundary an indirect block is read before the data that lies in front of it.

import {
  type AddressSpaceMapping,
  type Inode,
  KernelBug,
  type NoSleep,
  PAGE_SIZE,
  type Page,
  PG_error,
  PG_locked,
  PG_mappedtodisk,
  PG_uptodate,
  type Sleeps,
} from '../kernel/index.ts';
import { bio_data_dir } from './bio-iter.ts';
import { type Bio, type BlockDevice, READ, REQ_OP_READ, REQ_OP_WRITE, WRITE } from './bio-struct.ts';
import {
  BufferHead,
  buffer_boundary,
  buffer_dirty,
  buffer_locked,
  buffer_mapped,
  buffer_new,
  buffer_uptodate,
  clear_buffer_dirty,
  clear_buffer_mapped,
  type GetBlock,
  next_buffer,
  page_buffers,
  page_has_buffers,
} from './buffer-head.ts';
import { EAGAIN, EIO } from './errno.ts';
import { __GFP_HIGH, GFP_KERNEL, GFP_NOFS } from './gfp.ts';
import type { Linux } from './kernel.ts';
import type { WritebackControl } from './page-writeback.ts';
import type { AddressSpaceOperations, LruList } from './pagemap.ts';
import { BlkPlug } from './plug.ts';

/** One call of mpage, and the page that it is at. Used again by later calls. */
class Mpage {
  get_block: GetBlock | null = null;
  /** What has been gathered; null: nothing. */
  bio: Bio | null = null;
  op = REQ_OP_READ;
  /** Last block of the bio. */
  last_block_in_bio = 0;
  /** Reading: the latest mapping, and the block of the file that it begins with. */
  readonly map_bh = new BufferHead();
  first_logical_block = 0;
  /** Writing: whether what mpage cannot do is the file system's writepage's to do. */
  use_writepage = false;

  // The page.
  blocksize = 0;
  blocks_per_page = 0;
  /** The next block of the file to look at, and its place in the page. */
  block_in_file = 0;
  page_block = 0;
  /** Place of the first hole; blocks_per_page when there is none. */
  first_hole = 0;
  /** Disk block of the page's first; the others follow it. */
  first_block = 0;
  bdev: BlockDevice | null = null;
  /** Writing: the block behind which a boundary is; -1: none is known. */
  boundary_block = -1;
  boundary_bdev: BlockDevice | null = null;
  boundary = false;

  begin(inode: Inode, page: Page): void {
    this.blocksize = 1 << inode.blkbits;
    this.blocks_per_page = PAGE_SIZE >> inode.blkbits;
    this.block_in_file = page.index * this.blocks_per_page;
    this.page_block = 0;
    this.first_hole = this.blocks_per_page;
    this.bdev = null;
    this.boundary_block = -1;
    this.boundary_bdev = null;
    this.boundary = false;
  }
}

export function createMpage(k: Linux) {
  const { allocator, locks, memory } = k;
  const idle: Mpage[] = [];

  function take(get_block: GetBlock | null, op: number): Mpage {
    const io = idle.pop() ?? new Mpage();
    io.get_block = get_block;
    io.op = op;
    io.bio = null;
    io.last_block_in_bio = 0;
    io.map_bh.b_state = 0;
    io.map_bh.b_size = 0;
    io.first_logical_block = 0;
    io.use_writepage = false;
    return io;
  }

  /** The end of the call: what is left is submitted. */
  function* finish(io: Mpage): Sleeps<void> {
    yield* submit(io);
    io.get_block = null;
    io.bdev = io.boundary_bdev = null;
    io.map_bh.b_page = null;
    idle.push(io);
  }

  function getBlockOf(io: Mpage): GetBlock {
    if (io.get_block === null) throw new KernelBug('mpage', 'no get_block');
    return io.get_block;
  }

  function hostOf(page: Page, where: string): AddressSpaceMapping {
    if (!page.has(PG_locked)) throw new KernelBug('page-lock', 'the page is not locked', where);
    if (page.mapping === null) throw new KernelBug('page-cache', 'the page is in no cache', where);
    return page.mapping;
  }

  // ---- bios

  /** MPAGE-11: all pages of a bio share its fate. Any context. */
  function mpage_end_io(bio: Bio, error: number): NoSleep {
    const writes = bio_data_dir(bio) === WRITE;
    for (let i = bio.bi_vcnt - 1; i >= 0; i--) {
      const page = bio.bi_io_vec?.[i]?.bv_page as Page; // mpage put it there
      if (writes) endWrite(page, error);
      else endRead(page, error);
    }
    k.bio.bio_put(bio);
  }

  function endRead(page: Page, error: number): void {
    if (error === 0) {
      page.set(PG_uptodate);
    } else {
      page.clear(PG_uptodate);
      page.set(PG_error);
    }
    locks.unlock(page);
  }

  function endWrite(page: Page, error: number): void {
    if (error !== 0) {
      page.set(PG_error);
      if (page.mapping !== null) page.mapping.error = -EIO;
    }
    locks.endWriteback(page);
  }

  function* submit(io: Mpage): Sleeps<void> {
    const { bio } = io;
    if (bio === null) return;
    io.bio = null;
    bio.bi_end_io = mpage_end_io;
    yield* k.bio3x.submit_bio(io.op === REQ_OP_READ ? READ : WRITE, bio);
  }

  function* allocBio(io: Mpage, vecs: number, gfp: number): Sleeps<Bio | null> {
    const bio = yield* k.bioSet.bio_alloc(gfp, vecs);
    if (bio === null) return null;
    bio.bi_bdev = io.bdev;
    bio.bi_iter.bi_sector = io.first_block * (io.blocksize / 512);
    bio.bi_op = io.op;
    return bio;
  }

  /** Appends the first `bytes` of the page; false when there is no bio, or none that takes the page even alone. */
  function* append(io: Mpage, page: Page, bytes: number, nr_pages: number, gfp: number): Sleeps<boolean> {
    if (io.bio !== null && io.last_block_in_bio !== io.first_block - 1) yield* submit(io);
    for (;;) {
      const fresh = io.bio === null;
      if (io.bio === null) {
        const room = io.bdev === null ? 0 : k.bio3x.bio_get_nr_vecs(io.bdev);
        io.bio = yield* allocBio(io, Math.min(nr_pages, room), gfp);
      }
      const { bio } = io;
      if (bio === null) return false;
      if (k.bio3x.bio_add_page(bio, page, bytes, 0) === bytes) return true;
      if (fresh) {
        k.bio.bio_put(bio);
        io.bio = null;
        return false;
      }
      yield* submit(io);
    }
  }

  // ---- reading

  /** Takes as many blocks of the latest mapping as belong to the page. */
  function useMapping(io: Mpage): void {
    const { map_bh } = io;
    const skipped = io.block_in_file - io.first_logical_block;
    const left = Math.floor(map_bh.b_size / io.blocksize) - skipped;
    const room = io.blocks_per_page - io.page_block;
    if (left <= 0) throw new KernelBug('MPAGE-03', `get_block mapped ${map_bh.b_size} bytes`, 'mpage');
    if (io.page_block === 0) io.first_block = map_bh.b_blocknr + skipped;
    if (left <= room) clear_buffer_mapped(map_bh);
    const taken = Math.min(left, room);
    io.page_block += taken;
    io.block_in_file += taken;
    io.bdev = map_bh.b_bdev;
  }

  /** Whether the latest mapping of an earlier page reaches into this one. */
  function reaches(io: Mpage): boolean {
    const { map_bh, first_logical_block: first } = io;
    if (!buffer_mapped(map_bh) || io.block_in_file <= first) return false;
    return io.block_in_file < first + Math.floor(map_bh.b_size / io.blocksize);
  }

  /** Finds the blocks of a page; false when that is not mpage's to read: the page is confused. */
  function* mapPage(io: Mpage, inode: Inode, page: Page, nr_pages: number): Sleeps<boolean> {
    const { map_bh } = io;
    const get_block = getBlockOf(io);
    io.begin(inode, page);
    if (page_has_buffers(page)) return false;
    const end = Math.min(
      io.block_in_file + nr_pages * io.blocks_per_page,
      Math.ceil(inode.size / io.blocksize),
    );
    if (reaches(io)) useMapping(io);
    map_bh.b_page = page;
    while (io.page_block < io.blocks_per_page) {
      map_bh.b_state = 0;
      map_bh.b_size = 0;
      if (io.block_in_file < end) {
        map_bh.b_size = (end - io.block_in_file) * io.blocksize;
        if ((yield* get_block(inode, io.block_in_file, map_bh, false)) !== 0) return false;
        io.first_logical_block = io.block_in_file;
      }
      if (!buffer_mapped(map_bh)) {
        if (io.first_hole === io.blocks_per_page) io.first_hole = io.page_block;
        io.page_block++;
        io.block_in_file++;
        continue;
      }
      if (buffer_uptodate(map_bh)) {
        yield* k.bufferPage.map_buffer_to_page(page, map_bh, io.page_block);
        return false;
      }
      if (io.first_hole !== io.blocks_per_page) return false;
      if (io.page_block > 0 && map_bh.b_blocknr !== io.first_block + io.page_block) return false;
      useMapping(io);
    }
    return true;
  }

  /** Reads a locked page, now or with what is gathered; `nr_pages` are left in the call, this one included. */
  function* readPage(io: Mpage, page: Page, nr_pages: number): Sleeps<void> {
    const inode = hostOf(page, 'mpage_readpage').host;
    if (!(yield* mapPage(io, inode, page, nr_pages))) {
      yield* readConfused(io, page);
      return;
    }
    const { first_hole, blocks_per_page, blocksize, map_bh } = io;
    if (first_hole === blocks_per_page) {
      page.set(PG_mappedtodisk);
    } else {
      const mapped = first_hole * blocksize;
      memory.fill(page.phys + mapped, 0, PAGE_SIZE - mapped);
      if (first_hole === 0) {
        page.set(PG_uptodate);
        locks.unlock(page);
        return;
      }
    }
    if (!(yield* append(io, page, first_hole * blocksize, nr_pages, GFP_KERNEL))) {
      yield* readConfused(io, page);
      return;
    }
    const used = io.block_in_file - io.first_logical_block;
    const ends = used === Math.floor(map_bh.b_size / blocksize);
    if ((buffer_boundary(map_bh) && ends) || first_hole !== blocks_per_page) yield* submit(io);
    else io.last_block_in_bio = io.first_block + blocks_per_page - 1;
  }

  /**
   * The usual page of a long file: inside of the latest mapping, not its last, and right behind what is gathered. What
   * readPage() would do with it, without a generator; false: it is another kind of page.
   */
  function readNext(io: Mpage, page: Page): boolean {
    const { bio, map_bh, blocksize, blocks_per_page } = io;
    if (bio === null || !buffer_mapped(map_bh) || page_has_buffers(page)) return false;
    const skipped = page.index * blocks_per_page - io.first_logical_block;
    const left = Math.floor(map_bh.b_size / blocksize) - skipped;
    if (skipped <= 0 || left <= blocks_per_page) return false;
    if (map_bh.b_blocknr + skipped !== io.last_block_in_bio + 1) return false;
    if (k.bio3x.bio_add_page(bio, page, PAGE_SIZE, 0) !== PAGE_SIZE) return false;
    page.set(PG_mappedtodisk);
    io.last_block_in_bio += blocks_per_page;
    return true;
  }

  function* readConfused(io: Mpage, page: Page): Sleeps<void> {
    yield* submit(io);
    if (page.has(PG_uptodate)) locks.unlock(page);
    else yield* k.bufferPage.block_read_full_page(page, getBlockOf(io));
  }

  // ---- writing

  /** The blocks of a page by its buffers; false when the page is confused. */
  function mapBuffers(io: Mpage, page: Page): boolean {
    const head = page_buffers(page);
    let bh = head;
    do {
      if (buffer_locked(bh)) throw new KernelBug('mpage', 'a buffer of a page to be written is locked');
      if (!buffer_mapped(bh)) {
        if (buffer_dirty(bh)) return false;
        if (io.first_hole === io.blocks_per_page) io.first_hole = io.page_block;
      } else {
        if (io.first_hole !== io.blocks_per_page) return false;
        if (!buffer_dirty(bh) || !buffer_uptodate(bh)) return false;
        if (!follows(io, bh)) return false;
      }
      bh = next_buffer(bh);
    } while (bh !== head);
    return io.first_hole > 0; // a page of holes that is dirty is the file system's to fill
  }

  /** Takes a mapped block of a page that is to be written; false unless it follows the one before on the disk. */
  function follows(io: Mpage, bh: BufferHead): boolean {
    io.boundary = buffer_boundary(bh);
    if (io.boundary) {
      io.boundary_block = bh.b_blocknr;
      io.boundary_bdev = bh.b_bdev;
    }
    if (io.page_block === 0) io.first_block = bh.b_blocknr;
    else if (bh.b_blocknr !== io.first_block + io.page_block) return false;
    io.page_block++;
    io.bdev = bh.b_bdev;
    return true;
  }

  /** The blocks of a page without buffers, all of whose bytes are up to date; false when the page is confused. */
  function* mapForWrite(io: Mpage, inode: Inode, page: Page): Sleeps<boolean> {
    if (!page.has(PG_uptodate)) throw new KernelBug('mpage', 'a page to be written is not up to date');
    const { map_bh } = io;
    const get_block = getBlockOf(io);
    const last_block = Math.floor((inode.size - 1) / io.blocksize);
    for (let at = 0; at < io.blocks_per_page; at++, io.block_in_file++) {
      map_bh.b_state = 0;
      map_bh.b_size = io.blocksize;
      if ((yield* get_block(inode, io.block_in_file, map_bh, true)) !== 0) return false;
      if (buffer_new(map_bh) && map_bh.b_bdev !== null)
        yield* k.blockDev.unmap_underlying_metadata(map_bh.b_bdev, map_bh.b_blocknr, io.blocksize);
      if (!follows(io, map_bh)) return false;
      if (io.block_in_file === last_block) break;
    }
    io.first_hole = io.page_block;
    return true;
  }

  /** Zeros what of the last page lies beyond the end of the file; false when all of it does. */
  function cutAtEnd(inode: Inode, page: Page): boolean {
    const inFile = inode.size - page.index * PAGE_SIZE;
    if (inFile <= 0) return false;
    if (inFile < PAGE_SIZE) memory.fill(page.phys + inFile, 0, PAGE_SIZE - inFile);
    return true;
  }

  /** What is written with the page has buffers that are clean from now on. */
  function cleanBuffers(page: Page, blocks: number): void {
    if (!page_has_buffers(page)) return;
    let bh = page_buffers(page);
    for (let i = 0; i < blocks; i++, bh = next_buffer(bh)) clear_buffer_dirty(bh);
  }

  function* writePage(page: Page, wbc: WritebackControl, io: Mpage): Sleeps<number> {
    const mapping = hostOf(page, 'mpage_writepage');
    const inode = mapping.host;
    io.begin(inode, page);
    const whole = io.blocks_per_page;
    const known = page_has_buffers(page) ? mapBuffers(io, page) : yield* mapForWrite(io, inode, page);
    if (!known || !cutAtEnd(inode, page)) return yield* writeConfused(io, mapping, page, wbc);
    const vecs = io.bdev === null ? 0 : k.bio3x.bio_get_nr_vecs(io.bdev);
    if (!(yield* append(io, page, io.first_hole * io.blocksize, vecs, GFP_NOFS | __GFP_HIGH)))
      return yield* writeConfused(io, mapping, page, wbc);
    cleanBuffers(page, io.first_hole);
    if (!locks.startWriteback(page)) throw new KernelBug('page-writeback', 'written twice at once');
    locks.unlock(page);
    if (!io.boundary && io.first_hole === whole) {
      io.last_block_in_bio = io.first_block + whole - 1;
      return 0;
    }
    yield* submit(io);
    if (io.boundary_block >= 0 && io.boundary_bdev !== null)
      yield* k.blockDev.write_boundary_block(io.boundary_bdev, io.boundary_block, io.blocksize);
    return 0;
  }

  function* writeConfused(
    io: Mpage,
    mapping: AddressSpaceMapping,
    page: Page,
    wbc: WritebackControl,
  ): Sleeps<number> {
    yield* submit(io);
    const { writepage }: AddressSpaceOperations = mapping.ops;
    if (!io.use_writepage || writepage === undefined) return -EAGAIN;
    const error = yield* writepage(page, wbc);
    if (error !== 0) mapping.error = error;
    return error;
  }

  return {
    /**
     * Starts reads of pages that are in no cache yet, lowest index first, from the tail of the list, in bios as large as
     * can be. Pages that are cached already are left out. `nr_pages` is the length of the list. Returns 0; whether a
     * page could be read its flags say when it is unlocked.
     */
    *mpage_readpages(
      mapping: AddressSpaceMapping,
      pages: LruList,
      nr_pages: number,
      get_block: GetBlock,
    ): Sleeps<number> {
      const io = take(get_block, REQ_OP_READ);
      for (let left = nr_pages; left > 0; left--) {
        const page = pages.takePrev();
        if (page === null)
          throw new KernelBug('MPAGE-01', `${left} pages fewer than were told`, 'mpage_readpages');
        const error = k.pagemap.add_to_page_cache_lru(page, mapping, page.index, GFP_KERNEL);
        if (error === 0 && !readNext(io, page)) yield* readPage(io, page, left);
        allocator.put(page);
      }
      if (!pages.empty)
        throw new KernelBug('MPAGE-01', `${pages.length} pages more than were told`, 'mpage_readpages');
      yield* finish(io);
      return 0;
    },

    /** Starts the read of one page, which is locked and in its cache. Returns 0. */
    *mpage_readpage(page: Page, get_block: GetBlock): Sleeps<number> {
      const io = take(get_block, REQ_OP_READ);
      yield* readPage(io, page, 1);
      yield* finish(io);
      return 0;
    },

    /**
     * Starts writing one page, which is locked and marked as clean, and unlocks it. 0, or a negative errno; -EAGAIN, with
     * the page still locked, when that is not mpage's to do.
     */
    *mpage_writepage(page: Page, get_block: GetBlock, wbc: WritebackControl): Sleeps<number> {
      const io = take(get_block, REQ_OP_WRITE);
      const error = yield* writePage(page, wbc, io);
      yield* finish(io);
      return error;
    },

    /**
     * Starts writing the changed pages of a file in ascending order, in bios as large as can be; what is not mpage's to
     * do goes to the file system's writepage. Without `get_block` all of it does. 0 or the first error.
     */
    *mpage_writepages(
      mapping: AddressSpaceMapping,
      wbc: WritebackControl,
      get_block: GetBlock | null,
    ): Sleeps<number> {
      const plug = new BlkPlug();
      k.plug.blk_start_plug(plug);
      let error: number;
      if (get_block === null) {
        error = yield* k.pageWriteback.generic_writepages(mapping, wbc);
      } else {
        const io = take(get_block, REQ_OP_WRITE);
        io.use_writepage = true;
        error = yield* k.pageWriteback.write_cache_pages(mapping, wbc, writePage, io);
        yield* finish(io);
      }
      k.plug.blk_finish_plug(plug);
      return error;
    },
  };
}
