// Mounting ext2, and its directories (fs/ext2/super.c, dir.c, namei.c of 3.10). Read only; symbolic links are not
// followed. What an image says is checked before it is used: a bad one is refused, with a warning that says why.

import { type Inode, PAGE_SIZE, type Page, type Sleeps } from '../kernel/index.ts';
import type { BlockDevice } from './bio-struct.ts';
import type { BufferHead } from './buffer-head.ts';
import { EINVAL, EIO, ENOENT, ENOTDIR, type ErrPtr } from './errno.ts';
import {
  DIR_FILE_TYPE,
  DIR_INODE,
  DIR_MIN_LEN,
  DIR_NAME,
  DIR_NAME_LEN,
  DIR_REC_LEN,
  EXT2_DYNAMIC_REV,
  EXT2_GOOD_OLD_FIRST_INO,
  EXT2_GOOD_OLD_INODE_SIZE,
  EXT2_GOOD_OLD_REV,
  EXT2_ROOT_INO,
  EXT2_SUPER_MAGIC,
  type Ext2DirEntry,
  Ext2InodeInfo,
  Ext2SuperBlock,
  FEATURE_INCOMPAT_FILETYPE,
  S_BLOCKS_COUNT,
  S_BLOCKS_PER_GROUP,
  S_FEATURE_INCOMPAT,
  S_FIRST_DATA_BLOCK,
  S_FIRST_INO,
  S_INODE_SIZE,
  S_INODES_COUNT,
  S_INODES_PER_GROUP,
  S_LOG_BLOCK_SIZE,
  S_MAGIC,
  S_REV_LEVEL,
  SUPER_OFFSET,
} from './ext2-struct.ts';
import type { Linux } from './kernel.ts';

/** Blocks are 1, 2 or 4 KiB: a block that is larger than a page cannot be cached. */
const MIN_BLOCK_BITS = 10;
const MAX_LOG_BLOCK_SIZE = 2;
const DEFAULT_LOGICAL_BLOCK = 512;

