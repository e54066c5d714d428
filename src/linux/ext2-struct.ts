// ext2 on the disk and in memory: what is where ("The Second Extended File System", Dave Poirier, 2001-2019, revisions 0
// and 1). All numbers on the disk are little endian; offsets are in bytes.

import type { Inode } from '../kernel/index.ts';
import type { BlockDevice } from './bio-struct.ts';
import type { SuperBlock } from './buffer-head.ts';

// ---- the superblock, 1024 bytes from the beginning of the device

export const SUPER_OFFSET = 1024;
export const S_INODES_COUNT = 0;
export const S_BLOCKS_COUNT = 4;
export const S_FIRST_DATA_BLOCK = 20;
export const S_LOG_BLOCK_SIZE = 24;
export const S_BLOCKS_PER_GROUP = 32;
export const S_INODES_PER_GROUP = 40;
/** 16 bits. */
export const S_MAGIC = 56;
export const S_REV_LEVEL = 76;
export const S_FIRST_INO = 84;
/** 16 bits. */
export const S_INODE_SIZE = 88;
export const S_FEATURE_INCOMPAT = 96;

export const EXT2_SUPER_MAGIC = 0xef53;
/** Inodes of 128 bytes, the first 10 reserved, no features. */
export const EXT2_GOOD_OLD_REV = 0;
export const EXT2_DYNAMIC_REV = 1;
export const EXT2_GOOD_OLD_INODE_SIZE = 128;
export const EXT2_GOOD_OLD_FIRST_INO = 11;
/** Entries of directories say what they are: the only incompatible feature that is ext2's. */
export const FEATURE_INCOMPAT_FILETYPE = 0x2;

// ---- a group descriptor; the inode table's first block is all that reading needs

export const GROUP_DESC_SIZE = 32;
export const BG_INODE_TABLE = 8;

// ---- an inode

export const EXT2_ROOT_INO = 2;
/** 16 bits. */
export const I_MODE = 0;
export const I_SIZE = 4;
/** 16 bits. */
export const I_LINKS_COUNT = 26;
export const I_BLOCK = 40;
/** Of a regular file the upper half of its size. */
export const I_SIZE_HIGH = 108;

export const S_IFMT = 0xf000;
export const S_IFREG = 0x8000;
export const S_IFDIR = 0x4000;

/** Pointers of an inode: to data, to a block of pointers, to a block of pointers to those, and so on. */
export const EXT2_NDIR_BLOCKS = 12;
export const EXT2_IND_BLOCK = 12;
export const EXT2_N_BLOCKS = 15;

// ---- an entry of a directory

export const DIR_INODE = 0;
/** 16 bits. */
export const DIR_REC_LEN = 4;
/** 8 bits each. */
export const DIR_NAME_LEN = 6;
export const DIR_FILE_TYPE = 7;
export const DIR_NAME = 8;
export const DIR_MIN_LEN = 12;

/** A mounted ext2. */
export class Ext2SuperBlock implements SuperBlock {
  readonly s_bdev: BlockDevice;
  readonly s_blocksize: number;
  readonly s_blocksize_bits: number;
  readonly s_blocks_count: number;
  readonly s_first_data_block: number;
  readonly s_blocks_per_group: number;
  readonly s_inodes_count: number;
  readonly s_inodes_per_group: number;
  readonly s_first_ino: number;
  readonly s_inode_size: number;
  /** Inodes in memory, by number. */
  readonly inodes = new Map<number, Inode>();

  constructor(
    init: Omit<Ext2SuperBlock, 'inodes' | 's_blocksize' | 'addr_per_block' | 'max_size' | 'holds'>,
  ) {
    this.s_bdev = init.s_bdev;
    this.s_blocksize = 1 << init.s_blocksize_bits;
    this.s_blocksize_bits = init.s_blocksize_bits;
    this.s_blocks_count = init.s_blocks_count;
    this.s_first_data_block = init.s_first_data_block;
    this.s_blocks_per_group = init.s_blocks_per_group;
    this.s_inodes_count = init.s_inodes_count;
    this.s_inodes_per_group = init.s_inodes_per_group;
    this.s_first_ino = init.s_first_ino;
    this.s_inode_size = init.s_inode_size;
  }

  /** Pointers in a block. */
  get addr_per_block(): number {
    return this.s_blocksize / 4;
  }

  /** Most bytes of a file: what three levels of pointers reach. */
  get max_size(): number {
    const n = this.addr_per_block;
    return (EXT2_NDIR_BLOCKS + n + n * n + n * n * n) * this.s_blocksize;
  }

  /** Whether a pointer points into the file system; 0 is the pointer of a hole, also where block 0 is a block. */
  holds(block: number): boolean {
    return block > 0 && block >= this.s_first_data_block && block < this.s_blocks_count;
  }
}

/** What ext2 keeps of an inode (Inode.private). */
export class Ext2InodeInfo {
  readonly sb: Ext2SuperBlock;
  readonly i_ino: number;
  readonly i_mode: number;
  /** i_block: 12 pointers to data, one each with one, two and three levels between. */
  readonly i_data: readonly number[];

  constructor(sb: Ext2SuperBlock, i_ino: number, i_mode: number, i_data: readonly number[]) {
    this.sb = sb;
    this.i_ino = i_ino;
    this.i_mode = i_mode;
    this.i_data = i_data;
  }

  get isDirectory(): boolean {
    return (this.i_mode & S_IFMT) === S_IFDIR;
  }

  get isRegular(): boolean {
    return (this.i_mode & S_IFMT) === S_IFREG;
  }
}

/** One entry of a directory. */
export interface Ext2DirEntry {
  readonly inode: number;
  readonly name: string;
  /** 1 regular file, 2 directory, 7 symbolic link; 0: the file system does not say. */
  readonly file_type: number;
}
