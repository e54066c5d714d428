// Where the blocks of an ext2 file are (fs/ext2/inode.c of 3.10), and its inodes. Read only.

import { Inode, KernelBug, type Sleeps } from '../kernel/index.ts';
import { type BufferHead, map_bh, set_buffer_boundary } from './buffer-head.ts';
import { EINVAL, EIO, EROFS, type ErrPtr, ESTALE } from './errno.ts';
import {
  BG_INODE_TABLE,
  EXT2_IND_BLOCK,
  EXT2_N_BLOCKS,
  EXT2_NDIR_BLOCKS,
  EXT2_ROOT_INO,
  Ext2InodeInfo,
  type Ext2SuperBlock,
  GROUP_DESC_SIZE,
  I_BLOCK,
  I_LINKS_COUNT,
  I_MODE,
  I_SIZE,
  I_SIZE_HIGH,
} from './ext2-struct.ts';
import type { Linux } from './kernel.ts';
import type { AddressSpaceOperations } from './pagemap.ts';

/** Levels of pointers of a triple indirect block: the bound of every walk. */
const MAX_LEVELS = 3;

export function createExt2Inode(k: Linux) {
  const { memory, warnings } = k;

  function infoOf(inode: Inode): Ext2InodeInfo {
    if (!(inode.private instanceof Ext2InodeInfo))
      throw new KernelBug('ext2', 'not an inode of ext2', inode.name);
    return inode.private;
  }

  function corrupt(sb: Ext2SuperBlock, what: string): number {
    warnings.warn('ext2', what, sb.s_bdev.bd_name);
    return -EIO;
  }

  /** Levels of pointers between the inode and a block, `rest` blocks behind the first that needs so many; -1: too far. */
  function levelsOf(sb: Ext2SuperBlock, iblock: number): { readonly levels: number; readonly rest: number } {
    let rest = iblock - EXT2_NDIR_BLOCKS;
    if (rest < 0) return { levels: 0, rest: iblock };
    let reach = sb.addr_per_block;
    for (let levels = 1; levels <= MAX_LEVELS; levels++) {
      if (rest < reach) return { levels, rest };
      rest -= reach;
      reach *= sb.addr_per_block;
    }
    return { levels: -1, rest };
  }

  function* readPointers(sb: Ext2SuperBlock, block: number, i_ino: number): Sleeps<BufferHead | number> {
    if (!sb.holds(block)) return corrupt(sb, `inode ${i_ino}: pointer to block ${block}, which is none`);
    const bh = yield* k.blockDev.sb_bread(sb, block);
    return bh ?? corrupt(sb, `inode ${i_ino}: cannot read indirect block ${block}`);
  }

  /** Maps the run that begins with pointer `at` of `count` that are left in a row; 0 pointers are holes. */
  function mapRun(sb: Ext2SuperBlock, bh: BufferHead, left: number, pointer: (i: number) => number): void {
    const first = pointer(0);
    const wanted = Math.floor(bh.b_size / sb.s_blocksize);
    let count = 1;
    while (count < wanted && count < left && pointer(count) === first + count && sb.holds(first + count))
      count++;
    map_bh(bh, sb, first);
    if (count === left) set_buffer_boundary(bh); // the next block is behind another block of pointers
    bh.b_size = count * sb.s_blocksize;
  }

  function* mapDirect(info: Ext2InodeInfo, iblock: number, bh: BufferHead, create: boolean): Sleeps<number> {
    const { sb, i_data, i_ino } = info;
    const pointer = (i: number): number => i_data[iblock + i] ?? 0;
    if (pointer(0) === 0) return create ? -EROFS : 0;
    if (!sb.holds(pointer(0)))
      return corrupt(sb, `inode ${i_ino}: pointer to block ${pointer(0)}, which is none`);
    mapRun(sb, bh, EXT2_NDIR_BLOCKS - iblock, pointer);
    return 0;
  }

  function* mapIndirect(
    info: Ext2InodeInfo,
    levels: number,
    rest: number,
    bh: BufferHead,
    create: boolean,
  ): Sleeps<number> {
    const { sb, i_data, i_ino } = info;
    const perBlock = sb.addr_per_block;
    let block = i_data[EXT2_IND_BLOCK + levels - 1] ?? 0;
    for (let level = levels; block !== 0; level--) {
      const pointers = yield* readPointers(sb, block, i_ino);
      if (typeof pointers === 'number') return pointers;
      const at = Math.floor(rest / perBlock ** (level - 1)) % perBlock;
      const pointer = (i: number): number => memory.read32(pointers.b_data + 4 * (at + i));
      block = pointer(0);
      const found = level === 1 && sb.holds(block);
      if (found) mapRun(sb, bh, perBlock - at, pointer);
      k.buffer.put_bh(pointers);
      if (found) return 0;
      if (level === 1) break;
    }
    if (block === 0) return create ? -EROFS : 0;
    return corrupt(sb, `inode ${i_ino}: pointer to block ${block}, which is none`);
  }

  function* getBlock(inode: Inode, iblock: number, bh: BufferHead, create: boolean): Sleeps<number> {
    const info = infoOf(inode);
    const { levels, rest } = levelsOf(info.sb, iblock);
    if (levels < 0) return corrupt(info.sb, `inode ${info.i_ino}: no file has a block ${iblock}`);
    if (levels === 0) return yield* mapDirect(info, iblock, bh, create);
    return yield* mapIndirect(info, levels, rest, bh, create);
  }

  const ext2_aops: AddressSpaceOperations = {
    ...k.bufferPage.buffer_page_ops,
    readpage: (_inode, page) => k.mpage.mpage_readpage(page, getBlock),
    readpages: (mapping, pages, nr_pages) => k.mpage.mpage_readpages(mapping, pages, nr_pages, getBlock),
  };

  /** Reads `bytes` at an offset of the table of inodes of a group: the block with them, which the caller puts. */
  function* readRaw(
    sb: Ext2SuperBlock,
    ino: number,
  ): Sleeps<{ readonly bh: BufferHead; readonly at: number } | number> {
    const group = Math.floor((ino - 1) / sb.s_inodes_per_group);
    const byte = group * GROUP_DESC_SIZE;
    const descs = sb.s_first_data_block + 1 + Math.floor(byte / sb.s_blocksize);
    const desc = yield* k.blockDev.sb_bread(sb, descs);
    if (desc === null) return corrupt(sb, `cannot read the descriptor of group ${group}`);
    const table = memory.read32(desc.b_data + (byte % sb.s_blocksize) + BG_INODE_TABLE);
    k.buffer.put_bh(desc);
    const offset = ((ino - 1) % sb.s_inodes_per_group) * sb.s_inode_size;
    const block = table + Math.floor(offset / sb.s_blocksize);
    if (!sb.holds(table) || !sb.holds(block))
      return corrupt(sb, `group ${group}: inode table at block ${table}, which is none`);
    const bh = yield* k.blockDev.sb_bread(sb, block);
    if (bh === null) return corrupt(sb, `cannot read inode ${ino} in block ${block}`);
    return { bh, at: bh.b_data + (offset % sb.s_blocksize) };
  }

  function makeInode(sb: Ext2SuperBlock, ino: number, at: number): ErrPtr<Inode> {
    const mode = memory.read16(at + I_MODE);
    if (memory.read16(at + I_LINKS_COUNT) === 0) return -ESTALE;
    const data = Array.from({ length: EXT2_N_BLOCKS }, (_, i) => memory.read32(at + I_BLOCK + 4 * i));
    const info = new Ext2InodeInfo(sb, ino, mode, data);
    const high = info.isRegular ? memory.read32(at + I_SIZE_HIGH) : 0;
    const size = high * 2 ** 32 + memory.read32(at + I_SIZE);
    if (size > sb.max_size) return corrupt(sb, `inode ${ino}: ${size} bytes, more than a file can have`);
    const blocks = info.isRegular || info.isDirectory;
    const inode = new Inode(`inode ${ino}`, size, blocks ? ext2_aops : {});
    inode.blkbits = sb.s_blocksize_bits;
    inode.private = info;
    return inode;
  }

  return {
    /**
     * ext2's get_block. Maps what follows each other on the disk, up to the end of a block of pointers; there it sets
     * BH_Boundary. A hole stays unmapped, and with `create` is -EROFS. -EIO for pointers that lead nowhere.
     */
    *ext2_get_block(inode: Inode, iblock: number, bh_result: BufferHead, create: boolean): Sleeps<number> {
      return yield* getBlock(inode, iblock, bh_result, create);
    },

    /** An inode by its number; -EINVAL for one that cannot be, -ESTALE for one that nobody uses, -EIO. */
    *ext2_iget(sb: Ext2SuperBlock, ino: number): Sleeps<ErrPtr<Inode>> {
      const known = sb.inodes.get(ino);
      if (known !== undefined) return known;
      const reserved = ino < sb.s_first_ino && ino !== EXT2_ROOT_INO;
      if (reserved || ino > sb.s_inodes_count) {
        warnings.warn('ext2', `bad inode number ${ino}`, sb.s_bdev.bd_name);
        return -EINVAL;
      }
      const raw = yield* readRaw(sb, ino);
      if (typeof raw === 'number') return raw;
      // Another task may have made it while this one read.
      const inode = sb.inodes.get(ino) ?? makeInode(sb, ino, raw.at);
      k.buffer.put_bh(raw.bh);
      if (typeof inode !== 'number') sb.inodes.set(ino, inode);
      return inode;
    },
  };
}