export function createExt2(k: Linux) {
  const { memory, warnings } = k;
  const decoder = new TextDecoder();

  /** Bytes of the superblock as one reads them; `at` is its address. */
  function parse(bdev: BlockDevice, at: number): Ext2SuperBlock | string {
    const word = (offset: number): number => memory.read32(at + offset);
    const half = (offset: number): number => memory.read16(at + offset);
    if (half(S_MAGIC) !== EXT2_SUPER_MAGIC) return "can't find an ext2 filesystem";
    const rev = word(S_REV_LEVEL);
    if (rev > EXT2_DYNAMIC_REV) return `revision level ${rev} is unknown`;
    const old = rev === EXT2_GOOD_OLD_REV;
    const features = old ? 0 : word(S_FEATURE_INCOMPAT) & ~FEATURE_INCOMPAT_FILETYPE;
    if (features !== 0) return `unsupported optional features (0x${(features >>> 0).toString(16)})`;
    const log = word(S_LOG_BLOCK_SIZE);
    if (log > MAX_LOG_BLOCK_SIZE) return `blocks of 2^${log + MIN_BLOCK_BITS} bytes`;
    return new Ext2SuperBlock({
      s_bdev: bdev,
      s_blocksize_bits: MIN_BLOCK_BITS + log,
      s_blocks_count: word(S_BLOCKS_COUNT),
      s_first_data_block: word(S_FIRST_DATA_BLOCK),
      s_blocks_per_group: word(S_BLOCKS_PER_GROUP),
      s_inodes_count: word(S_INODES_COUNT),
      s_inodes_per_group: word(S_INODES_PER_GROUP),
      s_first_ino: old ? EXT2_GOOD_OLD_FIRST_INO : word(S_FIRST_INO),
      s_inode_size: old ? EXT2_GOOD_OLD_INODE_SIZE : half(S_INODE_SIZE),
    });
  }

  /** Why a superblock cannot be right; null when it can. */
  function badGeometry(sb: Ext2SuperBlock): string | null {
    const size = sb.s_inode_size;
    if (size < EXT2_GOOD_OLD_INODE_SIZE || size > sb.s_blocksize || (size & (size - 1)) !== 0)
      return `unsupported inode size: ${size}`;
    const bits = sb.s_blocksize * 8; // a bitmap is one block
    if (sb.s_blocks_per_group === 0 || sb.s_blocks_per_group > bits)
      return `${sb.s_blocks_per_group} blocks per group`;
    if (sb.s_inodes_per_group === 0 || sb.s_inodes_per_group > bits)
      return `${sb.s_inodes_per_group} inodes per group`;
    if (sb.s_first_data_block >= sb.s_blocks_count)
      return `first data block ${sb.s_first_data_block} of ${sb.s_blocks_count} blocks`;
    const device = (sb.s_bdev.nr_sects * 512) / sb.s_blocksize;
    if (sb.s_bdev.nr_sects > 0 && sb.s_blocks_count > device)
      return `block count ${sb.s_blocks_count} exceeds size of device (${Math.floor(device)} blocks)`;
    const groups = Math.ceil((sb.s_blocks_count - sb.s_first_data_block) / sb.s_blocks_per_group);
    if (sb.s_inodes_count > groups * sb.s_inodes_per_group)
      return `${sb.s_inodes_count} inodes in ${groups} groups of ${sb.s_inodes_per_group}`;
    return null;
  }

  function refuse(bdev: BlockDevice, why: string): number {
    warnings.warn('ext2', why, bdev.bd_name);
    return -EINVAL;
  }

  /** The block that holds the superblock, while nobody knows yet how large blocks are. */
  function* readSuper(bdev: BlockDevice): Sleeps<BufferHead | null> {
    const logical = bdev.queue?.limits.logical_block_size ?? DEFAULT_LOGICAL_BLOCK;
    const size = Math.max(1 << MIN_BLOCK_BITS, logical);
    if ((yield* k.blockDev.set_blocksize(bdev, size)) !== 0) return null;
    return yield* k.blockDev.__bread(bdev, Math.floor(SUPER_OFFSET / size), size);
  }

  function* mount(bdev: BlockDevice): Sleeps<ErrPtr<Ext2SuperBlock>> {
    const bh = yield* readSuper(bdev);
    if (bh === null) {
      warnings.warn('ext2', 'unable to read superblock', bdev.bd_name);
      return -EIO;
    }
    const sb = parse(bdev, bh.b_data + (SUPER_OFFSET % bh.b_size));
    k.buffer.put_bh(bh);
    if (typeof sb === 'string') return refuse(bdev, sb);
    const why = badGeometry(sb);
    if (why !== null) return refuse(bdev, why);
    if ((yield* k.blockDev.set_blocksize(bdev, sb.s_blocksize)) !== 0)
      return refuse(bdev, `blocks of ${sb.s_blocksize} bytes are too small for the device`);
    const root = yield* k.ext2Inode.ext2_iget(sb, EXT2_ROOT_INO);
    if (typeof root === 'number') return root;
    if (infoOf(root)?.isDirectory !== true || root.size === 0) return refuse(bdev, 'corrupt root inode');
    return sb;
  }

  function infoOf(inode: Inode): Ext2InodeInfo | null {
    return inode.private instanceof Ext2InodeInfo ? inode.private : null;
  }

  // ---- directories

  /** What is wrong with an entry `offset` bytes into its block, of which `left` bytes are left; null: nothing. */
  function badEntry(sb: Ext2SuperBlock, at: number, left: number): string | null {
    const length = memory.read16(at + DIR_REC_LEN);
    if (length < DIR_MIN_LEN) return 'rec_len is smaller than minimal';
    if (length % 4 !== 0) return 'unaligned directory entry';
    if (length < DIR_NAME + memory.read8(at + DIR_NAME_LEN)) return 'rec_len is too small for name_len';
    if (length > left) return 'directory entry across blocks';
    if (memory.read32(at + DIR_INODE) > sb.s_inodes_count) return 'inode out of bounds';
    return null;
  }

  /** Adds the entries of one block of a directory; what is wrong with it, or null. */
  function readBlock(sb: Ext2SuperBlock, block: number, entries: Ext2DirEntry[]): string | null {
    for (let offset = 0; offset < sb.s_blocksize; ) {
      const at = block + offset;
      const left = sb.s_blocksize - offset;
      const why = left < DIR_MIN_LEN ? 'no room for an entry' : badEntry(sb, at, left);
      if (why !== null) return `${why}, offset ${offset}`;
      const inode = memory.read32(at + DIR_INODE);
      if (inode !== 0) {
        const name = decoder.decode(memory.readBytes(at + DIR_NAME, memory.read8(at + DIR_NAME_LEN)));
        entries.push({ inode, name, file_type: memory.read8(at + DIR_FILE_TYPE) });
      }
      offset += memory.read16(at + DIR_REC_LEN);
    }
    return null;
  }

  function readPage(
    sb: Ext2SuperBlock,
    dir: Inode,
    page: Page,
    index: number,
    entries: Ext2DirEntry[],
  ): string | null {
    const bytes = Math.min(PAGE_SIZE, dir.size - index * PAGE_SIZE);
    for (let offset = 0; offset < bytes; offset += sb.s_blocksize) {
      const why = readBlock(sb, page.phys + offset, entries);
      if (why !== null) return why;
    }
    return null;
  }

  function* readdir(dir: Inode): Sleeps<ErrPtr<Ext2DirEntry[]>> {
    const info = infoOf(dir);
    if (info === null || !info.isDirectory) return -ENOTDIR;
    const { sb, i_ino } = info;
    const blocks = dir.size / sb.s_blocksize;
    if (!Number.isInteger(blocks) || blocks > sb.s_blocks_count) {
      warnings.warn('ext2', `directory ${i_ino}: a size of ${dir.size} bytes`, sb.s_bdev.bd_name);
      return -EIO;
    }
    const entries: Ext2DirEntry[] = [];
    for (let index = 0; index * PAGE_SIZE < dir.size; index++) {
      const page = yield* k.vm.getPage(dir, index);
      if (typeof page === 'number') return page;
      const why = readPage(sb, dir, page, index, entries);
      k.allocator.put(page);
      if (why === null) continue;
      warnings.warn('ext2', `bad entry in directory ${i_ino}: ${why}`, sb.s_bdev.bd_name);
      return -EIO;
    }
    return entries;
  }

  function* lookup(dir: Inode, name: string): Sleeps<ErrPtr<Inode>> {
    const info = infoOf(dir);
    const entries = yield* readdir(dir);
    if (typeof entries === 'number') return entries;
    const entry = entries.find((other) => other.name === name);
    if (entry === undefined || info === null) return -ENOENT;
    return yield* k.ext2Inode.ext2_iget(info.sb, entry.inode);
  }

  return {
    /**
     * Mounts the ext2 on a device, read only: its superblock, or -EINVAL for what is no ext2, or not one that can be
     * read here, or -EIO. The kernel's warnings say why.
     */
    *ext2_fill_super(bdev: BlockDevice): Sleeps<ErrPtr<Ext2SuperBlock>> {
      return yield* mount(bdev);
    },

    /** Unmounts: everything that is cached of the file system is forgotten. */
    *ext2_put_super(sb: Ext2SuperBlock): Sleeps<void> {
      for (const inode of sb.inodes.values()) yield* k.vm.dropCache(inode);
      sb.inodes.clear();
      yield* k.blockDev.invalidate_bdev(sb.s_bdev);
    },

    /** The entries of a directory in their order on the disk, `.` and `..` too; -ENOTDIR, -EIO. */
    *ext2_readdir(dir: Inode): Sleeps<ErrPtr<Ext2DirEntry[]>> {
      return yield* readdir(dir);
    },

    /** The inode behind a name in a directory; -ENOENT, -ENOTDIR, -EIO. */
    *ext2_lookup(dir: Inode, name: string): Sleeps<ErrPtr<Inode>> {
      return yield* lookup(dir, name);
    },

    /** The inode behind a path from the root of the file system on, its parts between slashes. */
    *ext2_namei(sb: Ext2SuperBlock, path: string): Sleeps<ErrPtr<Inode>> {
      let inode = yield* k.ext2Inode.ext2_iget(sb, EXT2_ROOT_INO);
      for (const name of path.split('/')) {
        if (typeof inode === 'number') return inode;
        if (name !== '') inode = yield* lookup(inode, name);
      }
      return inode;
    },
  };
}
