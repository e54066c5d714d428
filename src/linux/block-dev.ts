// The cache of a block device (fs/block_dev.c and fs/buffer.c of 3.10). A device is an inode whose pages are cut into
// buffers, each mapped to the block of its place; file systems read their metadata through it.

import { Inode, PAGE_SIZE, type Page, PG_uptodate, type Sleeps } from '../kernel/index.ts';
import { mustWhole } from './argument.ts';
import { type BlockDevice, WRITE } from './bio-struct.ts';
import {
  BH_Mapped,
  BH_Req,
  type BufferHead,
  buffer_dirty,
  buffer_mapped,
  clear_buffer_dirty,
  next_buffer,
  page_buffers,
  page_has_buffers,
  type SuperBlock,
  set_buffer_uptodate,
} from './buffer-head.ts';
import { EINVAL, EIO } from './errno.ts';
import { __GFP_MOVABLE, GFP_NOFS } from './gfp.ts';
import type { Linux } from './kernel.ts';
import type { AddressSpaceOperations } from './pagemap.ts';

const SECTOR_SIZE = 512;

export function createBlockDev(k: Linux) {
  const { allocator, locks } = k;
  const inodes = new WeakMap<BlockDevice, Inode>();

  function* blkdev_get_block(inode: Inode, iblock: number, bh: BufferHead): Sleeps<number> {
    if (iblock >= Math.ceil(inode.size / bh.b_size)) return -EIO;
    bh.b_state |= 1 << BH_Mapped;
    bh.b_bdev = inode.private as BlockDevice; // bdget() put it there
    bh.b_blocknr = iblock;
    return 0;
  }

  const def_blk_aops: AddressSpaceOperations = {
    ...k.bufferPage.buffer_page_ops,
    readpage: (_inode, page) => k.bufferPage.block_read_full_page(page, blkdev_get_block),
    writepage: (page, wbc) => k.bufferPage.block_write_full_page(page, blkdev_get_block, wbc),
  };

  function bdget(bdev: BlockDevice): Inode {
    let inode = inodes.get(bdev);
    if (inode === undefined) {
      inode = new Inode(bdev.bd_name, 0, def_blk_aops);
      inode.private = bdev;
      inode.blkbits = Math.log2(Math.max(bdev.queue?.limits.logical_block_size ?? 0, SECTOR_SIZE));
      inodes.set(bdev, inode);
    }
    inode.size = bdev.nr_sects * SECTOR_SIZE;
    return inode;
  }

  /** Blocks of a device; as good as endless when nobody knows its size. */
  function endBlock(bdev: BlockDevice, size: number): number {
    return bdev.nr_sects === 0 ? Number.MAX_SAFE_INTEGER : Math.floor((bdev.nr_sects * SECTOR_SIZE) / size);
  }

  function find(bdev: BlockDevice, block: number, size: number): BufferHead | null {
    mustWhole(block, 'the block', '__find_get_block');
    const page = bdget(bdev).mapping.find(Math.floor((block * size) / PAGE_SIZE));
    if (page === null || !page_has_buffers(page)) return null;
    const head = page_buffers(page);
    let bh = head;
    do {
      if (bh.b_blocknr === block && bh.b_size === size && buffer_mapped(bh)) {
        bh.b_count++;
        return bh;
      }
      bh = next_buffer(bh);
    } while (bh !== head);
    return null;
  }

  /** Maps the buffers of a page to the blocks of its place. */
  function mapBuffers(page: Page, bdev: BlockDevice, size: number): void {
    const end = endBlock(bdev, size);
    let block = page.index * (PAGE_SIZE / size);
    const head = page_buffers(page);
    let bh = head;
    do {
      if (!buffer_mapped(bh)) {
        bh.b_end_io = null;
        bh.b_bdev = bdev;
        bh.b_blocknr = block;
        if (page.has(PG_uptodate)) set_buffer_uptodate(bh);
        if (block < end) bh.b_state |= 1 << BH_Mapped;
      }
      block++;
      bh = next_buffer(bh);
    } while (bh !== head);
  }

  /** Makes sure that there is a page with buffers of this size where a block belongs; false: not now. */
  function* grow(bdev: BlockDevice, block: number, size: number): Sleeps<boolean> {
    const { mapping } = bdget(bdev);
    const index = Math.floor((block * size) / PAGE_SIZE);
    const page = yield* k.pagemap.find_or_create_page(mapping, index, GFP_NOFS | __GFP_MOVABLE);
    if (page === null) return false;
    let ready = page_has_buffers(page);
    if (ready && page_buffers(page).b_size !== size) {
      if (!k.buffer.try_to_free_buffers(page)) {
        release(page);
        return false;
      }
      ready = false;
    }
    if (!ready) {
      const head = yield* k.buffer.alloc_page_buffers(page, size, true);
      if (head !== null) k.buffer.attach_page_buffers(page, head);
    }
    mapBuffers(page, bdev, size);
    release(page);
    return true;
  }

  function release(page: Page): void {
    locks.unlock(page);
    allocator.put(page);
  }

  function isBlockSize(bdev: BlockDevice, size: number): boolean {
    const least = Math.max(bdev.queue?.limits.logical_block_size ?? 0, SECTOR_SIZE);
    return size >= least && size <= PAGE_SIZE && (size & (size - 1)) === 0;
  }

  function* getblk(bdev: BlockDevice, block: number, size: number): Sleeps<BufferHead | null> {
    if (!isBlockSize(bdev, size)) {
      k.warnings.warn('buffer', `getblk(): invalid block size ${size}`, bdev.bd_name);
      return null;
    }
    mustWhole(block, 'the block', '__getblk');
    if (!(block >= 0 && block < endBlock(bdev, size))) return null;
    for (;;) {
      const bh = find(bdev, block, size);
      if (bh !== null) return bh;
      if (!(yield* grow(bdev, block, size))) return null;
    }
  }

  function* bread(bdev: BlockDevice, block: number, size: number): Sleeps<BufferHead | null> {
    const bh = yield* getblk(bdev, block, size);
    if (bh === null || (yield* k.buffer.bh_submit_read(bh)) === 0) return bh;
    k.buffer.put_bh(bh);
    return null;
  }

  return {
    /** The inode whose pages are the cache of a device. */
    bd_inode(bdev: BlockDevice): Inode {
      return bdget(bdev);
    },

    /** The buffer of a block with a reference, if it is cached, up to date or not; null when it is not. */
    __find_get_block(bdev: BlockDevice, block: number, size: number): BufferHead | null {
      return find(bdev, block, size);
    },

    /**
     * The buffer of a block with a reference, up to date or not. Null beyond the end of the device, for a size that the
     * device cannot have, and while buffers of another size are in use there.
     */
    *__getblk(bdev: BlockDevice, block: number, size: number): Sleeps<BufferHead | null> {
      return yield* getblk(bdev, block, size);
    },

    /** A block of a device, read if need be, with a reference; null when it cannot be read. */
    *__bread(bdev: BlockDevice, block: number, size: number): Sleeps<BufferHead | null> {
      return yield* bread(bdev, block, size);
    },

    /** __bread() of a block of a file system. */
    *sb_bread(sb: SuperBlock, block: number): Sleeps<BufferHead | null> {
      return yield* bread(sb.s_bdev, block, sb.s_blocksize);
    },

    /** __getblk() of a block of a file system. */
    *sb_getblk(sb: SuperBlock, block: number): Sleeps<BufferHead | null> {
      return yield* getblk(sb.s_bdev, block, sb.s_blocksize);
    },

    /** Sets the size of a device's blocks and forgets what is cached; 0, or -EINVAL for a size that it cannot have. */
    *set_blocksize(bdev: BlockDevice, size: number): Sleeps<number> {
      if (!isBlockSize(bdev, size)) return -EINVAL;
      const inode = bdget(bdev);
      if (1 << inode.blkbits === size) return 0;
      inode.blkbits = Math.log2(size);
      yield* k.vm.dropCache(inode);
      return 0;
    },

    /** Forgets what is cached of a device, changed blocks too. */
    *invalidate_bdev(bdev: BlockDevice): Sleeps<void> {
      yield* k.vm.dropCache(bdget(bdev));
    },

    /** Starts writing the block behind `bblock` if it is cached and dirty: who comes to a boundary will need it soon. */
    *write_boundary_block(bdev: BlockDevice, bblock: number, blocksize: number): Sleeps<void> {
      const bh = find(bdev, bblock + 1, blocksize);
      if (bh === null) return;
      if (buffer_dirty(bh)) yield* k.buffer.ll_rw_block(WRITE, 1, [bh]);
      k.buffer.put_bh(bh);
    },

    /** A block has become a file's: what the device's cache has of it must not be written over the file's data. */
    *unmap_underlying_metadata(bdev: BlockDevice, block: number, size: number): Sleeps<void> {
      const bh = find(bdev, block, size);
      if (bh === null) return;
      clear_buffer_dirty(bh);
      yield* k.buffer.wait_on_buffer(bh);
      bh.b_state &= ~(1 << BH_Req);
      k.buffer.put_bh(bh);
    },
  };
}
