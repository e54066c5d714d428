// A file of the test's own on a device of the test's own: where its blocks are is a table.

import { Inode, PAGE_SIZE, type Page, type Sleeps } from '../../src/kernel/index.ts';
import {
  type AddressSpaceOperations,
  BH_Mapped,
  type Bio,
  type BufferHead,
  bio_data_dir,
  bio_for_each_segment,
  bio_sectors,
  EIO,
  type LinuxApi,
  LruList,
  READ,
  set_buffer_boundary,
} from '../../src/linux/index.ts';
import { TestDevice } from './device.ts';
import { must } from './help.ts';

/** A device with bytes. It writes down in blocks what it is asked, in order: `0-11`, `12`, `w 3`. */
export class MemoryDevice extends TestDevice {
  readonly bytes: Uint8Array;
  readonly requests: string[] = [];
  /** Bios that wait for `finish`, when `hold` says so. */
  readonly held: Bio[] = [];
  hold = false;
  /** Disk blocks that cannot be read or written. */
  readonly bad = new Set<number>();
  readonly blocksize: number;
  readonly #linux: LinuxApi;

  /** @param content its bytes, or how many blocks it has, block n filled with n + 1 */
  constructor(linux: LinuxApi, blocksize: number, content: number | Uint8Array) {
    super('memory');
    this.#linux = linux;
    this.blocksize = blocksize;
    this.bytes = typeof content === 'number' ? numbered(content, blocksize) : content;
    this.nr_sects = this.bytes.length / 512;
    const device = this;
    this.q.make_request_fn = function* (_q, bio) {
      device.requests.push(device.#name(bio));
      if (device.hold) device.held.push(bio);
      else device.#end(bio);
    };
  }

  /** What was asked since the last look. */
  take(): string[] {
    return this.requests.splice(0);
  }

  /** Ends what waits, first to last. */
  finish(): void {
    for (const bio of this.held.splice(0)) this.#end(bio);
  }

  #name(bio: Bio): string {
    const per = this.blocksize / 512;
    const first = bio.bi_iter.bi_sector / per;
    const last = first + bio_sectors(bio) / per - 1;
    const blocks = last > first ? `${first}-${last}` : `${first}`;
    return bio_data_dir(bio) === READ ? blocks : `w ${blocks}`;
  }

  #end(bio: Bio): void {
    const { memory } = this.#linux.kernel;
    let at = bio.bi_iter.bi_sector * 512;
    bio_for_each_segment(bio, ({ bv_page, bv_offset, bv_len }) => {
      const phys = must(bv_page).phys + bv_offset;
      for (let byte = at; byte < at + bv_len; byte += 512) {
        if (this.bad.has(Math.floor(byte / this.blocksize))) bio.bi_error = -EIO;
      }
      if (bio_data_dir(bio) === READ) memory.writeBytes(phys, this.bytes, at, bv_len);
      else this.bytes.set(memory.readBytes(phys, bv_len), at);
      at += bv_len;
    });
    this.#linux.bio_endio(bio);
  }
}

function numbered(blocks: number, blocksize: number): Uint8Array {
  return Uint8Array.from({ length: blocks * blocksize }, (_, i) => 1 + Math.floor(i / blocksize));
}

export interface FileOptions {
  /** Disk block of each block of the file; null: a hole. */
  readonly blocks: readonly (number | null)[];
  /** Bytes; default: all blocks. */
  readonly size?: number;
  /** File blocks behind which a boundary is. */
  readonly boundary?: readonly number[];
  /** To map block `from` of the file and those behind it, disk block `disk` has to be read, once. */
  readonly indirect?: { readonly from: number; readonly disk: number };
  /** One call maps one block. */
  readonly single?: boolean;
  /** What get_block returns for these blocks. */
  readonly errors?: Readonly<Record<number, number>>;
  /** These blocks come filled with 0xee: BH_Uptodate. */
  readonly filled?: readonly number[];
  readonly ops?: AddressSpaceOperations;
}

/** A file and its get_block, which writes down its calls: `block+wanted`. */
export class TestFile {
  readonly inode: Inode;
  readonly calls: string[] = [];
  readonly #linux: LinuxApi;
  readonly #device: MemoryDevice;
  readonly #options: FileOptions;
  #haveIndirect = false;

  constructor(linux: LinuxApi, device: MemoryDevice, options: FileOptions) {
    this.#linux = linux;
    this.#device = device;
    this.#options = options;
    const size = options.size ?? options.blocks.length * device.blocksize;
    this.inode = new Inode('file', size, {
      ...linux.buffer_page_ops,
      readpage: (_inode, page) => linux.mpage_readpage(page, this.get_block),
      ...options.ops,
    });
    this.inode.blkbits = Math.log2(device.blocksize);
  }

  readonly get_block = (_inode: Inode, iblock: number, bh: BufferHead, _create: boolean): Sleeps<number> =>
    this.#map(iblock, bh);

  *#map(iblock: number, bh: BufferHead): Sleeps<number> {
    const { blocks, boundary = [], indirect, single = false, errors, filled = [] } = this.#options;
    const size = this.#device.blocksize;
    const wanted = single ? 1 : Math.max(1, bh.b_size / size);
    this.calls.push(`${iblock}+${bh.b_size / size}`);
    const error = errors?.[iblock] ?? 0;
    if (error !== 0) return error;
    if (indirect !== undefined && iblock >= indirect.from && !this.#haveIndirect) {
      this.#haveIndirect = true;
      this.#linux.brelse(yield* this.#linux.__bread(this.#device, indirect.disk, size));
    }
    const first = blocks[iblock] ?? null;
    if (first === null) return 0;
    let count = 1;
    while (count < wanted && blocks[iblock + count] === first + count) {
      if (indirect !== undefined && iblock < indirect.from && iblock + count >= indirect.from) break;
      count++;
    }
    bh.b_state |= 1 << BH_Mapped;
    bh.b_bdev = this.#device;
    bh.b_blocknr = first;
    bh.b_size = count * size;
    if (boundary.includes(iblock + count - 1)) set_buffer_boundary(bh);
    if (filled.includes(iblock)) {
      bh.b_state |= 1; // BH_Uptodate
      this.#linux.kernel.memory.fill(must(bh.b_page).phys, 0xee, PAGE_SIZE);
    }
    return 0;
  }

  /** Fresh pages for these indexes in a list, as readahead makes it. */
  list(...indexes: number[]): LruList {
    const list = new LruList();
    for (const index of indexes) {
      const page = must(this.#linux.kernel.allocator.alloc({ tag: 'cache' }));
      page.index = index;
      this.#linux.kernel.memory.fill(page.phys, 0xa5, PAGE_SIZE); // somebody had it before
      list.add(page);
    }
    return list;
  }

  /** The page at an index, which is cached. */
  page(index: number): Page {
    return must(this.inode.mapping.find(index));
  }

  /** What a read of the page gave, a number a block: the disk block; 'hole' for zeros. */
  contents(index: number): (number | string)[] {
    const size = this.#device.blocksize;
    const bytes = this.#linux.kernel.memory.readBytes(this.page(index).phys, PAGE_SIZE);
    return Array.from({ length: PAGE_SIZE / size }, (_, i) => {
      const block = bytes.subarray(i * size, (i + 1) * size);
      const [value = 0] = block;
      if (!block.every((byte) => byte === value)) return 'mixed';
      return value === 0 ? 'hole' : value - 1;
    });
  }
}

/** `from`, `from + 1` … */
export function run(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}
